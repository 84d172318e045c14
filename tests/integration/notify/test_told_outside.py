"""The whole service on real engines: a fact on Kafka reaches an endpoint and a listener, and survives a restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx2
import orjson
import pytest
from aiokafka import AIOKafkaProducer
from pydantic import SecretStr

from services.notify.app import REPLICATED, ROUTES, build
from services.notify.settings import Settings
from shared.contracts.directory import PolicyPublished, Role, TenantChanged
from shared.contracts.event import Event
from shared.health import failing
from tests.integration.notify.mail_ground import PACK
from tests.integration.notify.webhook_ground import Sink, created, sink
from tests.support.api import caller, served
from tests.support.databases import ScratchDatabases
from tests.support.engines import Engines
from tests.support.topics import create_topics
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines

NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)
MANAGER = caller(Role.MANAGER)


@dataclass
class Installation:
    """Topics and a database; the service is started on them, and again."""

    settings: Settings
    producer: AIOKafkaProducer

    async def publish(self, event: Event, identity: UUID | None = None) -> UUID:
        sent = identity or uuid4()
        headers = [
            ("ce_specversion", b"1.0"),
            ("ce_id", str(sent).encode()),
            ("ce_type", event.TYPE.encode()),
            ("ce_time", datetime.now(UTC).isoformat().encode()),
        ]
        topic = self.settings.topic(event.TYPE.rpartition(".")[0])
        await self.producer.send_and_wait(topic, event.to_bytes(), key=event.key.encode(), headers=headers)
        return sent

    @asynccontextmanager
    async def running(self) -> AsyncIterator[httpx2.AsyncClient]:
        """The service, ready, with a client of its API; drained at the end."""
        service = await build(self.settings)
        for hook in service.start:
            await hook()
        loops = [asyncio.ensure_future(loop.run()) for loop in service.loops]

        async def ready() -> bool:
            missing = await failing(service.checks)
            assert not missing, missing
            return True

        try:
            await eventually(ready, within=40, what="readiness")
            assert service.routes is not None
            async with (
                served(service.routes) as url,
                httpx2.AsyncClient(base_url=url, headers=MANAGER.headers, trust_env=False) as client,
            ):
                yield client
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            for stop in service.stop:
                await stop()


@pytest.fixture
async def installation(engines: Engines, databases: ScratchDatabases, topic_prefix: str) -> AsyncIterator[Installation]:
    topics = [*(route.topic for route in ROUTES), *REPLICATED]
    await create_topics(engines.kafka_url, topic_prefix, topics, groups=["notify"])
    settings = Settings(
        kafka_url=engines.kafka_url,
        database_url=SecretStr(await databases.create("notify")),
        topic_prefix=topic_prefix,
        master_key=SecretStr("5a" * 32),
        webhook_allowed_networks="127.0.0.0/8",
    )
    producer = AIOKafkaProducer(bootstrap_servers=engines.kafka_url)
    await producer.start()
    made = Installation(settings, producer)
    for section in ("notifications", "satisfaction"):
        await made.publish(
            PolicyPublished(
                tenant_id="acme",
                policy_key=f"acme/{section}",
                section=section,
                pack="default",
                pack_version=1,
                document=PACK[section],
                published_at=NOW,
            )
        )
    await made.publish(TenantChanged(tenant_id="acme", version=1, name="Acme"))
    await made.publish(MANAGER.credential)
    yield made
    await producer.stop()


@pytest.fixture
async def at() -> AsyncIterator[Sink]:
    async with sink() as made:
        yield made


async def test_a_fact_reaches_an_endpoint_and_a_listener_and_a_repeat_reaches_nobody(
    installation: Installation, at: Sink
) -> None:
    async with installation.running() as client:
        answer = await client.post("/v1/webhooks", json={"url": f"{at.url}/hook", "event_types": ["ticket.*"]})
        assert answer.status_code == 201, answer.text
        async with client.stream("GET", "/v1/events", timeout=30) as stream:
            lines = stream.aiter_lines()
            await _line(lines, "event: ready")
            event = created()
            identity = await installation.publish(event)
            await installation.publish(event, identity)
            later = await installation.publish(created())
            # Two tickets are two keys: their order is nobody's promise.
            heard = [orjson.loads((await _line(lines, 'data: {"id"'))[6:])["id"] for _ in range(2)]
            assert sorted(heard) == sorted([str(identity), str(later)])

        async def both() -> bool:
            return len(at.got) == 2

        await eventually(both)
    assert sorted(one.id for one in at.got) == sorted([str(identity), str(later)])
    assert all(one.is_signed_with(answer.json()["secret"]) for one in at.got)


async def test_what_was_accepted_before_a_stop_is_sent_after_it_with_the_same_secret(
    installation: Installation, at: Sink, databases: ScratchDatabases
) -> None:
    at.says("/hook", 429, Retry_After="3600")  # however long stopping takes, nothing is tried again meanwhile
    async with installation.running() as client:
        made = (await client.post("/v1/webhooks", json={"url": f"{at.url}/hook"})).json()
        identity = await installation.publish(created())

        async def tried() -> bool:
            return len(at.got) == 1

        await eventually(tried)
    at.says("/hook", 204)
    admin = await asyncpg.connect(databases.admin(installation.settings.database_url.get_secret_value()))
    await admin.execute("UPDATE clock_offset SET shift = shift + interval '61 minutes'")
    await admin.close()
    async with installation.running() as client:

        async def delivered() -> list[dict[str, Any]]:
            path = f"/v1/webhooks/{made['endpoint_id']}/deliveries?state=delivered"
            found: list[dict[str, Any]] = (await client.get(path)).json()["items"]
            return found

        [one] = await eventually(delivered)
    assert one["attempts"] == 2
    assert [got.id for got in at.got] == [str(identity)] * 2
    assert at.got[1].is_signed_with(made["secret"])


async def _line(lines: AsyncIterator[str], beginning: str) -> str:
    async with asyncio.timeout(20):
        async for line in lines:
            if line.startswith(beginning):
                return line
    raise AssertionError(f"no line began with {beginning}")
