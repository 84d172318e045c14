"""Events on their way in and out: what a handler receives and what it answers.

The wire form (CloudEvents headers) is `shared.contracts.cloudevents`; here are the values between bus and handler.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Generic, TypeVar
from uuid import UUID

from shared.contracts.event import Event, EventT

if TYPE_CHECKING:
    from shared.db import Tx

EventT_co = TypeVar("EventT_co", bound=Event, covariant=True)

MAX_HOPS = 16
"""An event caused by a longer chain than this is parked instead of handled (a loop)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received(Generic[EventT_co]):
    """One event as it arrived, decoded and validated."""

    event: EventT_co
    id: UUID
    """CloudEvents id: stable over every redelivery and replay."""
    type: str
    time: datetime
    """When the fact happened, by its producer's database (UTC)."""
    key: str
    topic: str
    partition: int
    offset: int
    hops: int = 0
    """How many events caused this one, one after the other."""
    correlation: str = ""
    """The id of the outermost cause; the same in every log line along the way."""
    traceparent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """A key deleted from a compacted topic."""

    key: str
    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Watermark:
    """Everything its producer committed before `until` stands earlier in this partition (`contracts.watermark`).

    Handed, in order among the events, to routes with `watermarks=True`.
    """

    partition: int
    until: datetime
    """By the producer's database (UTC)."""
    topic: str
    offset: int


@dataclass(frozen=True, slots=True)
class Emit:
    """One event to be published with the transaction that returns it."""

    event: Event
    cause: Received[Event] | None = None
    """The event that led to this one: gives causation id, correlation, hops and trace. None for a person or a timer."""
    id: UUID | None = None
    """Given (a UUIDv5) where the same fact may be found twice; otherwise a UUIDv7 is drawn with the outbox row."""
    time: datetime | None = None
    """When it happened; otherwise the transaction's instant. A given id needs a given time."""
    correlation: str | None = None
    """Correlation id of an HTTP request; `cause` wins."""
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """A tombstone to be published on a compacted topic."""

    topic: str
    key: str
    tenant_id: str
    cause: Received[Event] | None = None


@dataclass(frozen=True, slots=True)
class NotYet:
    """Something `received` needs has not arrived: it and the later events of its key wait until it does.

    The whole batch is rolled back and run again without that key, so a handler may answer this at any point.
    """

    received: Received[Event]
    missing_kind: str
    """What is missing: `policy`, `parent`, `type`, …"""
    missing_id: str


Answer = Emit | Delete | NotYet

FactHandler = Callable[["Tx", Sequence[Received[EventT]]], Awaitable[Sequence[Answer]]]
"""Handles each fact exactly once by its id; a whole batch in one transaction, rows locked in key order."""

StateHandler = Callable[["Tx", Sequence[Received[EventT] | Tombstone]], Awaitable[Sequence[Answer]]]
"""Handles snapshots of a compacted topic; keeps the highest version itself, since there is no inbox before it."""

MarkedHandler = Callable[["Tx", Sequence[Received[EventT] | Tombstone | Watermark]], Awaitable[Sequence[Answer]]]
"""The same for a route with `watermarks=True`."""
