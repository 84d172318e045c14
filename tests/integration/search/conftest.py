"""A search service per test: its own topics, database and indexes on the real engines, all deleted afterwards."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx2
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from pydantic import SecretStr

from services.search.app import REPLICATED, ROUTES, build
from services.search.settings import Settings
from shared.contracts.decision import TicketDuplicatesFound
from shared.contracts.directory import Role
from shared.contracts.event import Event
from shared.contracts.manifest import TICKET_DUPLICATES_FOUND
from shared.contracts.ticket import (
    Actor,
    TicketMessageAdded,
)
from shared.health import Missing, failing
from shared.service import Service
from tests.integration.search.story import NOW, OWN, Ticket
from tests.support.api import MASTER_KEY, Caller, caller, in_memory
from tests.support.databases import ScratchDatabases
from tests.support.engines import Engines
from tests.support.topics import create_topics, delete_topics, new_prefix
from tests.support.waiting import eventually


@dataclass
class Desk:
    """The running service, its topics, its API, its engine."""

    settings: Settings
    service: Service
    client: httpx2.AsyncClient
    opensearch: httpx2.AsyncClient
    producer: AIOKafkaProducer
    admin_url: str
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    # -- events -------------------------------------------------------------------------------------------------

    async def publish(self, *events: Event, identity: UUID | None = None) -> None:
        """Publish in this order."""
        sent = []
        for event in events:
            topic = self.settings.topic_prefix + event.TYPE.rpartition(".")[0]
            sent.append(
                await self.producer.send(
                    topic, event.to_bytes(), key=event.key.encode(), headers=headers(event.TYPE, identity)
                )
            )
        await asyncio.gather(*sent)

    async def tombstone(self, ticket: Ticket) -> None:
        topic = self.settings.topic_prefix + "ticket.state"
        await self.producer.send_and_wait(topic, None, key=str(ticket.id).encode())

    async def open(self, *tickets: Ticket) -> None:
        """Publish tickets whole, and wait until they are found."""
        for ticket in tickets:
            await self.publish(ticket.created(), *self.later(ticket), ticket.state())
        await self.quiet()

    @staticmethod
    def later(ticket: Ticket) -> list[Event]:
        return [
            TicketMessageAdded(
                tenant_id=ticket.tenant,
                ticket_id=ticket.id,
                ticket=ticket.summary,
                actor=Actor(kind="service", id="tickets"),
                message=message,
            )
            for message in ticket.messages[1:]
        ]

    async def duplicates(self) -> list[TicketDuplicatesFound]:
        """Every decision published so far."""
        consumer = AIOKafkaConsumer(
            self.settings.topic_prefix + "ticket.duplicates_found",
            bootstrap_servers=self.settings.kafka_url,
            auto_offset_reset="earliest",
        )
        await consumer.start()
        try:
            ends = await consumer.end_offsets(consumer.assignment())
            found = []
            while [p for p in ends if await consumer.position(p) < ends[p]]:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found += [TicketDuplicatesFound.model_validate_json(record.value) for record in records]
            return found
        finally:
            await consumer.stop()

    # -- looking ------------------------------------------------------------------------------------------------

    async def quiet(self, tickets: int | None = None) -> None:
        """Wait until everything published is written, and have it found."""

        async def nothing_waits() -> bool:
            lag = await self.lag()
            assert lag == 0, f"{lag} events not handled"
            dirty = await self.value("SELECT count(*) FROM dirty")
            assert dirty == 0, f"{dirty} documents not written"
            return True

        await eventually(nothing_waits, what="the index", within=30)
        await self.opensearch.post(f"/{self.alias}/_refresh")

    async def lag(self) -> int:
        """Events on the topics of this service not handled yet, by its committed offsets."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.settings.kafka_url, group_id=self.settings.group(), enable_auto_commit=False
        )
        await consumer.start()
        try:
            total = 0
            for route in ROUTES:
                name = self.settings.topic(route.topic.name)
                parts = consumer.partitions_for_topic(name) or await consumer._client._wait_on_metadata(name)
                partitions = [TopicPartition(name, number) for number in parts]
                ends = await consumer.end_offsets(partitions)
                for partition in partitions:
                    total += ends[partition] - (await consumer.committed(partition) or 0)
            return total
        finally:
            await consumer.stop()

    @property
    def alias(self) -> str:
        return f"{self.settings.index_prefix}tickets"

    async def document(self, ticket: Ticket) -> dict[str, Any] | None:
        answer = await self.opensearch.get(f"/{self.alias}/_doc/{ticket.id}?routing={ticket.tenant}")
        found: dict[str, Any] = answer.json()
        return found["_source"] | {"_version": found["_version"]} if found.get("found") else None

    async def find(self, who: Caller, **query: Any) -> dict[str, Any]:
        answer = await self.client.get("/v1/search", params=query, headers=who.headers)
        assert answer.status_code == 200, answer.text
        page: dict[str, Any] = answer.json()
        return page

    async def subjects(self, who: Caller, **query: Any) -> list[str]:
        return [item["subject"] for item in (await self.find(who, **query))["items"]]

    async def known(self, role: Role, *, tenant: str | None = None, person: UUID | None = None) -> Caller:
        """Somebody whose credential the service knows."""
        who = caller(role, tenant_id=tenant or OWN.tenant, person_id=person or uuid4())
        await self.publish(who.credential)

        async def admitted() -> bool:
            answer = await self.client.get("/v1/similar", headers=who.headers)
            assert answer.status_code != 401
            return True

        await eventually(admitted, what="the credential")
        return who

    async def value(self, sql: str, *args: object) -> Any:
        connection = await asyncpg.connect(self.admin_url)
        try:
            return await connection.fetchval(sql, *args)
        finally:
            await connection.close()

    async def missing(self) -> list[Missing]:
        return await failing(self.service.checks)

    # -- its life -----------------------------------------------------------------------------------------------

    async def ready(self) -> None:
        async def every_check() -> bool:
            missing = await self.missing()
            assert not missing, missing
            return True

        await eventually(every_check, what="readiness", within=30)

    async def stop(self) -> None:
        tasks, self.tasks = self.tasks, []
        if not tasks:
            return
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert outcome is None or isinstance(outcome, asyncio.CancelledError), outcome
        for stop in self.service.stop:
            await stop()
        await self.client.aclose()


