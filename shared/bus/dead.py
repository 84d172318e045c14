"""Dead letters: outbox rows of the batch's own transaction; the record as it came, and what is wrong with it."""

from __future__ import annotations

from uuid import UUID

from shared.bus.decode import Item
from shared.outbox import Row, pack_any

PREFIX = "dlq_"


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
