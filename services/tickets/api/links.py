"""Tickets that belong together, and who follows one."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from services.tickets.api.desk import Change, Desk, change, visible
from services.tickets.api.models import NewLink
from services.tickets.api.views import TicketView, view
from services.tickets.domain import fields, links
from services.tickets.domain.ticket import MAX_WATCHERS
from shared.auth import Principal, allows
from shared.auth.permissions import Permission
from shared.contracts.ticket import LinkKind
from shared.http import CurrentPrincipal, IdempotencyKey, Router, problems
from shared.problem import Problem, conflict, invalid


def routes(desk: Desk) -> Router:
    """Path operations on links and watchers."""
    router = Router(tags=["links"])

    @router.post("/v1/tickets/{ticket}/links", response_model=TicketView, responses=problems(409))
    async def link_tickets(
        request: Request,
        principal: CurrentPrincipal,
        ticket: str,
        wanted: NewLink,
        idempotency_key: IdempotencyKey = None,
    ) -> Response:
        """Say that two tickets belong together, or that they do not: a suggestion confirmed or dismissed."""

        async def decide(one: Change) -> None:
            try:
                other = await visible(one.tx, principal, wanted.ticket)
            except Problem:
                raise invalid(["ticket"], "there is no such ticket") from None
            if other.id == one.work.ticket.id:
                raise invalid(["ticket"], "that is the same ticket")
            kind = LinkKind(wanted.kind)
            if wanted.action == "confirm":
                links.confirm(one.work, kind, other, one.act)
            else:
                links.dismiss(one.work, other.id, kind, one.act)

        return await change(
            desk,
            request,
            principal,
            ticket,
            permission=Permission.TICKET_UPDATE,
            decide=decide,
            answer=_view,
            key=idempotency_key,
        )

    @router.put("/v1/tickets/{ticket}/watchers/{person_id}", response_model=TicketView, responses=problems(409))
    async def add_watcher(request: Request, principal: CurrentPrincipal, ticket: str, person_id: UUID) -> Response:
        """Let somebody follow the ticket: they are told what the requester is told, and may read it."""

        async def decide(one: Change) -> None:
            watching = one.work.ticket.watcher_ids
            if person_id in watching:
                return
            known = (await desk.known.people([person_id], one.tx)).get(person_id)
            if known is None or known.tenant_id != principal.tenant_id or not known.active:
                raise invalid(["person_id"], "not a person of this tenant", "path")
            if person_id in (await desk.known.inbound([principal.tenant_id], one.tx)).get(principal.tenant_id, ()):
                raise invalid(["person_id"], "that is an address of ours", "path")
            if len(watching) >= MAX_WATCHERS:
                raise conflict("too-many-watchers", "Too many watchers", f"A ticket has at most {MAX_WATCHERS}.")
            _set(one, (*watching, person_id))

        return await change(
            desk, request, principal, ticket, permission=Permission.TICKET_UPDATE, decide=decide, answer=_view
        )

    @router.delete("/v1/tickets/{ticket}/watchers/{person_id}", response_model=TicketView, responses=problems(409))
    async def remove_watcher(request: Request, principal: CurrentPrincipal, ticket: str, person_id: UUID) -> Response:
        """Let somebody follow the ticket no longer; people may do so themselves."""

        async def decide(one: Change) -> None:
            watching = one.work.ticket.watcher_ids
            if person_id in watching:
                _set(one, tuple(one for one in watching if one != person_id))

        return await change(
            desk,
            request,
            principal,
            ticket,
            permission=None if _own(principal, person_id) else Permission.TICKET_UPDATE,
            decide=decide,
            answer=_view,
        )

    return router


def _own(principal: Principal, person: UUID) -> bool:
    return principal.person_id == person and not allows(principal, Permission.TICKET_READ)


def _set(one: Change, people: tuple[UUID, ...]) -> None:
    wanted: list[Any] = [str(person) for person in people]
    fields.patch(one.work, one.pack, {"watcher_ids": wanted}, frozenset(), one.act)


def _view(one: Change) -> dict[str, Any]:
    return view(one.work.ticket, one.principal)