def headers(type_: str, identity: UUID | None = None) -> list[tuple[str, bytes]]:
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", str(identity or uuid4()).encode()),
        ("ce_type", type_.encode()),
        ("ce_time", datetime.now(UTC).isoformat().encode()),
    ]


Start = Callable[..., Awaitable[Desk]]


@asynccontextmanager
async def starting(
    engines: Engines, databases: ScratchDatabases, prefix: str, *, lasting: bool = False
) -> AsyncIterator[Start]:
    """Starts instances of one service on one database; any setting may be given."""
    topics = [*(route.topic for route in ROUTES), *REPLICATED, TICKET_DUPLICATES_FOUND]
    await create_topics(engines.kafka_url, prefix, topics, groups=["search"])
    index_prefix = f"t{secrets.token_hex(4)}-"
    own_database = await databases.create("search", lasting=lasting)
    producer = AIOKafkaProducer(bootstrap_servers=engines.kafka_url)
    await producer.start()
    opensearch = httpx2.AsyncClient(base_url=engines.opensearch_url, trust_env=False, timeout=30)
    started: list[Desk] = []

    async def start_one(**more: Any) -> Desk:
        given: dict[str, Any] = {
            "kafka_url": engines.kafka_url,
            "database_url": SecretStr(own_database),
            "opensearch_url": engines.opensearch_url,
            "index_prefix": index_prefix,
            "topic_prefix": prefix,
            "master_key": SecretStr(MASTER_KEY),
            "linger_seconds": 0.05,
            "duplicate_delay_seconds": 1.2,
            "gap_seconds": 60.0,
            "drain_seconds": 5,
            **more,
        }
        settings = Settings(**given)
        service = await build(settings)
        assert service.routes is not None
        desk = Desk(
            settings=settings,
            service=service,
            client=in_memory(service.routes),
            opensearch=opensearch,
            producer=producer,
            admin_url=databases.admin(settings.database_url.get_secret_value()),
        )
        desk.tasks = [asyncio.ensure_future(loop.run()) for loop in service.loops]
        started.append(desk)
        return desk

    yield start_one
    await asyncio.gather(*(desk.stop() for desk in started))
    await opensearch.delete(f"/{index_prefix}tickets-*")
    await opensearch.aclose()
    await producer.stop()


@pytest.fixture
async def start(engines: Engines, databases: ScratchDatabases, topic_prefix: str) -> AsyncIterator[Start]:
    """A service of this test's own."""
    async with starting(engines, databases, topic_prefix) as start_one:
        yield start_one


@pytest.fixture(scope="module")
async def running(engines: Engines, databases: ScratchDatabases) -> AsyncIterator[Desk]:
    """One service for a whole module, whose tests each are a tenant of their own."""
    prefix = new_prefix("search-shared")
    async with starting(engines, databases, prefix, lasting=True) as start_one:
        one = await start_one()
        await one.ready()
        yield one
    await delete_topics(engines.kafka_url, prefix)


@pytest.fixture(autouse=True)
def own_tenant() -> None:
    """Tickets and callers of a test are of a tenant that no other test has."""
    OWN.tenant = f"acme-{secrets.token_hex(3)}"


@pytest.fixture
async def desk(start: Start) -> Desk:
    one = await start()
    await one.ready()
    return one


__all__ = ("NOW", "OWN", "Desk", "Start", "Ticket", "headers")
