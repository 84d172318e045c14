"""What replica tests share: topics of their own, a publisher as another service's relay would be."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiokafka import AIOKafkaProducer

from shared.contracts import cloudevents
from shared.contracts.directory import TenantChanged
from shared.contracts.event import Event
from shared.contracts.manifest import TEAM_CHANGED, TENANT_CHANGED
from shared.db import Database
from shared.metrics import Metrics
from shared.replica import Replica
from shared.settings import ServiceSettings
from tests.support.databases import ScratchDatabases
from tests.support.engines import Engines
from tests.support.topics import create_topics

TOPICS = {"tenant": TENANT_CHANGED, "team": TEAM_CHANGED}


class Settings(ServiceSettings):
    SERVICE = "reader"


def tenant(name: str, version: int, **fields: Any) -> TenantChanged:
    return TenantChanged(tenant_id=name, version=version, name=fields.pop("title", f"{name} {version}"), **fields)


class Publisher:
    """Puts events on the topics of one test."""

    def __init__(self, producer: AIOKafkaProducer, prefix: str) -> None:
        self._producer = producer
        self._prefix = prefix

    async def send(self, event: Event, *, time: datetime | None = None, identity: UUID | None = None) -> int:
        """Publish one event as a relay does; its offset."""
        topic = cloudevents.topic_name(event.TYPE)
        return await self.raw(topic, event.key, event.to_bytes(), event.TYPE, time=time, identity=identity)

    async def raw(
        self,
        topic: str,
        key: str,
        value: bytes | None,
        kind: str = "tenant.changed.v1",
        *,
        time: datetime | None = None,
        identity: UUID | None = None,
    ) -> int:
        headers = [
            (cloudevents.SPECVERSION, b"1.0"),
            (cloudevents.ID, str(identity or uuid4()).encode()),
            (cloudevents.TYPE, kind.encode()),
            (cloudevents.TIME, (time or datetime.now(UTC)).isoformat().encode()),
        ]
        sent = await self._producer.send_and_wait(self._prefix + topic, value, key=key.encode(), headers=headers)
        offset: int = sent.offset
        return offset


@pytest.fixture
async def topics(engines: Engines, topic_prefix: str) -> str:
    """The prefix under which this test's topics exist."""
    await create_topics(engines.kafka_url, topic_prefix, TOPICS.values())
    return topic_prefix


@pytest.fixture
async def publisher(engines: Engines, topics: str) -> AsyncIterator[Publisher]:
    producer = AIOKafkaProducer(bootstrap_servers=engines.kafka_url)
    await producer.start()
    yield Publisher(producer, topics)
    await producer.stop()


@pytest.fixture
async def database(databases: ScratchDatabases) -> AsyncIterator[Database]:
    found = await Database.connect(await databases.create("mechanism"), application="test")
    yield found
    await found.close()


StartReplica = Callable[..., Replica]


@pytest.fixture
async def start(engines: Engines, topic_prefix: str, database: Database) -> AsyncIterator[StartReplica]:
    """Run replicas until the test ends."""
    running: list[asyncio.Task[None]] = []

    def begin(**options: Any) -> Replica:
        settings = Settings(kafka_url=engines.kafka_url, topic_prefix=topic_prefix, session_timeout_milliseconds=6000)
        replica = Replica(settings, database, TOPICS, metrics=Metrics("reader"), **options)
        running.extend(asyncio.ensure_future(loop.run()) for loop in replica.loops())
        return replica

    yield begin
    for task in running:
        task.cancel()
    for task in running:
        with contextlib.suppress(asyncio.CancelledError):
            await task
