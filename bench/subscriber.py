"""FastStream's batch subscriber beside the bus: how long from the topic to the effect, at the same rate.

The figures behind docs/decisions/0001. Both insert one row per event in one transaction per batch and commit offsets
after it; FastStream is given the settings that lose nothing (`NACK_ON_ERROR`, earliest) and its batch timeout twice:
as it comes and as short as is sensible.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import asyncpg
import orjson
from aiokafka import AIOKafkaProducer
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.annotations import KafkaMessage
from pydantic import SecretStr

from bench import bus
from bench.bus import ASKED, Asked, BenchSettings
from bench.figures import Figure, percentile
from bench.ground import Ground
from shared.bus import Bus, Route
from shared.db import Database, Tx
from shared.envelope import Received
from shared.metrics import Metrics
from shared.relay import Relay

RATE = 200
SECONDS = 10
WARM_SECONDS = 2
_SQL = "INSERT INTO effect (id, key, body) SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[])"

Note = Callable[[Sequence[str]], None]


async def measure(ground: Ground, say: Callable[[str], None]) -> list[Figure]:
    """Topic to effect, three ways."""
    figures = []
    for name, running in (
        ("bus", _bus),
        ("FastStream, batch timeout 200 ms (its default)", _faststream(200)),
        ("FastStream, batch timeout 10 ms", _faststream(10)),
    ):
        waits = await _paced(ground, running)
        say(f"{name}: p50 {percentile(waits, 50):.1f} ms, p99 {percentile(waits, 99):.1f} ms")
        figures.append(Figure(name=f"topic to effect at {RATE}/s, {name}: p50", value=percentile(waits, 50), unit="ms"))
        figures.append(Figure(name=f"topic to effect at {RATE}/s, {name}: p99", value=percentile(waits, 99), unit="ms"))
    return figures


async def _paced(ground: Ground, running: Callable[[Ground, str, str, Note], object]) -> list[float]:
    url = await ground.database()
    await ground.sql(url, bus._EFFECT_TABLE)  # noqa: SLF001 - the same table as the bus's own bench
    prefix = await ground.topics((ASKED,), groups=("bench",))
    handled: dict[str, float] = {}
    done = asyncio.Event()
    events = bus._events(RATE * (WARM_SECONDS + SECONDS))  # noqa: SLF001 - the same events

    def note(ids: Sequence[str]) -> None:
        now = time.perf_counter()
        for one in ids:
            handled.setdefault(one, now)
        if len(handled) == len(events):
            done.set()

    sent: dict[str, float] = {}
    producer = AIOKafkaProducer(bootstrap_servers=ground.kafka_url, acks="all", enable_idempotence=True)
    await producer.start()
    try:
        async with running(ground, url, prefix, note):  # type: ignore[attr-defined]
            began = time.perf_counter()
            for number, event in enumerate(events):
                await asyncio.sleep(max(0.0, began + number / RATE - time.perf_counter()))
                sent[str(event.event_id)] = time.perf_counter()
                await bus.send(producer, prefix + ASKED.name, event)
            async with asyncio.timeout(60):
                await done.wait()
    finally:
        await producer.stop()
    return [(handled[str(e.event_id)] - sent[str(e.event_id)]) * 1000 for e in events[RATE * WARM_SECONDS :]]


@asynccontextmanager
async def _bus(ground: Ground, url: str, prefix: str, note: Note) -> AsyncIterator[None]:
    settings = BenchSettings(
        kafka_url=ground.kafka_url, database_url=SecretStr(url), topic_prefix=prefix, log_level="warning"
    )
    database = await Database.connect(url, application="bench")
    relay = Relay(settings, database, metrics=Metrics("bench"))

    async def on_asked(tx: Tx, batch: Sequence[Received[Asked]]) -> list[object]:
        ids = [given.event.event_id for given in batch]
        await tx.execute(_SQL, ids, [g.event.subject_id for g in batch], [g.event.text for g in batch])
        note([str(one) for one in ids])
        return []

    consumer = Bus(settings, database, [Route(ASKED, on_asked)], relay=relay, metrics=Metrics("bench"))  # type: ignore[arg-type]
    tasks = [asyncio.ensure_future(loop.run()) for loop in (*consumer.loops(), *relay.loops())]
    try:
        await asyncio.sleep(2)
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await database.close()


def _faststream(timeout_ms: int) -> Callable[[Ground, str, str, Note], object]:
    @asynccontextmanager
    async def running(ground: Ground, url: str, prefix: str, note: Note) -> AsyncIterator[None]:
        pool = await asyncpg.create_pool(url, min_size=1, max_size=4)
        broker = KafkaBroker(ground.kafka_url, logger=None)

        async def raw(message: KafkaMessage) -> object:
            return message.body

        @broker.subscriber(
            prefix + ASKED.name,
            group_id=f"{prefix}faststream",
            batch=True,
            max_records=500,
            batch_timeout_ms=timeout_ms,
            auto_offset_reset="earliest",
            ack_policy=AckPolicy.NACK_ON_ERROR,
            decoder=raw,
        )
        async def on_asked(batch: list[bytes]) -> None:
            events = [orjson.loads(body) for body in batch]
            ids = [event["event_id"] for event in events]
            async with pool.acquire() as connection, connection.transaction():
                await connection.execute(_SQL, ids, [e["subject_id"] for e in events], [e["text"] for e in events])
            note(ids)

        await broker.start()
        try:
            await asyncio.sleep(2)
            yield
        finally:
            await broker.stop()
            await pool.close()

    return running
