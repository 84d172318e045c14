"""The conversation: public answers and internal notes."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from starlette.requests import Request
from starlette.responses import Response

from services.tickets.api.bodies import body_of
from services.tickets.api.desk import Change, Desk, change, visible
from services.tickets.api.models import NewMessage
from services.tickets.api.views import MessagePage, MessageView, message_view, to_json
from services.tickets.desk import assigning
from services.tickets.domain import conversation
from services.tickets.store import messages
from shared.auth import Principal, allows, forbidden
from shared.auth.permissions import Permission
from shared.contracts import ids
from shared.contracts.message import Channel
from shared.contracts.ticket import AuthorKind, TicketMessage, Visibility
from shared.http import CurrentPrincipal, CursorText, IdempotencyKey, PageLimit, Router, page_link, problems, query_of
from shared.problem import conflict


def routes(desk: Desk) -> Router:
    """Path operations on messages."""
    router = Router(tags=["messages"])

    @router.get("/v1/tickets/{ticket}/messages", response_model=MessagePage)
    async def list_messages(
        request: Request, principal: CurrentPrincipal, ticket: str, *, limit: PageLimit = 50, cursor: CursorText = None
    ) -> Response:
        """Messages, oldest first; internal notes only for those who may write them."""
        found = await visible(desk, principal, ticket)
        after = int(desk.cursor.decode(cursor, principal.tenant_id, query_of(request))[0]) if cursor else 0
        rows = await messages.page(
            desk.database,
            principal.tenant_id,
            found.id,
            after=after,
            limit=limit + 1,
            internal=allows(principal, Permission.TICKET_NOTE),
        )
        page, following = desk.cursor.cut(request, principal.tenant_id, rows, limit, lambda one: [one[0]])
        body = {"items": [message_view(*one) for one in page], "next_cursor": following}
        return Response(to_json(body), headers=page_link(request, following), media_type="application/json")

    @router.post("/v1/tickets/{ticket}/messages", status_code=201, response_model=MessageView, responses=problems(409))
    async def add_message(
        request: Request,
        principal: CurrentPrincipal,
        ticket: str,
        *,
        new: NewMessage,
        idempotency_key: IdempotencyKey = None,
    ) -> Response:
        """Answer in public or leave an internal note."""
        internal = new.visibility == "internal"
        permission = Permission.TICKET_NOTE if internal else Permission.TICKET_REPLY
        body = body_of(new.text)
        identity = ids.message_id(
            principal.tenant_id, "tickets", f"{principal.account}:{ticket}:{idempotency_key or uuid4().hex}"
        )

        async def decide(one: Change) -> None:
            side = _side(principal, one)
            work = one.work
            if side is AuthorKind.REQUESTER and not conversation.takes_replies(work.ticket, one.pack.machine):
                raise conflict("ticket-closed", "Ticket closed", "The ticket is closed; open a new one.")
            act = one.begin()
            message = TicketMessage(
                message_id=identity,
                author_kind=side,
                author_id=principal.person_id,
                visibility=Visibility.INTERNAL if internal else Visibility.PUBLIC,
                channel=Channel.API,
                body=body,
                created_at=act.at,
            )
            conversation.add(work, one.pack.machine, message, act)
            await assigning.settle(one.tx, [work], {principal.tenant_id: one.pack}, desk.draw)
            one.status = 201
            one.body = message_view(work.ticket.message_count, message)

        return await change(
            desk, request, principal, ticket, permission=permission, decide=decide, answer=_nothing, key=idempotency_key
        )

    return router


def _side(principal: Principal, one: Change) -> AuthorKind:
    """On which side the caller writes: who may read every ticket and change them is of ours, all others ask."""
    if allows(principal, Permission.TICKET_UPDATE):
        mine: UUID | None = principal.person_id
        # An agent's own request is a request like any other.
        return AuthorKind.REQUESTER if mine is not None and mine == one.work.ticket.requester_id else AuthorKind.AGENT
    if not allows(principal, Permission.TICKET_READ_OWN):
        raise forbidden(Permission.TICKET_REPLY)
    return AuthorKind.REQUESTER


def _nothing(_: Change) -> Any:
    return None
