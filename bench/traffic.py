"""Messages for a measurement, and when topics tell of the tickets they become.

Every instant is of the wall clock, in seconds: topics, index and sink share no other.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiokafka import AIOKafkaConsumer

IN_FLIGHT = 4
"""Requests of a batch each that are under way at once."""


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """When a message was sent, and when its 202 was here."""

    sent: float
    answered: float


@dataclass(kw_only=True)
class Seen:
    """When each ticket was first seen at each stage."""

    at: dict[str, dict[str, float]] = field(default_factory=dict)
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, stage: str, tickets: Iterable[str], now: float) -> None:
        """Keep that these tickets have come to a stage."""
        known = self.at.setdefault(stage, {})
        for ticket in tickets:
            known.setdefault(ticket, now)
        self._more.set()

    async def all_of(self, stage: str, tickets: set[str]) -> None:
        """Return when every ticket has come to a stage."""
        while not tickets <= self.at.get(stage, {}).keys():
            self._more.clear()
            await self._more.wait()

    def oldest_without(self, stage: str, accepted: Mapping[str, Accepted]) -> float | None:
        """When the longest waiting ticket was sent that has not come to a stage; None when all have."""
        known = self.at.get(stage, {})
        return min((one.sent for ticket, one in accepted.items() if ticket not in known), default=None)

    def after(self, stage: str, accepted: Mapping[str, Accepted]) -> list[float]:
        """Milliseconds from each 202 to a stage; a ticket may be there before its 202 has reached us."""
        at = self.at[stage]
        return [max(0.0, (at[ticket] - one.answered) * 1000) for ticket, one in accepted.items()]


@asynccontextmanager
async def following(
    kafka_url: str, prefix: str, topics: Iterable[str], note: Callable[[str, dict[str, Any], float], None]
) -> AsyncIterator[None]:
    """Read topics from now on; `note` gets each event with its topic and the instant it was read."""
    consumer = AIOKafkaConsumer(
        *(prefix + name for name in topics),
        bootstrap_servers=kafka_url,
        auto_offset_reset="latest",
        fetch_max_wait_ms=50,
    )
    await consumer.start()
    for partition in consumer.assignment():
        await consumer.position(partition)

    async def follow() -> None:
        while True:
            polled = await consumer.getmany(timeout_ms=500)
            now = time.time()
            for partition, records in polled.items():
                topic = partition.topic.removeprefix(prefix)
                for record in records:
                    note(topic, orjson.loads(record.value), now)

    task = asyncio.create_task(follow())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await consumer.stop()


def session(origin: str, key: str) -> aiohttp.ClientSession:
    """A client with an API key."""
    return aiohttp.ClientSession(
        origin,
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        timeout=aiohttp.ClientTimeout(total=60),
        connector=aiohttp.TCPConnector(limit=64),
        json_serialize=lambda value: orjson.dumps(value).decode(),
    )


_THINGS, _DOINGS, _WHENS, _WHERES, _SYLLABLES = (
    line.split() for line in Path(__file__).with_name("words.txt").read_text(encoding="utf-8").splitlines()
)


def message(name: str) -> dict[str, object]:
    """A message as somebody would send it by API: the same name, the same words; another name, other ones.

    Were they all alike, each would be a duplicate of all the others, which no desk has ever seen.
    """
    draw = random.Random(name)

    def somebody() -> str:
        return "".join(draw.choice(_SYLLABLES) for _ in range(3)).capitalize()

    lines = [
        f"The {draw.choice(_THINGS)} of {somebody()} in {draw.choice(_WHERES)} {draw.choice(_DOINGS)}"
        f" {draw.choice(_WHENS)}, and {somebody()} cannot go on; ask {somebody()} about order {draw.randrange(10**7)}."
        for _ in range(3)
    ]
    return {
        "channel": "api",
        "source_id": name,
        "sender": {"address": f"{name[-3:]}@bench.example", "name": "A. Requester"},
        "subject": f"{draw.choice(_THINGS).capitalize()} {draw.choice(_DOINGS)} for {somebody()}",
        "text": " ".join(lines),
    }


async def at_pace(
    client: aiohttp.ClientSession,
    mark: str,
    rate: int,
    accepted: dict[str, Accepted],
    *,
    warm: float,
    seconds: float,
) -> None:
    """Send single messages, `rate` a second, for `warm` and then `seconds`; `accepted` gets the latter's tickets."""
    first = int(rate * warm)

    async def post(number: int) -> None:
        sent = time.time()
        async with client.post("/v1/messages", json=message(f"{mark}-{number}")) as answer:
            answer.raise_for_status()
            ticket = (await answer.json())["ticket_id"]
        if number >= first:
            accepted[ticket] = Accepted(sent=sent, answered=time.time())

    began = time.perf_counter()
    posts = []
    for number in range(first + int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        posts.append(asyncio.create_task(post(number)))
    await asyncio.gather(*posts)


async def in_batches(client: aiohttp.ClientSession, mark: str, count: int, batch: int) -> set[str]:
    """Send `count` messages, `batch` in a request and IN_FLIGHT requests at once; their tickets."""
    tickets: set[str] = set()
    numbers = iter(range(0, count, batch))

    async def send() -> None:
        for first in numbers:
            body = {"messages": [message(f"{mark}-{number}") for number in range(first, first + batch)]}
            async with client.post("/v1/messages", data=orjson.dumps(body)) as answer:
                answer.raise_for_status()
                tickets.update(result["ticket_id"] for result in (await answer.json())["results"])

    await asyncio.gather(*(send() for _ in range(IN_FLIGHT)))
    return tickets
