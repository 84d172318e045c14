"""The bus against the bare loop: the same events through inbox, one effect row and outbox to a topic."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median
from typing import ClassVar
from uuid import UUID

import orjson
import uuid_utils
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from pydantic import SecretStr

from bench import bare, processor
from bench.figures import Figure, percentile
from bench.ground import Ground
from shared import outbox
from shared.bus import Bus, Route
from shared.contracts import cloudevents
from shared.contracts.event import Event, Topic
from shared.db import Database, Tx
from shared.envelope import Emit, Received
from shared.metrics import Metrics
from shared.relay import Relay
from shared.settings import ServiceSettings

EVENTS = 60_000
TEXT = "x" * 760
"""Makes an event about 1,035 bytes long, as in the figures the targets were set with."""
STATEMENT_FLOOR = 0.7 * 35_245
"""70 % of what one connection did with the three-row statement on the machine the targets were set on."""


class BenchSettings(ServiceSettings):
    """A service with nothing of its own."""

    SERVICE: ClassVar[str] = "bench"


class Asked(Event):
    """What the bench feeds in."""

    TYPE: ClassVar[str] = "bench.asked.v1"
    KEY: ClassVar[str] = "subject_id"

    event_id: UUID
    subject_id: str
    channel: str
    subject: str
    text: str


class Answered(Event):
    """What comes out, as large as what went in."""

    TYPE: ClassVar[str] = "bench.answered.v1"
    KEY: ClassVar[str] = "subject_id"

    event_id: UUID
    subject_id: str
    channel: str
    subject: str
    text: str


def _topic(name: str, event: type[Event]) -> Topic:
    return Topic(name=name, owner="bench", consumers=("bench",), events=(event,), summary="bench", partitions=4)


ASKED = _topic("bench.asked", Asked)
ANSWERED = _topic("bench.answered", Answered)

_EFFECT_TABLE = (
    "CREATE TABLE effect (id uuid PRIMARY KEY, key text NOT NULL, body text NOT NULL,"
    " at timestamptz NOT NULL DEFAULT now())"
)
_EFFECT = "INSERT INTO effect (id, key, body) SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[])"


async def on_asked(tx: Tx, batch: Sequence[Received[Asked]]) -> list[Emit]:
    """One row and one event for each event."""
    await tx.execute(
        _EFFECT,
        [given.event.event_id for given in batch],
        [given.event.subject_id for given in batch],
        [given.event.text for given in batch],
    )
    return [Emit(Answered.model_construct(**given.event.__dict__), given) for given in batch]


def _events(count: int) -> list[Asked]:
    return [
        Asked(
            tenant_id=f"t{number % 20}",
            event_id=UUID(str(uuid_utils.uuid7())),
            subject_id=f"subject-{number % 5000:05d}",
            channel="email",
            subject="It stopped working this morning",
            text=TEXT,
        )
        for number in range(count)
    ]


async def send(client: AIOKafkaProducer, topic: str, event: Asked) -> asyncio.Future[object]:
    """Put one event on `topic` with the headers that any producer of ours gives it; the acknowledgement to come."""
    headers = [
        (cloudevents.SPECVERSION, b"1.0"),
        (cloudevents.CONTENT_TYPE, b"application/json"),
        (cloudevents.TYPE, event.TYPE.encode()),
        (cloudevents.ID, str(event.event_id).encode()),
        (cloudevents.SOURCE, b"/deskwire/bench"),
        (cloudevents.TIME, cloudevents.text_time(datetime.now(UTC)).encode()),
        (cloudevents.SUBJECT, event.key.encode()),
        (cloudevents.TENANT, event.tenant_id.encode()),
    ]
    sent: asyncio.Future[object] = await client.send(topic, event.to_bytes(), key=event.key.encode(), headers=headers)
    return sent


async def fill(kafka_url: str, topic: str, events: Sequence[Asked]) -> None:
    """Put a backlog on `topic`."""
    client = AIOKafkaProducer(bootstrap_servers=kafka_url, acks="all", enable_idempotence=True, linger_ms=5)
    await client.start()
    try:
        for start in range(0, len(events), 2000):
            await asyncio.gather(*[await send(client, topic, event) for event in events[start : start + 2000]])
    finally:
        await client.stop()


@dataclass(frozen=True, kw_only=True)
class Drained:
    """One run of either side: events per second, and processor microseconds per event by part."""

    rate: float
    micros: dict[str, float]


async def drain_bare(ground: Ground, count: int) -> Drained:
    """The bare loop over a backlog of `count`."""
    database = await ground.database()
    await ground.sql(database, "DROP TABLE inbox CASCADE; DROP TABLE outbox CASCADE;" + bare.SCHEMA)
    prefix = await ground.topics((ASKED, ANSWERED))
    await fill(ground.kafka_url, prefix + ASKED.name, _events(count))
    before = processor.read()
    seconds = await bare.drain(ground.kafka_url, database, prefix + ASKED.name, prefix + ANSWERED.name, count)
    return _drained(count, seconds, before)


async def drain_bus(ground: Ground, count: int) -> Drained:
    """The bus and its relay over a backlog of `count`: from the first batch to the last event on the topic."""
    url = await ground.database()
    await ground.sql(url, _EFFECT_TABLE)
    prefix = await ground.topics((ASKED, ANSWERED), groups=("bench",))
    await fill(ground.kafka_url, prefix + ASKED.name, _events(count))
    async with _running(ground, url, prefix) as seen:
        before = processor.read()
        started = time.perf_counter()
        await seen.reached(count)
        return _drained(count, time.perf_counter() - started, before)


async def latency(ground: Ground, *, rate: int = 200, seconds: int = 15) -> list[float]:
    """Milliseconds from commit to the record on the topic, at `rate` transactions of one event a second.

    The commit is taken as the instant `begin()` returned; the record's time is when the consumer has it.
    """
    url = await ground.database()
    await ground.sql(url, _EFFECT_TABLE)
    prefix = await ground.topics((ASKED, ANSWERED), groups=("bench",))
    async with _running(ground, url, prefix) as seen:
        database = await Database.connect(url, application="bench writer")
        events = _events(rate * seconds)
        committed: dict[str, float] = {}
        began = time.perf_counter()

        async def write(event: Asked) -> None:
            async with database.begin() as tx:
                await outbox.add(tx, [Emit(Answered.model_construct(**event.__dict__))])
            committed[str(event.event_id)] = time.perf_counter()
            seen.relay.wake()

        writing = []
        for number, event in enumerate(events):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            writing.append(asyncio.create_task(write(event)))
        await asyncio.gather(*writing)
        await seen.reached(len(events))
        await database.close()
        # The first second pays for connections and plans.
        settled = [str(event.event_id) for event in events[rate:]]
        return [max(0.0, (seen.arrived[name] - committed[name]) * 1000) for name in settled]


@dataclass(kw_only=True)
class Seen:
    """A reader of the sink that notes when each event arrived."""

    relay: Relay
    arrived: dict[str, float] = field(default_factory=dict)
    count: int = 0
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, values: Sequence[bytes], *, each: bool) -> None:
        """Count events, and remember when, where that is asked for."""
        now = time.perf_counter()
        self.count += len(values)
        if each:
            for value in values:
                self.arrived[orjson.loads(value)["event_id"]] = now
        self._more.set()

    async def reached(self, count: int) -> None:
        """Return when `count` events have arrived."""
        while self.count < count:
            self._more.clear()
            await self._more.wait()


@asynccontextmanager
async def _running(ground: Ground, url: str, prefix: str) -> AsyncIterator[Seen]:
    """A service with one route, its relay, and a reader of what comes out."""
    settings = BenchSettings(
        kafka_url=ground.kafka_url, database_url=SecretStr(url), topic_prefix=prefix, log_level="warning"
    )
    database = await Database.connect(url, application="bench")
    metrics = Metrics("bench")
    relay = Relay(settings, database, metrics=metrics)
    bus = Bus(settings, database, [Route(ASKED, on_asked)], relay=relay, metrics=metrics)
    reader = AIOKafkaConsumer(
        prefix + ANSWERED.name, bootstrap_servers=ground.kafka_url, auto_offset_reset="earliest", fetch_max_wait_ms=50
    )
    await reader.start()
    seen = Seen(relay=relay)
    tasks: list[asyncio.Future[None]] = [asyncio.ensure_future(loop.run()) for loop in (*bus.loops(), *relay.loops())]

    async def read() -> None:
        while True:
            polled = await reader.getmany(timeout_ms=1000)
            values = [record.value for records in polled.values() for record in records]
            if values:
                seen.note(values, each=len(values) < 200)

    tasks.append(asyncio.ensure_future(read()))
    try:
        yield seen
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await reader.stop()
        await database.close()


def _drained(count: int, seconds: float, before: processor.Seconds) -> Drained:
    used = processor.read().since(before)
    return Drained(rate=count / seconds, micros={part: spent / count * 1e6 for part, spent in used.items()})


async def measure(ground: Ground, say: Callable[[str], None], *, runs: int = 3, events: int = EVENTS) -> list[Figure]:
    """Bare and bus in turn, the medians of `runs`, and the latency of the way out."""
    database = await ground.database()
    await ground.sql(database, "DROP TABLE inbox CASCADE; DROP TABLE outbox CASCADE;" + bare.SCHEMA)
    statement = await bare.statement_rate(database)
    say(f"three-row statement alone: {statement:,.0f}/s")
    bares, buses, ratios = [], [], []
    for number in range(runs):
        bares.append(await drain_bare(ground, events))
        buses.append(await drain_bus(ground, events))
        ratios.append(buses[-1].rate / bares[-1].rate)
        say(f"run {number + 1} of {runs}: bare {bares[-1].rate:,.0f}/s, bus {buses[-1].rate:,.0f}/s")
    waits = await latency(ground)
    valid = statement >= STATEMENT_FLOOR
    figures = [
        Figure(
            name="bare: three-row statement alone",
            value=statement,
            unit="events/s",
            target=STATEMENT_FLOOR,
            at_least=True,
        ),
        Figure(
            name="bus through inbox, handler and outbox",
            value=median(run.rate for run in buses),
            unit="events/s",
            bare=median(run.rate for run in bares),
        ),
        Figure(
            name="bus against bare, pair by pair",
            value=median(ratios),
            unit="of bare",
            target=0.5,
            at_least=True,
            note="" if valid else "void: the machine was too slow in this run",
        ),
    ]
    figures += [
        Figure(
            name=f"bus, processor of {part}",
            value=median(run.micros[part] for run in buses),
            unit="µs/event",
            bare=median(run.micros[part] for run in bares),
        )
        for part in ("own", "postgresql", "kafka")
    ]
    figures.append(Figure(name="commit to topic at 200/s, p50", value=percentile(waits, 50), unit="ms"))
    figures.append(Figure(name="commit to topic at 200/s, p99", value=percentile(waits, 99), unit="ms", target=15))
    return figures
