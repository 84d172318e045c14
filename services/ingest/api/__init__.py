"""ingest's API: what was handed in can be looked at, and what could not be read can be read again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import FastAPI, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema

from services.ingest.api import chat as chat_site
from services.ingest.api import mailboxes, suppressions
from services.ingest.archive import Blobs
from services.ingest.channels import alerts, chat, http
from services.ingest.channels.alerts import Alerts
from services.ingest.channels.chat import Chats
from services.ingest.channels.chat_socket import Sockets
from services.ingest.channels.http import Accepted, BatchIn, Submissions, Submitter
from services.ingest.channels.mailbox import Mailboxes
from services.ingest.channels.submission import MessageIn
from services.ingest.quarantine import Quarantine, StillUnreadableError
from services.ingest.settings import Settings
from services.ingest.store import messages as store
from shared.auth import Authenticator, Permission, Principal, allows
from shared.db import Database, Record
from shared.http import (
    Cursor,
    CursorText,
    Page,
    PageLimit,
    Router,
    api,
    correlation,
    page_link,
    problems,
    query_of,
    requires,
)
from shared.problem import conflict, not_found

Reader = Annotated[Principal, requires(Permission.MESSAGE_READ)]


class MessageStatus(BaseModel):
    """One stored message."""

    message_id: UUID
    conversation_id: UUID
    ticket_id: UUID | None = Field(None, description="The ticket it opens; absent when it answers a known message.")
    channel: str
    status: str = Field(description="`accepted`, `quarantined`, or `replayed` when it was read again.")
    reason: str | None = Field(None, description="Why it is or was in quarantine.")
    replayed_as: UUID | None = None
    source_id: str | None = None
    accounts: list[str] = Field(description="Our addresses that it came to.")
    parent: str
    parent_message_id: UUID | None = None
    automatic: bool
    received_at: datetime
    original: str = Field(description="Where the bytes are, as they came.")


class QuarantineItem(BaseModel):
    """A message that could not be read within the bounds; its ticket exists all the same."""

    message_id: UUID
    channel: str
    reason: str
    quarantined_at: datetime
    size: int | None = Field(None, description="Bytes of the original.")
    original: str


def application(
    settings: Settings,
    *,
    database: Database,
    authenticator: Authenticator,
    submissions: Submissions,
    alerting: Alerts,
    chats: Chats,
    polled: Mailboxes,
    quarantine: Quarantine,
    blobs: Blobs,
    cursors: Cursor,
    wake: Callable[[], None],
) -> FastAPI:
    """The whole API."""
    app = api(
        title="Deskwire ingest",
        service="ingest",
        settings=settings,
        authenticator=authenticator,
        database=database,
        description="Messages from every channel, stored before they are answered.",
        body_limits={
            "/v1/messages": settings.batch_bytes,
            "/v1/attachments": settings.attachment_bytes,
            "/v1/alerts": alerts.BODY_BYTES,
        },
    )
    app.include_router(http.router(submissions))
    app.include_router(alerts.router(alerting))
    app.include_router(chat.router(chats))
    app.include_router(chat_site.router(database))
    app.add_api_websocket_route("/v1/chat/socket", Sockets(chats, settings.chat_idle_seconds).serve)
    app.include_router(mailboxes.router(database, polled))
    app.include_router(_messages(database, blobs))
    app.include_router(_quarantine(database, quarantine, cursors))
    app.include_router(suppressions.router(database, cursors, wake))
    _document(app)
    return app


def _messages(database: Database, blobs: Blobs) -> Router:
    routes = Router(tags=["messages"])

    @routes.get("/v1/messages/{message_id}", response_model=MessageStatus, response_model_exclude_none=True)
    async def read_message(message_id: UUID, principal: Submitter) -> MessageStatus:
        """One message: for agents any of the tenant, for others those they handed in or wrote."""
        return _status(await _visible(database, principal, message_id))

    @routes.get(
        "/v1/messages/{message_id}/original",
        response_class=Response,
        responses={
            200: {
                "content": {"application/octet-stream": {}, "application/json": {}},
                "description": "The bytes as they came; JSON when they came by `POST /v1/messages`.",
            }
        },
    )
    async def read_original(message_id: UUID, principal: Submitter) -> Response:
        """The message as it came, to be saved and not shown."""
        row = await _visible(database, principal, message_id)
        if row["payload"] is not None:
            return Response(row["payload"], headers=_to_save(f"{message_id}.json"), media_type="application/json")
        if row["original_sha256"] is None:
            raise not_found("original")
        pieces = blobs.stream(principal.tenant_id, row["original_sha256"].hex())
        try:
            first = await anext(pieces, b"")
        except KeyError as error:
            raise not_found("original") from error
        suffix = "eml" if row["original_type"] == "message/rfc822" else "json"
        return StreamingResponse(
            _prepended(first, pieces),
            headers=_to_save(f"{message_id}.{suffix}"),
            media_type="application/octet-stream",
        )

    return routes


def _quarantine(database: Database, quarantine: Quarantine, cursors: Cursor) -> Router:
    routes = Router(tags=["quarantine"])

    @routes.get("/v1/quarantine", response_model=Page[QuarantineItem], response_model_exclude_none=True)
    async def list_quarantine(
        request: Request, response: Response, principal: Reader, limit: PageLimit = 50, cursor: CursorText = None
    ) -> Page[QuarantineItem]:
        """Messages that nobody has dealt with, the oldest first."""
        after = None
        if cursor is not None:
            instant, last = cursors.decode(cursor, principal.tenant_id, query_of(request))
            after = datetime.fromisoformat(instant), UUID(last)
        rows = await store.open_quarantine(database, principal.tenant_id, after, limit + 1)
        shown, following = cursors.cut(
            request,
            principal.tenant_id,
            rows,
            limit,
            lambda row: [row["quarantined_at"].isoformat(), str(row["message_id"])],
        )
        response.headers.update(page_link(request, following))
        return Page(items=[_item(row) for row in shown], next_cursor=following)

    @routes.post("/v1/quarantine/{message_id}/replay", response_model=Accepted, responses=problems(409))
    async def replay(request: Request, message_id: UUID, principal: Reader) -> Accepted:
        """Read it again with wider bounds; what it says joins the ticket that it opened."""
        try:
            outcome = await quarantine.replay(principal.tenant_id, message_id, correlation(request))
        except StillUnreadableError as error:
            raise conflict("still-unreadable", "Still unreadable", f"It could not be read: {error.reason}.") from error
        except LookupError as error:
            raise not_found("quarantined message") from error
        return Accepted(
            status=outcome.status.value,
            message_id=outcome.message_id,
            conversation_id=outcome.conversation_id,
            ticket_id=outcome.ticket_id,
        )

    return routes


async def _visible(database: Database, principal: Principal, message_id: UUID) -> Record:
    """The message if the caller may see it. Raises the 404 problem."""
    row = await store.message(database, principal.tenant_id, message_id)
    if row is None:
        raise not_found("message")
    own = row["submitter"] == principal.account or row["person_id"] == principal.person_id
    if not own and not allows(principal, Permission.MESSAGE_READ):
        raise not_found("message")
    return row


def _status(row: Record) -> MessageStatus:
    state = "accepted" if row["reason"] is None else "quarantined" if row["replayed_at"] is None else "replayed"
    return MessageStatus(
        message_id=row["message_id"],
        conversation_id=row["conversation_id"],
        ticket_id=row["ticket_id"],
        channel=row["channel"],
        status=state,
        reason=row["reason"],
        replayed_as=row["replayed_as"],
        source_id=row["external_id"],
        accounts=row["accounts"] or [],
        parent=row["parent"],
        parent_message_id=row["parent_message_id"],
        automatic=row["automatic"],
        received_at=row["received_at"],
        original=f"/v1/messages/{row['message_id']}/original",
    )


def _item(row: Record) -> QuarantineItem:
    return QuarantineItem(
        message_id=row["message_id"],
        channel=row["channel"],
        reason=row["reason"],
        quarantined_at=row["quarantined_at"],
        size=row["original_size"],
        original=f"/v1/messages/{row['message_id']}/original",
    )


def _to_save(name: str) -> dict[str, str]:
    """Headers of bytes from strangers: saved, never shown."""
    return {"Content-Disposition": f'attachment; filename="{name}"', "Content-Security-Policy": "sandbox"}


async def _prepended(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece


def _document(app: FastAPI) -> None:
    """Add the models of the one body that is read by hand to the OpenAPI document."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        document = plain()
        schemas: dict[str, Any] = document["components"]["schemas"]
        if "MessageIn" not in schemas:
            _, ours = models_json_schema(
                [(MessageIn, "validation"), (BatchIn, "validation")], ref_template="#/components/schemas/{model}"
            )
            definitions: Mapping[str, Any] = ours["$defs"]
            schemas.update(definitions)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's documentation says
