"""How far what is released may be ahead of the one who reads it.

A relay that is fair between tenants can only be fair about rows: what it has released stands in the topic in that
order. So a flood is held in the table, where turns are still taken, once its reader has enough to go on with; a
neighbour's event then waits behind a bounded number of others. While the reader is away the table keeps the rest for
as long as that takes. When nobody can say how far the reader is (there is no such group, the broker does not tell),
nothing is held.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from aiokafka import TopicPartition

from shared import kafka
from shared.explain import explain
from shared.settings import ServiceSettings

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer
    from aiokafka.admin import AIOKafkaAdminClient

EVERY = 0.2
"""Seconds between looks while events go out."""
BLIND_FOR = 5.0
"""Seconds without an answer from the broker after which nothing is held."""
UNKNOWN_FOR = 5.0
"""Seconds until a reader that is not there yet is looked for again."""

_PLACES_FOR = 60.0
"""Seconds until a topic's partitions are counted again."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Window:
    """What is held back: this topic's events, while its reader has so many to go."""

    topic: str
    """The manifest's name."""
    reader: str
    """The service whose group counts."""
    events: int


class Reader(Protocol):
    """Tells how many released events a reader has not handled yet."""

    async def lag(self) -> int | None:
        """How many; None when there is no such reader. Raises what the broker raises."""
        ...

    async def close(self) -> None:
        """Give up the connections."""
        ...


class Ahead:
    """Keeps count of one window; `run` looks at the reader, as often as what goes out makes it worth."""

    def __init__(self, window: Window, reader: Reader, clock: Callable[[], float] = time.monotonic) -> None:
        self.topic = window.topic
        self._events = window.events
        self._reader = reader
        self._clock = clock
        self._released = 0
        """Acknowledged by the broker since this began."""
        self._lag: int | None = None
        """At the last look; None when there was nobody to count for."""
        self._then = 0
        """What had been released before the last look."""
        self._looked_at: float | None = None
        """When it was answered; None before the first."""
        self._began = clock()
        self._worth = asyncio.Event()
        self._worth.set()
        self._wanted_at = self._began
        """Since when a look is worth it: before that nobody asked, and no answer says nothing."""

    def room(self) -> int | None:
        """How many events may go out now; None for any number."""
        if self._looked_at is None:
            # A predecessor may have left a full topic.
            return 0 if self._clock() - self._began < BLIND_FOR else None
        waited = self._clock() - max(self._looked_at, self._wanted_at)
        if self._lag is None or (self._worth.is_set() and waited > BLIND_FOR):
            return None
        return max(0, self._events - self._lag - (self._released - self._then))

    def released(self, count: int) -> None:
        """So many have gone out."""
        self._released += count
        far = self._lag is None or self._lag + self._released - self._then > self._events // 4
        if far and not self._worth.is_set():
            self._wanted_at = self._clock()
            self._worth.set()

    async def run(self, wake: Callable[[], None]) -> None:
        """Look until cancelled; `wake` is called whenever there may be room again."""
        self._looked_at, self._lag, self._began = None, None, self._clock()
        self._worth.set()
        failing = False
        try:
            while True:
                await self._worth.wait()
                before = self._released
                try:
                    lag = await self._reader.lag()
                except Exception as error:  # noqa: BLE001 - whatever a client raises: without answers nothing is held
                    if not failing:
                        logger.warning("how far a reader is cannot be told", extra={"error": explain(error)})
                    failing = True
                    await self._reader.close()
                    wake()
                    await asyncio.sleep(1.0)
                    continue
                failing = False
                self._note(lag, before)
                wake()
                await asyncio.sleep(EVERY if lag is not None else UNKNOWN_FOR)
        finally:
            await self._reader.close()

    def _note(self, lag: int | None, before: int) -> None:
        self._lag, self._then, self._looked_at = lag, before, self._clock()
        if lag is not None and lag + self._released - before <= self._events // 4:
            # Far from the bound: the next look is worth it when much has gone out.
            self._worth.clear()


class KafkaReader:
    """Asks the broker: the ends of the topic's partitions less what the group has committed."""

    def __init__(self, settings: ServiceSettings, window: Window) -> None:
        self._settings = settings
        self._topic = settings.topic(window.topic)
        self._group = settings.topic_prefix + window.reader
        self._admin: AIOKafkaAdminClient | None = None
        self._consumer: AIOKafkaConsumer | None = None
        self._coordinator: int | None = None
        self._places: list[TopicPartition] = []
        self._found_at = 0.0

    async def lag(self) -> int | None:
        """How many events the group has not committed yet; None when it never committed and has no members."""
        async with asyncio.timeout(kafka.REQUEST_TIMEOUT):
            admin, consumer = await self._connected()
            if not self._places or time.monotonic() - self._found_at > _PLACES_FOR:
                self._places, self._found_at = list(await kafka.ends(consumer, [self._topic])), time.monotonic()
            ends: dict[TopicPartition, int] = await consumer.end_offsets(self._places)
            if self._coordinator is None:
                self._coordinator = await admin.find_coordinator(self._group)
            told = await admin.list_consumer_group_offsets(self._group, self._coordinator, list(ends))
            committed = {place: found.offset for place, found in told.items() if found.offset >= 0}
            fresh = [place for place in ends if place not in committed]
            if not committed and not await self._is_there(admin):
                return None
            if fresh:
                # It begins at the earliest event of a partition that it has not read from.
                committed |= await consumer.beginning_offsets(fresh)
            return sum(int(max(0, end - committed[place])) for place, end in ends.items())

    async def close(self) -> None:
        """Give up both connections."""
        admin, consumer = self._admin, self._consumer
        self._admin = self._consumer = self._coordinator = None
        if admin is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(5):
                    await admin.close()
        if consumer is not None:
            await kafka.stop(consumer, 5)

    async def _connected(self) -> tuple[AIOKafkaAdminClient, AIOKafkaConsumer]:
        if self._admin is None:
            self._admin = kafka.admin(self._settings, "ahead")
            await kafka.start(self._admin)
        if self._consumer is None:
            self._consumer = kafka.reader(self._settings, "ahead")
            await kafka.start(self._consumer)
        return self._admin, self._consumer

    async def _is_there(self, admin: AIOKafkaAdminClient) -> bool:
        (answer,) = await admin.describe_consumer_groups([self._group], self._coordinator)
        # Error, name, state: a group without members that never committed is nobody.
        return any(group[2] not in {"", "Dead", "Empty"} for group in answer.groups)
