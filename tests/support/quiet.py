"""When an installation is quiet: everything published is handled, everything due is done, nothing new came of it.

What happens next then happens by the clock or by somebody's act, so "nobody was told" can be said without sleeping.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from shared import kafka
from shared.contracts.manifest import TOPICS
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from tests.support.installation import Installation

SOON = 3
"""Seconds: what is due so soon is waited for; a look that is repeated after two seconds is still a look."""
_DUE = {
    # Sweeps arm themselves again for ever (key `all`); what they look for is asked for below.
    "timer": f"key <> 'all' AND run_at <= desk_now() + interval '{SOON} s'",
    "task": f"parked_at IS NULL AND (lease_token IS NOT NULL OR due_at <= desk_now() + interval '{SOON} s')",
    # Tried again by real time, whatever the test clock says.
    "waiting": f"due_at <= now() + interval '{SOON} s'",
}
"""In every service's database: table → which of its rows are due."""
_COUNT = "(SELECT count(*) FROM {table} WHERE {which}) AS {table}"
_OWN_DUE = {
    "sla": {
        "clock": "state = 'running' AND (due_at <= desk_now() OR (warn_at <= desk_now() AND NOT warned)) OR provisional"
    },
    "notify": {
        "webhook_delivery": "state = 'pending' AND"
        f" (lease_token IS NOT NULL OR due_at <= desk_now() + interval '{SOON} s')"
    },
    "search": {"duplicate_check": f"due_at <= desk_now() + interval '{SOON} s'"},
}


async def wait_until_quiet(installation: Installation, services: tuple[str, ...], *, within: float) -> None:
    """Wait until two looks see the same outboxes, all of them empty, and between them no reader behind, nothing due."""
    async with broker(installation) as asked:

        async def quiet() -> bool:
            before = await _published(installation, services)
            await _assert_readers_at_the_end(installation, services, asked)
            for service in services:
                await _assert_nothing_due(installation, service)
            assert await _published(installation, services) == before, "more was published meanwhile"
            return True

        await eventually(quiet, within=within, every=0.2, what="a quiet installation")


@dataclass(frozen=True)
class Broker:
    """Clients that ask Kafka how far it is."""

    admin: AIOKafkaAdminClient
    consumer: AIOKafkaConsumer


@asynccontextmanager
async def broker(installation: Installation) -> AsyncIterator[Broker]:
    """Clients for some looks: making them costs more than a look."""
    async with AsyncExitStack() as stack:
        admin = AIOKafkaAdminClient(bootstrap_servers=installation.engines.kafka_url)
        await admin.start()
        stack.push_async_callback(admin.close)
        consumer = AIOKafkaConsumer(bootstrap_servers=installation.engines.kafka_url, group_id=None)
        await consumer.start()
        stack.push_async_callback(consumer.stop)
        yield Broker(admin, consumer)


async def _published(installation: Installation, services: tuple[str, ...]) -> dict[str, int]:
    """How many rows each outbox has ever had; none may have any now."""
    counts = {}
    for service in services:
        (row,) = await installation.rows(
            service,
            "SELECT (SELECT count(*) FROM outbox) AS rows,"
            " pg_sequence_last_value(pg_get_serial_sequence('outbox', 'id')::regclass) AS last",
        )
        assert row["rows"] == 0, f"{service} has {row['rows']} events to publish"
        counts[service] = row["last"] or 0
    return counts


async def _assert_nothing_due(installation: Installation, service: str) -> None:
    due = _DUE | _OWN_DUE.get(service, {})
    counts = ", ".join(_COUNT.format(table=table, which=which) for table, which in due.items())
    (row,) = await installation.rows(service, f"SELECT {counts}")
    left = {table: count for table, count in row.items() if count}
    assert not left, f"{service} has work due: {left}"


async def _assert_readers_at_the_end(installation: Installation, services: tuple[str, ...], asked: Broker) -> None:
    """Every group has handled, and every replica stored, what stood on its topics when we asked."""
    read = {
        service: [topic for topic in TOPICS if service in topic.consumers]
        for service in services
        if any(service in topic.consumers for topic in TOPICS)
    }
    names = {topic.name: topic.partitions for topics in read.values() for topic in topics}
    places = [TopicPartition(installation.prefix + name, n) for name, count in names.items() for n in range(count)]
    ends = await kafka.end_offsets(asked.consumer, places)
    for service, topics in read.items():
        done = await handled(installation, service, asked)
        for topic in topics:
            for number in range(topic.partitions):
                place = TopicPartition(installation.prefix + topic.name, number)
                behind = ends[place] - done.get(place, 0)
                assert behind <= 0, f"{service} is {behind} records behind on {topic.name}/{number}"


async def handled(installation: Installation, service: str, asked: Broker) -> dict[TopicPartition, int]:
    """Up to which offset a service has committed its work, or stored it in its replica."""
    rows = await installation.rows(service, "SELECT topic, partition, next_offset FROM replica_offset")
    done = {TopicPartition(_wire(installation, row["topic"]), row["partition"]): row["next_offset"] for row in rows}
    committed = await asked.admin.list_consumer_group_offsets(installation.prefix + service)
    return done | {place: at.offset for place, at in committed.items() if at.offset >= 0}


def _wire(installation: Installation, topic: str) -> str:
    return topic if topic.startswith(installation.prefix) else installation.prefix + topic
