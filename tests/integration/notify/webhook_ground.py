"""A sink that receives webhooks, and notify's webhooks at work against a scratch database."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx2
import orjson
from fastapi import FastAPI
from pydantic import SecretStr
from starlette.types import Receive, Scope, Send

from services.notify.api import build as build_api
from services.notify.api import webhooks as api
from services.notify.settings import Settings
from services.notify.webhooks import wiring
from services.notify.webhooks.wiring import Webhooks
from shared.auth import Authenticator
from shared.contracts import cloudevents, golden
from shared.contracts.directory import Role
from shared.contracts.event import Event
from shared.contracts.ticket import TicketCreated, TicketMessageAdded
from shared.db import Database
from shared.envelope import Received
from shared.http import Cursor
from shared.metrics import Metrics
from tests.support.api import Caller, caller, credentials_of, in_memory, served
from tests.support.waiting import eventually

MASTER = b"w" * 32


@dataclass(frozen=True)
class Got:
    """One request the sink received."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    def is_signed_with(self, secret: str) -> bool:
        """Whether one of the signatures is by this secret: written from the standard, not from our code."""
        content = b".".join([self.id.encode(), self.headers["webhook-timestamp"].encode(), self.body])
        key = base64.b64decode(secret.removeprefix("whsec_"))
        wanted = "v1," + base64.b64encode(hmac.digest(key, content, "sha256")).decode()
        return wanted in self.headers["webhook-signature"].split(" ")


Reply = tuple[int, dict[str, str], bytes]


@dataclass
class Sink:
    """Answers 204 to everything, unless told otherwise by path."""

    url: str = ""
    got: list[Got] = field(default_factory=list)
    replies: dict[str, list[Reply]] = field(default_factory=dict)
    """By path: one after the other; the last one stays."""
    blocked: dict[str, asyncio.Event] = field(default_factory=dict)
    """By path: answers only once it is set."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        path = scope["path"]
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        self.got.append(Got(path, headers, body))
        if path in self.blocked:
            await self.blocked[path].wait()
        replies = self.replies.get(path, [(204, {}, b"")])
        status, more, text = replies.pop(0) if len(replies) > 1 else replies[0]
        raw = [(name.encode(), value.encode()) for name, value in more.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": text})

    def at(self, path: str) -> list[Got]:
        """What came to a path, in order."""
        return [one for one in self.got if one.path == path]

    def says(self, path: str, *statuses: int, text: bytes = b"", **headers: str) -> None:
        """Have a path answer these, one after the other."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.replies[path] = [(status, named, text) for status in statuses]


class Relay:
    """Nobody sends the outbox."""

    def wake(self) -> None: ...

    def attach(self) -> None: ...

    def detach(self) -> None: ...


@dataclass
class Ground:
    """Notify's webhooks, its API, and a look inside its database."""

    database: Database
    admin_url: str
    parts: Webhooks
    app: FastAPI
    http: httpx2.AsyncClient
    manager: Caller
    stranger: Caller
    agent: Caller

    async def add(self, url: str, who: Caller | None = None, **more: Any) -> dict[str, Any]:
        answer = await self.call("POST", "/v1/webhooks", {"url": url, **more}, who=who)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def call(
        self, method: str, path: str, json: Any = None, *, who: Caller | None = None, **headers: str
    ) -> httpx2.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {**(who or self.manager).headers, **named}
        return await self.http.request(method, path, json=json, headers=sent)

    async def tell(self, *facts: Received[Any]) -> None:
        """One batch, as the bus hands it over."""
        async with self.database.begin() as tx:
            await self.parts.fanout.tell(tx, facts)

    async def deliveries(self, endpoint: dict[str, Any], **query: str) -> list[dict[str, Any]]:
        params = "&".join(f"{name}={value}" for name, value in query.items())
        answer = await self.call("GET", f"/v1/webhooks/{endpoint['endpoint_id']}/deliveries?{params}")
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    async def rows(self, sql: str, *args: object) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.admin_url)
        try:
            return list(await connection.fetch(sql, *args))
        finally:
            await connection.close()

    async def forward(self, by: timedelta) -> None:
        """Move the test clock."""
        await self.rows("UPDATE clock_offset SET shift = shift + $1", by)

    async def published(self) -> list[dict[str, Any]]:
        rows = await self.rows("SELECT topic, payload FROM outbox ORDER BY id")
        return [{"topic": row["topic"], **orjson.loads(row["payload"])} for row in rows]


@asynccontextmanager
async def working(parts: Webhooks) -> AsyncIterator[asyncio.Task[None]]:
    """The dispatcher at work, drained at the end."""
    task = asyncio.create_task(parts.dispatcher.run())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def ground(url: str, admin_url: str, **settings: Any) -> AsyncIterator[Ground]:
    database = await Database.connect(url, application="notify", max_size=6)
    given = {"webhook_allowed_networks": "127.0.0.0/8", "webhook_seconds": 5.0, **settings}
    parts = build_parts(database, url, **given)
    known = [caller(Role.MANAGER), caller(Role.MANAGER, tenant_id="other"), caller(Role.AGENT)]
    desk = api.Desk(database=database, registry=parts.registry, cursor=Cursor(MASTER), wake=parts.dispatcher.wake)
    app = build_api(Settings(), database, Authenticator(credentials_of(*known)), [api.routes(desk)])
    async with in_memory(app) as http:
        yield Ground(database, admin_url, parts, app, http, *known)
    await parts.sender.close()
    await database.close()


def build_parts(database: Database, url: str, **settings: Any) -> Webhooks:
    """One more instance on that database."""
    made = Settings(database_url=SecretStr(url), **settings)
    return wiring.build(settings=made, database=database, relay=Relay(), metrics=Metrics("notify"), master=MASTER)


@asynccontextmanager
async def sink() -> AsyncIterator[Sink]:
    made = Sink()
    async with served(made) as url:
        made.url = url
        yield made


def fact(event: Event, *, at: datetime | None = None, identity: UUID | None = None) -> Received[Any]:
    """An event as the bus hands it over."""
    return Received(
        event=event,
        id=identity or uuid4(),
        type=event.TYPE,
        time=at or datetime.now(UTC),
        key=event.key,
        topic=cloudevents.topic_name(event.TYPE),
        partition=0,
        offset=0,
    )


def created(tenant: str = "acme", **ticket: Any) -> TicketCreated:
    """A ticket of a tenant."""
    example = TicketCreated.model_validate(golden.examples(TicketCreated)["minimal"])
    summary = example.ticket.model_copy(update=ticket)
    return example.model_copy(update={"tenant_id": tenant, "ticket_id": uuid4(), "ticket": summary})


def note(tenant: str = "acme", visibility: str = "internal", text: str = "Between us.") -> TicketMessageAdded:
    """A message in a conversation."""
    example = TicketMessageAdded.model_validate(golden.examples(TicketMessageAdded)["minimal"])
    body = example.message.body.model_copy(update={"text": text})
    message = example.message.model_copy(update={"visibility": visibility, "body": body})
    return example.model_copy(update={"tenant_id": tenant, "ticket_id": uuid4(), "message": message})


async def settled(desk: Ground, endpoint: dict[str, Any], state: str, count: int = 1) -> list[dict[str, Any]]:
    """The deliveries in a state, once there are so many."""

    async def reached() -> list[dict[str, Any]]:
        found = await desk.deliveries(endpoint, state=state, limit="200")
        assert len(found) == count, found
        return found

    return await eventually(reached, what=f"{count} {state}")
