"""The whole service on real engines: events in, summary out, each ticket counted once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import httpx2
import pytest
from aiokafka import AIOKafkaProducer
from pydantic import SecretStr

from services.notify.app import REPLICATED, ROUTES, build
from services.notify.settings import Settings
from shared.contracts.event import Event
from shared.health import failing
from shared.service import Service
from tests.support.api import Caller, in_memory
from tests.support.databases import ScratchDatabases
from tests.support.engines import Engines
from tests.support.topics import create_topics
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines


class Desk:
    """The running service, its topics and its API."""

    def __init__(self, producer: AIOKafkaProducer, prefix: str, client: httpx2.AsyncClient) -> None:
        self._producer = producer
        self._prefix = prefix
        self.client = client

    async def publish(self, event: Event, identity: UUID | None = None) -> None:
        headers = [
            ("ce_specversion", b"1.0"),
            ("ce_id", str(identity or uuid4()).encode()),
            ("ce_type", event.TYPE.encode()),
            ("ce_time", datetime.now(UTC).isoformat().encode()),
        ]
        topic = self._prefix + event.TYPE.rpartition(".")[0]
        await self._producer.send_and_wait(topic, event.to_bytes(), key=event.key.encode(), headers=headers)

    async def tickets(self, who: Caller) -> int:
        answer = await self.client.get("/v1/notify/summary", headers=who.headers)
        assert answer.status_code == 200, answer.text
        count: int = answer.json()["tickets"]
        return count


@pytest.fixture
async def desk(engines: Engines, databases: ScratchDatabases, topic_prefix: str) -> AsyncIterator[Desk]:
    topics = [*(route.topic for route in ROUTES), *REPLICATED]
    await create_topics(engines.kafka_url, topic_prefix, topics, groups=["notify"])
    settings = Settings(
        kafka_url=engines.kafka_url,
        database_url=SecretStr(await databases.create("notify")),
        topic_prefix=topic_prefix,
        master_key=SecretStr("5a" * 32),
    )
    service = await build(settings)
    running = [asyncio.ensure_future(loop.run()) for loop in service.loops]
    producer = AIOKafkaProducer(bootstrap_servers=engines.kafka_url)
    await producer.start()
    assert service.routes is not None
    await eventually(lambda: _ready(service), what="readiness")
    async with in_memory(service.routes) as client:
        yield Desk(producer, topic_prefix, client)
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


async def test_the_service_stands(desk: Desk) -> None:
    assert (await desk.client.get("/v1/openapi.json")).status_code in {200, 401, 404}
