"""What there is after a fault: rows, records and offsets, read from outside by an administrator."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from shared import kafka
from tests.support.faults import contracts

SOURCES = (contracts.ASKED.name, contracts.NOTED.name, contracts.STATE.name)
OUTPUTS = (contracts.ANSWERED.name, contracts.RANG.name, contracts.DONE.name)
SERVICE = "faults"


@dataclass(frozen=True, slots=True)
class Output:
    """One record the service published."""

    topic: str
    partition: int
    offset: int
    key: str
    id: str
    cause: str


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter."""

    topic: str
    """Where it came from."""
    partition: int
    offset: int
    reason: str


@dataclass(kw_only=True)
class World:
    """Everything the checker looks at."""

    effects: list[tuple[str, str, int, str, datetime]] = field(default_factory=list)
    """Topic, key, number, id, instant; in the order in which they were written."""
    outputs: list[Output] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    waiting: list[tuple[str, int, int, str]] = field(default_factory=list)
    """Topic, partition, offset, reason."""
    outbox: list[str] = field(default_factory=list)
    inbox: list[str] = field(default_factory=list)
    states: dict[str, int] = field(default_factory=dict)
    steps: list[tuple[str, int]] = field(default_factory=list)
    rules: dict[str, int] = field(default_factory=dict)
    timers: list[str] = field(default_factory=list)
    ledger: list[tuple[str, datetime, datetime]] = field(default_factory=list)
    """Key, due, fired."""
    tasks: list[str] = field(default_factory=list)
    committed: dict[tuple[str, int], int] = field(default_factory=dict)
    ends: dict[tuple[str, int], int] = field(default_factory=dict)
    stored: dict[tuple[str, int], int] = field(default_factory=dict)
    """How far the replica says it has read."""

    def digest(self) -> str:
        """The same as long as nothing changed but offsets."""
        told = (self.effects, self.states, self.steps, self.rules, self.waiting, self.ledger, len(self.outputs))
        return hashlib.sha256(repr((told, sorted(self.inbox), self.letters)).encode()).hexdigest()


async def look(kafka_url: str, admin_url: str, prefix: str, *, sources: Sequence[str] = SOURCES) -> World:
    """Read everything. `sources` are the manifest's names of what the group subscribes to."""
    world = World()
    await _rows(world, admin_url)
    letters = {f"dlq.{SERVICE}.{name}": name for name in sources}
    async with _consumer(kafka_url) as consumer:
        counts = await _partitions(consumer, prefix)
        for record in await _records(consumer, prefix, [*OUTPUTS, *letters], counts):
            name = record.topic.removeprefix(prefix)
            if name in letters:
                world.letters.append(_letter(record))
            else:
                world.outputs.append(_output(name, record))
        world.ends = await _ends(consumer, prefix, sources, counts)
    world.committed = await committed(kafka_url, prefix)
    return world


async def committed(kafka_url: str, prefix: str, group: str = SERVICE) -> dict[tuple[str, int], int]:
    """What the group told the broker."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_url)
    await admin.start()
    try:
        found = await admin.list_consumer_group_offsets(prefix + group)
        return {(tp.topic.removeprefix(prefix), tp.partition): meta.offset for tp, meta in found.items()}
    finally:
        await admin.close()


async def _ends(
    consumer: AIOKafkaConsumer, prefix: str, topics: Sequence[str], counts: Mapping[str, int]
) -> dict[tuple[str, int], int]:
    """Where each partition ends."""
    partitions = [TopicPartition(prefix + name, n) for name in topics for n in range(counts.get(name, 0))]
    found = await kafka.end_offsets(consumer, partitions)
    return {(tp.topic.removeprefix(prefix), tp.partition): end for tp, end in found.items()}


async def _rows(world: World, admin_url: str) -> None:
    connection = await asyncpg.connect(admin_url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            fetch = connection.fetch
            world.effects = [
                (r["topic"], r["key"], r["seq"], str(r["ce_id"]), r["applied_at"])
                for r in await fetch("SELECT topic, key, seq, ce_id, applied_at FROM effect ORDER BY id")
            ]
            world.waiting = [
                tuple(r) for r in await fetch('SELECT topic, partition, "offset", reason FROM waiting ORDER BY id')
            ]
            world.outbox = [str(r["ce_id"]) for r in await fetch("SELECT ce_id FROM outbox ORDER BY id")]
            world.inbox = [str(r["ce_id"]) for r in await fetch("SELECT ce_id FROM inbox")]
            world.states = {r["key"]: r["version"] for r in await fetch("SELECT key, version FROM state")}
            world.steps = [tuple(r) for r in await fetch("SELECT key, version FROM state_step ORDER BY id")]
            world.rules = {
                r["key"]: r["version"] for r in await fetch("SELECT key, version FROM replica WHERE event IS NOT NULL")
            }
            world.stored = {
                (r["topic"], r["partition"]): r["next_offset"] for r in await fetch("SELECT * FROM replica_offset")
            }
            world.timers = [r["key"] for r in await fetch("SELECT key FROM timer")]
            world.ledger = [
                tuple(r) for r in await fetch("SELECT key, due_at, fired_at FROM timer_ledger ORDER BY fired_at, key")
            ]
            world.tasks = [str(r["id"]) for r in await fetch("SELECT id FROM task")]
    finally:
        await connection.close()


@asynccontextmanager
async def _consumer(kafka_url: str) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka_url, group_id=None, auto_offset_reset="earliest", fetch_max_wait_ms=50
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def _partitions(consumer: AIOKafkaConsumer, prefix: str) -> dict[str, int]:
    """How many partitions each topic of this test has."""
    metadata = await consumer._client.fetch_all_metadata()
    return {
        name.removeprefix(prefix): len(metadata.partitions_for_topic(name) or ())
        for name in metadata.topics()
        if name.startswith(prefix)
    }


async def _records(
    consumer: AIOKafkaConsumer, prefix: str, topics: Sequence[str], counts: Mapping[str, int]
) -> list[Any]:
    """Everything on these topics, each partition in order."""
    partitions = [TopicPartition(prefix + name, n) for name in topics for n in range(counts.get(name, 0))]
    if not partitions:
        return []
    stops = await kafka.end_offsets(consumer, partitions)
    partitions = [partition for partition in partitions if stops[partition]]
    if not partitions:
        return []
    consumer.assign(partitions)
    await consumer.seek_to_beginning(*partitions)
    found: list[Any] = []
    while [p for p in partitions if await consumer.position(p) < stops[p]]:
        for records in (await consumer.getmany(timeout_ms=200)).values():
            found += records
    return found


def _output(topic: str, record: Any) -> Output:
    given = {name: (value or b"").decode() for name, value in record.headers}
    key = record.key.decode() if record.key else ""
    return Output(topic, record.partition, record.offset, key, given["ce_id"], given.get("ce_causationid", ""))


def _letter(record: Any) -> Letter:
    given = {name: (value or b"").decode("utf-8", "replace") for name, value in record.headers}
    return Letter(
        given["dlq_source_topic"],
        int(given["dlq_source_partition"]),
        int(given["dlq_source_offset"]),
        given["dlq_reason"],
    )
