"""One ticket: read, and its fields changed."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from services.tickets.api.desk import Change, Desk, change, visible
from services.tickets.api.models import TicketPatch
from services.tickets.api.views import TicketView, rating_view, to_json, view
from services.tickets.domain import fields
from services.tickets.store import agents, ratings
from shared.auth import allows
from shared.auth.permissions import Permission
from shared.http import CurrentPrincipal, IfMatch, Router, etag, if_none_match, not_modified, problems
from shared.problem import FieldError, Problem


def routes(desk: Desk) -> Router:
    """Path operations on one ticket."""
    router = Router(tags=["tickets"])

    @router.get("/v1/tickets/{ticket}", response_model=TicketView)
    async def get_ticket(request: Request, principal: CurrentPrincipal, ticket: str) -> Response:
        """A ticket by its id or number, with its ETag."""
        found = await visible(desk, principal, ticket)
        if if_none_match(request, found.version):
            return not_modified(found.version)
        shown = view(found, principal)
        own = None if allows(principal, Permission.TICKET_READ) else principal.person_id
        shown["ratings"] = [rating_view(one) for one in await ratings.of_ticket(desk.database, found, own)]
        return Response(to_json(shown), headers={"ETag": etag(found.version)}, media_type="application/json")

    @router.patch("/v1/tickets/{ticket}", response_model=TicketView, responses=problems(409))
    async def patch_ticket(
        request: Request, principal: CurrentPrincipal, ticket: str, patch: TicketPatch, version: IfMatch
    ) -> Response:
        """Change fields: a JSON merge patch against the version in If-Match."""

        async def decide(one: Change) -> None:
            wanted = patch.model_dump(mode="json", exclude_unset=True)
            queues = await agents.queues(one.tx, principal.tenant_id) if "queue" in wanted else frozenset()
            wrong = fields.patch(one.work, one.pack, wanted, queues, one.act)
            if wrong:
                errors = [FieldError.at([w.field], w.detail) for w in wrong]
                raise Problem(422, "invalid", "Invalid request", errors=errors)

        return await change(
            desk,
            request,
            principal,
            ticket,
            permission=Permission.TICKET_UPDATE,
            decide=decide,
            answer=lambda one: view(one.work.ticket, principal),
            version=version,
        )

    return router
