"""The ticket as a value. What changes one goes through `services.tickets.domain.work`."""

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
    LedgerEntry,
    Link,
    PriorityLevel,
    SealedCycle,
    TicketSummary,
)

MAX_SUBJECT = 500
"""Characters; longer subjects are cut."""
MAX_TAGS = 30
MAX_TAG = 40
MAX_WATCHERS = 100
MAX_LINKS = 50
MAX_DISMISSED = 200
"""Dismissed suggestions remembered; beyond this the oldest may be suggested again."""
MAX_PARTICIPANTS = 500
"""The oldest beyond this are forgotten; the requester, who comes first, never is."""

NUMBER = re.compile(r"[A-Z]{2,8}-\d{4}-\d{1,19}")
"""What a ticket's number looks like; anything else is no number of ours."""

ACTIVE = (StateCategory.NEW, StateCategory.OPEN, StateCategory.PENDING)
"""Categories in which a ticket counts for its assignee's load: seed 000 §5.2 limits active tickets.

Waiting for the requester counts too: the answer must not push an agent over capacity.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """A handover between two agents (seed 000 §5.3): asked for, and not yet answered while a ticket holds it."""

    id: UUID
    from_id: UUID | None
    """The owner when it was asked for; None when it was nobody's."""
    to_id: UUID
    asked_by: str
    """The actor's id."""
    note: str | None
    asked_at: datetime
    expires_at: datetime


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
    inbound_address: str | None = None
    """Which of our own addresses the first message was sent to."""
    language: str | None = None
    product: str | None = None
    tier: str | None = None
    tags: tuple[str, ...] = ()
    impact: str | None = None
    urgency: str | None = None
    eta_at: datetime | None = None
    """When triage expects it to be solved."""
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
    """The ticket that goes on in its place; itself merged, perhaps. Then nothing changes this one but unmerging."""
    merged_at: datetime | None = None
    links: tuple[Link, ...] = ()
    """Duplicates, suggested or confirmed, and the ticket it follows."""
    dismissed_ids: tuple[UUID, ...] = ()
    """Tickets that a person said are no duplicates; the newest last."""
    transfer: Transfer | None = None
    held_until: datetime | None = None
    """Given to nobody before this instant, unless triage speaks first."""
    set_by: Mapping[str, str] = field(default_factory=dict)
    """Fields that a person set, and when: no decision touches them. `assignee` is one, `fields.<name>` are others."""
    decided: Mapping[str, JsonValue] = field(default_factory=dict)
    """By kind of decision: the version the newest applied one saw, and the ids of the last few."""
    derived: Mapping[str, JsonValue] = field(default_factory=dict)
    """What others say of the ticket."""
    heard: Mapping[str, JsonValue] = field(default_factory=dict)
    """Which of their events said it, so that an older one that comes late changes nothing; not published."""
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

    @property
    def held(self) -> bool:
        """Whether triage is waited for before somebody gets it."""
        return self.held_until is not None

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
            inbound_address=self.inbound_address,
            language=self.language,
            product=self.product,
            tier=self.tier,
            tags=self.tags,
            impact=self.impact,
            urgency=self.urgency,
            eta_at=self.eta_at,
            watcher_ids=self.watcher_ids,
            created_at=self.created_at,
            updated_at=self.updated_at,
        )


_TOLD = frozenset(TicketSummary.model_fields) | {"rank", "id"}
"""Fields that a summary shows: while none of them changes, `but` keeps the one that was made."""


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
