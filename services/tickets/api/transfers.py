"""Handovers between agents: asked for, accepted, declined, cancelled (seed 000 §5.3)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

from starlette.requests import Request
from starlette.responses import Response

from services.tickets.api.desk import Change, Desk, change, visible
from services.tickets.api.models import NewTransfer
from services.tickets.api.views import TransferList, TransferView, to_json, transfer_view
from services.tickets.desk import assigning
from services.tickets.domain import assignment, transfer
from services.tickets.domain.ticket import Transfer
from services.tickets.store import transfers
from services.tickets.store.agents import Locked
from shared.auth import Principal, allows
from shared.auth.permissions import Permission, require
from shared.contracts.decision import TransferState
from shared.http import CurrentPrincipal, IdempotencyKey, Router, problems
from shared.problem import Problem, conflict, invalid, not_found

LISTED = 100
"""Handovers shown at most: the newest of a ticket, the oldest that wait for somebody."""

Answering = Callable[[Change, Transfer], Awaitable[None]]


def routes(desk: Desk) -> Router:
    """Path operations on handovers."""
    router = Router(tags=["transfers"])
    _asking(desk, router)
    _answering(desk, router)
    return router


def _asking(desk: Desk, router: Router) -> None:

    @router.post(
        "/v1/tickets/{ticket}/transfers", status_code=201, response_model=TransferView, responses=problems(409)
    )
    async def ask_transfer(
        request: Request,
        principal: CurrentPrincipal,
        ticket: str,
        wanted: NewTransfer,
        idempotency_key: IdempotencyKey = None,
    ) -> Response:
        """Ask another agent to take the ticket; it stays where it is until they accept."""

        async def decide(one: Change) -> None:
            work = one.work
            if not work.ticket.active:
                raise conflict("ticket-inactive", "Ticket not active", f"It is {work.ticket.status}.")
            if work.ticket.transfer is not None:
                raise conflict(
                    "transfer-open", "Transfer open", "Another handover of this ticket waits for its answer."
                )
            if wanted.to == work.ticket.assignee_id:
                raise invalid(["to"], "has the ticket already")
            choice, found = await assigning.room_for(
                one.tx, principal.tenant_id, wanted.to, one.pack, work.ticket.queue
            )
            if found is None:
                raise invalid(["to"], "not an agent of this tenant")
            if not found.available:
                raise conflict("agent-unavailable", "Agent unavailable", "They take no work now.")
            if choice is None:
                raise full(found)
            act = one.begin()
            made = transfer.ask(
                work, uuid4(), wanted.to, wanted.note, act, minutes=one.pack.assignment.transfer_minutes
            )
            one.status, one.body = 201, transfer_view(work.ticket.id, TransferState.REQUESTED, made)

        return await change(
            desk,
            request,
            principal,
            ticket,
            permission=Permission.TICKET_ASSIGN,
            decide=decide,
            answer=_nothing,
            key=idempotency_key,
        )

    @router.get("/v1/tickets/{ticket}/transfers", response_model=TransferList)
    async def list_transfers(principal: CurrentPrincipal, ticket: str) -> Response:
        """The ticket's handovers, newest first."""
        found = await visible(desk, principal, ticket, Permission.TICKET_ASSIGN)
        return _list(await transfers.of_ticket(desk.database, principal.tenant_id, found.id, LISTED))

    @router.get("/v1/transfers", response_model=TransferList)
    async def list_open_transfers(principal: CurrentPrincipal) -> Response:
        """Handovers that wait for the caller's answer, oldest first."""
        require(principal, Permission.TICKET_ASSIGN)
        if principal.person_id is None:
            return _list([])
        return _list(await transfers.open_for(desk.database, principal.tenant_id, principal.person_id, LISTED))


