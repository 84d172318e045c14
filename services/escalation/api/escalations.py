"""Escalations: listed, shown, started by hand, taken, ended."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated
from uuid import UUID, uuid4

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from services.escalation.api.desk import Desk, emitting
from services.escalation.api.models import (
    EscalationPage,
    EscalationView,
    EscalationWhole,
    NewEscalation,
    Reason,
    to_json,
)
from services.escalation.desk import casework
from services.escalation.domain import causes, walk
from services.escalation.domain.causes import Case, Circumstances
from services.escalation.domain.escalation import Escalation, State
from services.escalation.domain.policy import Occurrence, Policy
from services.escalation.domain.stepping import Moment
from services.escalation.store import escalations, tickets
from shared import outbox
from shared.auth import Permission, Principal, allows
from shared.auth.permissions import forbidden
from shared.contracts.pack import Cause, EscalationPath
from shared.db import Tx
from shared.http import (
    CursorText,
    IdempotencyKey,
    PageLimit,
    Router,
    etag,
    fingerprint,
    idempotency,
    if_none_match,
    not_modified,
    page_link,
    problems,
    query_of,
    requires,
)
from shared.problem import conflict, invalid, not_found

Reader = Annotated[Principal, requires(Permission.TICKET_READ)]
Leader = Annotated[Principal, requires(Permission.ESCALATION_MANAGE)]
Decide = Callable[[Case, Escalation, Moment], bool]


def routes(desk: Desk) -> Router:
    """Path operations on escalations."""
    router = Router(tags=["escalations"])
    _reading(router, desk)
    _starting(router, desk)
    _ending(router, desk)
    return router


def _reading(router: Router, desk: Desk) -> None:
    @router.get("/v1/escalations", response_model=EscalationPage)
    async def list_escalations(
        request: Request,
        principal: Reader,
        *,
        ticket_id: Annotated[UUID | None, Query()] = None,
        state: Annotated[State | None, Query()] = None,
        limit: PageLimit = 50,
        cursor: CursorText = None,
    ) -> Response:
        """Escalations of the tenant, the newest first."""
        before = None
        if cursor is not None:
            at, identity = desk.cursor.decode(cursor, principal.tenant_id, query_of(request))
            before = (datetime.fromisoformat(at), UUID(identity))
        found = await escalations.page(
            desk.database,
            principal.tenant_id,
            ticket_id=ticket_id,
            state=state.value if state is not None else None,
            before=before,
            limit=limit + 1,
        )
        page, following = desk.cursor.cut(
            request, principal.tenant_id, found, limit, lambda one: [one.started_at.isoformat(), str(one.id)]
        )
        body = EscalationPage(items=[EscalationView.of(one) for one in page], next_cursor=following)
        return Response(to_json(body), headers=page_link(request, following), media_type="application/json")

    @router.get("/v1/escalations/{escalation_id}", response_model=EscalationWhole)
    async def get_escalation(request: Request, principal: Reader, escalation_id: UUID) -> Response:
        """One escalation with its path, its pages and what happened, with its ETag."""
        one = await escalations.by_id(desk.database, principal.tenant_id, escalation_id)
        if one is None:
            raise not_found("escalation")
        if if_none_match(request, one.version):
            return not_modified(one.version)
        return _shown(one)


def _starting(router: Router, desk: Desk) -> None:
    @router.post(
        "/v1/escalations",
        status_code=201,
        response_model=EscalationWhole,
        responses={200: {"model": EscalationWhole}, **problems(409, 503)},
    )
    async def start_escalation(
        request: Request, principal: Leader, new: NewEscalation, idempotency_key: IdempotencyKey = None
    ) -> Response:
        """Escalate a ticket by hand; one that runs on that path already is raised instead, and answered with 200."""

        async def once(tx: Tx) -> Response:
            print_ = fingerprint(request, principal)
            if idempotency_key is not None:
                stored = await idempotency.begin(tx, principal.tenant_id, idempotency_key, print_)
                if stored is not None:
                    return stored.response()
            policy = await desk.policy(principal.tenant_id, tx)
            what = Occurrence(
                cause=Cause.MANUAL,
                key=uuid4().hex,
                at=tx.instant,
                level=new.level,
                path=new.path,
                step=new.step,
                reason=new.reason,
            )
            case, path = await _case(tx, principal, new, what, policy)
            await casework.with_ids(tx, [case])
            people = (await casework.staff_of(tx, [principal.tenant_id], tx.instant))[principal.tenant_id]
            before = {one.id for one in case.running()}
            causes.happened(case, what, Circumstances(policy=policy, now=tx.instant, staff=people))
            await outbox.add(tx, await casework.save(tx, [case], emitting(request, tx), desk.measures))
            one = next(one for one in case.escalations if one.plan.name == path.name)
            status = 200 if one.id in before else 201
            answer = _shown(one, status)
            answer.headers["Location"] = f"/v1/escalations/{one.id}"
            if idempotency_key is not None:
                headers = {name: answer.headers[name] for name in ("ETag", "Location")}
                await idempotency.store(
                    tx,
                    principal.tenant_id,
                    idempotency_key,
                    print_,
                    status=status,
                    body=bytes(answer.body),
                    headers=headers,
                )
            return answer

        return await desk.transact(once)


async def _case(
    tx: Tx, principal: Principal, new: NewEscalation, what: Occurrence, policy: Policy
) -> tuple[Case, EscalationPath]:
    """The ticket, locked, and the path it will walk.

    Raises 422 where the ticket, the path or the step does not exist, 409 when the ticket is over.
    """
    known = await tickets.find(tx, principal.tenant_id, new.ticket_id)
    if known is None:
        raise invalid(["ticket_id"], "no ticket of that id")
    case = (await casework.locked(tx, [new.ticket_id]))[new.ticket_id]
    if not case.ticket.active:
        raise conflict("ticket-over", "Ticket over", f"It is {case.ticket.summary.status}; reopen it first.")
    label = case.ticket.summary.priority.label
    # The pack may have a path of its own for what people start on this level.
    path = policy.path(policy.pulled(what, case.ticket)[0].path, label)
    if path is None:
        known_paths = ", ".join(one.name for one in policy.section.paths)
        detail = f"no path of that name; there are {known_paths}" if new.path else f"no path for {label}: name one"
        raise invalid(["path"], detail)
    if new.step is not None and path.number(new.step) is None:
        raise invalid(["step"], f"one of {', '.join(step.name for step in path.steps)}")
    return case, path


def _ending(router: Router, desk: Desk) -> None:
    @router.post("/v1/escalations/{escalation_id}/acknowledge", response_model=EscalationWhole, responses=problems(409))
    async def acknowledge_escalation(request: Request, principal: Reader, escalation_id: UUID) -> Response:
        """Take it: whoever was paged, the ticket's owner, or who manages escalations. Again is no error."""

        def decide(case: Case, one: Escalation, moment: Moment) -> bool:
            person = principal.person_id
            asked = person is not None and (one.paged(person) or person == case.ticket.summary.assignee_id)
            if not (asked or allows(principal, Permission.ESCALATION_MANAGE)):
                raise forbidden(Permission.ESCALATION_MANAGE)
            return walk.acknowledge(one, moment, person, "api") or one.state is State.ACKNOWLEDGED

        return await _change(desk, request, principal, escalation_id, decide)

    @router.post("/v1/escalations/{escalation_id}/resolve", response_model=EscalationWhole, responses=problems(409))
    async def resolve_escalation(
        request: Request, principal: Leader, escalation_id: UUID, body: Reason | None = None
    ) -> Response:
        """What it was about is done."""
        return await _change(desk, request, principal, escalation_id, _ended("resolved", body))

    @router.post("/v1/escalations/{escalation_id}/cancel", response_model=EscalationWhole, responses=problems(409))
    async def cancel_escalation(
        request: Request, principal: Leader, escalation_id: UUID, body: Reason | None = None
    ) -> Response:
        """It should not have been."""
        return await _change(desk, request, principal, escalation_id, _ended("cancelled", body))


