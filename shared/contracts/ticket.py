"""The ticket: facts by type and its state as one compacted topic. Owned by tickets, the only writer of ticket state."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field, JsonValue

from shared.contracts.event import OPEN, Contract, Event, Instant
from shared.contracts.message import Attachment, Body, Channel
from shared.contracts.pack import StateCategory


class ActorKind(StrEnum):
    """Who acts."""

    PERSON = "person"
    SERVICE = "service"
    """A decision of another service, a timer, a rule."""


class Actor(Contract):
    """Who did something to a ticket."""

    kind: Annotated[ActorKind | str, OPEN]
    id: str
    """A person's id, or a service's name."""
    role: str | None = None
    """The role the person acted in."""


class PriorityLevel(Contract):
    """Rank 1 is the most urgent; the label is the tenant's own."""

    rank: int
    label: str
    """`P1`, `CRITICAL`, …"""


class TicketSummary(Contract):
    """The small snapshot that every fact carries; what it says held when the fact happened."""

    ticket_id: UUID
    number: str
    """`INC-2026-000123`."""
    version: int
    """Rises with every input; the ETag."""
    subject: str
    status: str
    """A state of the tenant's workflow."""
    category: Annotated[StateCategory | str, OPEN]
    """What that state means to everybody who does not know the tenant's own names."""
    priority: PriorityLevel
    requester_id: UUID
    organisation_id: UUID | None = None
    assignee_id: UUID | None = None
    team_id: UUID | None = None
    queue: str
    channel: Annotated[Channel | str, OPEN]
    """Where the first message came from."""
    inbound_address: str | None = None
    """Which of the tenant's own addresses the first message was sent to: what is answered leaves from there."""
    language: str | None = None
    """BCP 47."""
    product: str | None = None
    tier: str | None = None
    tags: tuple[str, ...] = ()
    impact: str | None = None
    """How far the problem reaches (`shared.contracts.decision.Impact`)."""
    urgency: str | None = None
    """How soon it hurts (`shared.contracts.decision.Urgency`)."""
    eta_at: Instant | None = None
    """When triage expects it to be solved: an estimate, no promise."""
    watcher_ids: tuple[UUID, ...] = ()
    """People who follow it: told what the requester is told in public."""
    created_at: Instant
    updated_at: Instant


class Visibility(StrEnum):
    """Who may read a message."""

    PUBLIC = "public"
    INTERNAL = "internal"


class AuthorKind(StrEnum):
    """On which side a message was written."""

    REQUESTER = "requester"
    AGENT = "agent"
    SYSTEM = "system"


class TicketMessage(Contract):
    """One message of the conversation."""

    message_id: UUID
    author_kind: Annotated[AuthorKind | str, OPEN]
    author_id: UUID | None = None
    """A person; None for the system."""
    visibility: Annotated[Visibility | str, OPEN] = Visibility.PUBLIC
    channel: Annotated[Channel | str, OPEN]
    body: Body
    attachments: tuple[Attachment, ...] = ()
    automatic: bool = False
    """Written by a machine: never starts, stops or resumes a clock."""
    external_id: str | None = None
    """What its channel calls it, for threading."""
    created_at: Instant


class TicketEvent(Event):
    """A fact about one ticket."""

    KEY: ClassVar[str] = "ticket_id"

    ticket_id: UUID
    ticket: TicketSummary
    actor: Actor


class TicketCreated(TicketEvent):
    """A ticket exists; its first message comes with it."""

    TYPE: ClassVar[str] = "ticket.created.v1"

    message: TicketMessage
    hints: dict[str, JsonValue] = Field(default_factory=dict)
    """What the channel said of the ticket (`shared.contracts.message.Hints`)."""


class TicketMessageAdded(TicketEvent):
    """A message joined the conversation, from either side, or an internal note."""

    TYPE: ClassVar[str] = "ticket.message_added.v1"

    message: TicketMessage


class TicketStatusChanged(TicketEvent):
    """The ticket went from one state to another."""

    TYPE: ClassVar[str] = "ticket.status_changed.v1"

    previous: str
    """A state of the tenant's workflow."""
    current: str
    """A state of the tenant's workflow."""
    trigger: str
    """`manual`, `assigned`, `requester_replied`, `timer`, …"""
    reason: str | None = None
    resolution: str | None = None
    """What was done, said by whoever solved it."""
    cycle: int = 1
    """Which SLA cycle it is in now."""


