"""What arrives, as rows: states, messages, and what of a first message is compared with other tickets.

Events and tickets' bulk export say the same things and come in by the same way, so neither can undo the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from services.search.domain import document, wording
from services.search.domain.likeness import Report
from services.search.store import documents
from services.search.store.documents import Message, State
from services.search.tasks import text_task
from shared import tasks
from shared.contracts.ticket import TicketMessage, TicketState, TicketSummary, Visibility
from shared.db import Tx


def newest(states: Iterable[TicketState]) -> list[State]:
    """What is kept of the highest revision of each ticket, in the tickets' order."""
    highest: dict[UUID, TicketState] = {}
    for state in states:
        known = highest.get(state.ticket_id)
        if known is None or known.revision < state.revision:
            highest[state.ticket_id] = state
    return [
        State(
            ticket_id=ticket_id,
            tenant_id=state.tenant_id,
            revision=state.revision,
            head=document.head_of(state),
            message_count=state.message_count,
            category=state.ticket.category,
            merged=state.merged_into is not None,
            updated_at=state.ticket.updated_at,
        )
        for ticket_id, state in sorted(highest.items())
    ]


async def keep(tx: Tx, messages: Sequence[tuple[str, UUID, TicketMessage]], openings: Sequence[Report] = ()) -> None:
    """Keep messages `(tenant, ticket, message)`; a text in the blob store is read by a task."""
    rows: dict[UUID, Message] = {}
    reading = []
    for tenant_id, ticket_id, message in messages:
        blob = message.body.text_blob
        rows[message.message_id] = Message(
            ticket_id=ticket_id,
            message_id=message.message_id,
            tenant_id=tenant_id,
            created_at=message.created_at,
            # A visibility of a newer release is taken for the stricter one.
            internal=message.visibility != Visibility.PUBLIC,
            text=None if blob is not None else document.clean(message.body.text or ""),
        )
        if blob is not None:
            reading.append(text_task(tenant_id, ticket_id, message.message_id, blob.sha256))
    await documents.add_messages(tx, list(rows.values()), openings)
    await tasks.add(tx, reading)


def report_of(tenant_id: str, ticket: TicketSummary, message: TicketMessage) -> Report:
    """What is compared of a ticket: its subject, and its first message if the requester may read it."""
    said = message.body.text if message.visibility == Visibility.PUBLIC else None
    return Report(
        ticket_id=ticket.ticket_id,
        tenant_id=tenant_id,
        number=ticket.number,
        gist=wording.gist(document.clean(ticket.subject), document.clean(said or "")),
        requester_id=ticket.requester_id,
        opened_at=ticket.created_at,
        channel=ticket.channel,
        product=ticket.product,
    )
