"""Two tickets that are one: merged, and taken back."""

from __future__ import annotations

from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from services.tickets.api.desk import Desk, actor, merged, once_per_key, publish, transact, visible
from services.tickets.api.models import NewMerge, NewUnmerge
from services.tickets.api.views import TicketView, to_json, view
from services.tickets.desk import assigning
from services.tickets.domain import merging
from services.tickets.domain.merging import Refused
from services.tickets.domain.work import Work
from services.tickets.store import merges, tickets
from shared.auth import Principal
from shared.auth.permissions import Permission
from shared.db import Tx
from shared.http import CurrentPrincipal, IdempotencyKey, Router, etag, if_match, problems, stale
from shared.problem import Problem, conflict, invalid


def routes(desk: Desk) -> Router:
    """Path operations on merges."""
    router = Router(tags=["merging"])

    @router.post("/v1/tickets/{ticket}/merge", response_model=TicketView, responses=problems(409, 412))
    async def merge_ticket(
        request: Request,
        principal: CurrentPrincipal,
        ticket: str,
        wanted: NewMerge,
        idempotency_key: IdempotencyKey = None,
    ) -> Response:
        """Let the ticket go on in another one: its clocks end, answers to it join the other. If-Match is honoured."""

        async def once(tx: Tx) -> Response:
            source, target = await _both(tx, request, principal, ticket, wanted.into)
            if source.ticket.merged_into == target.ticket.id:
                return _answer(source, principal)
            if source.ticket.merged_into is not None:
                raise await merged(tx, source.ticket)
            refused = merging.refusal(source.ticket, target.ticket)
            if refused is not None:
                raise _problem(refused)
            source.begin(tx.instant)
            target.begin(tx.instant)
            act = source.act(actor(principal), desk.draw)
            made = merging.merge(source, target, act, wanted.reason, follow=wanted.follow)
            await merges.save(tx, principal.tenant_id, made)
            await publish(tx, request, [source, target])
            return _answer(source, principal)

        return await transact(desk, lambda tx: once_per_key(tx, request, principal, idempotency_key, once))

    @router.post("/v1/tickets/{ticket}/unmerge", response_model=TicketView, responses=problems(409, 412))
    async def unmerge_ticket(
        request: Request,
        principal: CurrentPrincipal,
        ticket: str,
        wanted: NewUnmerge | None = None,
        idempotency_key: IdempotencyKey = None,
    ) -> Response:
        """Let a merged ticket stand for itself again, in a new cycle; what came meanwhile stays where it is."""

        async def once(tx: Tx) -> Response:
            source, target = await _merged(tx, request, principal, ticket)
            refused = merging.unmergeable(source.ticket, tx.instant)
            if refused is not None:
                raise _problem(refused)
            pack = await desk.pack(principal.tenant_id, tx)
            source.begin(tx.instant)
            goes_on = None if target is None or target.ticket.merged_into is not None else target
            if goes_on is not None:
                goes_on.begin(tx.instant)
            merging.unmerge(
                source,
                goes_on,
                pack.machine,
                source.act(actor(principal), desk.draw),
                number=target.ticket.number if target is not None else "",
                made=await merges.find(tx, principal.tenant_id, source.ticket.id),
                reason=wanted.reason if wanted is not None else None,
            )
            works = [source] if goes_on is None else [source, goes_on]
            await assigning.settle(tx, [source], {principal.tenant_id: pack}, desk.draw)
            await publish(tx, request, works)
            return _answer(source, principal)

        return await transact(desk, lambda tx: once_per_key(tx, request, principal, idempotency_key, once))

    return router


async def _both(tx: Tx, request: Request, principal: Principal, ticket: str, into: str) -> tuple[Work, Work]:
    """Both tickets under their locks, which are taken in the order of their ids whichever is merged into which."""
    seen = await visible(tx, principal, ticket, Permission.TICKET_UPDATE)
    try:
        named = await visible(tx, principal, into)
    except Problem:
        raise invalid(["into"], "there is no such ticket") from None
    end = await merges.end_of(tx, principal.tenant_id, named.id) or named.id
    locked = await tickets.lock(tx, {seen.id, end})
    source, target = locked[seen.id], locked[end]
    _match(request, source.version)
    return Work.on(source), Work.on(target)


async def _merged(tx: Tx, request: Request, principal: Principal, ticket: str) -> tuple[Work, Work | None]:
    """The ticket and the one it was merged into, under their locks."""
    seen = await visible(tx, principal, ticket, Permission.TICKET_UPDATE)
    wanted: set[UUID] = {seen.id} | ({seen.merged_into} if seen.merged_into is not None else set())
    locked = await tickets.lock(tx, wanted)
    source = locked[seen.id]
    _match(request, source.version)
    if source.merged_into != seen.merged_into:
        raise conflict("merge-changed", "Merge changed", "It was merged or taken back just now; look again.")
    target = locked.get(source.merged_into) if source.merged_into is not None else None
    return Work.on(source), None if target is None else Work.on(target)


def _match(request: Request, version: int) -> None:
    if "if-match" in request.headers and if_match(request) != version:
        raise stale()


def _answer(source: Work, principal: Principal) -> Response:
    body = to_json(view(source.ticket, principal))
    return Response(body, headers={"ETag": etag(source.ticket.version)}, media_type="application/json")


def _problem(refused: Refused) -> Problem:
    return conflict(f"merge-{refused.code.replace('_', '-')}", "Merge refused", f"{refused.detail}.".capitalize())
