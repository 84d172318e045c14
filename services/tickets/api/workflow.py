"""Where a ticket can go, and who owns it."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from services.tickets.api.desk import Change, Desk, change, visible
from services.tickets.api.models import NewAssignment, NewTransition
from services.tickets.api.views import TicketView, Transitions, to_json, view
from services.tickets.desk import assigning
from services.tickets.domain import assignment, workflow
from services.tickets.domain.workflow import Given, Refused
from shared.auth import allows, forbidden
from shared.auth.permissions import Permission
from shared.http import CurrentPrincipal, IdempotencyKey, Router, etag, if_match, problems
from shared.problem import FieldError, Problem, conflict, invalid


def routes(desk: Desk) -> Router:
    """Path operations on transitions and assignment."""
    router = Router(tags=["workflow"])

    @router.get("/v1/tickets/{ticket}/transitions", response_model=Transitions)
    async def list_transitions(principal: CurrentPrincipal, ticket: str) -> Response:
        """What the caller could do now, and why not the rest."""
        found = await visible(desk, principal, ticket)
        pack = await desk.pack(principal.tenant_id)
        mover = workflow.mover(principal.role, principal.person_id, found)
        options = [_possible(pack.machine, one) for one in workflow.options(pack.machine, found, mover)]
        body = {"status": found.status, "transitions": options}
        return Response(to_json(body), headers={"ETag": etag(found.version)}, media_type="application/json")

    @router.post("/v1/tickets/{ticket}/transitions", response_model=TicketView, responses=problems(409, 412))
    async def move_ticket(
        request: Request,
        principal: CurrentPrincipal,
        ticket: str,
        wanted: NewTransition,
        idempotency_key: IdempotencyKey = None,
    ) -> Response:
        """Move the ticket; what is missing is named. If-Match is honoured when given."""

        async def decide(one: Change) -> None:
            given = Given(reason=wanted.reason, resolution=wanted.resolution, root_cause=wanted.root_cause)
            mover = workflow.mover(principal.role, principal.person_id, one.work.ticket)
            move = workflow.transition(one.pack.machine, one.work.ticket, wanted.to, mover, given)
            if isinstance(move, Refused):
                raise _refused(move)
            act = one.begin()
            if act.actor.id == str(one.work.ticket.assignee_id):
                assignment.touched(one.work)
            workflow.apply(one.work, one.pack.machine, move, act, given)
            await assigning.settle(one.tx, [one.work], {principal.tenant_id: one.pack}, desk.draw)

        # Whether a customer may move it is the workflow's to say; for everybody else it is a permission first.
        needed = None if allows(principal, Permission.TICKET_READ_OWN) else Permission.TICKET_TRANSITION
        return await change(
            desk,
            request,
            principal,
            ticket,
            permission=needed,
            decide=decide,
            answer=_view,
            version=_given(request),
            key=idempotency_key,
        )

    @router.post("/v1/tickets/{ticket}/assignment", response_model=TicketView, responses=problems(409, 412))
    async def assign_ticket(
        request: Request,
        principal: CurrentPrincipal,
        ticket: str,
        wanted: NewAssignment,
        idempotency_key: IdempotencyKey = None,
    ) -> Response:
        """Give the ticket to an agent with room, or back to its queue. If-Match is honoured when given."""

        async def decide(one: Change) -> None:
            work, reason = one.work, wanted.reason or "manual"
            if not work.ticket.active:
                raise conflict("ticket-inactive", "Ticket not active", f"It is {work.ticket.status}.")
            if wanted.assignee_id == work.ticket.assignee_id:
                return
            choice = None
            if wanted.assignee_id is not None:
                choice, found = await assigning.room_for(
                    one.tx, principal.tenant_id, wanted.assignee_id, one.pack, work.ticket.queue
                )
                if found is None:
                    raise invalid(["assignee_id"], "not an agent of this tenant")
                if choice is None:
                    raise conflict(
                        "agent-at-capacity",
                        "Agent at capacity",
                        f"{found.load} of {found.capacity} tickets are active.",
                    )
            act = one.begin()
            minutes = one.pack.assignment.untouched_minutes
            assignment.apply(work, one.pack.machine, choice, reason, act, untouched_minutes=minutes)

        return await change(
            desk,
            request,
            principal,
            ticket,
            permission=Permission.TICKET_ASSIGN,
            decide=decide,
            answer=_view,
            version=_given(request),
            key=idempotency_key,
        )

    return router


def _view(one: Change) -> dict[str, Any]:
    return view(one.work.ticket, one.principal)


def _given(request: Request) -> int | None:
    return if_match(request) if "if-match" in request.headers else None


def _possible(machine: workflow.Machine, option: workflow.Move | Refused) -> dict[str, Any]:
    refused = option if isinstance(option, Refused) else None
    state = machine.states[refused.target if refused else option.state.name]  # type: ignore[union-attr]
    return {
        "to": state.name,
        "label": state.label,
        "category": state.category.value,
        "possible": refused is None,
        "why": refused.detail if refused else None,
        "missing": list(refused.missing) if refused else [],
    }


_FIELD = {"resolution": "resolution", "root_cause": "root_cause", "reason": "reason"}


def _refused(refusal: Refused) -> Problem:
    """The answer to a transition that may not happen: 403 for the wrong role, 422 for no such state, else 409."""
    if refusal.code == "role":
        answer = forbidden(Permission.TICKET_TRANSITION)
        answer.detail = f"{answer.detail} For {refusal.target!r} {refusal.detail}."
        return answer
    if refusal.code == "unknown_state":
        return invalid(["to"], refusal.detail)
    errors = [FieldError.at([_FIELD[m]], "needed for this transition") for m in refusal.missing if m in _FIELD]
    return Problem(
        409, f"transition-{refusal.code.replace('_', '-')}", "Transition refused", refusal.detail, errors=errors
    )
