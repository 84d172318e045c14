"""Reading the topics, as any subscriber would."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiokafka import ConsumerRecord

from cli.events import EventSettings
from shared import kafka
from shared.contracts.manifest import TOPICS

Event = Mapping[str, Any]
FOLLOWED = tuple(topic.name for topic in TOPICS if topic.owner != "directory" and topic.name != "suppression.changed")


@dataclass(frozen=True, slots=True)
class Read:
    """One event and when it was read, on our own monotonic clock."""

    at: float
    topic: str
    event: Event


@dataclass
class Topics:
    """Everything of the demo's desk that was read since it began."""

    tenant: str
    read: list[Read] = field(default_factory=list)
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    def of(self, topic: str, **fields: object) -> list[Event]:
        """The events of one topic with these top-level values, in the order they were read."""
        return [
            one.event
            for one in self.read
            if one.topic == topic and all(one.event.get(name) == value for name, value in fields.items())
        ]

    def find(self, topic: str, **fields: object) -> Event | None:
        """The first of them."""
        return next(iter(self.of(topic, **fields)), None)

    def read_at(self, wanted: Event) -> float:
        """When an event was read."""
        return next(one.at for one in self.read if one.event is wanted)

    def state(self, ticket_id: str) -> Event | None:
        """The newest `ticket.state` of a ticket."""
        states = self.of("ticket.state", ticket_id=ticket_id)
        return max(states, key=lambda state: int(state["revision"]), default=None)

    def note(self, topic: str, record: ConsumerRecord) -> None:
        """Keep one record; what is no event of this desk (a tombstone, a watermark) is passed over."""
        event = orjson.loads(record.value) if record.value else {}
        if isinstance(event, dict) and event.get("tenant_id") == self.tenant:
            self.read.append(Read(time.monotonic(), topic, event))
            self._more.set()

    async def more(self, seconds: float) -> None:
        """Wait for another event, at most so long."""
        self._more.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._more.wait()
        except TimeoutError:
            return


@asynccontextmanager
async def reading(settings: EventSettings, tenant: str, seen: Callable[[], None]) -> AsyncIterator[Topics]:
    """Read from now on, as whoever the settings say we are; `seen` is called after each event."""
    consumer = kafka.reader(settings, "demo")
    consumer.subscribe([settings.topic(name) for name in FOLLOWED])
    await kafka.start(consumer)
    # A position is settled lazily: ask for it now, so that nothing sent from here on is missed.
    await consumer.seek_to_end()
    await asyncio.gather(*(consumer.position(partition) for partition in consumer.assignment()))
    topics = Topics(tenant)

    async def follow() -> None:
        async for record in consumer:
            topics.note(record.topic.removeprefix(settings.topic_prefix), record)
            seen()

    following = asyncio.create_task(follow())
    try:
        yield topics
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await consumer.stop()
