"""What was decided about a ticket, and what people set in its place."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Response
from pydantic import BaseModel, ConfigDict, JsonValue
from starlette.requests import Request

from services.triage.store import history
from shared.auth import Permission, Principal
from shared.contracts.decision import Reason, Triage
from shared.db import Database
from shared.http import Cursor, CursorText, Page, PageLimit, Router, page_link, query_of, requires
from shared.problem import not_found

MOST = 100
"""Decisions and corrections of one ticket that are shown, the newest."""


class DecisionView(BaseModel):
    """One published decision."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    decision_id: UUID
    decided_at: datetime
    cause: str
    """`created:<message>`, `message:<message>`, `text:<message>` (fetched later), `person:<person>:<version>`."""
    based_on_version: int
    """The ticket's version that was seen."""
    decision: Triage
    reasons: list[Reason]
    confidence: float
    policy_version: int


class CorrectionView(BaseModel):
    """One field that a person set."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    event_id: UUID
    field: str
    ticket_id: UUID
    corrected_at: datetime
    actor_id: str
    role: str | None
    decided: JsonValue
    """What triage had decided; null where it had no opinion."""
    corrected: JsonValue
    decision_id: UUID | None


class TicketHistory(BaseModel):
    """Everything about one ticket, newest first."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    ticket_id: UUID
    held: list[str]
    """Fields that a person set: they are not decided again."""
    touched: bool
    """A person of ours has worked on it: messages raise nothing any more."""
    decisions: list[DecisionView]
    corrections: list[CorrectionView]


def routes(database: Database, cursors: Cursor) -> Router:
    """Path operations on what was."""
    router = Router(tags=["triage"])

    @router.get("/v1/triage/tickets/{ticket_id}")
    async def read_ticket(
        ticket_id: str, principal: Annotated[Principal, requires(Permission.TICKET_READ)]
    ) -> TicketHistory:
        """Decisions about a ticket with their reasons, and people's corrections, newest first."""
        try:
            ticket = UUID(ticket_id)
        except ValueError:
            raise not_found("ticket") from None
        known = await history.known(database, principal.tenant_id, ticket)
        if known is None:
            raise not_found("ticket")
        decided = await history.decisions(database, principal.tenant_id, ticket, MOST)
        corrected = await history.corrections_of(database, principal.tenant_id, ticket, MOST)
        return TicketHistory(
            ticket_id=ticket,
            held=sorted(known["held"]),
            touched=known["touched"],
            decisions=[DecisionView.model_validate(one) for one in decided],
            corrections=[CorrectionView.model_validate(one) for one in corrected],
        )

    @router.get("/v1/triage/corrections")
    async def list_corrections(
        request: Request,
        response: Response,
        principal: Annotated[Principal, requires(Permission.REPORT_READ)],
        *,
        limit: PageLimit = 50,
        cursor: CursorText = None,
    ) -> Page[CorrectionView]:
        """What people of the caller's tenant set in place of decisions, newest first."""
        after = None
        if cursor:
            at, event_id, field = cursors.decode(cursor, principal.tenant_id, query_of(request))
            after = datetime.fromisoformat(at), UUID(event_id), str(field)
        found = await history.corrections(database, principal.tenant_id, after, limit + 1)
        page, following = cursors.cut(
            request,
            principal.tenant_id,
            found,
            limit,
            lambda one: [one["corrected_at"].isoformat(), str(one["event_id"]), one["field"]],
        )
        response.headers.update(page_link(request, following))
        return Page(items=[CorrectionView.model_validate(one) for one in page], next_cursor=following)

    return router
