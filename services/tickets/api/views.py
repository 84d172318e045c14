"""What routes answer."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, JsonValue

from services.tickets.domain.rating import Rating
from services.tickets.domain.ticket import Ticket, Transfer
from shared.auth import Principal, allows
from shared.auth.permissions import Permission
from shared.contracts.decision import TransferState
from shared.contracts.ticket import TicketMessage


class Priority(BaseModel):
    """Rank 1 is the most urgent; the label is the tenant's own."""

    rank: int
    label: str


class RatingView(BaseModel):
    """One answer to a survey."""

    cycle: int
    person_id: UUID
    score: int
    """1 to 5, 5 is the best."""
    comment: str | None = None
    rated_at: datetime


class TransferView(BaseModel):
    """A handover between two agents."""

    id: UUID
    ticket_id: UUID
    state: str
    """`requested`, `accepted`, `declined`, `cancelled`, `expired`."""
    from_id: UUID | None = None
    to_id: UUID
    note: str | None = None
    asked_at: datetime
    expires_at: datetime


class TransferList(BaseModel):
    """Handovers."""

    items: list[TransferView]


class TicketView(BaseModel):
    """A ticket."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    id: UUID
    number: str
    version: int
    """Also the ETag."""
    subject: str
    status: str
    category: str
    priority: Priority
    requester_id: UUID
    organisation_id: UUID | None = None
    assignee_id: UUID | None = None
    team_id: UUID | None = None
    queue: str
    channel: str
    inbound_address: str | None = None
    """Which of our own addresses the first message was sent to: what is answered leaves from there."""
    language: str | None = None
    product: str | None = None
    tier: str | None = None
    tags: list[str]
    fields: dict[str, JsonValue]
    cycle: int
    """Of the SLA clocks: 2 after the first reopening."""
    created_at: datetime
    updated_at: datetime
    watcher_ids: list[UUID]
    follows_id: UUID | None = None
    """The ticket this one goes on from."""
    merged_into: UUID | None = None
    impact: str | None = None
    urgency: str | None = None
    eta_at: datetime | None = None
    """When triage expects it to be solved: an estimate, no promise."""
    links: list[dict[str, JsonValue]] | None = None
    """Duplicates, suggested or confirmed, related tickets and the one it follows; like all below for agents only."""
    derived: dict[str, JsonValue] | None = None
    """What sla, escalation and notify say of it."""
    transfer: TransferView | None = None
    """The handover that waits for its answer."""
    set_by_people: list[str] | None = None
    """Fields that a person set, which no decision overwrites."""
    ratings: list[RatingView] | None = None
    """What the requester thought, by cycle; where one ticket is read."""


class TicketPage(BaseModel):
    """One page of tickets."""

    items: list[TicketView]
    next_cursor: str | None = None


class MessageView(BaseModel):
    """A message of the conversation."""

    id: UUID
    position: int
    author_kind: str
    author_id: UUID | None = None
    visibility: str
    channel: str
    body: dict[str, JsonValue]
    attachments: list[dict[str, JsonValue]]
    automatic: bool
    created_at: datetime


class MessagePage(BaseModel):
    """One page of messages, oldest first."""

    items: list[MessageView]
    next_cursor: str | None = None


class Possible(BaseModel):
    """A state the ticket could go to, and why it cannot if so."""

    to: str
    label: str
    category: str
    possible: bool
    why: str | None = None
    missing: list[str] = []


class Transitions(BaseModel):
    """Where the ticket is, and where the caller could move it."""

    status: str
    transitions: list[Possible]


class AuditChange(BaseModel):
    """One field of an audit entry; a value that was erased is absent, its commitment stays."""

    field: str
    old: JsonValue = None
    new: JsonValue = None
    old_commitment: str | None = None
    new_commitment: str | None = None


class AuditEntry(BaseModel):
    """One line of the audit chain."""

    number: int
    at: datetime
    actor: dict[str, str | None]
    action: str
    changes: list[AuditChange]
    previous: str
    hash: str


class AuditPage(BaseModel):
    """One page of the chain, and with `verify` what is wrong with the whole of it."""

    items: list[AuditEntry]
    next_cursor: str | None = None
    verified: bool | None = None
    flaws: list[dict[str, JsonValue]] | None = None


def view(ticket: Ticket, principal: Principal) -> dict[str, Any]:
    """A ticket as JSON, of the shape of `TicketView`, as far as the caller may see it.

    Who sees only their own tickets is told nothing of other people's, which links name.
    """
    shown: dict[str, Any] = {
        "id": ticket.id,
        "number": ticket.number,
        "version": ticket.version,
        "subject": ticket.subject,
        "status": ticket.status,
        "category": ticket.category,
        "priority": {"rank": ticket.rank, "label": ticket.priority},
        "requester_id": ticket.requester_id,
        "organisation_id": ticket.organisation_id,
        "assignee_id": ticket.assignee_id,
        "team_id": ticket.team_id,
        "queue": ticket.queue,
        "channel": ticket.channel,
        "inbound_address": ticket.inbound_address,
        "language": ticket.language,
        "product": ticket.product,
        "tier": ticket.tier,
        "tags": list(ticket.tags),
        "fields": dict(ticket.fields),
        "cycle": ticket.cycle,
        "created_at": ticket.created_at,
        "updated_at": ticket.updated_at,
        "watcher_ids": list(ticket.watcher_ids),
        "follows_id": ticket.follows_id,
        "merged_into": ticket.merged_into,
        "impact": ticket.impact,
        "urgency": ticket.urgency,
        "eta_at": ticket.eta_at,
    }
    if allows(principal, Permission.TICKET_READ):
        shown["links"] = [link.model_dump(mode="json", exclude_none=True) for link in ticket.links]
        shown["derived"] = dict(ticket.derived)
        shown["set_by_people"] = sorted(ticket.set_by)
        if ticket.transfer is not None:
            shown["transfer"] = transfer_view(ticket.id, TransferState.REQUESTED, ticket.transfer)
    return shown


def transfer_view(ticket_id: UUID, state: str, transfer: Transfer) -> dict[str, Any]:
    """A handover as JSON, of the shape of `TransferView`."""
    return {
        "id": transfer.id,
        "ticket_id": ticket_id,
        "state": str(state),
        "from_id": transfer.from_id,
        "to_id": transfer.to_id,
        "note": transfer.note,
        "asked_at": transfer.asked_at,
        "expires_at": transfer.expires_at,
    }


def rating_view(rating: Rating) -> dict[str, Any]:
    """An answer to a survey as JSON, of the shape of `RatingView`."""
    return {
        "cycle": rating.cycle,
        "person_id": rating.person_id,
        "score": rating.score,
        "comment": rating.comment,
        "rated_at": rating.rated_at,
    }


def message_view(position: int, message: TicketMessage) -> dict[str, Any]:
    """A message as JSON, of the shape of `MessageView`."""
    return {
        "id": message.message_id,
        "position": position,
        "author_kind": message.author_kind,
        "author_id": message.author_id,
        "visibility": message.visibility,
        "channel": message.channel,
        "body": message.body.model_dump(mode="json", exclude_none=True),
        "attachments": [a.model_dump(mode="json", exclude_none=True) for a in message.attachments],
        "automatic": message.automatic,
        "created_at": message.created_at,
    }


def to_json(value: Any) -> bytes:
    """An answer's body; the driver's own UUIDs are UUIDs."""
    return orjson.dumps(value, default=_plain)


def _plain(value: object) -> str:
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"not JSON: {type(value).__name__}")
