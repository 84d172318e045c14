"""Offsets after the commit, in the background: never awaited per batch, never for partitions that are gone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError

from shared import crash
from shared.explain import explain

EVERY = 0.05
"""Seconds between two commits. Each takes the broker some 6 ms however small, so one per batch would cap the bus at
170 batches a second; what is not committed yet is met by the inbox after a crash."""

LONGEST = 5.0
"""Seconds a commit is waited for at a time."""
STUCK = 30.0
"""Seconds without an answer after which the client is given up: after a broker's restart it may never hear one."""

logger = logging.getLogger(__name__)


class Offsets:
    """What was handled and not yet told to the broker."""

    def __init__(self, consumer: Callable[[], AIOKafkaConsumer | None]) -> None:
        self._consumer = consumer
        self._next: dict[TopicPartition, int] = {}
        self._dirty = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._began = 0.0

    def handled(self, partition: TopicPartition, offset: int) -> None:
        """Everything of `partition` up to `offset` is handled."""
        self._next[partition] = offset + 1
        self._dirty.set()

    def forget(self) -> None:
        """The partitions went elsewhere: nothing of them is committed from here on."""
        self._next.clear()
        self._dirty.clear()

    async def run(self) -> None:
        """Commit every 50 ms while there is something to commit, until cancelled.

        Raises TimeoutError when the client does not come back from a commit: it takes another one to go on.
        """
        while True:
            if not self._under_way():
                await self._dirty.wait()
            await asyncio.sleep(EVERY)
            await self.flush(LONGEST)
            if self._under_way() and time.monotonic() - self._began > STUCK:
                self._drop()
                raise TimeoutError(f"no answer to an offset commit for {STUCK:g} s")

    async def flush(self, timeout: float = LONGEST) -> None:
        """Commit what is handled; failures are left to the next time, or to whoever takes the partitions over.

        A commit that takes longer than `timeout` seconds goes on by itself: cutting one off makes the client complain
        of its answer.
        """
        until = time.monotonic() + timeout
        if self._task is not None and self._under_way():
            await asyncio.wait({self._task}, timeout=timeout)
            if self._under_way():
                return
        if self._next:
            self._began = time.monotonic()
            self._task = asyncio.create_task(self._commit(), name="commit")
            await asyncio.wait({self._task}, timeout=max(0.0, until - time.monotonic()))

    def _under_way(self) -> bool:
        return self._task is not None and not self._task.done()

    def _drop(self) -> None:
        """Leave a commit that never ends behind, so that the next client's does not wait for it."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _commit(self) -> None:
        consumer = self._consumer()
        self._dirty.clear()
        told = dict(self._next)
        if not told or consumer is None:
            return
        crash.point("bus.before_offset_commit")
        try:
            await consumer.commit(told)
        except Exception as error:  # noqa: BLE001 - whatever the client raises, nobody else would tell the broker
            expected = isinstance(error, (KafkaError, IllegalStateError, TimeoutError))
            level = logging.INFO if expected else logging.WARNING
            logger.log(level, "offsets not committed", extra={"error": explain(error)})
            if self._next:
                self._dirty.set()
            return
        crash.point("bus.after_offset_commit")
        for partition, offset in told.items():
            if self._next.get(partition) == offset:
                del self._next[partition]
