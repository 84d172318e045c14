"""Topics of a test's own: the manifest's under a prefix nobody else uses."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from shared.contracts.event import Topic
from shared.contracts.manifest import TOPICS


def new_prefix(test: str) -> str:
    """A topic prefix for one test, readable in the broker's log."""
    return f"{test[:24].replace('_', '-').replace('[', '-').replace(']', '')}-{secrets.token_hex(3)}."


async def create_topics(
    kafka_url: str, prefix: str, topics: Iterable[Topic] = TOPICS, *, groups: Iterable[str] = (), partitions: int = 3
) -> None:
    """Create the topics and, for each group, its dead-letter topics, under `prefix`."""
    topics = tuple(topics)
    new = [NewTopic(f"{prefix}{t.name}", partitions, 1, topic_configs=t.config()) for t in topics]
    for group in groups:
        new += [
            NewTopic(f"{prefix}dlq.{group}.{t.name}", 1, 1, topic_configs={"max.message.bytes": "2097152"})
            for t in topics
        ]
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_url)
    await admin.start()
    try:
        await admin.create_topics(new)
    finally:
        await admin.close()


async def delete_topics(kafka_url: str, prefix: str) -> None:
    """Delete everything under `prefix`."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_url)
    await admin.start()
    try:
        mine = [name for name in await admin.list_topics() if name.startswith(prefix)]
        if mine:
            await admin.delete_topics(mine)
    finally:
        await admin.close()
