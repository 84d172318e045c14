"""The first true path: a message accepted by HTTP through the origin → `ticket.created` on the topic."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import aiohttp
import orjson
from aiokafka import AIOKafkaConsumer

from bench import processor
from bench.figures import Figure, percentile
from bench.ground import Ground
from tests.support.desk import open_desk
from tests.support.installation import Installation
from tests.support.tap import Tap

RATE = 200
SECONDS = 15
WARM_SECONDS = 5
SATURATED = 20_000
BATCH = 500
FIRST_PATH = (("directory",), ("ingest",), ("tickets",), ("console",))
"""The services that a message passes until it is a ticket, one process each."""
IN_FLIGHT = 4
"""Requests of a batch each that are under way at once."""


@dataclass(kw_only=True)
class Desk:
    """Where the running installation answers."""

    origin: str
    kafka_url: str
    prefix: str
    key: str


@dataclass(kw_only=True)
class Created:
    """A reader of ticket.created that notes when each ticket was read."""

    at: dict[str, float] = field(default_factory=dict)
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, values: list[bytes]) -> None:
        """Remember the tickets of some events."""
        now = time.perf_counter()
        for value in values:
            self.at[orjson.loads(value)["ticket_id"]] = now
        self._more.set()

    async def all_of(self, tickets: set[str]) -> None:
        """Return when every one of them has been read."""
        while not tickets <= self.at.keys():
            self._more.clear()
            await self._more.wait()


@asynccontextmanager
async def reading(desk: Desk) -> AsyncIterator[Created]:
    """Read ticket.created from now on."""
    consumer = AIOKafkaConsumer(
        f"{desk.prefix}ticket.created",
        bootstrap_servers=desk.kafka_url,
        auto_offset_reset="latest",
        fetch_max_wait_ms=100,
    )
    await consumer.start()
    for partition in consumer.assignment():
        await consumer.position(partition)
    created = Created()

    async def follow() -> None:
        while True:
            polled = await consumer.getmany(timeout_ms=500)
            values = [record.value for records in polled.values() for record in records]
            if values:
                created.note(values)

    following = asyncio.create_task(follow())
    try:
        yield created
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await consumer.stop()


def message(name: str) -> dict[str, object]:
    return {
        "channel": "api",
        "source_id": name,
        "sender": {"address": f"{name[-3:]}@bench.example", "name": "A. Requester"},
        "subject": "The nightly export stopped half way",
        "text": "It stops after about ten thousand rows, every night since Monday. " * 4,
    }


async def latency(desk: Desk, mark: str) -> tuple[list[float], list[float]]:
    """At RATE single requests a second: milliseconds from sending to 202, and from the 202 to the topic."""
    async with reading(desk) as created, _session(desk) as session:
        accepted: dict[str, tuple[float, float]] = {}

        async def post(number: int) -> None:
            sent = time.perf_counter()
            async with session.post("/v1/messages", json=message(f"{mark}-{number}")) as answer:
                answer.raise_for_status()
                ticket = (await answer.json())["ticket_id"]
            if number >= RATE * WARM_SECONDS:
                accepted[ticket] = (sent, time.perf_counter())

        began = time.perf_counter()
        posts = []
        for number in range(RATE * (WARM_SECONDS + SECONDS)):
            await asyncio.sleep(max(0.0, began + number / RATE - time.perf_counter()))
            posts.append(asyncio.create_task(post(number)))
        await asyncio.gather(*posts)
        await created.all_of(set(accepted))
        answers = [(at - sent) * 1000 for sent, at in accepted.values()]
        # A ticket may be on the topic before the 202 has reached us.
        topics = [max(0.0, (created.at[ticket] - at) * 1000) for ticket, (_, at) in accepted.items()]
        return answers, topics


@dataclass(frozen=True, kw_only=True)
class Saturated:
    """One run with as much as the machine takes."""

    rate: float
    """Messages a second, from the first batch sent to the last ticket read."""
    micros: dict[str, float]
    """Processor microseconds per message of each part."""


async def saturated(desk: Desk, mark: str, pids: dict[str, int]) -> Saturated:
    """`SATURATED` messages in batches, IN_FLIGHT requests at once."""
    async with reading(desk) as created, _session(desk) as session:
        tickets: set[str] = set()
        numbers = iter(range(0, SATURATED, BATCH))
        before = processor.read(pids)
        began = time.perf_counter()

        async def send() -> None:
            for first in numbers:
                body = {"messages": [message(f"{mark}-{number}") for number in range(first, first + BATCH)]}
                async with session.post("/v1/messages", data=orjson.dumps(body)) as answer:
                    answer.raise_for_status()
                    tickets.update(result["ticket_id"] for result in (await answer.json())["results"])

        await asyncio.gather(*(send() for _ in range(IN_FLIGHT)))
        await created.all_of(tickets)
        seconds = time.perf_counter() - began
        used = processor.read(pids).since(before)
        return Saturated(
            rate=len(tickets) / seconds, micros={part: spent / len(tickets) * 1e6 for part, spent in used.items()}
        )


async def measure(ground: Ground, say: Callable[[str], None], *, runs: int = 3) -> list[Figure]:
    """The latency of single messages, the rate of batches, and what each service takes of memory."""
    async with _installation(ground, FIRST_PATH) as (running, desk):
        pids = {names[0]: process.pid for names, process in running.running.items()}
        answers, topics = await latency(desk, secrets.token_hex(3))
        say(f"{RATE}/s: 202 after {percentile(answers, 50):.0f} ms, on the topic {percentile(topics, 50):.0f} ms later")
        results = []
        for number in range(runs):
            results.append(await saturated(desk, secrets.token_hex(3), pids))
            say(f"saturated, run {number + 1} of {runs}: {results[-1].rate:,.0f}/s")
        resident = {name: processor.resident_megabytes(pid) for name, pid in pids.items()}
    async with _installation(ground, (("directory", "ingest", "tickets"), ("console",))) as (running, desk):
        await saturated(desk, secrets.token_hex(3), {})
        (together,) = (process.pid for names, process in running.running.items() if len(names) > 1)
        three = processor.resident_megabytes(together)
    figures = [
        Figure(name=f"HTTP to 202 at {RATE}/s, p50", value=percentile(answers, 50), unit="ms"),
        Figure(name=f"HTTP to 202 at {RATE}/s, p99", value=percentile(answers, 99), unit="ms"),
        Figure(name=f"202 to ticket.created at {RATE}/s, p50", value=percentile(topics, 50), unit="ms", target=40),
        Figure(name=f"202 to ticket.created at {RATE}/s, p99", value=percentile(topics, 99), unit="ms", target=120),
        Figure(
            name="HTTP batches to ticket.created, saturated",
            value=median(run.rate for run in results),
            unit="messages/s",
            target=2000,
            at_least=True,
        ),
    ]
    figures += [
        Figure(
            name=f"saturated, processor of {part}", value=median(run.micros[part] for run in results), unit="µs/message"
        )
        for part in results[0].micros
    ]
    figures += [Figure(name=f"memory of {name}", value=size, unit="MB", target=150) for name, size in resident.items()]
    figures.append(Figure(name="memory of three services in one process", value=three, unit="MB", target=220))
    return figures


@asynccontextmanager
async def _installation(ground: Ground, processes: Sequence[Sequence[str]]) -> AsyncIterator[tuple[Installation, Desk]]:
    """The services as real processes on the engines of this bench, with a tenant and its key."""
    with tempfile.TemporaryDirectory(prefix="deskwire-bench-") as folder:
        running = Installation(ground.engines, Path(folder), processes=processes)
        tap = Tap(ground.kafka_url, running.prefix)
        try:
            await running.start()
            tenant = await open_desk(running, tap, "bench")
            key = tenant.keys["service"]
            await tenant.close()
            yield running, Desk(origin=running.origin, kafka_url=ground.kafka_url, prefix=running.prefix, key=key)
        finally:
            await running.stop()


def _session(desk: Desk) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        desk.origin,
        headers={"Authorization": f"Bearer {desk.key}", "Content-Type": "application/json"},
        timeout=aiohttp.ClientTimeout(total=60),
        connector=aiohttp.TCPConnector(limit=64),
        json_serialize=lambda value: orjson.dumps(value).decode(),
    )
