"""A tickets service per test: its own database, reference data put in directly, messages handed to its handler."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx2
import orjson
import pytest
import yaml
from typing_extensions import override

from services.tickets import api
from services.tickets.api.desk import Desk
from services.tickets.app import ROUTES
from services.tickets.desk.deciding import Deciding
from services.tickets.desk.hearing import Hearing
from services.tickets.desk.intake import Intake
from services.tickets.desk.known import Known
from services.tickets.desk.numbers import Numbers
from services.tickets.handlers import Handlers, on_reference_changed
from services.tickets.settings import Settings
from services.tickets.timers import Fired
from shared import outbox
from shared.auth import Authenticator, FixedCredentials, survey_token
from shared.contracts import cloudevents, ids
from shared.contracts.directory import PersonChanged, PolicyPublished, Role, TeamChanged, TenantChanged
from shared.contracts.event import Event
from shared.contracts.manifest import PERSON_CHANGED, POLICY_PUBLISHED, TEAM_CHANGED, TENANT_CHANGED
from shared.contracts.message import Body, Hints, MessageReceived, Participant
from shared.contracts.ticket import TicketState
from shared.db import Database, Tx, is_retryable
from shared.envelope import Answer, Emit, NotYet, Received
from shared.http import Cursor
from shared.metrics import Metrics
from shared.replica import Replica
from shared.timers import Timer, Timers
from tests.support.api import Caller, caller, in_memory
from tests.support.databases import ScratchDatabases
from tests.support.engines import Engines

PACK: dict[str, Any] = yaml.safe_load((Path(__file__).parents[3] / "deploy" / "policies" / "default.yaml").read_text())
PACK["assignment"]["wait_for_triage_seconds"] = 0
"""Most tests have no triage to wait for."""
MASTER = bytes(range(32))
REPLICATED = {
    "tenant": TENANT_CHANGED,
    "person": PERSON_CHANGED,
    "team": TEAM_CHANGED,
    "policy": POLICY_PUBLISHED,
}
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
OURS = Participant(person_id=ids.person_id("acme", "support@acme.example"), address="support@acme.example")
"""The desk's own address as a mail names it."""


class Relay:
    """Counts how often it was woken; sends nothing, so that a test can read the outbox."""

    def __init__(self) -> None:
        self.woken = 0

    def wake(self) -> None:
        self.woken += 1

    def attach(self) -> None:
        """Nobody waits for it."""

    def detach(self) -> None:
        """Nobody waits for it."""


def person(local: str, tenant: str = "acme") -> UUID:
    """The id of `local@example.org`."""
    return ids.person_id(tenant, f"{local}@example.org")


