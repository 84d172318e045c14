"""A running triage service: its topics, its API, what it publishes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx2
import pytest
import yaml
from aiokafka import AIOKafkaProducer
from pydantic import JsonValue, SecretStr

from services.triage.app import REPLICATED, ROUTES, build
from services.triage.settings import Settings
from shared.blobs import Blobs
from shared.contracts import ids
from shared.contracts.decision import TicketTriaged
from shared.contracts.directory import PolicyPublished, Role, TenantChanged
from shared.contracts.event import Event
from shared.contracts.manifest import TICKET_TRIAGED
from shared.contracts.message import Body
from shared.contracts.ticket import (
    Actor,
    ActorKind,
    AuthorKind,
    Change,
    PriorityLevel,
    TicketCreated,
    TicketMessage,
    TicketMessageAdded,
    TicketSummary,
    TicketUpdated,
    Visibility,
)
from shared.health import failing
from shared.service import Service
from tests.support.api import MASTER_KEY, Caller, caller, in_memory
from tests.support.databases import ScratchDatabases
from tests.support.engines import Engines
from tests.support.topics import create_topics
from tests.support.waiting import eventually

PACK: dict[str, Any] = yaml.safe_load((Path(__file__).parents[3] / "deploy" / "policies" / "default.yaml").read_text())
NOON = datetime(2026, 11, 16, 12, tzinfo=UTC)
REQUESTER = Actor(kind=ActorKind.PERSON, id="5f0c3c9e-8f5a-5a55-9d57-0d8b1a6d7c11", role="customer")
AGENT = Actor(kind=ActorKind.PERSON, id="0b6b0f3e-41d1-5d5e-9e0e-51d7d9f1c0aa", role="agent")


@dataclass
class Ticket:
    """A ticket as tickets would tell of it."""

    tenant: str = "acme"
    subject: str = "Hello"
    tier: str | None = None
    inbound_address: str | None = None
    requester_id: UUID = field(default_factory=uuid4)
    id: UUID = field(default_factory=uuid4)
    version: int = 1

    def summary(self) -> TicketSummary:
        return TicketSummary(
            ticket_id=self.id,
            number="INC-2026-000001",
            version=self.version,
            subject=self.subject,
            status="new",
            category="new",
            priority=PriorityLevel(rank=3, label="P3"),
            requester_id=self.requester_id,
            queue="tier1",
            channel="email",
            inbound_address=self.inbound_address,
            tier=self.tier,
            created_at=NOON,
            updated_at=NOON,
        )

    def created(
        self, text: str | Body, hints: dict[str, JsonValue] | None = None, by: Actor = REQUESTER
    ) -> TicketCreated:
        return TicketCreated(
            tenant_id=self.tenant,
            ticket_id=self.id,
            ticket=self.summary(),
            actor=by,
            message=self._message(text, AuthorKind.REQUESTER),
            hints=hints or {},
        )

    def adds(self, text: str | Body, author: AuthorKind = AuthorKind.REQUESTER, **values: Any) -> TicketMessageAdded:
        self.version += 1
        return TicketMessageAdded(
            tenant_id=self.tenant,
            ticket_id=self.id,
            ticket=self.summary(),
            actor=REQUESTER if author is AuthorKind.REQUESTER else AGENT,
            message=self._message(text, author).model_copy(update=values),
        )

    def updated(self, *changes: Change, by: Actor = AGENT) -> TicketUpdated:
        self.version += 1
        return TicketUpdated(tenant_id=self.tenant, ticket_id=self.id, ticket=self.summary(), actor=by, changes=changes)

    @staticmethod
    def _message(text: str | Body, author: AuthorKind) -> TicketMessage:
        return TicketMessage(
            message_id=uuid4(),
            author_kind=author,
            visibility=Visibility.PUBLIC,
            channel="email",
            body=text if isinstance(text, Body) else Body(text=text),
            created_at=NOON,
        )


@dataclass
class Desk:
    """The running service and everything around it."""

    producer: AIOKafkaProducer
    prefix: str
    client: httpx2.AsyncClient
    database_url: str
    blobs: Blobs
    app: Any
    running: Sequence[asyncio.Future[None]]
    _versions: int = 0

    async def publish(self, event: Event, identity: UUID | None = None) -> UUID:
        identity = identity or uuid4()
        headers = [
            ("ce_specversion", b"1.0"),
            ("ce_id", str(identity).encode()),
            ("ce_type", event.TYPE.encode()),
            ("ce_time", datetime.now(UTC).isoformat().encode()),
        ]
        topic = self.prefix + event.TYPE.rpartition(".")[0]
        await self.producer.send_and_wait(topic, event.to_bytes(), key=event.key.encode(), headers=headers)
        return identity

    async def tenant(self, tenant: str = "acme", languages: tuple[str, ...] = ("en",), **sections: Any) -> None:
        """A tenant with the default pack; `sections` replaces whole sections."""
        self._versions += 1
        await self.publish(TenantChanged(tenant_id=tenant, version=self._versions, name=tenant, languages=languages))
        for section in ("priorities", "triage"):
            event = PolicyPublished(
                tenant_id=tenant,
                policy_key=f"{tenant}/{section}",
                section=section,
                pack="default",
                pack_version=self._versions,
                document=sections.get(section, PACK[section]),
                published_at=NOON,
            )
            await self.publish(event)
            await self.stored("policy.published", event.policy_key, self._versions)

    async def stored(self, topic: str, key: str, version: int) -> None:
        """Wait until the service has heard of it."""

        async def there() -> bool:
            rows = await self.rows(
                "SELECT event FROM replica WHERE topic = $1 AND key = $2 AND event IS NOT NULL", topic, key
            )
            return any(f'_version":{version}' in bytes(row["event"]).decode() for row in rows) or (
                topic != "policy.published" and bool(rows)
            )

        await eventually(there, what=f"{topic} {key}")

    async def rows(self, sql: str, *values: object) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.database_url)
        try:
            return await connection.fetch(sql, *values)
        finally:
            await connection.close()

    async def decisions(self, ticket: Ticket, count: int = 1) -> list[TicketTriaged]:
        """What was put out for a ticket so far, oldest first; at least `count`."""

        async def enough() -> list[TicketTriaged]:
            rows = await self.rows(
                "SELECT decision_id, ticket_id, tenant_id, based_on_version, decision, reasons, confidence,"
                " policy_version FROM decision WHERE ticket_id = $1 ORDER BY decided_at",
                ticket.id,
            )
            found = [_event(row) for row in rows]
            assert len(found) >= count, found
            return found

        return await eventually(enough, what=f"{count} decisions")

    async def seen(self, identity: UUID) -> None:
        """Wait until the service has handled an event."""

        async def handled() -> bool:
            return bool(await self.rows("SELECT 1 FROM inbox WHERE ce_id = $1", identity))

        await eventually(handled, what="the event handled")

    async def ask(self, who: Caller, path: str, **options: Any) -> Any:
        answer = await self.client.get(path, headers=who.headers, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def known(self, role: Role, tenant: str = "acme") -> Caller:
        """Somebody whom the service knows."""
        who = caller(role, tenant_id=tenant)
        await self.publish(who.credential)

        async def let_in() -> bool:
            return (await self.client.get("/v1/triage/corrections", headers=who.headers)).status_code != 401

        await eventually(let_in, what="the credential")
        return who


def _event(row: asyncpg.Record) -> TicketTriaged:
    return TicketTriaged.model_validate_json(
        '{"decision":'
        + row["decision"]
        + ',"reasons":'
        + row["reasons"]
        + f',"tenant_id":"{row["tenant_id"]}","ticket_id":"{row["ticket_id"]}","decision_id":"{row["decision_id"]}"'
        + f',"based_on_version":{row["based_on_version"]},"confidence":{row["confidence"]}'
        + f',"policy_version":{row["policy_version"]}'
        + "}"
    )


@pytest.fixture
async def desk(engines: Engines, databases: ScratchDatabases, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Desk]:
    topics = [*(route.topic for route in ROUTES), *REPLICATED, TICKET_TRIAGED]
    await create_topics(engines.kafka_url, topic_prefix, topics, groups=["triage"])
    url = await databases.create("triage")
    settings = Settings(
        kafka_url=engines.kafka_url,
        database_url=SecretStr(url),
        topic_prefix=topic_prefix,
        master_key=SecretStr(MASTER_KEY),
        blobs_url=f"file://{tmp_path}/blobs",
    )
    service = await build(settings)
    running = [asyncio.ensure_future(loop.run()) for loop in service.loops]
    producer = AIOKafkaProducer(bootstrap_servers=engines.kafka_url)
    await producer.start()
    assert service.routes is not None
    await eventually(lambda: _ready(service), what="readiness")
    async with in_memory(service.routes) as client:
        yield Desk(producer, topic_prefix, client, url, Blobs(f"file://{tmp_path}/blobs"), service.routes, running)
    await stopped(running)
    for stop in service.stop:
        await stop()
    await producer.stop()


async def stopped(running: Sequence[asyncio.Future[None]]) -> None:
    """End loops as a process does; once they have ended, nothing happens."""
    for task in running:
        task.cancel()
    for task in running:
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _ready(service: Service) -> bool:
    """Whether every check passes; a service that lacks something says what."""
    missing = await failing(service.checks)
    assert not missing, missing
    return True


def person_id(local: str, tenant: str = "acme") -> UUID:
    """The id of `local@example.org`."""
    return ids.person_id(tenant, f"{local}@example.org")
