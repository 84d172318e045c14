"""Outbox rows into the broker: grouped by partition, in order, every acknowledgement awaited.

At most one batch per partition is under way. When it fails, nothing of that partition that comes after it is sent, so
a key's events arrive in order however often the broker, or the way to it, breaks.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from shared import kafka, outbox
from shared.contracts.cloudevents import Headers
from shared.explain import explain
from shared.settings import ServiceSettings

STUCK = 30.0
"""Seconds without an acknowledgement after which the producer is thrown away: an idempotent one retries for ever."""
_LOOK_UP = 0.25
"""Seconds a round waits to learn of a topic it has not met; after that the others go first."""
_PARTITIONS_FOR = 60.0
_MISSING_FOR = 5.0

ControlRecord = tuple[bytes, bytes, Headers]
"""Key, value and headers."""
T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class OutboxRow:
    """One row as the relay reads it."""

    id: int
    topic: str
    key: bytes | None
    payload: bytes | None
    headers: bytes
    created_at: datetime


@dataclass(slots=True)
class Published:
    """What one round came to."""

    ids: list[int] = field(default_factory=list)
    """Rows the broker has."""
    failed: str | None = None
    """Why some were not taken."""
    missing: set[str] = field(default_factory=set)
    """Topics that are not there, whose rows were passed over."""


class Publisher:
    """One producer, replaced when it is stuck or refused."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self.rows = 0
        """How many the broker has taken so far."""
        self._source = f"/deskwire/{settings.SERVICE}".encode()
        self._producer: AIOKafkaProducer | None = None
        self._counts: dict[str, tuple[int, float]] = {}
        self._missing: dict[str, float] = {}
        self._looking: dict[str, asyncio.Task[None]] = {}

    def unavailable(self) -> list[str]:
        """Topics that do not exist or are being looked up; their rows stay where they are, the others go on."""
        now = time.monotonic()
        self._missing = {topic: until for topic, until in self._missing.items() if until > now}
        return [*self._missing, *self._looking]

    async def publish(self, rows: Sequence[OutboxRow], alive: Callable[[], Awaitable[None]]) -> Published:
        """Send `rows` in order per partition; what the broker has when this returns. Without rows, only connect.

        `alive` is called every second while waiting, and what it raises ends the wait: a relay that has lost its
        leadership stops. Never raises for the broker: that is in `failed`.
        """
        result = Published()
        try:
            producer, queues = await _watched(self._prepare(rows, result), alive)
            while queues:
                await self._round(producer, queues, result, alive)
        except (KafkaError, OSError, TimeoutError, AssertionError) as error:
            result.failed = explain(error)
        except BaseException:
            await self.discard()
            raise
        if result.failed is not None:
            await self.discard()
        return result

    async def _prepare(
        self, rows: Sequence[OutboxRow], result: Published
    ) -> tuple[AIOKafkaProducer, dict[tuple[str, int], list[OutboxRow]]]:
        producer = await self._connected()
        return producer, await self._by_partition(producer, rows, result)

    async def _connected(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = kafka.producer(self._settings)
            try:
                async with asyncio.timeout(STUCK):
                    await kafka.start(producer)
            except BaseException:
                await kafka.discard(producer)
                raise
            self._producer = producer
        return self._producer

    async def _by_partition(
        self, producer: AIOKafkaProducer, rows: Sequence[OutboxRow], result: Published
    ) -> dict[tuple[str, int], list[OutboxRow]]:
        queues: dict[tuple[str, int], list[OutboxRow]] = {}
        counts: dict[str, int] = {}
        partition_of = kafka.partition_of
        for row in rows:
            topic = row.topic
            count = counts.get(topic)
            if count is None:
                count = counts[topic] = await self._partitions(producer, topic)
                if not count:
                    result.missing.add(topic)
            if count:
                partition = 0 if row.key is None or count == 1 else partition_of(row.key, count)
                queues.setdefault((topic, partition), []).append(row)
        return queues

    async def _partitions(self, producer: AIOKafkaProducer, topic: str) -> int:
        """How many partitions a topic has; 0 when it does not exist, or that is not known yet."""
        known = self._counts.get(topic)
        if known is not None and known[1] > time.monotonic():
            return known[0]
        task = self._looking.get(topic)
        if task is None:
            task = self._looking[topic] = asyncio.create_task(self._look_up(producer, topic), name=f"topic {topic}")
        await asyncio.wait({task}, timeout=_LOOK_UP)
        known = self._counts.get(topic)
        return 0 if known is None else known[0]

    async def _look_up(self, producer: AIOKafkaProducer, topic: str) -> None:
        name = self._settings.topic(topic)
        now = time.monotonic()
        try:
            async with asyncio.timeout(_MISSING_FOR):
                count = len(await producer.partitions_for(name))
            self._counts[topic] = (count, now + _PARTITIONS_FOR)
        except (KafkaError, OSError, TimeoutError) as error:
            logger.error("topic cannot be published to", extra={"topic": name, "error": explain(error)})
            self._missing[topic] = time.monotonic() + _MISSING_FOR
        finally:
            self._looking.pop(topic, None)

    async def _round(
        self,
        producer: AIOKafkaProducer,
        queues: dict[tuple[str, int], list[OutboxRow]],
        result: Published,
        alive: Callable[[], Awaitable[None]],
    ) -> None:
        """One batch of every partition; what is left over, or fails, is taken out of `queues`."""
        sent: dict[asyncio.Future[Any], tuple[tuple[str, int], int]] = {}
        unpack, source = outbox.unpack, self._source
        stamp = int(time.time() * 1000)
        for place, waiting in queues.items():
            batch = producer.create_batch()
            count = 0
            for row in waiting:
                if (
                    batch.append(timestamp=stamp, key=row.key, value=row.payload, headers=unpack(row.headers, source))
                    is None
                ):
                    break
                count += 1
            if not count:
                count = 1
                batch = self._large(waiting[0], stamp)
            batch.close()
            name = self._settings.topic(place[0])
            sent[await producer.send_batch(batch, name, partition=place[1])] = (place, count)
        await self._acknowledged(sent, alive)
        for future, (place, count) in sent.items():
            error = future.exception() if future.done() and not future.cancelled() else None
            if not future.done() or error is not None:
                result.failed = explain(error) if error is not None else "no acknowledgement"
                del queues[place]
                continue
            taken = queues[place]
            self.rows += count
            result.ids += [row.id for row in taken[:count]]
            if count == len(taken):
                del queues[place]
            else:
                queues[place] = taken[count:]

    async def _acknowledged(
        self, sent: dict[asyncio.Future[Any], tuple[tuple[str, int], int]], alive: Callable[[], Awaitable[None]]
    ) -> None:
        began = time.monotonic()
        pending: set[asyncio.Future[Any]] = set(sent)
        while pending and time.monotonic() - began < STUCK:
            _, pending = await asyncio.wait(pending, timeout=1.0)
            if pending:
                await alive()

    def _large(self, row: OutboxRow, stamp: int) -> Any:
        """A batch for one row that is larger than a batch may be: dead letters of oversized records."""
        from aiokafka.producer.message_accumulator import BatchBuilder  # noqa: PLC0415 - only for these

        batch = BatchBuilder(kafka.DEAD_LETTER_BYTES, 0, is_transactional=False)
        batch.append(timestamp=stamp, key=row.key, value=row.payload, headers=outbox.unpack(row.headers, self._source))
        return batch

    async def control(
        self,
        topic: str,
        make: Callable[[int, bytes], tuple[bytes, bytes, Headers]],
        alive: Callable[[], Awaitable[None]],
    ) -> bool:
        """One record to each partition of a topic, past the outbox; whether the broker has all of them.

        `make` gives key, value and headers, from the partition and the events' source. They come behind whatever
        `publish` has had acknowledged. Never raises for the broker.
        """
        failed: str | None = None
        count = 0
        try:
            producer = await _watched(self._connected(), alive)
            count = await self._partitions(producer, topic)
            sent: dict[asyncio.Future[Any], tuple[tuple[str, int], int]] = {}
            stamp = int(time.time() * 1000)
            for partition in range(count):
                key, value, headers = make(partition, self._source)
                batch = producer.create_batch()
                batch.append(timestamp=stamp, key=key, value=value, headers=headers)
                batch.close()
                future = await producer.send_batch(batch, self._settings.topic(topic), partition=partition)
                sent[future] = ((topic, partition), 1)
            await self._acknowledged(sent, alive)
            errors = [f.exception() if f.done() and not f.cancelled() else TimeoutError("none") for f in sent]
            failed = next((explain(error) for error in errors if error is not None), None)
        except (KafkaError, OSError, TimeoutError, AssertionError) as error:
            failed = explain(error)
        except BaseException:
            await self.discard()
            raise
        if failed is not None:
            logger.warning("control records not published", extra={"topic": topic, "error": failed})
            await self.discard()
            return False
        return bool(count)

    async def ping(self, timeout: float = 2.0) -> None:
        """Prove that the broker answers this producer. Raises KafkaError or TimeoutError."""
        producer = self._producer
        if producer is None:
            raise TimeoutError("not connected")
        async with asyncio.timeout(timeout):
            await producer.client.fetch_all_metadata()

    async def discard(self) -> None:
        """Throw the producer away; the next round makes another."""
        producer, self._producer = self._producer, None
        self._counts.clear()
        for task in list(self._looking.values()):
            task.cancel()
        if producer is not None:
            await kafka.discard(producer)

    async def close(self) -> None:
        """End in good order: nothing is under way between rounds."""
        for task in list(self._looking.values()):
            task.cancel()
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                async with asyncio.timeout(5):
                    await producer.stop()
            except (KafkaError, OSError, TimeoutError):
                await kafka.discard(producer)


async def _watched(work: Coroutine[Any, Any, T], alive: Callable[[], Awaitable[None]]) -> T:
    """The answer of `work`, while `alive` is called every second."""
    task = asyncio.create_task(work)
    try:
        while True:
            finished, _ = await asyncio.wait({task}, timeout=1.0)
            if finished:
                return task.result()
            await alive()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
