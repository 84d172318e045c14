"""Records into events, outside any transaction; what cannot be one becomes a dead letter with a named reason."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import Enum
from typing import Protocol
from uuid import UUID, uuid5

from pydantic import ValidationError

from shared.bus.route import BoundRoute
from shared.contracts import cloudevents, watermark
from shared.contracts.event import Event
from shared.envelope import MAX_HOPS, Received, Tombstone, Watermark

_LAST_MS = 253_402_300_799_000
"""The end of the year 9999: a producer may say anything."""
_DEAD_LETTERS = UUID("6f1c7a39-3f0e-5b52-9a2f-5a0c1f1b8d11")


class Record(Protocol):
    """What a consumed record has; the client's own class fits."""

    @property
    def partition(self) -> int: ...  # noqa: D102
    @property
    def offset(self) -> int: ...  # noqa: D102
    @property
    def timestamp(self) -> int: ...  # noqa: D102
    @property
    def key(self) -> bytes | None: ...  # noqa: D102
    @property
    def value(self) -> bytes | None: ...  # noqa: D102
    @property
    def headers(self) -> tuple[tuple[str, bytes | None], ...]: ...  # noqa: D102


class Kind(Enum):
    """What a record turned out to be."""

    EVENT = "event"
    TOMBSTONE = "tombstone"
    MALFORMED = "malformed"
    NEWER_TYPE = "newer type"
    LOOP = "loop"
    WATERMARK = "watermark"
    """For the route that asked for it."""
    PASSED = "passed"
    """A control record that is not for this route: nothing to handle, its offset counts."""


@dataclass(slots=True)
class Item:
    """One record of a batch on its way through."""

    route: BoundRoute
    record: Record
    position: int
    """Place in the batch: arrival order."""
    kind: Kind
    key: str
    """Empty for a dead letter or a control record, which belong to no key's order."""
    inbox_id: UUID | None = None
    """What the inbox knows it by; None on a compacted topic."""
    inbox_day: date | None = None
    value: Received[Event] | Tombstone | Watermark | None = None
    reason: str = ""
    """Kind of malformation: json, utf8, schema, type, tombstone, size, headers, key."""
    error: str = ""
    """What exactly, without a word of the payload; for a newer type, that type."""


def decode(record: Record, route: BoundRoute, position: int) -> Item:
    """One record as an item; never raises for what is in it."""
    raw_key = record.key
    value = record.value
    if raw_key is None:
        return malformed(record, route, position, "key", "no key")
    if raw_key == watermark.KEY and route.name == watermark.TOPIC:
        return _control(record, route, position)
    try:
        key = raw_key.decode("utf-8")
    except UnicodeDecodeError:
        return malformed(record, route, position, "key", "key is not UTF-8")
    if not key or "\x00" in key:
        return malformed(record, route, position, "key", "key is empty or has a null character")
    if value is None:
        if not route.compacted:
            return malformed(record, route, position, "tombstone", "no value on a topic of facts")
        stone = Tombstone(key=key, topic=route.name, partition=record.partition, offset=record.offset)
        return Item(route, record, position, Kind.TOMBSTONE, key, value=stone)
    if len(value) > route.max_bytes:
        return malformed(record, route, position, "size", f"{len(value)} bytes, at most {route.max_bytes}")
    try:
        given = cloudevents.read(record.headers)
    except cloudevents.HeaderError as error:
        return malformed(record, route, position, "headers", str(error))
    day = given.time.date()
    inbox_id = None if route.compacted else given.id
    cls = route.classes.get(given.type)
    if cls is None:
        if route.is_newer(given.type):
            return Item(route, record, position, Kind.NEWER_TYPE, key, inbox_id, day, error=given.type)
        return malformed(record, route, position, "type", "type is foreign to this topic")
    try:
        event = cls.__pydantic_validator__.validate_json(value)
    except ValidationError as error:
        return malformed(record, route, position, *_explain(cls, value, error))
    received = Received(
        event=event,
        id=given.id,
        type=given.type,
        time=given.time,
        key=key,
        topic=route.name,
        partition=record.partition,
        offset=record.offset,
        hops=given.hops,
        correlation=given.correlation,
        traceparent=given.traceparent,
    )
    kind = Kind.EVENT if given.hops <= MAX_HOPS else Kind.LOOP
    return Item(route, record, position, kind, key, inbox_id, day, received)


def _control(record: Record, route: BoundRoute, position: int) -> Item:
    """A watermark, as little work as it takes: there are some every second on every partition."""
    if not route.watermarks or record.value is None:
        return Item(route, record, position, Kind.PASSED, "")
    try:
        until = watermark.until(record.value)
    except watermark.WatermarkError as error:
        return malformed(record, route, position, "schema", str(error))
    mark = Watermark(partition=record.partition, until=until, topic=route.name, offset=record.offset)
    return Item(route, record, position, Kind.WATERMARK, "", value=mark)


def malformed(record: Record, route: BoundRoute, position: int, reason: str, error: str) -> Item:
    """A dead letter to be.

    Its inbox id is made of where it lies, so that a replay from offset 0 adds no second letter, while the same event
    published again, repaired or not, lies elsewhere and is looked at afresh.
    """
    place = f"{route.name}:{record.partition}:{record.offset}:{record.timestamp}"
    day = datetime.fromtimestamp(min(max(record.timestamp, 0), _LAST_MS) / 1000, UTC).date()
    return Item(
        route, record, position, Kind.MALFORMED, "", uuid5(_DEAD_LETTERS, place), day, reason=reason, error=error
    )


def _explain(cls: type[Event], value: bytes, error: ValidationError) -> tuple[str, str]:
    """Reason and explanation of a refused payload: names of our fields and kinds of error only."""
    try:
        value.decode("utf-8")
    except UnicodeDecodeError as bad:
        return "utf8", f"byte {bad.start} is not UTF-8"
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if found and found[0]["type"] == "json_invalid":
        return "json", "not JSON"
    # Below the first level a location may hold keys of the payload: only names that the contract declares are told.
    told = []
    for one in found[:5]:
        where = one["loc"][0] if one["loc"] and one["loc"][0] in cls.model_fields else "?"
        told.append(f"{where}: {one['type']}")
    return "schema", "; ".join(told)
