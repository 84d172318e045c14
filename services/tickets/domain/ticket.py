"""The ticket as a value, and one ticket being changed in one transaction.

Invariant: what changes a ticket goes through `Work`, which numbers versions, collects facts and seals audit entries.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from pydantic import JsonValue

from services.tickets.domain import audit
from shared.contracts.pack import StateCategory
from shared.contracts.ticket import (
    Actor,
    LedgerEntry,
    PriorityLevel,
    SealedCycle,
    TicketEvent,
    TicketMessage,
    TicketSummary,
)

MAX_SUBJECT = 500
"""Characters; longer subjects are cut."""
MAX_TAGS = 30
MAX_TAG = 40
MAX_WATCHERS = 100
MAX_PARTICIPANTS = 500
"""The oldest beyond this are forgotten; the requester, who comes first, never is."""

NUMBER = re.compile(r"[A-Z]{2,8}-\d{4}-\d{1,19}")
"""What a ticket's number looks like; anything else is no number of ours."""

ACTIVE = (StateCategory.NEW, StateCategory.OPEN, StateCategory.PENDING)
"""Categories in which a ticket counts for its assignee's load: seed 000 §5.2 limits active tickets.

Waiting for the requester counts too: the answer must not push an agent over capacity.
"""


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """Everything `tickets` knows of one ticket but its messages' texts."""

    # No slots: `but` copies the dictionary at once, a tenth of what dataclasses.replace costs with this many fields.

    id: UUID
    tenant_id: str
    number: str
    version: int = 0
    """Rises with every input; the ETag."""
    revision: int = 0
    """Rises with every publication."""
    subject: str = ""
    status: str
    category: str
    rank: int
    priority: str
    requester_id: UUID
    organisation_id: UUID | None = None
    assignee_id: UUID | None = None
    team_id: UUID | None = None
    queue: str
    channel: str
    language: str | None = None
    product: str | None = None
    tier: str | None = None
    tags: tuple[str, ...] = ()
    fields: Mapping[str, JsonValue] = field(default_factory=dict)
    created_at: datetime
    updated_at: datetime
    status_since: datetime
    assigned_at: datetime | None = None
    cycle: int = 1
    cycle_opened_at: datetime
    responded_at: datetime | None = None
    """First public answer of ours in the open cycle."""
    solved_at: datetime | None = None
    """When the open cycle was last solved."""
    opened: bool = False
    """A person wrote, so the clocks run; automatic mail alone starts none."""
    answered: bool = False
    """The requester was answered at least once, in any cycle."""
    ledger: tuple[LedgerEntry, ...] = ()
    ledger_count: int = 0
    """Number of the newest entry ever written."""
    cycle_entries: int = 0
    """Entries of the open cycle, also those no longer in `ledger`."""
    sealed: tuple[SealedCycle, ...] = ()
    message_count: int = 0
    watcher_ids: tuple[UUID, ...] = ()
    participant_ids: tuple[UUID, ...] = ()
    """Requester, people who wrote or were addressed."""
    follows_id: UUID | None = None
    """The ticket this one goes on from: a reply to a closed ticket, or to a parent that came late."""
    awaited_parent_id: UUID | None = None
    """A parent message that had not come when the ticket was opened; linked when it does."""
    merged_into: UUID | None = None
    derived: Mapping[str, JsonValue] = field(default_factory=dict)
    audit_count: int = 0
    audit_head: bytes = audit.GENESIS

    def but(self, **values: Any) -> Ticket:
        """The same ticket with other values."""
        made = object.__new__(Ticket)
        made.__dict__.update(self.__dict__, **values)
        if not _TOLD.isdisjoint(values):
            made.__dict__.pop("_summary", None)
        return made

    @property
    def active(self) -> bool:
        """Whether it counts for its assignee's load."""
        return self.category in ACTIVE and self.merged_into is None

    @property
    def closed(self) -> bool:
        """Whether it is finished for good."""
        return self.category == StateCategory.CLOSED

    def participates(self, person_id: UUID) -> bool:
        """Whether that person belongs to the conversation."""
        named = (self.requester_id, self.assignee_id)
        return person_id in named or person_id in self.participant_ids or person_id in self.watcher_ids

    def summary(self) -> TicketSummary:
        """The snapshot that facts carry."""
        return self._summary

    @cached_property
    def _summary(self) -> TicketSummary:
        return TicketSummary(
            ticket_id=self.id,
            number=self.number,
            version=self.version,
            subject=self.subject,
            status=self.status,
            category=self.category,
            priority=PriorityLevel(rank=self.rank, label=self.priority),
            requester_id=self.requester_id,
            organisation_id=self.organisation_id,
            assignee_id=self.assignee_id,
            team_id=self.team_id,
            queue=self.queue,
            channel=self.channel,
            language=self.language,
            product=self.product,
            tier=self.tier,
            tags=self.tags,
            watcher_ids=self.watcher_ids,
            created_at=self.created_at,
            updated_at=self.updated_at,
        )


_TOLD = frozenset(TicketSummary.model_fields) | {"rank", "id"}
"""Fields that a summary shows: while none of them changes, `but` keeps the one that was made."""


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
    arm: dict[str, Timer] = field(default_factory=dict)
    cancel: set[str] = field(default_factory=set)
    """Kinds of timers."""

    @classmethod
    def on(cls, ticket: Ticket) -> Work:
        """Begin to change a ticket that was read under its lock."""
        return cls(ticket, stored=ticket)

    @property
    def changed(self) -> bool:
        """Whether anything must be stored."""
        return self.ticket is not self.stored

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
        self.ticket = self.ticket.but(version=self.ticket.version + 1, updated_at=at)
        return at

    def act(self, actor: Actor, draw: audit.Draw) -> Act:
        """Somebody acting on this ticket within the input that has begun."""
        return Act(actor, self.ticket.updated_at, draw)

    def change(self, **values: Any) -> None:
        """Give fields new values."""
        self.ticket = self.ticket.but(**values)

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


def clean_text(text: str, limit: int) -> str:
    """One line without control characters, at most `limit` characters (bad input B5)."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(text.split())[:limit]


def clean_tags(tags: tuple[str, ...] | list[str]) -> tuple[str, ...]:
    """Tags folded, without repeats, in the order given."""
    cleaned = (clean_text(tag, MAX_TAG).casefold() for tag in tags)
    return tuple(dict.fromkeys(tag for tag in cleaned if tag))[:MAX_TAGS]


def joined(ids: tuple[UUID, ...], more: tuple[UUID, ...], limit: int) -> tuple[UUID, ...]:
    """`ids` and what of `more` is new; beyond `limit` the first stays and the oldest others go."""
    fresh = tuple(dict.fromkeys(i for i in more if i not in ids))
    if not fresh:
        return ids
    both = ids + fresh
    return both if len(both) <= limit else both[:1] + both[-(limit - 1) :]