def _ended(how: str, body: Reason | None) -> Decide:
    def decide(case: Case, one: Escalation, moment: Moment) -> bool:
        del case
        if body is not None and body.reason is not None and one.state in (State.RUNNING, State.ACKNOWLEDGED):
            one.note(moment.now, how, reason=body.reason)
        return walk.end(one, moment, how)

    return decide


async def _change(desk: Desk, request: Request, principal: Principal, escalation_id: UUID, decide: Decide) -> Response:
    """Change one escalation. Raises 404 for one that is not there, 409 for one that is over."""

    async def once(tx: Tx) -> Response:
        found = await escalations.by_id(tx, principal.tenant_id, escalation_id)
        if found is None:
            raise not_found("escalation")
        cases = await casework.locked(tx, [found.ticket_id])
        case = cases.get(found.ticket_id)
        # Read again under the lock of its ticket: it may have ended meanwhile.
        one = await escalations.by_id(tx, principal.tenant_id, escalation_id)
        if case is None or one is None:
            raise not_found("escalation")
        case.escalations = [one]
        if not decide(case, one, case.moment(tx.instant, casework.NOBODY)):
            raise conflict("escalation-over", "Escalation over", f"It is {one.state.value}: {one.ended_reason}.")
        await outbox.add(tx, await casework.save(tx, [case], emitting(request, tx), desk.measures))
        return _shown(one)

    return await desk.transact(once)


def _shown(one: Escalation, status: int = 200) -> Response:
    headers = {"ETag": etag(one.version)}
    return Response(to_json(EscalationWhole.of(one)), status, headers, "application/json")
