"""`/v1/suppressions`: whom we do not write to, and why."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Request
from fastapi.responses import Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from services.ingest import suppressing
from services.ingest.store import suppressions
from services.ingest.store.suppressions import Suppression
from shared import outbox
from shared.auth import Permission, Principal
from shared.contracts import ids
from shared.contracts.notification import SuppressionReason
from shared.db import Database, Record
from shared.http import Cursor, CursorText, Page, PageLimit, Router, page_link, query_of, requires
from shared.problem import not_found

Reader = Annotated[Principal, requires(Permission.MESSAGE_READ)]
Writer = Annotated[Principal, requires(Permission.DIRECTORY_WRITE)]


class SuppressionIn(BaseModel):
    """An address that is not to be written to."""

    model_config = ConfigDict(extra="forbid")

    address: Annotated[str, StringConstraints(min_length=3, max_length=320, pattern="@", strip_whitespace=True)]
    detail: Annotated[str, StringConstraints(max_length=200)] | None = Field(None, description="Why; no personal data.")
    until: AwareDatetime | None = Field(None, description="Absent: for ever.")


class SuppressionView(BaseModel):
    """Somebody who is not written to."""

    person_id: UUID
    address: str | None = Field(None, description="Absent where only the report of a mail server names it.")
    reason: str = Field(description="`bounced`, `complained`, `looping` or `manual`.")
    detail: str | None = Field(None, description="The status code of a bounce (RFC 3463), or what was given.")
    since: datetime
    until: datetime | None = Field(None, description="Absent: for ever.")
    version: int


def router(database: Database, cursors: Cursor, wake: Callable[[], None]) -> Router:
    """The path operations."""
    routes = Router(tags=["suppressions"])

    @routes.get("/v1/suppressions", response_model=Page[SuppressionView], response_model_exclude_none=True)
    async def list_suppressions(
        request: Request, response: Response, principal: Reader, limit: PageLimit = 50, cursor: CursorText = None
    ) -> Page[SuppressionView]:
        """Everybody who is not written to now, the longest first."""
        after = None
        if cursor is not None:
            instant, last = cursors.decode(cursor, principal.tenant_id, query_of(request))
            after = datetime.fromisoformat(instant), UUID(last)
        rows = await suppressions.page(database, principal.tenant_id, after, limit + 1)
        shown, following = cursors.cut(
            request, principal.tenant_id, rows, limit, lambda row: [row["since"].isoformat(), str(row["person_id"])]
        )
        response.headers.update(page_link(request, following))
        return Page(items=[_view(row) for row in shown], next_cursor=following)

    @routes.post("/v1/suppressions", status_code=201, response_model=SuppressionView, response_model_exclude_none=True)
    async def add_suppression(principal: Writer, given: SuppressionIn) -> SuppressionView:
        """Do not write to an address; one that is suppressed for as long or longer already stays as it is."""
        person_id = ids.person_id(principal.tenant_id, given.address)
        wanted = Suppression(
            tenant_id=principal.tenant_id,
            person_id=person_id,
            address=ids.normalise_address(given.address),
            reason=SuppressionReason.MANUAL,
            detail=given.detail,
            until=given.until,
        )
        async with database.begin() as tx:
            await outbox.add(tx, await suppressing.suppress(tx, [wanted]))
        wake()
        return await _found(database, principal.tenant_id, person_id)

    @routes.get("/v1/suppressions/{person_id}", response_model=SuppressionView, response_model_exclude_none=True)
    async def read_suppression(principal: Reader, person_id: UUID) -> SuppressionView:
        """Whether and why a person is not written to."""
        return await _found(database, principal.tenant_id, person_id)

    @routes.delete("/v1/suppressions/{person_id}", status_code=204, response_class=Response)
    async def lift_suppression(principal: Writer, person_id: UUID) -> Response:
        """Allow writing to them again; the next bounce suppresses them anew."""
        async with database.begin() as tx:
            lifted = await suppressing.lift(tx, principal.tenant_id, person_id)
            if lifted is None:
                raise not_found("suppression")
            await outbox.add(tx, [lifted])
        wake()
        return Response(status_code=204)

    return routes


async def _found(database: Database, tenant_id: str, person_id: UUID) -> SuppressionView:
    row = await suppressions.find(database, tenant_id, person_id)
    if row is None:
        raise not_found("suppression")
    return _view(row)


def _view(row: Record) -> SuppressionView:
    return SuppressionView(**{name: row[name] for name in SuppressionView.model_fields})
