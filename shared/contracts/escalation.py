"""Escalations: a path of steps walked until somebody acknowledges, and the pages it sends. Owned by escalation.

`page.response` comes from notify, which hears the person's answer.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field

from shared.contracts.event import OPEN, Contract, Event, Instant
from shared.contracts.ticket import TicketSummary


class EscalationTarget(Contract):
    """Whom a step reaches."""

    person_id: UUID
    via: str
    """How they were found: `assignee`, `on_call:primary`, `team_lead`, `role:manager`, …"""


class EscalationEvent(Event):
    """A fact about one running escalation of one ticket."""

    KEY: ClassVar[str] = "ticket_id"

    ticket_id: UUID
    ticket: TicketSummary
    """As escalation knew it."""
    escalation_id: UUID
    """UUIDv5(ticket, path, cause): the same cause found twice is one escalation."""
    path: str
    """The path's name in the pack, as it was when the escalation started."""
    level: Annotated[int, Field(ge=1)]
    """Trigger level 1 to 5 (seed 000 §7.1)."""


class EscalationStarted(EscalationEvent):
    """A path begins."""

    TYPE: ClassVar[str] = "escalation.started.v1"

    cause: str
    """`ticket.created`, `sla.warning`, `sla.breached`, `priority_raised`, `manual`, …"""
    cause_id: UUID | None = None
    """The CloudEvents id of that event."""
    steps: int
    """How many the path has."""
    tag: str | None = None
    """What the pack's trigger wants done besides: `priority_queue`, `root_cause`, …"""
    reason: str | None = None
    """Why, in the words of the person who started it."""


class EscalationStepped(EscalationEvent):
    """The next step was reached: these people are responsible now.

    Told again for the same step when only its level rose or other people were found for it.
    """

    TYPE: ClassVar[str] = "escalation.stepped.v1"

    step: Annotated[int, Field(ge=1)]
    """From 1."""
    name: str
    """`agent`, `team_lead`, `manager`, `director`, …"""
    targets: tuple[EscalationTarget, ...] = ()
    """Empty when nobody could be found; then the next step follows at once."""
    next_at: Instant | None = None
    """When the following step is due; None at the last."""
    cause: str | None = None
    """`due`, `raised` (a breach, say, while it ran), `declined`, `unreachable`, `repeated`."""
    tag: str | None = None
    """What the trigger that raised it wants done besides."""


class EscalationAcknowledged(EscalationEvent):
    """Somebody took it: no further step follows."""

    TYPE: ClassVar[str] = "escalation.acknowledged.v1"

    step: int
    person_id: UUID | None = None
    via: str
    """`page`, `api`, `ticket` (an agent acted on the ticket)."""


class EscalationEnded(EscalationEvent):
    """The escalation is over."""

    TYPE: ClassVar[str] = "escalation.ended.v1"

    step: int
    reason: str
    """`solved`, `closed`, `merged`, `deleted`, `priority_lowered`, `priority_raised` (another path goes on),
    `exhausted`, `withdrawn` (the breach that started it was none), `resolved` and `cancelled` (by a person).
    """


class PageEvent(Event):
    """One page to one person."""

    KEY: ClassVar[str] = "ticket_id"

    ticket_id: UUID
    page_id: UUID
    """UUIDv5(escalation, step, person, repetition): asked for twice, sent once."""
    escalation_id: UUID
    person_id: UUID


class PageRequested(PageEvent):
    """notify is to reach a person now."""

    TYPE: ClassVar[str] = "page.requested.v1"

    ticket: TicketSummary
    path: str
    step: int
    urgency: str
    """`high`: wake them; `low`: may wait until they look."""
    reason: str
    """One line for the person: `P1 ticket INC-2026-000123 is unacknowledged`."""
    expires_at: Instant
    """Not to be sent after this instant: too old to act on."""


class PageCancelled(PageEvent):
    """A page is not needed any more; one not yet handed off is not sent."""

    TYPE: ClassVar[str] = "page.cancelled.v1"

    reason: str


class PageAnswer(StrEnum):
    """What a paged person says."""

    ACKNOWLEDGED = "acknowledged"
    DECLINED = "declined"


class PageResponse(PageEvent):
    """A person answered a page."""

    TYPE: ClassVar[str] = "page.response.v1"

    answer: Annotated[PageAnswer | str, OPEN]
    channel: str
    """Over which way the answer came: `email`, `link`, `app`, …"""
    answered_at: Instant
