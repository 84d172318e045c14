"""The bulk export: every ticket with its state, whole ledger and messages, one JSON object per line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import Query
from starlette.responses import StreamingResponse

from services.tickets.api.desk import Desk
from services.tickets.api.views import to_json
from services.tickets.domain import snapshot
from services.tickets.domain.ticket import Ticket
from services.tickets.store import listing, messages
from shared.auth import Principal, service_token
from shared.auth.permissions import Permission
from shared.http import Router, requires_or_service
from shared.problem import invalid

MEDIA_TYPE = "application/x-ndjson"
TICKETS, MESSAGES = 100, 200
"""Read at a time, so that memory stays flat at any size."""


def routes(desk: Desk) -> Router:
    """Path operations on the export."""
    router = Router(tags=["export"])

    @router.get(
        "/v1/tickets/export",
        response_class=StreamingResponse,
        responses={200: {"content": {MEDIA_TYPE: {"schema": {"type": "string"}}}, "description": "One object a line."}},
    )
    async def export_tickets(
        principal: Annotated[Principal, requires_or_service(Permission.TICKET_EXPORT, service_token.TICKETS_EXPORT)],
        after: Annotated[UUID | None, Query(description="Go on behind this ticket id.")] = None,
        updated_since: Annotated[datetime | None, Query(description="With its zone.")] = None,
    ) -> StreamingResponse:
        """Lines of kind `ticket` (a ticket.state and its whole ledger), each followed by its lines of kind `message`.

        By ticket id: a reader that was cut off goes on with `after`. Not one moment's picture; a later change of a
        ticket is on `ticket.state` with a higher revision.
        """
        if updated_since is not None and updated_since.tzinfo is None:
            raise invalid(["updated_since"], "an instant needs a zone", "query")
        return StreamingResponse(_lines(desk, principal.tenant_id, after, updated_since), media_type=MEDIA_TYPE)

    return router


async def _lines(desk: Desk, tenant: str, after: UUID | None, since: datetime | None) -> AsyncIterator[bytes]:
    while page := await listing.export_page(desk.database, tenant, after, since, TICKETS):
        archived = await messages.archived(desk.database, tenant, [ticket.id for ticket in page])
        for ticket in page:
            ledger = [*archived.get(ticket.id, ()), *ticket.ledger]
            yield _line(
                {
                    "kind": "ticket",
                    "state": orjson.Fragment(snapshot.of(ticket, ()).to_bytes()),
                    "ledger": [e.model_dump(mode="json") for e in sorted(ledger, key=lambda e: e.number)],
                }
            )
            async for line in _messages(desk, tenant, ticket):
                yield line
        after = page[-1].id


async def _messages(desk: Desk, tenant: str, ticket: Ticket) -> AsyncIterator[bytes]:
    position = 0
    while page := await messages.page(desk.database, tenant, ticket.id, after=position, limit=MESSAGES, internal=True):
        for at, message in page:
            text = orjson.Fragment(message.model_dump_json(exclude_none=True))
            yield _line({"kind": "message", "ticket_id": ticket.id, "position": at, "message": text})
        position = page[-1][0]


def _line(value: dict[str, Any]) -> bytes:
    return to_json(value) + b"\n"
