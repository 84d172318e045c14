"""The first true path: a message accepted by HTTP through the origin → `ticket.created` on the topic."""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench import processor
from bench.figures import Figure, percentile
from bench.ground import Ground
from bench.traffic import Accepted, Seen, at_pace, following, in_batches, session
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
CREATED = "ticket.created"


@dataclass(kw_only=True)
class Desk:
    """Where the running installation answers."""

    origin: str
    kafka_url: str
    prefix: str
    key: str


@asynccontextmanager
async def reading(desk: Desk) -> AsyncIterator[Seen]:
    """Read ticket.created from now on."""
    seen = Seen()

    def note(topic: str, event: dict[str, Any], now: float) -> None:
        seen.note(topic, [event["ticket_id"]], now)

    async with following(desk.kafka_url, desk.prefix, [CREATED], note):
        yield seen


async def latency(desk: Desk, mark: str) -> tuple[list[float], list[float]]:
    """At RATE single requests a second: milliseconds from sending to 202, and from the 202 to the topic."""
    async with reading(desk) as seen, session(desk.origin, desk.key) as client:
        accepted: dict[str, Accepted] = {}
        await at_pace(client, mark, RATE, accepted, warm=WARM_SECONDS, seconds=SECONDS)
        await seen.all_of(CREATED, set(accepted))
        return [(one.answered - one.sent) * 1000 for one in accepted.values()], seen.after(CREATED, accepted)


@dataclass(frozen=True, kw_only=True)
class Saturated:
    """One run with as much as the machine takes."""

    rate: float
    """Messages a second, from the first batch sent to the last ticket read."""
    micros: dict[str, float]
    """Processor microseconds per message of each part."""


async def saturated(desk: Desk, mark: str, pids: dict[str, int]) -> Saturated:
    """`SATURATED` messages in batches, IN_FLIGHT requests at once."""
    async with reading(desk) as seen, session(desk.origin, desk.key) as client:
        before = processor.read(pids)
        began = time.perf_counter()
        tickets = await in_batches(client, mark, SATURATED, BATCH)
        await seen.all_of(CREATED, tickets)
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
