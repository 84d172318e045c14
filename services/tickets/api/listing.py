"""Lists of tickets."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from services.tickets.api.desk import Desk
from services.tickets.api.models import Word
from services.tickets.api.views import TicketPage, to_json, view
from services.tickets.store import listing
from shared.auth.permissions import TicketScope
from shared.contracts.pack import StateCategory
from shared.http import CurrentPrincipal, CursorText, PageLimit, Router, page_link, query_of
from shared.problem import invalid

Sorting = Annotated[str, Query(pattern="^-?(updated_at|created_at|priority)$", description="`-` for descending.")]


def routes(desk: Desk) -> Router:
    """Path operations on lists."""
    router = Router(tags=["tickets"])

    @router.get("/v1/tickets", response_model=TicketPage)
    async def list_tickets(
        request: Request,
        principal: CurrentPrincipal,
        *,
        status: Annotated[Word | None, Query()] = None,
        category: Annotated[StateCategory | None, Query()] = None,
        priority: Annotated[Word | None, Query()] = None,
        assignee: Annotated[UUID | None, Query(description="A person's id.")] = None,
        unassigned: Annotated[bool | None, Query()] = None,
        queue: Annotated[Word | None, Query()] = None,
        requester: Annotated[UUID | None, Query(description="A person's id.")] = None,
        number: Annotated[Word | None, Query()] = None,
        updated_since: Annotated[datetime | None, Query(description="With its zone.")] = None,
        tag: Annotated[Word | None, Query()] = None,
        sort: Sorting = "-updated_at",
        limit: PageLimit = 50,
        cursor: CursorText = None,
    ) -> Response:
        """The tickets the caller may see, by page."""
        if updated_since is not None and updated_since.tzinfo is None:
            raise invalid(["updated_since"], "an instant needs a zone", "query")
        given = {
            "status": status,
            "category": category.value if category else None,
            "priority": priority,
            "assignee": assignee,
            "unassigned": unassigned,
            "queue": queue,
            "requester": requester,
            "number": number,
            "updated_since": updated_since,
            "tag": tag.casefold() if tag else None,
        }
        filters = {name: value for name, value in given.items() if value is not None}
        order = listing.SORTS[sort]
        position = desk.cursor.decode(cursor, principal.tenant_id, query_of(request)) if cursor else None
        scope = TicketScope.of(principal)
        found = await listing.page(
            desk.database, scope, filters=filters, sort=order, position=position, limit=limit + 1
        )
        page, following = desk.cursor.cut(request, principal.tenant_id, found, limit, order.position)
        body: dict[str, Any] = {"items": [view(ticket, principal) for ticket in page], "next_cursor": following}
        return Response(to_json(body), headers=page_link(request, following), media_type="application/json")

    return router
