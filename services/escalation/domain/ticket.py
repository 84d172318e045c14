"""What escalation knows of a ticket: its newest state by version, and what facts said of people who acted on it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from shared.contracts.pack import StateCategory
from shared.contracts.ticket import (
    AuthorKind,
    LinkKind,
    TicketState,
    TicketSummary,
    Visibility,
)

OVER = frozenset({StateCategory.SOLVED, StateCategory.CLOSED})
"""Categories in which nobody is to be called for a ticket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownTicket:
    """One ticket."""

    ticket_id: UUID
    tenant_id: str
    summary: TicketSummary
    """Of its newest state; of the fact that told of it first, until a state of that version has come."""
    partition: int
    """Of the topics that tell of it."""
    state_version: int = 0
    """Of the newest `ticket.state`; 0 while only facts have told of it."""
    cycle: int = 1
    duplicates: int = 0
    """Confirmed links to tickets that report the same."""
    merged: bool = False
    responded_at: datetime | None = None
    """When somebody of ours last answered in public."""
    acted_at: datetime | None = None
    """When its owner last moved it, or somebody assigned it by hand."""
    watch_at: datetime | None = None
    """When it is looked at whether anybody has handled it; None: never."""
    watched: str | None = None
    """The path for which that was done already."""

    @property
    def active(self) -> bool:
        """Whether somebody may be called for it."""
        return not self.merged and self.summary.category not in OVER

    def handled_since(self, instant: datetime) -> bool:
        """Whether somebody of ours answered or took it after `instant`."""
        return any(at is not None and at > instant for at in (self.responded_at, self.acted_at))

    def acted(self, at: datetime) -> KnownTicket:
        """With what somebody did at `at`."""
        return self if self.acted_at is not None and self.acted_at >= at else replace(self, acted_at=at)


def of_fact(tenant_id: str, summary: TicketSummary, partition: int) -> KnownTicket:
    """A ticket of which nothing but a fact is known."""
    return KnownTicket(ticket_id=summary.ticket_id, tenant_id=tenant_id, summary=summary, partition=partition)


def of_state(state: TicketState, before: KnownTicket | None, partition: int) -> KnownTicket | None:
    """The ticket after this state; None when as new a one is known already."""
    if before is not None and before.state_version >= state.version:
        return None
    found = KnownTicket(
        ticket_id=state.ticket_id,
        tenant_id=state.tenant_id,
        summary=state.ticket,
        partition=partition,
        state_version=state.version,
        cycle=state.cycle,
        duplicates=sum(one.kind == LinkKind.DUPLICATES and not one.suggested for one in state.links),
        merged=state.merged_into is not None,
        responded_at=_answered(state, before),
    )
    if before is None:
        return found
    summary = before.summary if before.summary.version > state.version else state.ticket
    return replace(found, summary=summary, acted_at=before.acted_at, watch_at=before.watch_at, watched=before.watched)


def _answered(state: TicketState, before: KnownTicket | None) -> datetime | None:
    answers: Iterable[datetime] = (
        one.created_at
        for one in state.messages
        if one.author_kind == AuthorKind.AGENT and one.visibility == Visibility.PUBLIC
    )
    known = before.responded_at if before is not None else None
    return max(answers, default=known)
