"""The whole service on a real broker: reference data in, messages in, facts and state out, in order, once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import asyncpg
import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from pydantic import SecretStr

from services.tickets.app import REPLICATED, ROUTES, build
from services.tickets.settings import Settings
from shared.contracts import cloudevents, watermark
from shared.contracts.directory import (
    PersonChanged,
    PolicyPublished,
    Role,
    TeamChanged,
    TenantChanged,
)
from shared.contracts.event import Event
from shared.contracts.manifest import TOPICS
from shared.service import Service
from tests.integration.tickets.conftest import MASTER, PACK, message, person, reply, ticket_id
from tests.support.api import caller, in_memory
from tests.support.bus import wire
from tests.support.databases import ScratchDatabases
from tests.support.engines import Engines
from tests.support.topics import create_topics
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines


@dataclass
class Live:
    """A running service, a producer to it and what it has published so far."""

    service: Service
    producer: AIOKafkaProducer
    prefix: str
    admin_url: str
    published: list[tuple[str, str, dict[str, Any]]]

    async def send(self, *events: Event) -> None:
        for event in events:
            await self.producer.send(self.prefix + cloudevents.topic_name(event.TYPE), **wire(event))
        await self.producer.flush()

    async def count(self, sql: str) -> int:
        """The number a statement answers."""
        return int(await self.one(sql))

    async def one(self, sql: str) -> Any:
        connection = await asyncpg.connect(self.admin_url)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    def of(self, topic: str) -> list[dict[str, Any]]:
        return [value for name, _, value in self.published if name == topic]


def reference(agents: int = 2, capacity: int = 5) -> list[Event]:
    """A tenant with the default pack, a team and agents."""
    team_id = uuid4()
    events: list[Event] = [
        TenantChanged(tenant_id="acme", version=1, name="Acme"),
        TeamChanged(tenant_id="acme", team_id=team_id, version=1, name="Tier 1", queues=("tier1",)),
    ]
    events += [
        PolicyPublished(
            tenant_id="acme",
            policy_key=f"acme/{section}",
            section=section,
            pack="default",
            pack_version=1,
            document=PACK[section],
            published_at=datetime.now(UTC),
        )
        for section in ("workflow", "priorities", "assignment", "numbering")
    ]
    events += [
        PersonChanged(
            tenant_id="acme",
            person_id=person(f"agent{n}"),
            version=1,
            role=Role.AGENT,
            team_ids=(team_id,),
            capacity=capacity,
            available=True,
        )
        for n in range(agents)
    ]
    return events


@pytest.fixture
async def live(engines: Engines, databases: ScratchDatabases, topic_prefix: str) -> AsyncIterator[Live]:
    url = await databases.create("tickets")
    await create_topics(engines.kafka_url, topic_prefix, TOPICS, groups=["tickets"])
    settings = Settings(
        database_url=url,
        kafka_url=engines.kafka_url,
        topic_prefix=topic_prefix,
        master_key=SecretStr(MASTER.hex()),
        parent_minutes=0.05,
        sweep_seconds=0.5,
    )
    service = await build(settings)
    for start in service.start:
        await start()
    tasks = [asyncio.create_task(_run(loop)) for loop in service.loops]
    producer = AIOKafkaProducer(bootstrap_servers=engines.kafka_url)
    await producer.start()
    published: list[tuple[str, str, dict[str, Any]]] = []
    out = [topic_prefix + t.name for t in TOPICS if t.owner == "tickets"]
    consumer = AIOKafkaConsumer(*out, bootstrap_servers=engines.kafka_url, auto_offset_reset="earliest")
    await consumer.start()
    reading = asyncio.create_task(_read(consumer, topic_prefix, published))
    yield Live(service, producer, topic_prefix, databases.admin(url), published)
    reading.cancel()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, reading, return_exceptions=True)
    await consumer.stop()
    await producer.stop()
    for stop in service.stop:
        await stop()


async def _run(loop: Any) -> None:
    await loop.run()


async def _read(consumer: AIOKafkaConsumer, prefix: str, found: list[tuple[str, str, dict[str, Any]]]) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        async for record in consumer:
            if record.key == watermark.KEY:
                continue
            # One by one: a test looks while they come.
            found.append((record.topic.removeprefix(prefix), record.key.decode(), orjson.loads(record.value)))


async def test_messages_become_tickets_on_the_topic_and_the_api_shows_them(live: Live) -> None:
    admin = caller(Role.ADMIN, person_id=person("root"))
    await live.send(*reference(), admin.credential)
    for n in range(0, 300, 100):
        await live.send(*(message(f"u{i}", source=f"m{i}") for i in range(n, n + 100)))

    async def all_there() -> bool:
        return len(live.of("ticket.created")) == 300

    await eventually(all_there, within=60)
    assert len({t["ticket"]["number"] for t in live.of("ticket.created")}) == 300

    async def assigned() -> bool:
        return len(live.of("ticket.assigned")) == 10

    await eventually(assigned)
    for check in live.service.checks:
        await check.ready()
    assert live.service.routes is not None
    async with in_memory(live.service.routes, headers=admin.headers) as http:
        page = (await http.get("/v1/tickets?limit=200")).json()
        assert len(page["items"]) == 200
        detail = await http.get(f"/v1/tickets/{ticket_id(message(source='m7'))}")
        assert detail.status_code == 200
        verified = (await http.get(f"/v1/tickets/{ticket_id(message(source='m7'))}/audit?verify=true")).json()
        assert verified["verified"] is True


async def test_a_reply_that_comes_first_waits_and_one_whose_parent_never_comes_opens(live: Live) -> None:
    await live.send(*reference())
    first, orphan = message(source="first"), message(source="never")
    early = reply(first, source="early", conversation_id=uuid4())
    await live.send(early)

    async def waits() -> bool:
        return bool(await live.one("SELECT count(*) FROM waiting WHERE missing_kind = 'parent'") == 1)

    await eventually(waits)
    await live.send(first, reply(orphan, source="lost"))

    async def done() -> bool:
        return await live.count("SELECT count(*) FROM message") == 3 and not await live.count(
            "SELECT count(*) FROM waiting"
        )

    # The second one waits three seconds here instead of ten minutes.
    await eventually(done, within=90)

    async def told() -> bool:
        return len(live.of("ticket.created")) == 2 and len(live.of("ticket.message_added")) == 1

    await eventually(told)
    (joined,) = live.of("ticket.message_added")
    assert (joined["message"]["message_id"], joined["ticket_id"]) == (str(early.message_id), str(ticket_id(first)))


async def test_messages_before_their_policy_wait_and_are_handled_when_it_comes(live: Live) -> None:
    await live.send(message(source="early"))

    async def waits() -> bool:
        return bool(await live.one("SELECT count(*) FROM waiting WHERE missing_kind = 'policy'") == 1)

    await eventually(waits)
    await live.send(*reference())

    async def created() -> bool:
        return len(live.of("ticket.created")) == 1

    await eventually(created)


async def test_the_same_events_twice_have_one_effect_and_states_only_rise(live: Live) -> None:
    await live.send(*reference())
    first = message(source="a")
    chain = [first, *(reply(first, source=f"r{n}") for n in range(20))]
    records = [wire(event) for event in chain]
    for record in records + records:
        await live.producer.send(live.prefix + "message.received", **record)
    await live.producer.flush()

    async def settled() -> bool:
        handled = await live.count("SELECT coalesce(sum(message_count), 0) FROM ticket") == 21
        return handled and not await live.count("SELECT count(*) FROM outbox")

    await eventually(settled, within=60)
    await asyncio.sleep(0.5)
    assert len(live.of("ticket.created")) == 1
    assert len(live.of("ticket.message_added")) == 20
    revisions = [state["revision"] for state in live.of("ticket.state")]
    assert revisions == sorted(set(revisions))


def test_the_wiring_names_what_the_manifest_says() -> None:
    declared = {topic.name for topic in TOPICS if "tickets" in topic.consumers}
    assert {t.name for t in REPLICATED} | {r.topic.name for r in ROUTES} == declared
