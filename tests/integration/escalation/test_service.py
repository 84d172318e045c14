"""The whole service on real engines: a P1 in, a page out, an answer back, everybody told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from pydantic import SecretStr

from services.escalation.app import REPLICATED, ROUTES, build
from services.escalation.settings import Settings
from shared.contracts.escalation import PageResponse
from shared.contracts.event import Event
from shared.contracts.manifest import TOPICS
from shared.contracts.ticket import TicketCreated
from shared.health import failing
from shared.service import Service
from tests.support.databases import ScratchDatabases
from tests.support.engines import Engines
from tests.support.topics import create_topics
from tests.support.waiting import eventually
from tests.unit.escalation.desk import AGENT, colleague, message, people, policy_event, summary, team

pytestmark = pytest.mark.engines

OWN = [topic for topic in TOPICS if topic.owner == "escalation"]


class Topics:
    """The service's neighbours."""

    def __init__(self, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, prefix: str) -> None:
        self._producer = producer
        self._consumer = consumer
        self._prefix = prefix
        self.facts: list[tuple[str, dict[str, Any]]] = []

    async def publish(self, event: Event, identity: UUID | None = None) -> None:
        headers = [
            ("ce_specversion", b"1.0"),
            ("ce_id", str(identity or uuid4()).encode()),
            ("ce_type", event.TYPE.encode()),
            ("ce_time", datetime.now(UTC).isoformat().encode()),
        ]
        topic = self._prefix + event.TYPE.rpartition(".")[0]
        await self._producer.send_and_wait(topic, event.to_bytes(), key=event.key.encode(), headers=headers)

    async def told(self, topic: str) -> list[dict[str, Any]]:
        """What the service has published there by now."""
        for records in (await self._consumer.getmany(timeout_ms=50)).values():
            for record in records:
                self.facts.append((record.topic.removeprefix(self._prefix), orjson.loads(record.value)))
        return [fact for name, fact in self.facts if name == topic]


@pytest.fixture
async def topics(engines: Engines, databases: ScratchDatabases, topic_prefix: str) -> AsyncIterator[Topics]:
    wanted = [*(route.topic for route in ROUTES), *REPLICATED, *OWN]
    await create_topics(engines.kafka_url, topic_prefix, wanted, groups=["escalation"])
    settings = Settings(
        kafka_url=engines.kafka_url,
        database_url=SecretStr(await databases.create("escalation")),
        topic_prefix=topic_prefix,
        master_key=SecretStr("5a" * 32),
    )
    service = await build(settings)
    running = [asyncio.ensure_future(loop.run()) for loop in service.loops]
    producer = AIOKafkaProducer(bootstrap_servers=engines.kafka_url)
    consumer = AIOKafkaConsumer(
        *(topic_prefix + topic.name for topic in OWN), bootstrap_servers=engines.kafka_url, auto_offset_reset="earliest"
    )
    await producer.start()
    await consumer.start()
    await eventually(lambda: _ready(service), what="readiness")
    yield Topics(producer, consumer, topic_prefix)
    for task in running:
        task.cancel()
    for task in running:
        with contextlib.suppress(asyncio.CancelledError):
            await task
    for stop in service.stop:
        await stop()
    await producer.stop()
    await consumer.stop()


async def _ready(service: Service) -> bool:
    """Whether every check passes; a service that lacks something says what."""
    missing = await failing(service.checks)
    assert not missing, missing
    return True


async def test_a_p1_waits_for_its_policy_pages_and_is_acknowledged(topics: Topics) -> None:
    for person in people():
        await topics.publish(person)
    await topics.publish(team())
    now = datetime.now(UTC)
    cause = TicketCreated(
        tenant_id="acme",
        ticket_id=summary().ticket_id,
        ticket=summary(label="P1", at=now),
        actor=colleague(),
        message=message(now),
    )
    identity = uuid4()
    for _ in range(2):
        await topics.publish(cause, identity)
    await topics.publish(policy_event())
    pages = await eventually(lambda: topics.told("page.requested"), what="a page")
    page = next(one for one in pages if one["person_id"] == str(AGENT))
    await topics.publish(
        PageResponse(
            tenant_id="acme",
            ticket_id=cause.ticket_id,
            page_id=UUID(page["page_id"]),
            escalation_id=UUID(page["escalation_id"]),
            person_id=AGENT,
            answer="acknowledged",
            channel="link",
            answered_at=now,
        )
    )
    (one,) = await eventually(lambda: topics.told("escalation.acknowledged"), what="the acknowledgement")
    assert (one["person_id"], one["via"]) == (str(AGENT), "page")
    assert len(await topics.told("escalation.started")) == 1
    assert len(await topics.told("page.requested")) == 2
