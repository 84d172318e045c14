"""Live chat over HTTP: who may open one, sessions, and the way for clients that cannot hold a socket.

`docs/chat.md` tells those who write clients how the parts play together.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from services.ingest.channels.chat_hub import Hub
from services.ingest.chat import frames, token
from services.ingest.chat.frames import ClientId, Written
from services.ingest.chat.token import Visitor
from services.ingest.domain import ChatTurn, Draft, Outcome, Status, participant, thread_key
from services.ingest.intake import BusyError, Intake
from services.ingest.mail import charset
from services.ingest.settings import Settings
from services.ingest.store import chat as store
from shared.contracts import ids
from shared.contracts.message import Body, Channel, Hints
from shared.db import Database
from shared.http import Router, correlation, problems, traceparent
from shared.http.limits import Buckets, Verdict
from shared.problem import Problem, unavailable

SUBJECT = 80
"""Characters of the first message that become the subject."""
LONGEST_WAIT = 25.0
"""Seconds a request may wait for news."""

logger = logging.getLogger(__name__)

Name = Annotated[str, StringConstraints(max_length=100, strip_whitespace=True)]
Email = Annotated[
    str,
    StringConstraints(max_length=254, pattern=r"^[^\s@<>\"(),;:]{1,64}@[^\s@<>\"(),;:]{1,190}$", strip_whitespace=True),
]


class SessionIn(BaseModel):
    """A visitor who wants to chat."""

    model_config = ConfigDict(extra="forbid")

    key: Annotated[str, StringConstraints(min_length=1, max_length=100)] = Field(
        description="The tenant's public chat key."
    )
    name: Name = ""
    email: Email | None = Field(None, description="Where answers go when the visitor has left.")
    language: Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$", max_length=20)] = ""


class SessionOut(BaseModel):
    """What the visitor's client keeps; it opens the socket and every other path of the chat."""

    session_id: UUID
    token: str
    expires_at: datetime
    socket: str = Field(description="Path of the WebSocket.")


class ChatMessageIn(BaseModel):
    """Something written."""

    model_config = ConfigDict(extra="forbid")

    client_id: ClientId = Field(description="Any unique text; sending it again with the same one is harmless.")
    text: Written


class ChatMessageTaken(BaseModel):
    """It is stored for good."""

    message_id: UUID
    duplicate: bool


class ChatLine(BaseModel):
    """One line of the transcript."""

    seq: int
    message_id: UUID
    side: str = Field(alias="from", description="`visitor`, `agent` or `system`.")
    text: str
    at: datetime
    client_id: str | None = None
    files: list[str] = Field(default_factory=list, description="Names of attached files.")


class ChatLines(BaseModel):
    """What the visitor does not have yet."""

    items: list[ChatLine]
    last: int = Field(description="Ask for what comes `after` this next; that also acknowledges it.")


