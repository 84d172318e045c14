"""What search does with events: one call per batch, in one transaction, no other input or output."""

from __future__ import annotations

from collections.abc import Sequence

from services.search import domain, store
from shared.contracts.ticket import TicketCreated
from shared.db import Tx
from shared.envelope import Answer, Received


async def on_ticket_created(tx: Tx, batch: Sequence[Received[TicketCreated]]) -> Sequence[Answer]:
    """Count new tickets; each is handed over exactly once, so adding is safe."""
    seen = [domain.Seen(tenant_id=one.event.tenant_id, number=one.event.ticket.number, at=one.time) for one in batch]
    await store.add(tx, domain.tally(seen))
    return ()
