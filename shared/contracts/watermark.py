"""The watermark of `ticket.state`: "everything committed before this instant is out" (architecture rule 5).

It is a control record and no event: the relay of tickets writes it to each partition itself, under a key that no
ticket can have, past the outbox; no inbox knows it; the bus hands it to routes that ask for it and drops it for the
others. Readers of their own that meet `ticket.watermark.v1` skip it. Compaction leaves the newest of each partition.

Its meaning, exactly: every state of a ticket of this partition that a transaction of tickets committed with an instant
before `until` stands earlier in this partition. Whoever has read as far as here knows of each such ticket all that
tickets knew before `until`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID, uuid5

import orjson

from shared.contracts import cloudevents as ce
from shared.contracts.ids import DESKWIRE

TOPIC = "ticket.state"
TYPE = "ticket.watermark.v1"
KEY = b"~watermark"
"""Reserved: keys of this topic are ticket ids otherwise."""
_TYPE = TYPE.encode()


class WatermarkError(ValueError):
    """A record under the reserved key that is no watermark."""


def record(partition: int, until: datetime, source: bytes) -> tuple[bytes, ce.Headers]:
    """Value and headers of the watermark of one partition; the instant is UTC."""
    instant = ce.text_time(until)
    identity: UUID = uuid5(DESKWIRE, f"watermark:{partition}:{instant}")
    headers = [
        (ce.SPECVERSION, b"1.0"),
        (ce.CONTENT_TYPE, b"application/json"),
        (ce.TYPE, _TYPE),
        (ce.ID, str(identity).encode()),
        (ce.TIME, instant.encode()),
        (ce.SOURCE, source),
    ]
    return orjson.dumps({"until": instant}), headers


def until(value: bytes | None) -> datetime:
    """The instant that a watermark's value states (UTC). Raises WatermarkError for anything else."""
    try:
        instant = datetime.fromisoformat(orjson.loads(value or b"")["until"])
    except (ValueError, TypeError, KeyError) as error:
        raise WatermarkError("not a watermark") from error
    if instant.tzinfo is None:
        raise WatermarkError("an instant needs a zone")
    return instant.astimezone(UTC)
