"""One ticket being changed in one transaction.

Invariant: what changes a ticket goes through `Work`, which numbers versions, collects facts and seals audit entries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import JsonValue

from services.tickets.domain import audit
from services.tickets.domain.ticket import Ticket, Transfer
from shared.contracts.decision import TransferState
from shared.contracts.ticket import Actor, LedgerEntry, TicketEvent, TicketMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Timer:
    """Due work of one ticket: what, and when."""

    kind: str
    due_at: datetime
    payload: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Act:
    """Who does something, at which instant (the transaction's), and where randomness comes from."""

    actor: Actor
    at: datetime
    draw: audit.Draw


_ASIDE = frozenset({"derived", "heard", "held_until"})
"""Fields that change often without any other."""


@dataclass(slots=True)
class Work:
    """One ticket being changed in one transaction: its newest value and what must be stored and told."""

    ticket: Ticket
    stored: Ticket | None = None
    """The ticket as the database has it; None for a new one."""
    messages: list[TicketMessage] = field(default_factory=list)
    facts: list[TicketEvent] = field(default_factory=list)
    records: list[audit.Recorded] = field(default_factory=list)
    """Audit entries."""
    archived: list[LedgerEntry] = field(default_factory=list)
    """Ledger entries that leave the row: sealed, or pushed out of the window."""
    transfers: list[tuple[Transfer, TransferState]] = field(default_factory=list)
    """Handovers as they stand now."""
    told: bool = False
    """Whether anything changed that others may see; what is only remembered is stored and not published."""
    whole: bool = False
    """Whether anything changed but what others say, so that the whole row is written."""
    begun: bool = False
    """Whether an input was counted in this transaction."""
    arm: dict[str, Timer] = field(default_factory=dict)
    cancel: set[str] = field(default_factory=set)
    """Kinds of timers."""

    def __post_init__(self) -> None:
        """A new ticket is told of, whatever else happens to it."""
        self.told = self.told or self.stored is None

    @classmethod
    def on(cls, ticket: Ticket) -> Work:
        """Begin to change a ticket that was read under its lock."""
        return cls(ticket, stored=ticket)

    @property
    def changed(self) -> bool:
        """Whether anything must be stored."""
        return self.ticket is not self.stored

    @property
    def only_said(self) -> bool:
        """Whether all that others may see of this change is what somebody else said of the ticket."""
        return self.stored is not None and self.told and not self.whole

    @property
    def frees_an_agent(self) -> bool:
        """Whether somebody's load falls with this change."""
        before = self.stored
        if before is None or before.assignee_id is None or not before.active:
            return False
        return not self.ticket.active or self.ticket.assignee_id != before.assignee_id

    @property
    def joins_a_backlog(self) -> bool:
        """Whether a ticket that was there already waits for an owner from now on, or in another queue."""
        before, now = self.stored, self.ticket
        if before is None or not now.active or now.assignee_id is not None:
            return False
        return before.assignee_id is not None or not before.active or before.queue != now.queue

    def begin(self, at: datetime) -> datetime:
        """Count one input of a transaction that began at `at`; the instant of everything that follows from it.

        That is `at`, unless a transaction that began later has changed the ticket first: then it is that one's, so
        that the ledger never goes back in time.
        """
        at = max(at, self.ticket.updated_at)
        self.change(version=self.ticket.version + 1, updated_at=at)
        self.begun = True
        return at

    def begin_once(self, at: datetime) -> None:
        """Count one input unless this transaction has counted one, or opened the ticket."""
        if self.stored is not None and not self.begun:
            self.begin(at)

    def act(self, actor: Actor, draw: audit.Draw) -> Act:
        """Somebody acting on this ticket within the input that has begun."""
        return Act(actor, self.ticket.updated_at, draw)

    def change(self, **values: Any) -> None:
        """Give fields new values."""
        self.remember(**values)
        self.told = True

    def remember(self, **values: Any) -> None:
        """Give new values to fields that are not published."""
        self.ticket = self.ticket.but(**values)
        self.whole = self.whole or not _ASIDE.issuperset(values)

    def timer(self, timer: Timer) -> None:
        """Arm a timer of this ticket; a later call for the same kind wins."""
        self.cancel.discard(timer.kind)
        self.arm[timer.kind] = timer

    def no_timer(self, kind: str) -> None:
        """Cancel the ticket's timer of that kind."""
        self.arm.pop(kind, None)
        self.cancel.add(kind)

    def record(self, action: str, act: Act, values: Mapping[str, audit.Values]) -> None:
        """Append one audit entry."""
        entry = audit.append(
            tenant_id=self.ticket.tenant_id,
            ticket_id=self.ticket.id,
            number=self.ticket.audit_count + 1,
            previous=self.ticket.audit_head,
            actor=act.actor,
            action=action,
            at=act.at,
            values=values,
            draw=act.draw,
        )
        self.records.append(entry)
        self.ticket = self.ticket.but(audit_count=entry.entry.number, audit_head=entry.entry.hash)

    def take_facts(self) -> list[TicketEvent]:
        """The facts so far, to be published with the cause at hand."""
        facts, self.facts = self.facts, []
        return facts
