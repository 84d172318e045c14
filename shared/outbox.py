"""What is published with the transaction that caused it: rows the relay sends as they are.

`headers` is one value, ready to send: a layout number followed by the header values in that layout's order. A table
of names here and values there keeps a row small and is read back with one split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import orjson
import uuid_utils

from shared.contracts import cloudevents as ce
from shared.contracts.event import Event
from shared.db import Tx
from shared.envelope import Answer, Delete, Emit, NotYet

MAX_BYTES = 262_144
"""Largest payload of any topic: a larger one would be refused by its readers, so it is refused here."""

_SEPARATOR = "\x1f"
_BASE = (ce.SPECVERSION, ce.CONTENT_TYPE, ce.TYPE, ce.ID, ce.TIME, ce.SUBJECT, ce.TENANT, ce.CORRELATION, ce.HOPS)
# Layout numbers are stored: never change one, add another.
_PLAIN, _CAUSED, _TRACED, _CAUSED_TRACED, _ANY = "1", "2", "3", "4", "0"
_LAYOUTS: dict[int, tuple[str, ...]] = {
    ord(_PLAIN): _BASE,
    ord(_CAUSED): (*_BASE, ce.CAUSATION),
    ord(_TRACED): (*_BASE, ce.TRACEPARENT),
    ord(_CAUSED_TRACED): (*_BASE, ce.CAUSATION, ce.TRACEPARENT),
}

_INSERT = """
    INSERT INTO outbox (topic, key, tenant, ce_id, payload, headers)
    SELECT * FROM unnest($1::text[], $2::bytea[], $3::text[], $4::uuid[], $5::bytea[], $6::bytea[])
