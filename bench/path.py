"""The first true path: a message accepted by HTTP through the origin → `ticket.created` on the topic."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import orjson
from aiokafka import AIOKafkaConsumer

from bench import processor
from bench.figures import Figure, percentile
from bench.ground import Ground

RATE = 200
SECONDS = 15
WARM_SECONDS = 5
SATURATED = 20_000
BATCH = 500
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


def _message(name: str) -> dict[str, object]:
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
            async with session.post("/v1/messages", json=_message(f"{mark}-{number}")) as answer:
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


async def saturated(desk: Desk, mark: str) -> tuple[float, dict[str, float]]:
    """Messages a second from the first batch sent to the last ticket read, and processor µs per message by part."""
    async with reading(desk) as created, _session(desk) as session:
        tickets: set[str] = set()
        numbers = iter(range(0, SATURATED, BATCH))
        before = processor.read()
        began = time.perf_counter()

        async def send() -> None:
            for first in numbers:
                body = {"messages": [_message(f"{mark}-{number}") for number in range(first, first + BATCH)]}
                async with session.post("/v1/messages", data=orjson.dumps(body)) as answer:
                    answer.raise_for_status()
                    tickets.update(result["ticket_id"] for result in (await answer.json())["results"])

        await asyncio.gather(*(send() for _ in range(IN_FLIGHT)))
        await created.all_of(tickets)
        seconds = time.perf_counter() - began
        used = processor.read().since(before)
        return len(tickets) / seconds, {part: spent / len(tickets) * 1e6 for part, spent in used.items()}


def _session(desk: Desk) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        desk.origin,
        headers={"Authorization": f"Bearer {desk.key}", "Content-Type": "application/json"},
        timeout=aiohttp.ClientTimeout(total=60),
        connector=aiohttp.TCPConnector(limit=64),
        json_serialize=lambda value: orjson.dumps(value).decode(),
    )
