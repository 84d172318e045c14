"""A small service on the bus for tests: two topics of facts, one of state, a journal without a unique key."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID, uuid4

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from shared.bus import Bus, FailureLimits, Route
from shared.contracts.event import Event, Topic
from shared.db import Database, Tx
from shared.envelope import Answer, Emit, Received, Tombstone
from shared.metrics import Metrics
from shared.relay import Relay
from shared.service import Loop
from shared.settings import ServiceSettings


class Counted(Event):
    """A fact to be counted."""

    TYPE: ClassVar[str] = "test.counted.v1"
    KEY: ClassVar[str] = "thing"

    thing: str
    number: int


class Extra(Event):
    """A fact about the same things, on a topic of its own."""

    TYPE: ClassVar[str] = "test.extra.v1"
    KEY: ClassVar[str] = "thing"

    thing: str
    number: int


class State(Event):
    """The newest state of a thing."""

    TYPE: ClassVar[str] = "test.state.v1"
    KEY: ClassVar[str] = "thing"

    thing: str
    version: int


class Told(Event):
    """What the test service publishes for each fact."""

    TYPE: ClassVar[str] = "test.told.v1"
    KEY: ClassVar[str] = "thing"

    thing: str
    number: int


COUNTED = Topic(name="test.counted", owner="other", consumers=("mechanism",), events=(Counted,), summary="Counted.")
EXTRA = Topic(name="test.extra", owner="other", consumers=("mechanism",), events=(Extra,), summary="Extra.")
STATE = Topic(
    name="test.state", owner="other", consumers=("mechanism",), events=(State,), summary="State.", compacted=True
)
TOLD = Topic(name="test.told", owner="mechanism", consumers=(), events=(Told,), summary="Told.")
TOPICS = (COUNTED, EXTRA, STATE, TOLD)

SCHEMA = """
    CREATE TABLE effect (id bigint GENERATED ALWAYS AS IDENTITY, topic text, key text, number int, ce_id uuid);
    CREATE TABLE known (name text PRIMARY KEY);
    GRANT ALL ON effect, known TO PUBLIC;
"""
"""`effect` has no unique key on purpose: whatever is handled twice is counted twice."""


class MechanismSettings(ServiceSettings):
    SERVICE: ClassVar[str] = "mechanism"


def settings(kafka_url: str, database_url: str, prefix: str, **more: Any) -> MechanismSettings:
    """Settings with short times."""
    values: dict[str, Any] = {
        "kafka_url": kafka_url,
        "database_url": database_url,
        "topic_prefix": prefix,
        "session_timeout_milliseconds": 6000,
        "drain_seconds": 10,
        **more,
    }
    return MechanismSettings(**values)


async def count(tx: Tx, batch: Sequence[Received[Any] | Tombstone]) -> list[Answer]:
    """Write one effect per fact and tell of it."""
    facts = [one for one in batch if isinstance(one, Received)]
    await tx.execute(
        "INSERT INTO effect (topic, key, number, ce_id) SELECT * FROM unnest($1::text[], $2::text[], $3::int[], $4::uuid[])",
        [one.topic for one in facts],
        [one.key for one in facts],
        [getattr(one.event, "number", 0) for one in facts],
        [one.id for one in facts],
    )
    return [
        Emit(Told(tenant_id=one.event.tenant_id, thing=one.key, number=getattr(one.event, "number", 0)), cause=one)
        for one in facts
    ]


def wire(event: Event, *, id: UUID | None = None, type: str | None = None, hops: int = 0) -> dict[str, Any]:  # noqa: A002
    """A record as a producer sends it."""
    return {
        "key": event.key.encode(),
        "value": event.to_bytes(),
        "headers": headers(type or event.TYPE, id=id, hops=hops),
    }


def headers(type: str, *, id: UUID | None = None, hops: int = 0) -> list[tuple[str, bytes]]:  # noqa: A002
    """CloudEvents headers of a well-formed event."""
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", str(id or uuid4()).encode()),
        ("ce_source", b"/deskwire/other"),
        ("ce_type", type.encode()),
        ("ce_time", datetime.now(UTC).isoformat().encode()),
        ("ce_hops", str(hops).encode()),
        ("content-type", b"application/json"),
    ]


@dataclass
class Running:
    """One instance of the test service."""

    bus: Bus
    relay: Relay
    database: Database
    metrics: Metrics
    tasks: list[asyncio.Task[None]]

    async def stop(self) -> None:
        """Drain and end, like a process that got SIGTERM."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.database.close()


@dataclass
class Bench:
    """Topics, a database, and the means to start instances and look at what they did."""

    kafka_url: str
    database_url: str
    admin_url: str
    prefix: str
    producer: AIOKafkaProducer
    running: list[Running] = field(default_factory=list)

    async def start(
        self,
        handlers: Mapping[str, Callable[..., Awaitable[Sequence[Answer]]]] | None = None,
        *,
        limits: FailureLimits | None = None,
        topics: Sequence[Topic] = TOPICS,
        **more: Any,
    ) -> Running:
        """Start an instance whose handlers are `handlers` by topic name, `count` otherwise."""
        chosen = {COUNTED.name: count, EXTRA.name: count, **(handlers or {})}
        by_name = {topic.name: topic for topic in topics}
        conf = settings(self.kafka_url, self.database_url, self.prefix, **more)
        database = await Database.connect(self.database_url, application="mechanism")
        metrics = Metrics("mechanism")
        relay = Relay(conf, database, metrics=metrics)
        routes: list[Route[Any]] = [Route(by_name[name], handler) for name, handler in chosen.items()]
        bus = Bus(conf, database, routes, relay=relay, metrics=metrics, limits=limits)
        loops: list[Loop] = [*bus.loops(), *relay.loops()]
        tasks = [asyncio.create_task(_run(loop), name=loop.name) for loop in loops]
        one = Running(bus, relay, database, metrics, tasks)
        self.running.append(one)
        return one

    async def send(self, topic: str, records: Sequence[Mapping[str, Any]]) -> None:
        """Publish records in their order."""
        futures = [await self.producer.send(self.prefix + topic, **record) for record in records]
        await asyncio.gather(*futures)

    async def rows(self, sql: str, *args: object) -> list[asyncpg.Record]:
        """What the administrator sees in the service's database."""
        connection = await asyncpg.connect(self.admin_url)
        try:
            return await connection.fetch(sql, *args)
        finally:
            await connection.close()

    async def value(self, sql: str, *args: object) -> Any:
        """The first value of the first row."""
        rows = await self.rows(sql, *args)
        return rows[0][0] if rows else None

    async def read(self, topic: str) -> list[Any]:
        """Everything on a topic, each partition in order."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.kafka_url, group_id=None, auto_offset_reset="earliest")
        await consumer.start()
        try:
            name = self.prefix + topic
            partitions = [TopicPartition(name, number) for number in await _partitions(consumer, name)]
            ends = await consumer.end_offsets(partitions)
            consumer.assign(partitions)
            await consumer.seek_to_beginning(*partitions)
            found: list[Any] = []
            while [p for p in partitions if await consumer.position(p) < ends[p]]:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found += records
            return found
        finally:
            await consumer.stop()

    async def stop(self) -> None:
        """End every instance and the producer."""
        for one in self.running:
            with contextlib.suppress(Exception):
                await one.stop()
        await self.producer.stop()


async def _run(loop: Loop) -> None:
    await loop.run()


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> list[int]:
    await consumer.topics()
    return sorted(consumer.partitions_for_topic(topic) or await consumer._client._wait_on_metadata(topic))
