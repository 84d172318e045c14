"""An installation at rest as plain values: what the checks judge, and what a test can doctor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from services.tickets.domain.audit import Entry
from tests.support.tap import Fact


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A message as ingest keeps it."""

    message_id: str
    tenant: str
    submitter: str
    external_id: str | None
    fingerprint: bytes


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """A ticket's row: the fields that others repeat."""

    ticket_id: str
    tenant: str
    number: str
    version: int
    revision: int
    subject: str
    status: str
    priority: str
    queue: str
    assignee_id: str | None
    merged_into: str | None
    messages: int
    audit_count: int
    audit_head: bytes


@dataclass(frozen=True, kw_only=True)
class Clock:
    """One target of a ticket as sla keeps it."""

    ticket_id: str
    name: str
    cycle: int
    state: str
    told: bool
    overdue: bool
    """Still running long after its due instant."""


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A mail or in-app notice as notify keeps it."""

    id: str
    channel: str
    state: str
    external_id: str | None
    attempts: int
    doubtful: int
    noticed: bool
    """Its in-app notice is there."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """A webhook delivery as notify keeps it."""

    endpoint_id: str
    event_id: str
    state: str
    attempts: int
    here: bool
    """The endpoint is the sink, so that what arrived can be counted."""
    name: str
    """What the sink calls it."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """A row that carries a ticket's id and a tenant, wherever it is."""

    place: str
    """Service and table."""
    ticket_id: str
    tenant: str


@dataclass(frozen=True, kw_only=True)
class Left:
    """Something that is still to be done."""

    place: str
    id: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Offset:
    """How far a group has come in one partition."""

    group: str
    topic: str
    partition: int
    committed: int
    end: int


@dataclass(kw_only=True)
class World:
    """Everything that was looked at. The `facts` are by topic, each partition in order."""

    accepted: frozenset[str] = frozenset()
    """Ids of messages whose senders were told that they are safe."""
    canaries: Mapping[str, str] = field(default_factory=dict)
    """A string that belongs to one tenant → that tenant."""
    stored: list[Stored] = field(default_factory=list)
    members: list[tuple[str, str, str]] = field(default_factory=list)
    """Tenant, ticket and message of every message in a ticket."""
    tickets: dict[str, Ticket] = field(default_factory=dict)
    chains: dict[UUID, list[Entry]] = field(default_factory=dict)
    arrows: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    """Tenant → transitions of any workflow it ever published."""
    facts: dict[str, list[Fact]] = field(default_factory=dict)
    clocks: list[Clock] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    mails: dict[str, int] = field(default_factory=dict)
    """Message-ID → how often the sink has it, by recipient of an envelope."""
    answered: dict[tuple[str, str], int] = field(default_factory=dict)
    """Endpoint's name and webhook-id → how often the sink took it."""
    held: list[Held] = field(default_factory=list)
    documents: dict[str, Mapping[str, object]] = field(default_factory=dict)
    """Ticket → its document in the index."""
    texts: dict[str, int] = field(default_factory=dict)
    """Ticket → how many of its messages search has."""
    left: list[Left] = field(default_factory=list)
    offsets: list[Offset] = field(default_factory=list)
    handled: dict[str, set[str]] = field(default_factory=dict)
    """Group → ids of the facts in its inbox."""
    aside: dict[str, set[str]] = field(default_factory=dict)
    """Group → ids of events that wait or became dead letters."""
