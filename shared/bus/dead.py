"""Dead letters: outbox rows of the batch's own transaction; the record as it came, and what is wrong with it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from uuid import UUID

from aiokafka.errors import KafkaError

from shared import kafka
from shared.bus.decode import Item
from shared.explain import explain
from shared.outbox import Row, pack_any
from shared.settings import ServiceSettings

PREFIX = "dlq_"
RETENTION_MS = 30 * 24 * 3600 * 1000

logger = logging.getLogger(__name__)


def topic_name(service: str, topic: str) -> str:
    """The manifest-style name of a service's dead-letter topic for one topic."""
    return f"dlq.{service}.{topic}"


def row(item: Item, service: str, identity: UUID) -> Row:
    """The dead letter of a malformed record."""
    record = item.record
    # An entry replayed and still malformed has passed here before: say how often.
    attempts = 1
    headers: list[tuple[str, bytes | None]] = []
    for name, value in record.headers:
        if name == "dlq_attempts" and value is not None and value.isdigit():
            attempts = int(value[:6]) + 1
        elif not name.startswith(PREFIX):
            headers.append((name, value))
    headers += [
        ("dlq_source_topic", item.route.name.encode()),
        ("dlq_source_partition", str(record.partition).encode()),
        ("dlq_source_offset", str(record.offset).encode()),
        ("dlq_reason", item.reason.encode()),
        ("dlq_error", item.error.encode()),
        ("dlq_attempts", str(attempts).encode()),
        ("dlq_group", service.encode()),
    ]
    return Row(topic_name(service, item.route.name), record.key, "", identity, record.value, pack_any(headers))


async def ensure_topics(settings: ServiceSettings, topics: Iterable[str]) -> None:
    """Make the dead-letter topics of a service that do not exist."""
    config = {"retention.ms": str(RETENTION_MS), "max.message.bytes": str(kafka.DEAD_LETTER_BYTES)}
    wanted = {settings.topic(topic_name(settings.SERVICE, topic)): config for topic in topics}
    try:
        made = await kafka.ensure_topics(settings, wanted)
    except KafkaError as error:
        # Without the right to create topics an operator has made them; if not, the relay says so when it matters.
        logger.warning("dead-letter topics not checked", extra={"error": explain(error)})
        return
    if made:
        logger.info("dead-letter topics made", extra={"count": len(made)})
