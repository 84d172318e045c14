"""SLA clocks: warnings, breaches, targets met, and what changed about a clock. Owned by sla."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field

from shared.contracts.event import OPEN, Event, Instant
from shared.contracts.ticket import TicketSummary


class ClockName(StrEnum):
    """Which target of a ticket a clock measures."""

    FIRST_RESPONSE = "first_response"
    """Until a person of ours answers in public."""
    RESOLUTION = "resolution"
    """Until the ticket is solved."""


class ClockState(StrEnum):
    """Where a clock stands."""

    RUNNING = "running"
    PAUSED = "paused"
    MET = "met"
    BREACHED = "breached"
    ENDED = "ended"
    """Without a verdict: merged away, closed as invalid, no target any more."""


class SlaEvent(Event):
    """A fact about one clock of one ticket in one cycle."""

    KEY: ClassVar[str] = "ticket_id"

    ticket_id: UUID
    ticket: TicketSummary
    """As sla knew it."""
    clock: Annotated[ClockName | str, OPEN]
    cycle: int
    target_minutes: float
    """Business minutes of the calendar; a calendar without hours counts every minute."""
    due_at: Instant | None = None
    """When the target runs out; None while the clock is paused or has none."""
    calendar: str
    policy_version: int
    """Of the tenant's sla section."""
    based_on_version: int
    """The ticket's version sla knew."""


class SlaWarning(SlaEvent):
    """Little of the target is left."""

    TYPE: ClassVar[str] = "sla.warning.v1"

    share_left: Annotated[float, Field(ge=0.0, le=1.0)]
    """Of the target, by policy: 0.2."""
    remaining_minutes: float
    """Business minutes until due."""


class SlaBreached(SlaEvent):
    """A target ran out. Its CloudEvents id is UUIDv5(ticket, clock, cycle): told once."""

    TYPE: ClassVar[str] = "sla.breached.v1"

    breached_at: Instant
    """The due instant."""
    provisional: bool = False
    """What tickets knew had not arrived within the grace: it may be withdrawn (`sla.changed`, `withdrawn`)."""


class SlaMet(SlaEvent):
    """A target was reached in time."""

    TYPE: ClassVar[str] = "sla.met.v1"

    met_at: Instant
    elapsed_minutes: float
    """Business minutes the clock ran."""


class SlaChangeKind(StrEnum):
    """What happened to a clock."""

    STARTED = "started"
    PAUSED = "paused"
    RESUMED = "resumed"
    DUE_CHANGED = "due_changed"
    """Another priority, tier, policy or calendar."""
    CONFIRMED = "confirmed"
    """A breach that was provisional, or had been taken back, is true after all."""
    WITHDRAWN = "withdrawn"
    """A provisional breach proved false."""
    VERDICT_CHANGED = "verdict_changed"
    """A new policy judges a finished clock differently; pages nobody."""
    ENDED = "ended"
    """No verdict: see `reason`."""


class SlaChanged(SlaEvent):
    """Something about a clock changed that is neither warning, breach nor met."""

    TYPE: ClassVar[str] = "sla.changed.v1"

    change: Annotated[SlaChangeKind | str, OPEN]
    state: Annotated[ClockState | str, OPEN]
    reason: str
    """`opened`, `pending`, `priority`, `policy`, `merged`, …"""
    previous_due_at: Instant | None = None