def _answering(desk: Desk, router: Router) -> None:
    @router.post("/v1/transfers/{transfer_id}/accept", response_model=TransferView, responses=problems(409))
    async def accept_transfer(
        request: Request, principal: CurrentPrincipal, transfer_id: UUID, idempotency_key: IdempotencyKey = None
    ) -> Response:
        """Take the ticket: the caller owns it from now on, if there is room."""

        async def accept(one: Change, asked: Transfer) -> None:
            _only(principal, asked.to_id)
            work = one.work
            choice, found = await assigning.room_for(
                one.tx, principal.tenant_id, asked.to_id, one.pack, work.ticket.queue
            )
            if found is None:
                raise conflict("agent-unavailable", "Agent unavailable", "The caller is no agent any more.")
            if choice is None:
                raise full(found)
            act = one.begin()
            transfer.close(work, TransferState.ACCEPTED, act)
            minutes = one.pack.assignment.untouched_minutes
            assignment.apply(work, one.pack.machine, choice, "transfer", act, untouched_minutes=minutes)

        return await _answered(
            desk, request, principal, transfer_id, accept, state=TransferState.ACCEPTED, key=idempotency_key
        )

    @router.post("/v1/transfers/{transfer_id}/decline", response_model=TransferView, responses=problems(409))
    async def decline_transfer(
        request: Request, principal: CurrentPrincipal, transfer_id: UUID, idempotency_key: IdempotencyKey = None
    ) -> Response:
        """Do not take the ticket: it stays where it is."""

        async def decline(one: Change, asked: Transfer) -> None:
            _only(principal, asked.to_id)
            transfer.close(one.work, TransferState.DECLINED, one.begin())

        return await _answered(
            desk, request, principal, transfer_id, decline, state=TransferState.DECLINED, key=idempotency_key
        )

    @router.post("/v1/transfers/{transfer_id}/cancel", response_model=TransferView, responses=problems(409))
    async def cancel_transfer(
        request: Request, principal: CurrentPrincipal, transfer_id: UUID, idempotency_key: IdempotencyKey = None
    ) -> Response:
        """Take the request back: whoever asked, the ticket's owner, or a team lead."""

        async def cancel(one: Change, asked: Transfer) -> None:
            own = str(principal.person_id) == asked.asked_by or principal.person_id == asked.from_id
            if not own:
                require(principal, Permission.TEAM_WRITE)
            transfer.close(one.work, TransferState.CANCELLED, one.begin())

        return await _answered(
            desk, request, principal, transfer_id, cancel, state=TransferState.CANCELLED, key=idempotency_key
        )


async def _answered(
    desk: Desk,
    request: Request,
    principal: Principal,
    transfer_id: UUID,
    answer: Answering,
    *,
    state: TransferState,
    key: str | None,
) -> Response:
    """Answer an open handover, on its locked ticket. Raises 404, and 409 naming the state of one that is over."""
    if not allows(principal, Permission.TICKET_READ):
        raise not_found("transfer")
    kept = await transfers.find(desk.database, principal.tenant_id, transfer_id)
    if kept is None:
        raise not_found("transfer")

    async def decide(one: Change) -> None:
        asked = one.work.ticket.transfer
        if asked is None or asked.id != transfer_id:
            now = await transfers.find(one.tx, principal.tenant_id, transfer_id)
            raise over(now.state if now is not None else "cancelled")
        if asked.expires_at <= one.tx.instant:
            raise over(TransferState.EXPIRED.value)
        await answer(one, asked)
        one.body = transfer_view(one.work.ticket.id, state, asked)

    return await change(
        desk,
        request,
        principal,
        str(kept.ticket_id),
        permission=Permission.TICKET_ASSIGN,
        decide=decide,
        answer=_nothing,
        key=key,
    )


def over(state: str) -> Problem:
    """The refusal to answer a handover that is over."""
    return conflict(f"transfer-{state}", "Transfer over", f"It was {state}.")


def full(found: Locked) -> Problem:
    """The refusal to give an agent more than their capacity."""
    return conflict("agent-at-capacity", "Agent at capacity", f"{found.load} of {found.capacity} tickets are active.")


def _only(principal: Principal, person: UUID) -> None:
    if principal.person_id != person:
        raise Problem(403, "forbidden", "Not allowed", "Only whoever was asked may answer.")


def _list(found: list[transfers.Kept]) -> Response:
    body = {"items": [transfer_view(one.ticket_id, one.state, one.transfer) for one in found]}
    return Response(to_json(body), media_type="application/json")


def _nothing(_: Change) -> Any:
    return None