class TicketAssigned(TicketEvent):
    """Somebody else, or nobody, owns the ticket now."""

    TYPE: ClassVar[str] = "ticket.assigned.v1"

    previous_assignee_id: UUID | None = None
    assignee_id: UUID | None = None
    team_id: UUID | None = None
    queue: str
    reason: str
    """`least_loaded`, `manual`, `untouched`, `queue_changed`, `requeued`, `transfer`, …;
    `nobody_else`: an owner who left it untouched keeps it, since nobody else has room."""
    load: int | None = None
    """The new assignee's active tickets with this one."""
    capacity: int | None = None


class Change(Contract):
    """One field's old and new value."""

    field: str
    """A field of the snapshot, or of `fields`."""
    old: JsonValue = None
    new: JsonValue = None


class TicketUpdated(TicketEvent):
    """Fields changed that have no event of their own."""

    TYPE: ClassVar[str] = "ticket.updated.v1"

    changes: tuple[Change, ...]


class LedgerKind(StrEnum):
    """Exactly the fields a clock may read (rule 4)."""

    OPENED = "opened"
    """Trusted receipt of the first message; starts the clocks."""
    STATUS = "status"
    PRIORITY = "priority"
    TIER = "tier"
    PRODUCT = "product"
    ORGANISATION = "organisation"
    ASSIGNEE = "assignee"
    QUEUE = "queue"
    RESPONDED = "responded"
    """A person of ours answered in public."""
    REPLIED = "replied"
    """A person on the requester's side wrote; automatic mail never does."""
    CYCLE = "cycle"
    """A new cycle began."""
    MERGED = "merged"


class LedgerEntry(Contract):
    """One numbered line: at this instant this field got this value."""

    number: Annotated[int, Field(ge=1)]
    at: Instant
    """Of the owner's own transaction; only `opened` has the instant of receipt."""
    kind: Annotated[LedgerKind | str, OPEN]
    value: str = ""
    """The value after the change; for `opened` and `cycle` the state."""


class SealedCycle(Contract):
    """What is left of a finished cycle."""

    cycle: int
    opened_at: Instant
    responded_at: Instant | None = None
    solved_at: Instant | None = None
    entries: int
    """How many ledger entries it had; numbering goes on."""


class LinkKind(StrEnum):
    """How two tickets belong together, said by the one that has the link."""

    DUPLICATES = "duplicates"
    """It reports what the other reports."""
    FOLLOWS = "follows"
    """It goes on where the other, closed one ended."""
    RELATES = "relates"


class Link(Contract):
    """Another ticket that belongs to this one."""

    kind: Annotated[LinkKind | str, OPEN]
    ticket_id: UUID
    number: str
    suggested: bool = False
    """Found by search and confirmed by nobody yet."""
    score: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    """Of a suggestion; 1 is word for word the same."""


class MessageRef(Contract):
    """A message without its text, which the bulk export gives."""

    message_id: UUID
    author_kind: Annotated[AuthorKind | str, OPEN]
    visibility: Annotated[Visibility | str, OPEN]
    created_at: Instant


class TicketState(Event):
    """The newest state of one ticket. State consumers keep the highest version and ignore lower ones.

    At most 64 kB: the newest 100 message references and the open cycle's ledger entries.
    """

    TYPE: ClassVar[str] = "ticket.state.v1"
    KEY: ClassVar[str] = "ticket_id"

    ticket_id: UUID
    version: int
    """Rises with every input; the ETag."""
    revision: int
    """Rises with every publication, also of the derived section."""
    ticket: TicketSummary
    fields: dict[str, JsonValue] = Field(default_factory=dict)
    """Fields the tenant has beside the common ones."""
    cycle: int = 1
    """Which SLA cycle is open; a ticket reopened begins another."""
    ledger: tuple[LedgerEntry, ...] = ()
    """The open cycle's entries, by number."""
    sealed: tuple[SealedCycle, ...] = ()
    """The finished cycles, oldest first."""
    messages: Annotated[tuple[MessageRef, ...], Field(max_length=100)] = ()
    """The newest, oldest of them first."""
    message_count: int = 0
    """All there are."""
    watcher_ids: tuple[UUID, ...] = ()
    merged_into: UUID | None = None
    """The ticket that goes on in its place."""
    links: Annotated[tuple[Link, ...], Field(max_length=50)] = ()
    derived: dict[str, JsonValue] = Field(default_factory=dict)
    """What others say of the ticket (SLA, escalation); raises no version."""
