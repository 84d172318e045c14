"""Which ticket a message belongs to: evidence in its order, each checked before it counts.

1. A signed token of ours, if the sender takes part in that ticket or is an agent. 2. The parent, if ingest knows it.
3. A number in the subject, if the sender takes part. 4. None of it: a new ticket. A ticket of another tenant is never
joined.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from services.tickets.domain.ticket import Ticket
from shared.contracts.message import MessageReceived, Parent


@dataclass(frozen=True, slots=True)
class Join:
    """The message continues this ticket."""

    ticket_id: UUID
    evidence: str
    """`token`, `parent` or `number`."""


@dataclass(frozen=True, slots=True)
class Open:
    """The message opens a ticket."""

    follows_id: UUID | None = None
    """The closed ticket it answers."""
    awaited_parent_id: UUID | None = None
    """The parent that has not come in time."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The parent is known to ingest but not here yet."""

    parent_id: UUID


Threaded = Join | Open | Wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is known of tickets when the message is looked at; the functions answer None for what is not there.

    Tickets come with merges already followed.
    """

    ticket: Callable[[UUID], Ticket | None]
    of_message: Callable[[UUID], Ticket | None]
    of_number: Callable[[str, str], Ticket | None]
    """By tenant and number."""
    overdue: Callable[[UUID], bool]
    """Whether that parent has been waited for long enough."""
    ours: Callable[[UUID], bool]
    """Whether that person is an agent of the tenant."""
    takes_replies: Callable[[Ticket], bool]
    """Whether a reply may join: it is not closed, or its workflow reopens it."""


def thread(message: MessageReceived, seen: Seen) -> Threaded:
    """Where the message goes."""
    if message.token_ticket_id is not None:
        ticket = _own(message, seen.ticket(message.token_ticket_id))
        if ticket is not None and _may_use_token(message, ticket, seen):
            return _join(message, ticket, "token", seen)
    awaited: UUID | None = None
    if message.parent == Parent.KNOWN and message.parent_message_id is not None:
        ticket = _own(message, seen.of_message(message.parent_message_id))
        if ticket is not None:
            return _join(message, ticket, "parent", seen)
        if not seen.overdue(message.parent_message_id):
            return Wait(message.parent_message_id)
        awaited = message.parent_message_id
    if message.ticket_number and not message.spoofed:
        ticket = _own(message, seen.of_number(message.tenant_id, message.ticket_number))
        if ticket is not None and ticket.participates(message.sender.person_id):
            return _join(message, ticket, "number", seen)
    return Open(awaited_parent_id=awaited)


def _may_use_token(message: MessageReceived, ticket: Ticket, seen: Seen) -> bool:
    """Those who take part, and agents who answer a notification of ours from their own mailbox."""
    sender = message.sender.person_id
    return ticket.participates(sender) or (not message.spoofed and seen.ours(sender))


def _own(message: MessageReceived, ticket: Ticket | None) -> Ticket | None:
    return ticket if ticket is not None and ticket.tenant_id == message.tenant_id else None


def _join(message: MessageReceived, ticket: Ticket, evidence: str, seen: Seen) -> Threaded:
    # Automatic mail changes no state, so it may be kept with a closed ticket; as a ticket of its own it would be noise,
    # and so would the news that a closed matter is over.
    if message.automatic or message.resolves or seen.takes_replies(ticket):
        return Join(ticket.id, evidence)
    return Open(follows_id=ticket.id)
