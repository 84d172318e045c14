"""A small API built with `shared.http`, to try the mechanism on: notes with versions, a listing, an upload, faults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import asyncpg
from fastapi import Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue
from starlette.requests import Request

from shared.auth import Authenticator, Permission, Principal, derive
from shared.http import (
    CurrentPrincipal,
    Cursor,
    CursorText,
    IdempotencyKey,
    IfMatch,
    Page,
    PageLimit,
    Router,
    SingleLine,
    api,
    correlation,
    etag,
    fingerprint,
    idempotency,
    if_none_match,
    not_modified,
    page_link,
    problems,
    query_of,
    requires,
    stale,
)
from shared.problem import not_found
from tests.support.api import MASTER_KEY, ApiSettings, Caller, credentials_of

CURSOR = Cursor(bytes.fromhex(MASTER_KEY))
FAULTS: dict[str, Exception] = {
    "bug": ValueError("secret-canary in the message of a bug"),
    "database": asyncpg.CannotConnectNowError("the database system is starting up"),
    "connection": ConnectionRefusedError("10.0.0.5:5432 refused"),
    "pool": TimeoutError(),
    "deadlock": asyncpg.DeadlockDetectedError("deadlock detected"),
    "range": asyncpg.NumericValueOutOfRangeError("smallint out of range: secret-canary"),
    "zero": asyncpg.DivisionByZeroError("division by zero"),
    "unique": asyncpg.UniqueViolationError("Key (address)=(secret-canary) already exists"),
}


class Note(BaseModel):
    """Something written down."""

    model_config = ConfigDict(extra="forbid")

    subject: SingleLine
    text: Annotated[str, Field(max_length=100_000)] = ""
    weight: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    data: JsonValue = None


class Kept(BaseModel):
    """How many notes were taken."""

    count: int
    instance: str


def sample(
    *callers: Caller, database: Any = None, body_limits: Mapping[str, int] | None = None, **settings: Any
) -> Any:
    """The API, known to `callers`; further arguments are settings."""
    router = Router(prefix="/v1")

    @router.post("/notes", status_code=202)
    async def take(
        request: Request,
        notes: Annotated[list[Note], Field(max_length=1000)],
        principal: Annotated[Principal, requires(Permission.MESSAGE_SUBMIT)],
        idempotency_key: IdempotencyKey = None,
    ) -> Kept:
        del principal, idempotency_key
        return Kept(count=len(notes), instance=correlation(request))

    @router.get("/notes")
    async def listing(
        request: Request,
        response: Response,
        principal: CurrentPrincipal,
        *,
        limit: PageLimit = 50,
        cursor: CursorText = None,
        sort: Annotated[str, Field(pattern="^(age|name)$")] = "age",
    ) -> Page[int]:
        del sort
        query = query_of(request)
        after = CURSOR.decode(cursor, principal.tenant_id, query)[0] if cursor else 0
        items = list(range(after + 1, min(after + limit, 120) + 1))
        last = items[-1] if items else 120
        following = CURSOR.encode(principal.tenant_id, query, [last]) if last < 120 else None
        response.headers.update(page_link(request, following))
        return Page(items=items, next_cursor=following)

    @router.get("/notes/{note_id}", responses={304: {"description": "Unchanged."}}, response_model=Note)
    async def show(request: Request, response: Response, note_id: int, _: CurrentPrincipal) -> Note | Response:
        if not 0 < note_id <= 120:
            raise not_found("note")
        if if_none_match(request, 7):
            return not_modified(7)
        response.headers["ETag"] = etag(7)
        return Note(subject=str(note_id))

    @router.patch("/notes/{note_id}")
    async def change(note_id: int, note: Note, version: IfMatch, _: CurrentPrincipal) -> Note:
        if not 0 < note_id <= 120:
            raise not_found("note")
        if version != 7:
            raise stale()
        return note

    @router.get("/audit")
    async def audit(principal: Annotated[Principal, requires(Permission.AUDIT_READ)]) -> str:
        return principal.tenant_id

    @router.post("/uploads/raw", include_in_schema=False)
    async def upload(request: Request) -> int:
        return len(await request.body())

    @router.get("/faults/{name}", include_in_schema=False)
    async def fault(name: str) -> None:
        raise FAULTS[name]

    @router.post("/effects", status_code=201, responses=problems(409), response_model=Kept, include_in_schema=False)
    async def effect(
        request: Request, note: Note, principal: CurrentPrincipal, idempotency_key: IdempotencyKey = None
    ) -> Kept | Response:
        mark = fingerprint(request, principal)
        async with database.begin() as tx:
            if idempotency_key is not None:
                stored = await idempotency.begin(tx, principal.tenant_id, idempotency_key, mark)
                if stored is not None:
                    return stored.response()
            count = await tx.fetchval("INSERT INTO effect (subject) VALUES ($1) RETURNING id", note.subject)
            await tx.execute("SELECT pg_sleep($1)", note.weight / 1000)
            if note.text == "fail":
                raise ConnectionResetError
            kept = Kept(count=count, instance=correlation(request))
            if idempotency_key is not None:
                await idempotency.store(
                    tx,
                    principal.tenant_id,
                    idempotency_key,
                    mark,
                    status=201,
                    body=kept.model_dump_json().encode(),
                    headers={"Location": f"/v1/effects/{count}"},
                )
        return kept

    app = api(
        title="Sample",
        service="sample",
        settings=ApiSettings(**settings),
        authenticator=Authenticator(credentials_of(*callers)),
        database=database,
        body_limits={"/v1/uploads/": 3_000_000} if body_limits is None else body_limits,
    )
    app.include_router(router)
    return app


def edge_key() -> bytes:
    """The key that the edge signs clients' addresses with, for the sample's master key."""
    return derive(bytes.fromhex(MASTER_KEY), "edge-client")