"""


@dataclass(slots=True)
class Row:
    """One row to be written; `key` and `payload` are None where the record has none."""

    topic: str
    """The manifest's name; the relay adds the installation's prefix."""
    key: bytes | None
    tenant: str
    id: UUID
    payload: bytes | None
    headers: bytes


class NotPublishableError(ValueError):
    """An answer of a handler that cannot become an event: too large, or an id without a time."""


async def add(tx: Tx, answers: Sequence[Answer]) -> list[UUID]:
    """Publish `answers` when `tx` commits, in their order; their event ids.

    Lock what you change before you call this: the order of a key's events is the order of these calls. Wake the relay
    after the commit (the bus does). Raises NotPublishableError, and TypeError for a NotYet.
    """
    if not answers:
        return []
    now = ce.text_time(tx.instant)
    rows = [_row(answer, now) for answer in answers]
    await insert(tx, rows)
    return [row.id for row in rows]


async def insert(tx: Tx, rows: Sequence[Row]) -> None:
    """Write rows in one statement; ids, and with them the order of sending, follow the order of `rows`."""
    await tx.execute(
        _INSERT,
        [row.topic for row in rows],
        [row.key for row in rows],
        [row.tenant for row in rows],
        [row.id for row in rows],
        [row.payload for row in rows],
        [row.headers for row in rows],
    )


def rows_of(answers: Sequence[Emit | Delete], instant: datetime) -> list[Row]:
    """The rows of a handler's answers at the transaction's instant."""
    now = ce.text_time(instant)
    return [_row(answer, now) for answer in answers]


_prefixes: dict[type[Event], tuple[str, str]] = {}


def _row(answer: Answer, now: str) -> Row:
    if isinstance(answer, Emit):
        return _emit(answer, now)
    if isinstance(answer, NotYet):
        raise TypeError("NotYet is an answer for the bus, not an event to publish")
    return _delete(answer, now)


def _emit(answer: Emit, now: str) -> Row:
    event = answer.event
    known = _prefixes.get(type(event))
    if known is None:
        # Topic, and the values that are the same for every event of this class.
        constant = _SEPARATOR.join(("1.0", "application/json", event.TYPE))
        known = _prefixes[type(event)] = (ce.topic_name(event.TYPE), constant)
    topic, constant = known
    payload = event.to_bytes()
    if len(payload) > MAX_BYTES:
        raise NotPublishableError(f"{event.TYPE}: {len(payload)} bytes, at most {MAX_BYTES}; use a blob reference")
    identity: UUID
    if answer.id is None:
        identity = uuid_utils.uuid7()  # type: ignore[assignment]  # a UUID in all but its class; asyncpg takes it
    elif answer.time is None:
        # The inbox partitions by time: the same id with another time would be another event to every reader.
        raise NotPublishableError(f"{event.TYPE}: a given id needs a given time")
    else:
        identity = answer.id
    text_id = str(identity)
    time = now if answer.time is None else ce.text_time(answer.time)
    key = event.key
    cause = answer.cause
    trace = answer.traceparent
    if cause is None:
        correlation = answer.correlation or text_id
        hops = 0
        tail = ""
        layout = _PLAIN
    else:
        correlation = cause.correlation or str(cause.id)
        hops = cause.hops + 1
        trace = cause.traceparent or trace
        tail = f"\x1f{cause.id}"
        layout = _CAUSED
    if trace is not None:
        tail = f"{tail}\x1f{trace}"
        layout = _TRACED if cause is None else _CAUSED_TRACED
    values = f"{constant}\x1f{text_id}\x1f{time}\x1f{key}\x1f{event.tenant_id}\x1f{correlation}\x1f{hops}{tail}"
    return Row(topic, key.encode(), event.tenant_id, identity, payload, _pack(layout, values))


def _delete(answer: Delete, now: str) -> Row:
    identity: UUID = uuid_utils.uuid7()  # type: ignore[assignment]  # as in _emit
    cause = answer.cause
    correlation = str(identity) if cause is None else cause.correlation or str(cause.id)
    hops = 0 if cause is None else cause.hops + 1
    values = _SEPARATOR.join(
        (
            "1.0",
            "application/json",
            f"{answer.topic}.deleted.v1",
            str(identity),
            now,
            answer.key,
            answer.tenant_id,
            correlation,
            str(hops),
        )
    )
    if cause is None:
        return Row(answer.topic, answer.key.encode(), answer.tenant_id, identity, None, _pack(_PLAIN, values))
    packed = _pack(_CAUSED, f"{values}\x1f{cause.id}")
    return Row(answer.topic, answer.key.encode(), answer.tenant_id, identity, None, packed)


def _pack(layout: str, values: str) -> bytes:
    if values.count(_SEPARATOR) + 1 != len(_LAYOUTS[ord(layout)]):
        # A key or correlation id that contains the separator itself.
        names = _LAYOUTS[ord(layout)]
        raise NotPublishableError(f"control characters in one of {', '.join(names)}")
    return f"{layout}{values}".encode()


def pack_any(headers: Sequence[tuple[str, bytes | None]]) -> bytes:
    """Any header pairs, whatever bytes they are: what was received is passed on unchanged."""
    return _ANY.encode() + orjson.dumps([[name, None if value is None else value.hex()] for name, value in headers])


def unpack(headers: bytes, source: bytes) -> ce.Headers:
    """The pairs to send. Events of our own get `source`, since an outbox belongs to one service."""
    names = _LAYOUTS.get(headers[0])
    if names is not None:
        pairs = list(zip(names, headers[1:].split(b"\x1f"), strict=True))
        pairs.append((ce.SOURCE, source))
        return pairs
    return unpack_any(headers)


def unpack_any(headers: bytes) -> ce.Headers:
    """The pairs of `pack_any`. Raises ValueError for anything else."""
    if headers[:1] != _ANY.encode():
        raise ValueError(f"unknown header layout {headers[:1]!r}")
    pairs: list[tuple[str, str | None]] = orjson.loads(headers[1:])
    return [(name, None if value is None else bytes.fromhex(value)) for name, value in pairs]  # type: ignore[misc]