@dataclass
class Service:
    """One tickets service and the means to look inside."""

    url: str
    admin_url: str
    database: Database
    replica: Replica
    intake: Intake
    handlers: Handlers
    fired: Fired
    timers: Timers
    numbers: Numbers
    relay: Relay
    http: httpx2.AsyncClient
    app: Any
    credentials: dict[str, Caller] = field(default_factory=dict)
    _known: list[Any] = field(default_factory=list)
    _versions: Any = field(default_factory=lambda: itertools.count(1))

    # -- reference data -----------------------------------------------------------------------------------------

    async def learn(self, *events: Event) -> None:
        """Store reference data as the replica would, and tell the service of it."""
        async with self.database.begin() as tx:
            for number, event in enumerate(events):
                await tx.execute(
                    'INSERT INTO replica (topic, key, type, event, version, event_time, partition, "offset")'
                    " VALUES ($1, $2, $3, $4, $5, now(), 0, $6) ON CONFLICT (topic, key, type)"
                    " DO UPDATE SET event = excluded.event, version = excluded.version",
                    cloudevents.topic_name(event.TYPE),
                    event.key,
                    event.TYPE,
                    event.to_bytes(),
                    getattr(event, "version", None),
                    number,
                )
            await on_reference_changed(tx, [received(event) for event in events])
        for event in events:
            self.replica._cache.drop(cloudevents.topic_name(event.TYPE), event.key)

    async def tenant(self, tenant: str = "acme", **sections: Any) -> None:
        """A tenant with the default pack; `sections` replaces whole sections."""
        version = next(self._versions)
        policies = [
            PolicyPublished(
                tenant_id=tenant,
                policy_key=f"{tenant}/{section}",
                section=section,
                pack="default",
                pack_version=version,
                document=sections.get(section, PACK[section]),
                published_at=START,
            )
            for section in ("workflow", "priorities", "assignment", "numbering", "satisfaction")
        ]
        known = TenantChanged(
            tenant_id=tenant, version=version, name=tenant, inbound_addresses=(f"support@{tenant}.example",)
        )
        await self.learn(known, *policies)

    async def team(self, name: str = "tier1", tenant: str = "acme", queues: Sequence[str] = ("tier1",)) -> UUID:
        team_id = ids.person_id(tenant, f"team:{name}")
        await self.learn(
            TeamChanged(
                tenant_id=tenant, team_id=team_id, version=next(self._versions), name=name, queues=tuple(queues)
            )
        )
        return team_id

    async def agent(
        self,
        local: str,
        *teams: UUID,
        tenant: str = "acme",
        capacity: int = 5,
        available: bool = True,
        role: Role = Role.AGENT,
    ) -> UUID:
        person_id = person(local, tenant)
        await self.learn(
            PersonChanged(
                tenant_id=tenant,
                person_id=person_id,
                version=next(self._versions),
                role=role,
                name=local.title(),
                addresses=(f"{local}@example.org",),
                team_ids=teams,
                capacity=capacity,
                available=available,
            )
        )
        return person_id

    def caller(self, name: str, role: Role, tenant: str = "acme", person_id: UUID | None = None) -> Caller:
        """Somebody with an API key."""
        found = caller(role, tenant_id=tenant, person_id=person_id or person(name, tenant))
        self._known.append(found)
        self.http_credentials.add(found)
        return found

    http_credentials: Any = None

    # -- messages -----------------------------------------------------------------------------------------------

    async def handle(self, *messages: MessageReceived) -> list[Answer]:
        """One batch of messages."""
        return await self._batch([received(one) for one in messages], Handlers.on_message_received)

    async def hear(self, *events: Event, at: datetime | None = None) -> list[Answer]:
        """One batch of events of one type of another service, which happened at `at`."""
        (topic,) = {cloudevents.topic_name(event.TYPE) for event in events}
        handler = next(route.handler for route in ROUTES if route.topic.name == topic)
        return await self._batch([received(event, at) for event in events], handler)

    async def _batch(self, batch: Sequence[Received[Any]], handler: Any) -> list[Answer]:
        """As the bus runs it: again at once after a conflict, nothing kept of a NotYet."""
        while True:
            try:
                return await self._transaction(batch, handler)
            except _NotYetError as waiting:
                return waiting.answers
            except asyncpg.PostgresError as error:
                if not is_retryable(error):
                    raise

    async def _transaction(self, batch: Sequence[Received[Any]], handler: Any) -> list[Answer]:
        async with self.database.begin() as tx:
            answers = list(await handler(self.handlers, tx, batch))
            if any(isinstance(answer, NotYet) for answer in answers):
                raise _NotYetError(answers)
            await outbox.add(tx, answers)
            return answers

    async def state(self, ticket: UUID) -> TicketState:
        """The newest published state of a ticket."""
        states = [one for one in await self.published("ticket.state") if one["ticket_id"] == str(ticket)]
        return TicketState.model_validate(max(states, key=lambda one: one["revision"]))

    async def retold(self, ticket: UUID) -> TicketState:
        """The newest state once what others have said of tickets is published."""
        await self.forward(timedelta(seconds=1))
        await self.fire()
        return await self.state(ticket)

    async def fire(self) -> None:
        """Fire what is due, and what that makes due."""
        for _ in range(5):
            await self.timers._round()

    async def forward(self, by: timedelta) -> None:
        """Move the test clock."""
        await self.rows("UPDATE clock_offset SET shift = shift + $1", by)

    # -- looking inside -----------------------------------------------------------------------------------------

    async def rows(self, sql: str, *args: object) -> list[asyncpg.Record]:
        """What the administrator of the database sees."""
        connection = await asyncpg.connect(self.admin_url)
        try:
            return list(await connection.fetch(sql, *args))
        finally:
            await connection.close()

    async def one(self, sql: str, *args: object) -> Any:
        """The first column of the first row."""
        rows = await self.rows(sql, *args)
        return rows[0][0] if rows else None

    async def published(self, topic: str | None = None) -> list[dict[str, Any]]:
        """What is in the outbox, in order."""
        rows = await self.rows(
            "SELECT topic, payload FROM outbox WHERE $1::text IS NULL OR topic = $1 ORDER BY id", topic
        )
        return [{"topic": row["topic"], **orjson.loads(row["payload"])} for row in rows]

    async def call(self, who: Caller, method: str, path: str, json: Any = None, **headers: str) -> httpx2.Response:
        """One request."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.request(method, path, json=json, headers={**who.headers, **named})


class _NotYetError(Exception):
    def __init__(self, answers: list[Answer]) -> None:
        super().__init__()
        self.answers = answers


def received(event: Event, at: datetime | None = None) -> Received[Any]:
    return Received(
        event=event,
        id=uuid4(),
        type=event.TYPE,
        time=at or START,
        key=event.key,
        topic=cloudevents.topic_name(event.TYPE),
        partition=0,
        offset=0,
    )


def message(
    sender: str = "rita",
    subject: str = "Printer on fire",
    text: str = "It burns.",
    *,
    tenant: str = "acme",
    source: str | None = None,
    to: Sequence[str] = (),
    hints: Hints | None = None,
    **more: Any,
) -> MessageReceived:
    """A message as ingest publishes it; `source` is what the channel calls it."""
    message_id = ids.message_id(tenant, "email", source or uuid4().hex)
    return MessageReceived(
        tenant_id=tenant,
        message_id=message_id,
        conversation_id=more.pop("conversation_id", message_id),
        channel=more.pop("channel", "email"),
        received_at=more.pop("received_at", datetime.now(UTC)),
        sender=Participant(person_id=person(sender, tenant), address=f"{sender}@example.org"),
        recipients=tuple(Participant(person_id=person(p, tenant), address=f"{p}@example.org") for p in to),
        subject=subject,
        body=Body(text=text),
        hints=hints or Hints(),
        **more,
    )


def reply(to: MessageReceived, /, sender: str = "rita", **more: Any) -> MessageReceived:
    """An answer whose parent ingest knows."""
    return message(
        sender,
        subject=f"Re: {to.subject}",
        tenant=to.tenant_id,
        parent="known",
        parent_message_id=to.message_id,
        conversation_id=more.pop("conversation_id", to.conversation_id),
        **more,
    )


def ticket_id(first: MessageReceived) -> UUID:
    """The ticket that a message opens."""
    return ids.ticket_id(first.tenant_id, first.message_id)


class Credentials(FixedCredentials):
    """Credentials to which a test adds callers as it goes."""

    def add(self, one: Caller) -> None:
        self._extra = {**getattr(self, "_extra", {}), one.credential.credential_id: one.credential}

    @override
    async def get(self, credential_id: str) -> Any:
        return getattr(self, "_extra", {}).get(credential_id)


Make = Callable[[], Awaitable[Service]]


@pytest.fixture
async def service(engines: Engines, databases: ScratchDatabases) -> AsyncIterator[Service]:
    """A service whose outbox nobody sends."""
    url = await databases.create("tickets")
    made = await build(engines, databases, url)
    yield made
    await made.http.aclose()
    await made.database.close()


async def build(engines: Engines, databases: ScratchDatabases, url: str) -> Service:
    """One more instance of the service on that database."""
    settings = Settings(database_url=url, kafka_url=engines.kafka_url)
    database = await Database.connect(url, application="tickets", max_size=10)
    relay = Relay()
    metrics = Metrics("tickets")
    replica = Replica(settings, database, REPLICATED, metrics=metrics)
    known, numbers = Known(replica), Numbers(database)
    patience = timedelta(minutes=10)
    draw = random.Random(7).randbytes
    intake = Intake(known, numbers, draw, patience)
    fired = Fired(known, draw, sweep=timedelta(seconds=5), parent_patience=patience)
    desk = Desk(
        database=database,
        known=known,
        intake=intake,
        numbers=numbers,
        wake=relay.wake,
        cursor=Cursor(MASTER),
        draw=os.urandom,
        survey_key=survey_token.key_of(MASTER),
    )
    credentials = Credentials()
    app = api.build(settings, desk, Authenticator(credentials))
    return Service(
        url=url,
        admin_url=databases.admin(url),
        database=database,
        replica=replica,
        intake=intake,
        handlers=Handlers(intake, Deciding(known, draw), Hearing(known, draw)),
        fired=fired,
        timers=Timers(settings, database, relay, fired.handlers(), metrics),
        numbers=numbers,
        relay=relay,
        http=in_memory(app),
        app=app,
        http_credentials=credentials,
    )


__all__ = ["Emit", "Make", "Service", "Timer", "Tx", "message", "person", "received", "reply", "ticket_id"]
