"""Which ticket a message belongs to: evidence in its order, each checked before it counts.

1. A signed token of ours, if the sender takes part in that ticket or is an agent. 2. The parent, if ingest knows it.
3. A number in the subject, if the sender takes part. 4. None of it: a new ticket. A ticket of another tenant is never
joined.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    merged: bool = False
    """The evidence leads to a ticket that was merged into this one."""


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
    """What is known of tickets when the message is looked at.

    A ticket comes as a chain: itself, the one it was merged into, and so on to the one that goes on; empty for none.
    """

    ticket: Callable[[UUID], Sequence[Ticket]]
    of_message: Callable[[UUID], Sequence[Ticket]]
    of_number: Callable[[str, str], Sequence[Ticket]]
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
        chain = _own(message, seen.ticket(message.token_ticket_id))
        if chain and _may_use_token(message, chain, seen):
            return _join(message, chain, "token", seen)
    awaited: UUID | None = None
    if message.parent == Parent.KNOWN and message.parent_message_id is not None:
        chain = _own(message, seen.of_message(message.parent_message_id))
        if chain:
            return _join(message, chain, "parent", seen)
        if not seen.overdue(message.parent_message_id):
            return Wait(message.parent_message_id)
        awaited = message.parent_message_id
    if message.ticket_number and not message.spoofed:
        chain = _own(message, seen.of_number(message.tenant_id, message.ticket_number))
        if _participates(message, chain):
            return _join(message, chain, "number", seen)
    return Open(awaited_parent_id=awaited)


def _may_use_token(message: MessageReceived, chain: Sequence[Ticket], seen: Seen) -> bool:
    """Those who take part, and agents who answer a notification of ours from their own mailbox."""
    return _participates(message, chain) or (not message.spoofed and seen.ours(message.sender.person_id))


def _participates(message: MessageReceived, chain: Sequence[Ticket]) -> bool:
    """In any of them: whoever took part in a merged ticket was written to about that one."""
    return any(ticket.participates(message.sender.person_id) for ticket in chain)


def _own(message: MessageReceived, chain: Sequence[Ticket]) -> Sequence[Ticket]:
    return chain if chain and chain[-1].tenant_id == message.tenant_id else ()


def _join(message: MessageReceived, chain: Sequence[Ticket], evidence: str, seen: Seen) -> Threaded:
    ticket = chain[-1]
    # Automatic mail changes no state, so it may be kept with a closed ticket; as a ticket of its own it would be noise,
    # and so would the news that a closed matter is over.
    if message.automatic or message.resolves or seen.takes_replies(ticket):
        return Join(ticket.id, evidence, merged=len(chain) > 1)
    return Open(follows_id=ticket.id)
