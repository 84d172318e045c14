"""A running sla: its own database and topics; states, watermarks and policies put on the topics as others would."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx2
import orjson
import pytest
import yaml
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from pydantic import SecretStr

from services.sla.app import REPLICATED, ROUTES, build
from services.sla.settings import Settings
from services.sla.store import clocks
from shared import kafka
from shared.contracts import cloudevents, watermark
from shared.contracts.directory import PersonChanged, PolicyPublished, TenantChanged
from shared.contracts.event import Event
from shared.contracts.manifest import SLA_BREACHED, SLA_CHANGED, SLA_MET, SLA_WARNING
from shared.contracts.ticket import LedgerEntry, LedgerKind, PriorityLevel, SealedCycle, TicketState, TicketSummary
from shared.db import Database
from shared.health import failing
from shared.service import Service
from tests.support.api import Caller, in_memory
from tests.support.databases import ScratchDatabases
from tests.support.engines import Engines
from tests.support.topics import create_topics
from tests.support.waiting import eventually

PACK = yaml.safe_load((Path(__file__).parents[3] / "deploy" / "policies" / "default.yaml").read_text())
ALWAYS = {"calendars": [{"name": "always", "always": True}]}
TARGETS = {"calendar": "always", "targets": [{"priority": "P1", "first_response": 15}, {"first_response": 60}]}
"""Only a first response, so that a test reads what one clock says."""
TOLD = (SLA_WARNING, SLA_BREACHED, SLA_MET, SLA_CHANGED)
PARTITIONS = 3


class Ticket:
    """A ticket as tickets publishes it."""

    def __init__(self, opened_at: datetime, *, tenant: str = "acme", requester: UUID | None = None) -> None:
        self.id = uuid4()
        self.tenant = tenant
        self.requester = requester or uuid4()
        self.version = 0
        self.revision = 0
        self.status, self.category, self.priority = "new", "new", "P3"
        self.cycle = 1
        self.number = 0
        self.ledger: list[LedgerEntry] = []
        self.sealed: list[SealedCycle] = []
        self.opened_at = opened_at
        self.watchers: tuple[UUID, ...] = ()
        self.write(opened_at, opened="")
        self.write(opened_at, status="new", priority="P3")

    def write(self, at: datetime, **entries: str) -> Ticket:
        """Ledger entries of one transaction; the snapshot follows."""
        for kind, value in entries.items():
            self.number += 1
            self.ledger.append(LedgerEntry(number=self.number, at=at, kind=LedgerKind(kind), value=value))
            if kind == "status":
                self.status = value
                self.category = {"pending": "pending", "solved": "solved", "closed": "closed"}.get(value, "open")
            elif kind == "priority":
                self.priority = value
        self.version += 1
        return self

    def reopen(self, at: datetime, responded_at: datetime | None = None) -> Ticket:
        """Seal the cycle and begin another."""
        self.sealed.append(
            SealedCycle(cycle=self.cycle, opened_at=self.opened_at, responded_at=responded_at, solved_at=at, entries=4)
        )
        self.cycle += 1
        self.ledger = []
        self.opened_at = at
        return self.write(at, cycle=str(self.cycle), status="reopened", priority=self.priority)

    def state(self) -> TicketState:
        """The next revision."""
        self.revision += 1
        return TicketState(
            tenant_id=self.tenant,
            ticket_id=self.id,
            version=self.version,
            revision=self.revision,
            ticket=TicketSummary(
                ticket_id=self.id,
                number=f"INC-2026-{self.id.int % 10**6:06d}",
                version=self.version,
                subject="Printer on fire",
                status=self.status,
                category=self.category,
                priority=PriorityLevel(rank=int(self.priority[1:]), label=self.priority),
                requester_id=self.requester,
                queue="tier1",
                channel="email",
                created_at=self.opened_at,
                updated_at=self.ledger[-1].at,
            ),
            cycle=self.cycle,
            ledger=tuple(self.ledger),
            sealed=tuple(self.sealed),
            watcher_ids=self.watchers,
        )


class Desk:
    """The running service, what it hears and what it says."""

    def __init__(self, engines: Engines, prefix: str, url: str, admin_url: str) -> None:
        self.engines, self.prefix, self.url, self.admin_url = engines, prefix, url, admin_url
        self.now = datetime.now(UTC)
        """Where the test's story is; the desk's clock is not earlier."""
        self._versions = itertools.count(1)
        self._running: list[asyncio.Future[None]] = []
        self.service: Service | None = None
        self.client: httpx2.AsyncClient
        self.producer: AIOKafkaProducer
        self.grace = 864_000.0
        self._stack = contextlib.AsyncExitStack()

    # -- the process ---------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start an instance on this database."""
        settings = Settings(
            kafka_url=self.engines.kafka_url,
            database_url=SecretStr(self.url),
            topic_prefix=self.prefix,
            grace_seconds=self.grace,
            sweep_seconds=0.1,
        )
        service = self.service = await build(settings)
        for begin in service.start:
            await begin()
        self._running = [asyncio.ensure_future(loop.run()) for loop in service.loops]
        assert service.routes is not None
        self.client = await self._stack.enter_async_context(in_memory(service.routes))

        async def ready() -> bool:
            missing = await failing(service.checks)
            assert not missing, missing
            return True

        await eventually(ready, what="readiness", within=40)

    async def stop(self) -> None:
        """Stop it in good order."""
        await self._stack.aclose()
        await self.still()
        if self.service is not None:
            for stop in self.service.stop:
                await stop()
            self.service = None

    async def still(self) -> None:
        """End its loops; the API goes on."""
        for task in self._running:
            task.cancel()
        for task in self._running:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._running = []

    async def rewind(self) -> None:
        """Have its group read from the beginning."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.engines.kafka_url, group_id=self.prefix + "sla", enable_auto_commit=False
        )
        await consumer.start()
        try:
            places = [TopicPartition(self.prefix + "ticket.state", number) for number in range(PARTITIONS)]
            consumer.assign(places)
            await consumer.commit(dict.fromkeys(places, 0))
        finally:
            await consumer.stop()

    # -- what it hears -------------------------------------------------------------------------------------------

    async def publish(self, *events: Event) -> None:
        """Events on their topics."""
        for event in events:
            headers = [
                (cloudevents.SPECVERSION, b"1.0"),
                (cloudevents.ID, str(uuid4()).encode()),
                (cloudevents.TYPE, event.TYPE.encode()),
                (cloudevents.TIME, datetime.now(UTC).isoformat().encode()),
            ]
            topic = self.prefix + cloudevents.topic_name(event.TYPE)
            key = event.key.encode()
            partition = kafka.partition_of(key, PARTITIONS)
            await self.producer.send_and_wait(topic, event.to_bytes(), key=key, partition=partition, headers=headers)

    async def mark(self, until: datetime | None = None, *, partitions: Sequence[int] = range(PARTITIONS)) -> None:
        """Watermarks as the relay of tickets writes them; of this instant when none is given."""
        for partition in partitions:
            value, headers = watermark.record(partition, until or self.now, b"/deskwire/tickets")
            await self.producer.send_and_wait(
                self.prefix + watermark.TOPIC, value, key=watermark.KEY, partition=partition, headers=headers
            )

    async def tenant(self, tenant: str = "acme", zone: str = "UTC", **sections: Any) -> None:
        """A tenant with a policy pack."""
        version = next(self._versions)
        await self.publish(TenantChanged(tenant_id=tenant, version=version, name=tenant, timezone=zone))
        await self.policy(tenant, **sections)

    async def policy(self, tenant: str = "acme", *, at: datetime | None = None, **sections: Any) -> None:
        """A pack put in force; long ago when nothing is said."""
        version = next(self._versions)
        documents = {"workflow": PACK["workflow"], "calendars": ALWAYS, "sla": TARGETS, **sections}
        for section, document in documents.items():
            await self.publish(
                PolicyPublished(
                    tenant_id=tenant,
                    policy_key=f"{tenant}/{section}",
                    section=section,
                    pack="default",
                    pack_version=version,
                    document=document,
                    published_at=at or self.now - timedelta(days=400),
                )
            )

    async def person(self, person: UUID, zone: str | None, tenant: str = "acme") -> None:
        await self.publish(
            PersonChanged(tenant_id=tenant, person_id=person, version=next(self._versions), timezone=zone)
        )

    async def forward(self, **by: float) -> datetime:
        """Move the desk's clock; the instant of the story then."""
        delta = timedelta(**by)
        await self.rows("UPDATE clock_offset SET shift = shift + $1", delta)
        self.now += delta
        return self.now

    # -- what it says and knows ----------------------------------------------------------------------------------

    async def said(self) -> list[dict[str, Any]]:
        """Everything on its topics, in the order of each topic; with `type`, `id` and `said_at`."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.engines.kafka_url, enable_auto_commit=False)
        await consumer.start()
        try:
            found: list[dict[str, Any]] = []
            ends = await kafka.ends(consumer, [self.prefix + topic.name for topic in TOLD])
            consumer.assign(list(ends))
            for partition in ends:
                consumer.seek(partition, 0)
            left = {partition for partition, end in ends.items() if end}
            while left:
                for partition, records in (await consumer.getmany(timeout_ms=200)).items():
                    for record in records:
                        headers = dict(record.headers)
                        found.append(
                            {
                                **orjson.loads(record.value),
                                "type": headers[cloudevents.TYPE].decode(),
                                "id": headers[cloudevents.ID].decode(),
                                "said_at": record.timestamp,
                            }
                        )
                    if records and records[-1].offset + 1 >= ends[partition]:
                        left.discard(partition)
            return sorted(found, key=lambda one: one["said_at"])
        finally:
            await consumer.stop()

    async def words(self, ticket: Ticket | None = None) -> list[str]:
        """What was said of a ticket, in a word each, sorted by when."""
        return [word(one) for one in await self.said() if ticket is None or one["ticket_id"] == str(ticket.id)]

    async def says(self, ticket: Ticket, *words: str) -> None:
        """Exactly these words have been said of a ticket, in whatever order topics give them."""

        async def heard() -> bool:
            assert sorted(await self.words(ticket)) == sorted(words)
            return True

        await eventually(heard, what=f"{words}", every=0.1)

    async def settled(self, *, parked: bool = False) -> None:
        """Everything that was published has been handled, and decided by a watermark behind it all."""
        for _ in range(2):
            # What waited for a policy at the first watermark is decided by the second, as by the next one every time.
            self.now += timedelta(microseconds=1)
            await self.mark()
            await eventually(partial(self._quiet, self.now, parked), what="knowledge")

    async def _quiet(self, until: datetime, parked: bool) -> bool:
        rows = await self.rows("SELECT until FROM knowledge")
        assert len(rows) == PARTITIONS
        assert all(row["until"] >= until for row in rows), rows
        assert not await self.rows("SELECT FROM timer WHERE kind IN ('replay', 'moved')")
        assert parked or not await self.rows("SELECT FROM waiting")
        assert not await self.rows("SELECT FROM outbox")
        return True

    async def rows(self, sql: str, *args: object) -> list[asyncpg.Record]:
        """What the administrator of the database sees."""
        connection = await asyncpg.connect(self.admin_url)
        try:
            return list(await connection.fetch(sql, *args))
        finally:
            await connection.close()

    async def clock(self, ticket: Ticket) -> asyncpg.Record | None:
        """The row of its first response."""
        rows = await self.rows("SELECT * FROM clock WHERE ticket_id = $1 AND name = 'first_response'", ticket.id)
        return rows[0] if rows else None

    async def digest(self) -> str:
        """What is true of all open tickets."""
        database = await Database.connect(self.url, application="test")
        try:
            return await clocks.digest(database)
        finally:
            await database.close()

    async def truth(self) -> list[tuple[object, ...]]:
        """The same, to be read when it differs."""
        rows = await self.rows(
            "SELECT ticket_id, version, name, t.cycle, state, due_at, breached_at, finished_at, zone"
            " FROM sla_ticket t JOIN clock USING (ticket_id) WHERE open ORDER BY ticket_id, name"
        )
        return [tuple(row) for row in rows]

    async def get(self, who: Caller, path: str, **params: str) -> httpx2.Response:
        return await self.client.get(path, params=params, headers=who.headers)


def word(one: dict[str, Any]) -> str:
    if one.get("provisional"):
        return "provisional"
    return str(one.get("change") or one["type"].split(".")[1])


Make = Callable[..., Awaitable[Desk]]


@pytest.fixture
async def make(engines: Engines, databases: ScratchDatabases, topic_prefix: str) -> AsyncIterator[Make]:
    """Makes running services on the same topics, each with a database of its own."""
    topics = [*(route.topic for route in ROUTES), *REPLICATED, *TOLD]
    await create_topics(engines.kafka_url, topic_prefix, topics, groups=["sla"], partitions=PARTITIONS)
    producer = AIOKafkaProducer(bootstrap_servers=engines.kafka_url)
    await producer.start()
    made: list[Desk] = []

    async def one(*, grace: float = 864_000.0, start: bool = True) -> Desk:
        url = await databases.create("sla")
        desk = Desk(engines, topic_prefix, url, databases.admin(url))
        desk.producer, desk.grace = producer, grace
        made.append(desk)
        if start:
            await desk.start()
        return desk

    yield one
    for desk in made:
        await desk.stop()
    await producer.stop()


@pytest.fixture
async def desk(make: Make) -> Desk:
    """A running service with a tenant whose first response is due after an hour around the clock."""
    made = await make()
    await made.tenant()
    return made