class RefusedError(Exception):
    """A message was not taken, and why."""

    def __init__(self, code: str, detail: str, *, pointer: str | None = None, wait: float | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail
        self.pointer = pointer
        self.wait = wait


@dataclass(frozen=True, slots=True)
class Chats:
    """The channel, for both its ways in."""

    database: Database
    intake: Intake
    hub: Hub
    key: bytes
    hours: int
    sessions: Buckets
    """By client address."""
    messages: Buckets
    """By session."""

    @classmethod
    def of(cls, settings: Settings, database: Database, intake: Intake, hub: Hub, master: bytes) -> Chats:
        """As the settings say."""
        return cls(
            database,
            intake,
            hub,
            token.key_of(master),
            settings.chat_hours,
            Buckets(settings.chat_sessions_per_minute / 60, max(5, settings.chat_sessions_per_minute)),
            Buckets(settings.chat_messages_per_minute / 60, max(10, settings.chat_messages_per_minute // 3)),
        )

    def visitor(self, text: str) -> Visitor | None:
        """Who holds this token."""
        return token.verify(self.key, text, time.time())

    async def open(self, given: SessionIn, origin: str | None, address: str) -> SessionOut:
        """A new session. Raises 403 and 429 problems."""
        verdict = self.sessions.take(address)
        if not verdict.allowed:
            raise _too_many("Too many chats from this address.", verdict)
        site = await store.site_of_key(self.database, given.key)
        if site is None or not site["enabled"]:
            raise Problem(403, "chat-key", "Chat not open", "This key opens no chat.")
        if site["origins"] and origin not in site["origins"]:
            raise Problem(403, "chat-origin", "Chat not open here", "Pages of this origin open no chat with this key.")
        visitor = Visitor(
            session_id=uuid.uuid4(),
            tenant_id=site["tenant_id"],
            expires_at=int(time.time()) + self.hours * 3600,
            name=charset.one_line(given.name, 100),
            address=given.email or "",
            language=given.language,
        )
        return SessionOut(
            session_id=visitor.session_id,
            token=token.make(self.key, visitor),
            expires_at=datetime.fromtimestamp(visitor.expires_at, UTC),
            socket="/v1/chat/socket",
        )

    async def write(
        self, visitor: Visitor, client_id: str, text: str, *, correlation: str, traceparent: str | None = None
    ) -> Outcome:
        """Store a visitor's message; after the commit. Raises RefusedError, and what the database raises."""
        verdict = self.messages.take(str(visitor.session_id))
        if not verdict.allowed:
            raise RefusedError("too-many-requests", "Too many messages; slow down.", wait=verdict.wait_seconds)
        try:
            (outcome,) = await self.intake.accept([draft(visitor, client_id, text, correlation, traceparent)])
        except BusyError as error:
            raise RefusedError("unavailable", "Too much waits; try again.", wait=1.0) from error
        if outcome.status is Status.CONFLICT:
            raise RefusedError("invalid", "used before for another text", pointer="/client_id")
        return outcome


def draft(visitor: Visitor, client_id: str, text: str, correlation: str, traceparent: str | None) -> Draft:
    """A visitor's message. All of a session answer each other in turn."""
    tenant_id = visitor.tenant_id
    text = charset.clean(text)
    source = f"{visitor.session_id}:{client_id}"
    address = visitor.address or f"chat:{visitor.session_id}"
    return Draft(
        tenant_id=tenant_id,
        message_id=ids.message_id(tenant_id, Channel.CHAT, source),
        channel=Channel.CHAT,
        sender=participant(tenant_id, address, visitor.name or ("" if visitor.address else "Visitor")),
        fingerprint=hashlib.sha256(text.encode()).digest(),
        submitter=f"{tenant_id}/chat:{visitor.session_id}",
        subject=charset.one_line(text, SUBJECT),
        body=Body(text=text),
        payload=orjson.dumps({"client_id": client_id, "text": text, "session_id": str(visitor.session_id)}),
        external_id=client_id,
        series=thread_key("chat", str(visitor.session_id)),
        hints=Hints(language=visitor.language or None, tags=("chat",)),
        chat=ChatTurn(session_id=visitor.session_id, client_id=client_id, address=visitor.address or None),
        correlation=correlation,
        traceparent=traceparent,
    )


def router(chats: Chats) -> Router:
    """The visitors' paths."""
    routes = Router(tags=["chat"])
    bearer: dict[str, Any] = {"security": [{"bearer": []}]}

    @routes.post("/v1/chat/sessions", status_code=201, response_model=SessionOut, responses=problems(403, 429))
    async def open_session(request: Request, response: Response, given: SessionIn) -> SessionOut:
        """Begin a chat. Public: the tenant's chat key, and the page's origin where the tenant names some."""
        response.headers.update(_shared_with(request))
        return await chats.open(given, request.headers.get("origin"), request.app.state.guard.address(request))

    @routes.post(
        "/v1/chat/messages",
        status_code=202,
        response_model=ChatMessageTaken,
        responses=problems(401, 429),
        openapi_extra=bearer,
    )
    async def write_message(request: Request, response: Response, given: ChatMessageIn) -> ChatMessageTaken:
        """Write something, with the session's token as bearer. Answered after it is stored for good."""
        visitor = _visitor(chats, request)
        response.headers.update(_shared_with(request))
        try:
            outcome = await chats.write(
                visitor,
                given.client_id,
                given.text,
                correlation=correlation(request),
                traceparent=traceparent(request),
            )
        except RefusedError as error:
            raise _problem(error) from error
        return ChatMessageTaken(message_id=outcome.message_id, duplicate=outcome.status is Status.DUPLICATE)

    @routes.get(
        "/v1/chat/messages",
        response_model=ChatLines,
        response_model_exclude_none=True,
        responses=problems(401),
        openapi_extra=bearer,
    )
    async def read_messages(
        request: Request,
        response: Response,
        after: Annotated[int, Query(ge=0, le=2**53, description="What the visitor has already.")] = 0,
        wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT, description="Seconds to wait for news.")] = 0,
    ) -> ChatLines:
        """The transcript after a number: both sides' lines."""
        visitor = _visitor(chats, request)
        response.headers.update(_shared_with(request))
        with chats.hub.listening(visitor, after) as listener:
            if listener is None:
                raise unavailable("Too many visitors are connected; the chat", 5)
            try:
                found = await _wait_for(chats.hub, visitor, after, wait, listener.news)
            finally:
                await chats.hub.left(listener)
        return ChatLines(
            items=[ChatLine.model_validate(line.value()) for line in found],
            last=found[-1].seq if found else after,
        )

    for path in ("/v1/chat/sessions", "/v1/chat/messages"):
        routes.add_api_route(path, _preflight, methods=["OPTIONS"], include_in_schema=False)
    return routes


async def _wait_for(hub: Hub, visitor: Visitor, after: int, wait: float, news: asyncio.Event) -> Sequence[frames.Line]:
    until = time.monotonic() + wait
    while True:
        news.clear()
        found = await hub.lines(visitor, after)
        left = until - time.monotonic()
        if found or left <= 0:
            return found
        try:
            async with asyncio.timeout(left):
                await news.wait()
        except TimeoutError:
            until = 0.0


def _visitor(chats: Chats, request: Request) -> Visitor:
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    visitor = chats.visitor(text.strip()) if scheme.lower() == "bearer" else None
    if visitor is None:
        raise Problem(
            401,
            "unauthenticated",
            "Not authenticated",
            "Send the chat session's token as Authorization: Bearer …",
            headers={"WWW-Authenticate": 'Bearer realm="chat"'},
        )
    return visitor


def _problem(error: RefusedError) -> Problem:
    if error.code == "invalid":
        return Problem(422, "idempotency-key-reused", "Idempotency key reused", f"{error.pointer}: {error.detail}.")
    if error.code == "unavailable":
        return unavailable("The intake is full and", 1)
    wait = max(1, math.ceil(error.wait or 1))
    return Problem(429, "too-many-requests", "Too many requests", error.detail, headers={"Retry-After": str(wait)})


def _too_many(detail: str, verdict: Verdict) -> Problem:
    wait = max(1, math.ceil(verdict.wait_seconds))
    return Problem(429, "too-many-requests", "Too many requests", detail, headers={"Retry-After": str(wait)})


def _shared_with(request: Request) -> dict[str, str]:
    """Let pages of other origins read the answer: what opens a chat is a key and a token, never a cookie."""
    origin = request.headers.get("origin")
    return {} if origin is None else {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}


async def _preflight(request: Request) -> Response:
    headers: dict[str, Any] = {
        **_shared_with(request),
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Allow-Headers": "authorization, content-type",
        "Access-Control-Max-Age": "600",
    }
    return Response(status_code=204, headers=headers)
