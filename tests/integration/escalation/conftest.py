"""An escalation service per test: its own database, reference data put in directly, events handed to its handlers."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx2
import orjson
import pytest
from typing_extensions import override

from services.escalation import api, measures
from services.escalation.api.desk import Desk
from services.escalation.app import ROUTES
from services.escalation.desk.known import Known
from services.escalation.desk.reference import on_reference_changed
from services.escalation.handlers import Handlers
from services.escalation.settings import Settings
from services.escalation.timers import Fired
from shared import outbox
from shared.auth import Authenticator, FixedCredentials
from shared.contracts import cloudevents
from shared.contracts.directory import Role, TenantChanged
from shared.contracts.event import Event
from shared.contracts.manifest import PERSON_CHANGED, POLICY_PUBLISHED, TEAM_CHANGED, TENANT_CHANGED
from shared.db import Database, is_retryable
from shared.envelope import Answer, NotYet, Received, Watermark
from shared.http import Cursor
from shared.metrics import Metrics
from shared.replica import Replica
from shared.timers import Timers
from tests.support.api import Caller, caller, in_memory
from tests.support.databases import ScratchDatabases
from tests.support.engines import Engines
from tests.unit.escalation.desk import LEAD, people, policy_event, team

REPLICATED = {"tenant": TENANT_CHANGED, "person": PERSON_CHANGED, "team": TEAM_CHANGED, "policy": POLICY_PUBLISHED}
ORDER = [route.topic.name for route in ROUTES]


class Relay:
    """Sends nothing, so that a test can read the outbox."""

    def wake(self) -> None:
        """Nothing to do."""

    def attach(self) -> None:
        """Nobody waits for it."""

    def detach(self) -> None:
        """Nobody waits for it."""


class Credentials(FixedCredentials):
    """Credentials to which a test adds callers as it goes."""

    def __init__(self) -> None:
        super().__init__()
        self.added: dict[str, Any] = {}

    @override
    async def get(self, credential_id: str) -> Any:
        return self.added.get(credential_id)


@dataclass
class Service:
    """One escalation service and the means to look inside."""

    admin_url: str
    database: Database
    replica: Replica
    handlers: Handlers
    timers: Timers
    http: httpx2.AsyncClient
    app: Any
    credentials: Credentials
    _positions: Any = field(default_factory=lambda: itertools.count(1))

    async def learn(self, *events: Event) -> None:
        """Store reference data as the replica would, and tell the service of it."""
        async with self.database.begin() as tx:
            for event in events:
                await tx.execute(
                    'INSERT INTO replica (topic, key, type, event, version, event_time, partition, "offset")'
                    " VALUES ($1, $2, $3, $4, $5, now(), 0, $6) ON CONFLICT (topic, key, type)"
                    " DO UPDATE SET event = excluded.event, version = excluded.version",
                    cloudevents.topic_name(event.TYPE),
                    event.key,
                    event.TYPE,
                    event.to_bytes(),
                    getattr(event, "version", None),
                    next(self._positions),
                )
            await on_reference_changed(tx, [received(event) for event in events])
        for event in events:
            self.replica._cache.drop(cloudevents.topic_name(event.TYPE), event.key)

    async def staffed(self, tenant: str = "acme", **sections: Any) -> None:
        """A tenant with the default policy and a colleague of every role in one team."""
        known = TenantChanged(tenant_id=tenant, version=1, name=tenant, timezone="America/New_York")
        await self.learn(known, policy_event(tenant, **sections), team(tenant), *people(tenant))

    # -- events in ------------------------------------------------------------------------------------------------

    async def handle(self, *events: Event | Received[Any]) -> list[Answer]:
        """One batch as the bus runs it: topic by topic, again at once after a conflict, nothing kept of a NotYet."""
        batch = [one if isinstance(one, Received) else await self.now_received(one) for one in events]
        while True:
            try:
                return await self._transaction(batch)
            except _NotYetError as waiting:
                return waiting.answers
            except asyncpg.PostgresError as error:
                if not is_retryable(error):
                    raise

    async def now_received(self, event: Event) -> Received[Any]:
        """An event of this instant."""
        async with self.database.begin() as tx:
            return received(event, at=tx.instant)

    async def _transaction(self, batch: Sequence[Received[Any]]) -> list[Answer]:
        answers: list[Answer] = []
        async with self.database.begin() as tx:
            for route in ROUTES:
                mine = [one for one in batch if one.topic == route.topic.name]
                if mine:
                    handler: Any = route.handler
                    answers += await handler(self.handlers, tx, mine)
            if any(isinstance(answer, NotYet) for answer in answers):
                raise _NotYetError(answers)
            await outbox.add(tx, [answer for answer in answers if not isinstance(answer, NotYet)])
        return answers

    async def knows(self, until: datetime) -> None:
        """A watermark of the tickets' partition."""
        mark = Watermark(partition=0, until=until, topic="ticket.state", offset=1)
        async with self.database.begin() as tx:
            await self.handlers.on_ticket_state(tx, [mark])

    async def fire(self) -> None:
        """Fire what is due, and what that makes due."""
        for _ in range(4):
            await self.timers._round()

    async def forward(self, *, minutes: float) -> None:
        """Move the test clock and fire what that makes due."""
        await self.rows("UPDATE clock_offset SET shift = shift + $1", timedelta(minutes=minutes))
        await self.fire()

    async def now(self) -> datetime:
        """The database's clock."""
        async with self.database.begin() as tx:
            return tx.instant

    # -- looking inside -------------------------------------------------------------------------------------------

    async def rows(self, sql: str, *args: object) -> list[asyncpg.Record]:
        """What the administrator of the database sees."""
        connection = await asyncpg.connect(self.admin_url)
        try:
            return list(await connection.fetch(sql, *args))
        finally:
            await connection.close()

    async def published(self, topic: str) -> list[dict[str, Any]]:
        """What is in the outbox, in order."""
        rows = await self.rows("SELECT payload FROM outbox WHERE topic = $1 ORDER BY id", topic)
        return [orjson.loads(row["payload"]) for row in rows]

    async def steps(self) -> list[tuple[str, int, list[str]]]:
        """Name, level and people of every step told."""
        return [
            (one["name"], one["level"], sorted(who["person_id"] for who in one.get("targets", ())))
            for one in await self.published("escalation.stepped")
        ]

    async def paged(self) -> list[tuple[str, str]]:
        """Person and urgency of every page asked for."""
        return [(one["person_id"], one["urgency"]) for one in await self.published("page.requested")]

    # -- HTTP -----------------------------------------------------------------------------------------------------

    def caller(self, role: Role, person_id: UUID | None = None, tenant: str = "acme") -> Caller:
        """Somebody with an API key."""
        found = caller(role, tenant_id=tenant, person_id=person_id or uuid4())
        self.credentials.added[found.credential.credential_id] = found.credential
        return found

    def caller_of_lead(self) -> Caller:
        """The team lead, who manages escalations."""
        return self.caller(Role.TEAM_LEAD, LEAD)

    async def call(self, who: Caller, method: str, path: str, json: Any = None, **headers: str) -> httpx2.Response:
        """One request."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.request(method, path, json=json, headers={**who.headers, **named})


class _NotYetError(Exception):
    def __init__(self, answers: list[Answer]) -> None:
        super().__init__()
        self.answers = answers


def received(event: Event, at: datetime | None = None, identity: UUID | None = None) -> Received[Any]:
    """An event as the bus hands it over."""
    return Received(
        event=event,
        id=identity or uuid4(),
        type=event.TYPE,
        time=at or datetime.now().astimezone(),
        key=event.key,
        topic=cloudevents.topic_name(event.TYPE),
        partition=0,
        offset=0,
    )


@pytest.fixture
async def service(engines: Engines, databases: ScratchDatabases) -> AsyncIterator[Service]:
    """A service whose outbox nobody sends."""
    url = await databases.create("escalation")
    settings = Settings(database_url=url, kafka_url=engines.kafka_url)
    database = await Database.connect(url, application="escalation", max_size=10)
    relay, metrics = Relay(), Metrics("escalation")
    replica = Replica(settings, database, REPLICATED, metrics=metrics)
    known, counted = Known(replica), measures.of(metrics)
    credentials = Credentials()
    desk = Desk(database=database, known=known, wake=relay.wake, cursor=Cursor(bytes(range(32))), measures=counted)
    app = api.build(settings, desk, Authenticator(credentials))
    made = Service(
        admin_url=databases.admin(url),
        database=database,
        replica=replica,
        handlers=Handlers(known, counted),
        timers=Timers(settings, database, relay, Fired(known, counted).handlers(), metrics),
        http=in_memory(app),
        app=app,
        credentials=credentials,
    )
    yield made
    await made.http.aclose()
    await made.database.close()


__all__ = ["Service", "received"]
