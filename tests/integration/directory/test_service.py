"""The whole service on a real broker: messages in, people out, exactly once."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from aiokafka import AIOKafkaProducer

from services.directory.app import REPLICATED, ROUTES, build
from services.directory.commands import tenancy
from services.directory.commands.caller import bootstrap
from services.directory.domain.inputs import NewTenant
from services.directory.settings import Settings
from shared.contracts.directory import PersonChanged
from shared.contracts.manifest import TOPICS
from shared.db import Database
from shared.service import Loop, Service
from tests.integration.directory.test_people_seen import message
from tests.support.bus import Bench, wire
from tests.support.databases import ScratchDatabases
from tests.support.engines import Engines
from tests.support.topics import create_topics
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines


@dataclass
class Installation:
    """Instances of directory on topics of the test's own."""

    bench: Bench
    settings: Settings
    database: Database
    running: list[tuple[Service, list[asyncio.Task[None]]]] = field(default_factory=list)

    async def start(self) -> Service:
        """One more instance."""
        service = await build(self.settings)
        for hook in service.start:
            await hook()
        self.running.append((service, [asyncio.create_task(_run(loop)) for loop in service.loops]))
        return service

    async def stop(self) -> None:
        """End all instances."""
        for service, tasks in self.running:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for hook in service.stop:
                with contextlib.suppress(Exception):
                    await hook()
        await self.database.close()
        await self.bench.stop()

    async def tenant(self, tenant_id: str) -> None:
        """Make a tenant."""
        async with self.database.begin() as tx:
            wanted = NewTenant(tenant_id=tenant_id, name=tenant_id)
            await tenancy.add_tenant(tx, bootstrap(tenant_id), wanted, datetime.now(UTC), operator=False)


async def _run(loop: Loop) -> None:
    await loop.run()


@pytest.fixture
async def installation(engines: Engines, databases: ScratchDatabases, topic_prefix: str) -> AsyncIterator[Installation]:
    """Topics, a database, no instance yet."""
    url = await databases.create("directory")
    settings = Settings(
        database_url=url, kafka_url=engines.kafka_url, topic_prefix=topic_prefix, master_key=bytes(range(32)).hex()
    )
    await create_topics(engines.kafka_url, topic_prefix, TOPICS, groups=["directory"])
    producer = AIOKafkaProducer(bootstrap_servers=engines.kafka_url, enable_idempotence=True)
    await producer.start()
    bench = Bench(engines.kafka_url, url, databases.admin(url), topic_prefix, producer)
    made = Installation(bench, settings, await Database.connect(url, application="test"))
    yield made
    await made.stop()


async def test_duplicates_and_two_instances_make_each_requester_once(installation: Installation) -> None:
    chance = random.Random(11)
    await installation.tenant("acme")
    await installation.start()
    await installation.start()
    records = []
    for number in range(300):
        received = message(f"c{number % 60}@example.com", f"Customer {number % 60}")
        record = wire(received.event, id=received.id)
        records += [record] * (2 if chance.random() < 0.2 else 1)
    await installation.bench.send("message.received", records)
    await eventually(lambda: _people(installation, 60), what="60 requesters")
    await eventually(lambda: _drained(installation), what="an empty outbox")
    published = [
        PersonChanged.model_validate_json(record.value) for record in await installation.bench.read("person.changed")
    ]
    assert len(published) == 60
    assert {event.name for event in published} == {f"Customer {number}" for number in range(60)}
    assert await installation.bench.value("SELECT max(version) FROM person") == 1


async def test_a_message_before_its_tenant_waits_and_goes_on_when_the_tenant_is_made(
    installation: Installation,
) -> None:
    await installation.start()
    received = message("mia@example.com", "Mia", tenant_id="later")
    await installation.bench.send("message.received", [wire(received.event, id=received.id)])
    await eventually(lambda: _waiting(installation), what="a waiting key")
    await installation.tenant("later")
    await eventually(lambda: _people(installation, 1), what="the requester")
    assert await installation.bench.value("SELECT count(*) FROM waiting") == 0


async def test_the_first_instance_makes_the_signing_key_and_the_next_one_keeps_it(installation: Installation) -> None:
    await asyncio.gather(installation.start(), installation.start(), installation.start())
    assert await installation.bench.value("SELECT count(*) FROM signing_key") == 1


async def test_the_manifest_says_what_directory_reads(installation: Installation) -> None:
    reads = {topic.name for topic in TOPICS if "directory" in topic.consumers}
    assert {route.topic.name for route in ROUTES} | {topic.name for topic in REPLICATED} == reads


async def _people(installation: Installation, count: int) -> bool:
    return bool(await installation.bench.value("SELECT count(*) = $1 FROM person", count))


async def _drained(installation: Installation) -> bool:
    return bool(await installation.bench.value("SELECT count(*) = 0 FROM outbox"))


async def _waiting(installation: Installation) -> bool:
    return bool(await installation.bench.value("SELECT count(*) > 0 FROM waiting"))
