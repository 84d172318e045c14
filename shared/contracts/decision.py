"""Decisions of other services about a ticket, and what tickets made of them (rule 2).

triage and search say what they think and which version of the ticket they saw. tickets applies a decision field by
field, never over a field a person set later, and answers with `ticket.decision_applied` or `ticket.decision_refused`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field

from shared.contracts.event import OPEN, Contract, Event, Instant
from shared.contracts.ticket import Change, PriorityLevel, TicketEvent


class Impact(StrEnum):
    """How far a problem reaches (seed 000 §4.1)."""

    CRITICAL = "critical"
    MAJOR = "major"
    MODERATE = "moderate"
    MINOR = "minor"


class Urgency(StrEnum):
    """How soon it hurts (seed 000 §4.1)."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Reason(Contract):
    """Why one field got its value, for people."""

    field: str
    """`impact`, `priority`, `queue`, …"""
    rule: str
    """Which rule of the pack spoke: `impact.affected_customers`, `keyword.emergency`, `matrix`, …"""
    text: str
    """One sentence: `300 customers are affected (more than 100)`."""


class Triage(Contract):
    """What triage decided; None where it has no opinion."""

    category: str | None = None
    """What the ticket is about, in the tenant's own words."""
    subcategory: str | None = None
    impact: Annotated[Impact | str, OPEN] | None = None
    urgency: Annotated[Urgency | str, OPEN] | None = None
    matrix_priority: PriorityLevel | None = None
    """What the matrix alone gives; `priority` is it after the business rules."""
    priority: PriorityLevel | None = None
    language: str | None = None
    """BCP 47."""
    product: str | None = None
    tier: str | None = None
    """The requester's support tier."""
    queue: str | None = None
    eta_minutes: Annotated[float, Field(ge=0)] | None = None
    """Estimated minutes to resolution, elapsed and not business time."""
    escalate_after_minutes: Annotated[float, Field(gt=0)] | None = None
    """How soon the requester's tier wants it escalated, elapsed minutes; a hint for whoever escalates."""
    tags: tuple[str, ...] = ()
    """Added to those the ticket has."""


class TicketTriaged(Event):
    """triage's decision about a ticket, with its reasons."""

    TYPE: ClassVar[str] = "ticket.triaged.v1"
    KEY: ClassVar[str] = "ticket_id"

    ticket_id: UUID
    decision_id: UUID
    """UUIDv5(ticket, what it was decided from): the same input found twice is one decision."""
    based_on_version: int
    """The ticket's version that triage saw."""
    decision: Triage
    confidence: Annotated[float, Field(ge=0.0, le=1.0)] = 1.0
    reasons: tuple[Reason, ...] = ()
    policy_version: int = 0
    """Of the tenant's triage section; 0 where none was published."""
    decided_by: str = "rules"
    """`rules`, or a model's name and version."""


class DuplicateCandidate(Contract):
    """A ticket that seems to report the same."""

    ticket_id: UUID
    number: str
    score: Annotated[float, Field(ge=0.0, le=1.0)]
    """1 is word for word the same."""
    source: str
    """Where it was found: `index`, `batch` (arrived together), `recent` (the last minutes)."""
    same_requester: bool = False
    reason: str
    """One sentence for people."""


class TicketDuplicatesFound(Event):
    """search's decision: the tickets a new one seems to repeat, the likeliest first."""

    TYPE: ClassVar[str] = "ticket.duplicates_found.v1"
    KEY: ClassVar[str] = "ticket_id"

    ticket_id: UUID
    decision_id: UUID
    based_on_version: int
    candidates: Annotated[tuple[DuplicateCandidate, ...], Field(min_length=1, max_length=10)]
    full_check: bool = True
    """Whether the index was asked too, or only fingerprints of the last minutes (a busy time)."""


class RefusedField(Contract):
    """One field of a decision that was not applied."""

    field: str
    reason: str
    """`set_by_person`, `unknown_queue`, `unknown_priority`, `unchanged`, …"""


class TicketDecisionApplied(TicketEvent):
    """A decision became part of the ticket, whole or in part."""

    TYPE: ClassVar[str] = "ticket.decision_applied.v1"

    decision: str
    """The decision's event type without its version: `ticket.triaged`."""
    decision_id: UUID
    based_on_version: int
    changes: tuple[Change, ...]
    refused: tuple[RefusedField, ...] = ()
    reasons: tuple[Reason, ...] = ()
    """The decision's own."""


class TicketDecisionRefused(TicketEvent):
    """Nothing of a decision was applied."""

    TYPE: ClassVar[str] = "ticket.decision_refused.v1"

    decision: str
    decision_id: UUID
    based_on_version: int
    reason: str
    """`nothing_left`, `merged`, `closed`, `older_decision`, …"""
    refused: tuple[RefusedField, ...] = ()


class TicketMerged(TicketEvent):
    """This ticket goes on in another one: its clocks end, answers to it join the other."""

    TYPE: ClassVar[str] = "ticket.merged.v1"

    into_id: UUID
    into_number: str
    reason: str | None = None


class TicketUnmerged(TicketEvent):
    """A merge was taken back: the ticket stands for itself again, in a new cycle."""

    TYPE: ClassVar[str] = "ticket.unmerged.v1"

    from_id: UUID
    """The ticket it had been merged into."""
    from_number: str
    reason: str | None = None


class TransferState(StrEnum):
    """Where a handover between two agents stands (seed 000 §5.3)."""

    REQUESTED = "requested"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class TicketTransferChanged(TicketEvent):
    """One agent asks another to take a ticket, and what came of it. Clocks go on; history stays."""

    TYPE: ClassVar[str] = "ticket.transfer_changed.v1"

    transfer_id: UUID
    state: Annotated[TransferState | str, OPEN]
    from_id: UUID | None = None
    """Who has the ticket; None when it was nobody's."""
    to_id: UUID
    note: str | None = None
    expires_at: Instant | None = None


class TicketRated(TicketEvent):
    """The requester says how it was (seed 000 §10.1)."""

    TYPE: ClassVar[str] = "ticket.rated.v1"

    cycle: int
    score: Annotated[int, Field(ge=1, le=5)]
    """5 is the best."""
    comment: str | None = None
