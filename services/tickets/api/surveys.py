"""`/v1/surveys/<token>`: what requesters thought, without logging in; the link itself says who may answer what.

Reading the page has no effect, since mail scanners follow links. The first answer counts; the same person may change it
for a while (`change_minutes` of the pack), after that it stands.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any
from urllib.parse import parse_qs

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from services.tickets.api import survey_page
from services.tickets.api.desk import Desk, publish, transact
from services.tickets.api.models import Answer
from services.tickets.api.views import RatingView, rating_view, to_json
from services.tickets.domain import rating
from services.tickets.domain.rating import Refused
from services.tickets.domain.ticket import Ticket
from services.tickets.domain.work import Act, Work
from services.tickets.store import ratings, tickets
from shared.auth import survey_token
from shared.auth.permissions import TicketScope
from shared.auth.survey_token import Survey
from shared.contracts.directory import Role
from shared.contracts.ticket import Actor, ActorKind
from shared.db import Database, Tx
from shared.http import Router, problems
from shared.http.context import context_of
from shared.problem import FieldError, Problem, conflict, not_found

MAX_BODY = 64_000
"""Bytes of an answer; a comment of 4000 characters as a form takes no more."""
_FORM = "application/x-www-form-urlencoded"
_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {"schema": Answer.model_json_schema()},
        _FORM: {"schema": Answer.model_json_schema()},
    },
}


def _pages(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For `responses=`: these are answered with a page."""
    page = {"description": "A page that says it.", "content": {"text/html": {"schema": {"type": "string"}}}}
    return {status: deepcopy(page) for status in statuses}


def routes(desk: Desk) -> Router:
    """Path operations on surveys."""
    router = Router(tags=["surveys"])

    @router.get("/v1/surveys/{token}", response_class=HTMLResponse, responses=_pages(404, 409, 410, 503))
    async def survey_page_of(request: Request, token: str) -> Response:
        """The page that asks; `?score=` chooses one beforehand."""
        survey = survey_token.verify(desk.survey_key, token)
        ticket = None if survey is None else await _ticket(desk.database, survey)
        if survey is None or ticket is None:
            return _page(survey_page.said("unknown", None), 404)
        given = await ratings.one(desk.database, ticket, survey.cycle, survey.person_id)
        async with desk.database.begin() as tx:
            refused = await _refusal(desk, tx, ticket, survey, given)
        if refused is not None:
            return _page(survey_page.said(refused.code, ticket.language), _STATUS.get(refused.code, 409))
        score = given.score if given is not None else _score(request.query_params.get("score"))
        return _page(
            survey_page.form(
                ticket.number,
                ticket.subject,
                ticket.language,
                score=score,
                comment=given.comment if given is not None else None,
            )
        )

    @router.post(
        "/v1/surveys/{token}",
        response_model=RatingView,
        responses={**_pages(200, 404, 409, 410, 422, 503), **problems(413, 415)},
        openapi_extra={"requestBody": _BODY},
    )
    async def answer_survey(request: Request, token: str) -> Response:
        """Take an answer, as JSON or from the page's form."""
        survey = survey_token.verify(desk.survey_key, token)
        as_form = request.headers.get("content-type", "").partition(";")[0].strip().lower() == _FORM
        try:
            if survey is None:
                raise not_found("survey")
            return await _take(desk, request, survey, _answer(request, as_form=as_form), as_form=as_form)
        except Problem as problem:
            if not as_form:
                raise
            return await _told(desk, survey, problem)

    return router


_STATUS = {"disabled": 410, "expired": 410, "unknown": 404, "unavailable": 503}


async def _take(desk: Desk, request: Request, survey: Survey, answer: Answer, *, as_form: bool) -> Response:
    async def once(tx: Tx) -> Response:
        ticket = (await tickets.lock(tx, [survey.ticket_id])).get(survey.ticket_id)
        if ticket is None or ticket.tenant_id != survey.tenant_id:
            raise not_found("survey")
        given = await ratings.one(tx, ticket, survey.cycle, survey.person_id)
        refused = await _refusal(desk, tx, ticket, survey, given)
        if refused is not None:
            raise _problem(refused)
        work = Work.on(ticket)
        actor = Actor(kind=ActorKind.PERSON, id=str(survey.person_id), role=Role.CUSTOMER.value)
        act = Act(actor, tx.instant, desk.draw)
        made = rating.rate(
            work,
            given,
            act,
            person_id=survey.person_id,
            cycle=survey.cycle,
            score=answer.score,
            comment=answer.comment,
        )
        if made is not None:
            await ratings.save(tx, ticket, made, work.ticket.updated_at)
            await publish(tx, request, [work])
        if as_form:
            return _page(survey_page.said("thanks", ticket.language))
        shown = made or given
        return Response(to_json(rating_view(shown) if shown else {}), media_type="application/json")

    return await transact(desk, once)


async def _refusal(desk: Desk, tx: Tx, ticket: Ticket, survey: Survey, given: rating.Rating | None) -> Refused | None:
    satisfaction = await desk.known.satisfaction(survey.tenant_id, tx)
    if satisfaction is None:
        return Refused("unavailable")
    return rating.refusal(ticket, survey.cycle, given, satisfaction, tx.instant)


async def _ticket(database: Database, survey: Survey) -> Ticket | None:
    return await tickets.find(database, TicketScope(survey.tenant_id, all_tickets=True), survey.ticket_id)


def _answer(request: Request, *, as_form: bool) -> Answer:
    """What was sent. Raises 415 and 422 problems."""
    context = context_of(request)
    given: Any = context.json
    if as_form:
        try:
            fields = parse_qs(context.body.decode(), max_num_fields=10, keep_blank_values=True)
        except ValueError:
            fields = {}
        given = {"score": _score(fields.get("score", [""])[0]), "comment": fields.get("comment", [""])[0] or None}
    elif request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Problem(415, "unsupported-media-type", "Unsupported media type", f"Send application/json or {_FORM}.")
    try:
        return Answer.model_validate(given)
    except ValidationError as error:
        errors = [FieldError.at(one["loc"], one["msg"]) for one in error.errors()]
        raise Problem(422, "invalid", "Invalid request", errors=errors) from None


def _score(text: str | None) -> int | None:
    return int(text) if text in {str(n) for n in survey_page.SCORES} else None


def _problem(refused: Refused) -> Problem:
    says = survey_page.words(None)[refused.code]
    if refused.code == "unavailable":
        return Problem(503, "policy-missing", "Policy missing", says, headers={"Retry-After": "5"})
    if refused.code in ("disabled", "expired"):
        return Problem(410, f"survey-{refused.code}", "Survey over", says)
    return conflict(f"survey-{refused.code.replace('_', '-')}", "Survey refused", says)


async def _told(desk: Desk, survey: Survey | None, problem: Problem) -> Response:
    """The page for an answer by form that was not taken."""
    ticket = None if survey is None else await _ticket(desk.database, survey)
    if ticket is None:
        return _page(survey_page.said("unknown", None), 404)
    if problem.status == 422:
        text = survey_page.form(ticket.number, ticket.subject, ticket.language, score=None, comment=None, warn=True)
        return _page(text, 422)
    code = problem.slug.removeprefix("survey-").replace("-", "_")
    return _page(
        survey_page.said(code if code in survey_page.words(None) else "unavailable", ticket.language), problem.status
    )


def _page(text: str, status: int = 200) -> Response:
    return HTMLResponse(text, status, dict(survey_page.HEADERS))
