"""The whole service on real engines: facts in, a mail out, and none more however often everything is read again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from aiokafka import AIOKafkaProducer
from pydantic import SecretStr

from services.notify.app import REPLICATED, ROUTES, build
from services.notify.settings import Settings
from shared.contracts import ids
from shared.contracts.directory import PersonChanged, PolicyPublished, Role, TenantChanged
from shared.contracts.event import Event
from shared.contracts.manifest import TOPICS
from shared.db import Database
from shared.health import failing
from shared.service import Service
from tests.integration.notify.mail_facts import DOMAIN, MIA, SUPPORT, created, paged, replied, solved
from tests.integration.notify.mail_ground import PACK
from tests.integration.notify.mail_sink import Sink
from tests.support.api import Caller, caller, in_memory
from tests.support.databases import ScratchDatabases
from tests.support.engines import Engines
from tests.support.topics import create_topics
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines

LEAD = caller(Role.TEAM_LEAD, person_id=uuid4())


class Desk:
    """The running service, its topics, its database and its API."""

    def __init__(
        self, producer: AIOKafkaProducer, prefix: str, client: httpx2.AsyncClient, database: Database, sink: Sink
    ) -> None:
        self._producer = producer
        self._prefix = prefix
        self.client = client
        self.database = database
        self.sink = sink

    async def publish(self, event: Event, identity: UUID | None = None) -> None:
        headers = [
            ("ce_specversion", b"1.0"),
            ("ce_id", str(identity or uuid4()).encode()),
            ("ce_type", event.TYPE.encode()),
            ("ce_time", datetime.now(UTC).isoformat().encode()),
        ]
        topic = self._prefix + event.TYPE.rpartition(".")[0]
        await self._producer.send_and_wait(topic, event.to_bytes(), key=event.key.encode(), headers=headers)

    async def pack(self) -> None:
        """Directory puts the default pack in force."""
        await self.publish(
            PolicyPublished(
                tenant_id="acme",
                policy_key="acme/notifications",
                section="notifications",
                pack="default",
                pack_version=1,
                document=PACK["notifications"],
                published_at=datetime.now(UTC),
            )
        )

    async def log(self, who: Caller = LEAD, **params: Any) -> list[dict[str, Any]]:
        answer = await self.client.get("/v1/notifications", headers=who.headers, params=params)
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    async def settled(self, count: int) -> list[dict[str, Any]]:
        """The log, once there are so many deliveries and none waits."""

        async def over() -> list[dict[str, Any]]:
            found = await self.log(limit=200)
            assert len(found) == count, [(one["template"], one["state"]) for one in found]
            assert {one["state"] for one in found} <= {"delivered"}, found
            return found

        return await eventually(over)


@pytest.fixture
async def desk(engines: Engines, databases: ScratchDatabases, topic_prefix: str, sink: Sink) -> AsyncIterator[Desk]:
    published = [topic for topic in TOPICS if topic.owner == "notify"]
    topics = [*(route.topic for route in ROUTES), *REPLICATED, *published]
    await create_topics(engines.kafka_url, topic_prefix, topics, groups=["notify"])
    settings = Settings(
        kafka_url=engines.kafka_url,
        database_url=SecretStr(await databases.create("notify")),
        topic_prefix=topic_prefix,
        master_key=SecretStr("5a" * 32),
        smtp_url=SecretStr(f"smtp://127.0.0.1:{sink.port}"),
    )
    service = await build(settings)
    for start in service.start:
        await start()
    running = [asyncio.ensure_future(loop.run()) for loop in service.loops]
    producer = AIOKafkaProducer(bootstrap_servers=engines.kafka_url)
    await producer.start()
    assert service.routes is not None
    await eventually(lambda: _ready(service), what="readiness")
    database = await Database.connect(settings.database_url.get_secret_value(), application="test", max_size=1)
    async with in_memory(service.routes) as client:
        made = Desk(producer, topic_prefix, client, database, sink)
        await made.publish(LEAD.credential)
        await made.publish(
            TenantChanged(
                tenant_id="acme",
                version=1,
                name="Acme",
                mail_domains=(DOMAIN,),
                inbound_addresses=(SUPPORT,),
            )
        )
        yield made
    await database.close()
    for task in running:
        task.cancel()
    for task in running:
        with contextlib.suppress(asyncio.CancelledError):
            await task
    for stop in service.stop:
        await stop()
    await producer.stop()


async def _ready(service: Service) -> bool:
    """Whether every check passes; a service that lacks something says what."""
    missing = await failing(service.checks)
    assert not missing, missing
    return True


async def test_facts_wait_for_the_pack_and_the_person_and_are_told_once(desk: Desk) -> None:
    await desk.publish(created(), identity := uuid4())

    async def waits() -> bool:
        return bool(
            await desk.database.fetchval("SELECT count(*) FROM waiting WHERE missing_id = 'acme/notifications'")
        )

    await eventually(waits)
    assert not desk.sink.got
    await desk.pack()
    person = ids.person_id("acme", MIA)
    await desk.publish(PersonChanged(tenant_id="acme", person_id=person, version=1, name="Mia", addresses=(MIA,)))
    for _ in range(3):
        await desk.publish(created(), identity)
    await desk.settled(1)
    assert len(desk.sink.to(MIA)) == 1


async def test_everything_read_again_from_the_start_tells_nobody_anything_again(desk: Desk) -> None:
    await desk.pack()
    for address, role in ((MIA, Role.CUSTOMER), (f"ana@{DOMAIN}", Role.AGENT)):
        identity = ids.person_id("acme", address)
        await desk.publish(
            PersonChanged(tenant_id="acme", person_id=identity, version=1, role=role, name="N", addresses=(address,))
        )
    page = paged()
    history: list[tuple[Event, UUID]] = [(event, uuid4()) for event in (created(), replied(), solved(), page)]
    for event, identity in history:
        await desk.publish(event, identity)
    before = await desk.settled(5)
    sent = len(desk.sink.got)
    assert sent == 4
    # Once as any consumer sees a repeat, once as if the inbox had never been: the ids alone must do.
    for forget in (False, True):
        if forget:
            await desk.database.execute("DELETE FROM inbox")
        for event, identity in history:
            await desk.publish(event, identity)
        await desk.publish(created(99, {"channel": "alert"}), last := uuid4())

        async def read_to_the_end(last: UUID = last) -> bool:
            return bool(await desk.database.fetchval("SELECT count(*) FROM inbox WHERE ce_id = $1", last))

        await eventually(read_to_the_end)
        assert await desk.settled(5) == before
        assert len(desk.sink.got) == sent


async def test_strangers_are_shown_nothing(desk: Desk) -> None:
    assert (await desk.client.get("/v1/notifications")).status_code == 401
