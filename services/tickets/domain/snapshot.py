"""`ticket.state`: the snapshot that state consumers keep, never above 64 kB."""

from __future__ import annotations

from collections.abc import Sequence

from services.tickets.domain import audit
from services.tickets.domain.ticket import Ticket
from services.tickets.domain.work import Work
from shared.contracts.ticket import MessageRef, TicketMessage, TicketState

MAX_BYTES = 64_000
"""A little under 64 kB of JSON."""
MAX_REFERENCES = 100
# Measured sizes of one part in JSON, rounded up: below the sum nothing is serialised just to be counted.
_REFERENCE, _ENTRY, _LINK, _WATCHER, _REST = 190, 120, 170, 80, 12_000


def reference(message: TicketMessage) -> MessageRef:
    """A message without its text."""
    return MessageRef(
        message_id=message.message_id,
        author_kind=message.author_kind,
        visibility=message.visibility,
        created_at=message.created_at,
    )


def publish(work: Work, older: Sequence[MessageRef] = ()) -> TicketState:
    """The ticket's next revision. `older` are the newest references in the database, oldest first."""
    work.ticket = work.ticket.but(revision=work.ticket.revision + 1)
    references = (*older, *(reference(message) for message in work.messages))[-MAX_REFERENCES:]
    state = of(work.ticket, references)
    if _at_most(work.ticket, references) < MAX_BYTES:
        return state
    while references and len(state.to_bytes()) > MAX_BYTES:
        references = references[len(references) // 4 + 1 :]
        state = of(work.ticket, references)
    return state


def _at_most(ticket: Ticket, references: Sequence[MessageRef]) -> int:
    """A size in bytes that the snapshot cannot exceed."""
    parts = len(references) * _REFERENCE + len(ticket.ledger) * _ENTRY + len(ticket.links) * _LINK
    parts += len(ticket.watcher_ids) * _WATCHER + _REST
    return parts + sum(len(audit.canonical(value)) for value in (ticket.fields, ticket.derived) if value)


def of(ticket: Ticket, references: Sequence[MessageRef]) -> TicketState:
    """The snapshot of a ticket as it is."""
    return TicketState(
        tenant_id=ticket.tenant_id,
        ticket_id=ticket.id,
        version=ticket.version,
        revision=ticket.revision,
        ticket=ticket.summary(),
        fields=dict(ticket.fields),
        cycle=ticket.cycle,
        ledger=ticket.ledger,
        sealed=ticket.sealed,
        messages=tuple(references),
        message_count=ticket.message_count,
        watcher_ids=ticket.watcher_ids,
        merged_into=ticket.merged_into,
        links=ticket.links,
        derived=dict(ticket.derived),
    )
