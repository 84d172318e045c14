"""What arrives on Kafka: tickets, their messages, what people change, and who the requesters are."""

from __future__ import annotations

from collections.abc import Sequence

from services.triage.desk.triaging import Triaging
from shared.contracts.directory import PersonChanged
from shared.contracts.ticket import TicketCreated, TicketMessageAdded, TicketUpdated
from shared.db import Tx
from shared.envelope import Answer, Emit, Received
from shared.replica import Change


class Handlers:
    """The handlers of one service."""

    def __init__(self, triaging: Triaging) -> None:
        self._triaging = triaging

    async def on_ticket_created(self, tx: Tx, batch: Sequence[Received[TicketCreated]]) -> Sequence[Answer]:
        """Decide about each new ticket."""
        return await self._triaging.created(tx, batch)

    async def on_ticket_message_added(self, tx: Tx, batch: Sequence[Received[TicketMessageAdded]]) -> Sequence[Answer]:
        """Raise what requesters' further messages make worse."""
        return await self._triaging.message_added(tx, batch)

    async def on_ticket_updated(self, tx: Tx, batch: Sequence[Received[TicketUpdated]]) -> Sequence[Answer]:
        """Remember what people corrected."""
        return await self._triaging.updated(tx, batch)

    async def on_reference_changed(self, tx: Tx, changes: Sequence[Change]) -> Sequence[Emit]:
        """Decide again where a requester's tier has become known."""
        people = [one for one in changes if isinstance(one, Received) and isinstance(one.event, PersonChanged)]
        return await self._triaging.people_changed(tx, people) if people else ()
