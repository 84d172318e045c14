"""The bus of one service: one consumer group, one batch in flight, its offsets, its waiting keys.

The batch is handled in a task of its own while this loop keeps polling a partition that does not exist. That keeps
the consumer in its group however long a handler or a pause takes (the client leaves the group when nobody polls for
`max.poll.interval`), and it touches no record fetched ahead, which pausing partitions would throw away.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Sequence
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from shared import inbox, kafka
from shared.bus import dead
from shared.bus.batch import AbandonedError, Runner, Wakeable
from shared.bus.breaker import Breaker, FailureLimits
from shared.bus.decode import Item, decode
from shared.bus.drain import Drain
from shared.bus.lag import Lag
from shared.bus.offsets import Offsets
from shared.bus.route import BoundRoute, Route
from shared.db import Database
from shared.explain import explain
from shared.health import NotReadyError
from shared.linger import Linger
from shared.metrics import Metrics
from shared.service import Check, Loop
from shared.settings import ServiceSettings

MAX_RECORDS = 500
"""Records per batch: beyond some 200 a batch gets no cheaper per event, only slower."""
_POLL_MS = 500
_STOP_PATIENCE = 10.0
"""Seconds leaving the group may take."""
_REVOKE_PATIENCE = 5.0
"""Seconds a rebalance waits for the batch in flight; after that the inbox settles what is repeated."""
_MAINTAIN_EVERY = 3600.0

logger = logging.getLogger(__name__)


class Gate(Protocol):
    """What must be up to date before the first event is consumed: the replica of the reference topics."""

    async def wait_ready(self) -> None:
        """Return when it is up to date."""


class RelayLike(Wakeable, Protocol):
    """The relay as the bus uses it."""

    def attach(self) -> None:
        """Somebody writes to the outbox; do not end before they do."""

    def detach(self) -> None:
        """They have ended."""


class Bus:
    """Consumes the topics of `routes` as the service's consumer group.

    `loops()` and `checks()` go into the service. Cancelling the loop `bus` drains it: the batch in flight is finished,
    offsets are committed, the group is left; a second cancellation cuts that short.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        database: Database,
        routes: Sequence[Route[Any]],
        *,
        relay: RelayLike,
        replica: Gate | None = None,
        metrics: Metrics | None = None,
        limits: FailureLimits | None = None,
    ) -> None:
        names = [route.topic.name for route in routes]
        if len(set(names)) != len(names):
            raise ValueError(f"a topic has two routes: {', '.join(sorted(names))}")
        self._settings = settings
        self._database = database
        self._relay = relay
        self._replica = replica
        self._metrics = metrics or Metrics(settings.SERVICE)
        self._routes = [BoundRoute(route, settings.topic(route.topic.name)) for route in routes]
        self._by_wire_name = {route.wire_name: route for route in self._routes}
        self._group = settings.group()
        self._breaker = Breaker(limits or FailureLimits())
        self._drain = Drain(settings.SERVICE, database, self._routes, relay, self._metrics)
        self._runner = Runner(
            settings.SERVICE,
            database=database,
            routes=self._routes,
            relay=relay,
            metrics=self._metrics,
            breaker=self._breaker,
            put_away=self._drain.hint,
        )
        self._linger = Linger(settings.linger_milliseconds / 1000, MAX_RECORDS)
        self._consumer: AIOKafkaConsumer | None = None
        self._offsets = Offsets(lambda: self._consumer)
        self._generation = 0
        self._in_flight: asyncio.Task[None] | None = None
        self._abandon = asyncio.Event()
        self._assigned = False
        self._polled = time.monotonic()
        self._lag = Lag(self._metrics, {route.wire_name: route.name for route in self._routes})

    @property
    def topics(self) -> tuple[str, ...]:
        """The manifest's names of what this bus subscribes to."""
        return tuple(route.name for route in self._routes)

    def loops(self) -> list[Loop]:
        """What has to run for as long as the service does."""
        return [
            Loop(name="bus", run=self._run),
            Loop(name="drain", run=self._run_drain),
            Loop(name="inbox", run=self._run_maintenance),
        ]

    def checks(self) -> list[Check]:
        """Ready when assigned, polling, the broker answers, and not too much has failed."""
        return [Check(name="kafka", ready=self._ready)]

    async def _ready(self) -> None:
        if self._breaker.reason is not None:
            raise NotReadyError(f"bus stopped: {self._breaker.reason}")
        consumer = self._consumer
        if consumer is None:
            raise NotReadyError(f"kafka: not connected to {self._settings.kafka_url}")
        if not self._assigned:
            raise NotReadyError(f"kafka: group {self._group} has not joined")
        silent = time.monotonic() - self._polled
        if silent > 30:
            raise NotReadyError(f"kafka: not polled for {silent:.0f} s")
        try:
            await kafka.ping(consumer)
        except Exception as error:
            raise NotReadyError(f"kafka: no broker of {self._settings.kafka_url} answers") from error

    # --- the loops -------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        self._relay.attach()
        try:
            if self._replica is not None:
                await self._replica.wait_ready()
            while True:
                try:
                    await self._consume()
                except (KafkaError, OSError, TimeoutError) as error:
                    logger.warning("consumer lost, making another", extra={"error": explain(error)})
                finally:
                    await self._leave()
                await asyncio.sleep(0.5 + random.random())  # noqa: S311 - spreading, not secrecy
        finally:
            self._relay.detach()

    async def _run_drain(self) -> None:
        if self._replica is not None:
            await self._replica.wait_ready()
        await self._drain.run()

    async def _run_maintenance(self) -> None:
        while True:
            pause = _MAINTAIN_EVERY
            try:
                made, dropped = await inbox.maintain(self._database, self._settings.inbox_days)
                if made or dropped:
                    logger.info("inbox partitions", extra={"made": made, "dropped": dropped})
            except Exception as error:  # noqa: BLE001 - tried again soon; five weeks are made ahead
                logger.warning("inbox not maintained", extra={"error": explain(error)})
                pause = 10.0
            await asyncio.sleep(pause)

    async def _consume(self) -> None:
        """Join the group and handle batches until cancelled or the client fails."""
        await dead.ensure_topics(self._settings, [route.name for route in self._routes])
        consumer = kafka.group_consumer(self._settings, self._group)
        consumer.subscribe([route.wire_name for route in self._routes], listener=_Listener(self))
        self._consumer = consumer
        await kafka.start(consumer)
        committer = asyncio.create_task(self._offsets.run(), name="offsets")
        try:
            while self._breaker.reason is None:
                records = await self._poll(consumer)
                if records:
                    await self._handle(consumer, records)
                self._lag.show(consumer)
                if committer.done():
                    committer.result()
            self._metrics.bus_stopped.set(1)
            logger.critical("bus stopped", extra={"reason": self._breaker.reason})
            while True:
                # Still a member, so that nobody else runs into the same; unhealthy until somebody restarts it.
                await self._keep_alive(consumer)
                await asyncio.sleep(1.0)
        finally:
            await self._finish_in_flight()
            committer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await committer
            await self._offsets.flush(timeout=3.0)

    async def _poll(self, consumer: AIOKafkaConsumer) -> list[Any]:
        """The next batch: at most 500 records, waited for a little longer under load."""
        found = await consumer.getmany(timeout_ms=_POLL_MS, max_records=MAX_RECORDS)
        self._polled = time.monotonic()
        # No await between the client handing records out and this line: they belong to this generation.
        generation = self._generation
        records = [record for part in found.values() for record in part]
        pause = self._linger.pause(len(records))
        if pause > 0:
            await asyncio.sleep(pause)
            more = await consumer.getmany(timeout_ms=0, max_records=MAX_RECORDS - len(records))
            if generation != self._generation:
                # Rebalanced meanwhile: what was held goes to its new owner, or comes back to us from the start.
                records = []
            records += [record for part in more.values() for record in part]
        return records

    async def _handle(self, consumer: AIOKafkaConsumer, records: list[Any]) -> None:
        """Run one batch while staying in the group."""
        self._abandon = asyncio.Event()
        task = asyncio.create_task(self._process(records, self._generation, self._abandon), name="batch")
        self._in_flight = task
        patience = min(self._settings.poll_interval_milliseconds / 3000, 1.0)
        while True:
            finished, _ = await asyncio.wait({task}, timeout=patience)
            if finished:
                break
            await self._keep_alive(consumer)
        self._in_flight = None
        task.result()

    async def _keep_alive(self, consumer: AIOKafkaConsumer) -> None:
        await consumer.getmany(kafka.NOTHING, timeout_ms=0)
        self._polled = time.monotonic()

    async def _process(self, records: list[Any], generation: int, abandon: asyncio.Event) -> None:
        items: list[Item] = []
        routes = self._by_wire_name
        for position, record in enumerate(records):
            items.append(decode(record, routes[record.topic], position))
        self._metrics.batch_size.observe(len(items))

        def done(part: Sequence[Item]) -> None:
            if generation != self._generation:
                return
            last: dict[TopicPartition, int] = {}
            for item in part:
                last[TopicPartition(item.route.wire_name, item.record.partition)] = item.record.offset
            for partition, offset in last.items():
                self._offsets.handled(partition, offset)
                self._lag.handled(partition, offset)

        with contextlib.suppress(AbandonedError):
            await self._runner.run(self._within_limits(items), done, abandon)
        self._linger.handled(len(items))

    def _within_limits(self, items: list[Item]) -> list[Item]:
        """Cut the batch where the bus would have to stop for dead letters in a row, so that it stops there."""
        room = self._breaker.room()
        row = 0
        for place, item in enumerate(items):
            row = row + 1 if item.reason else 0
            if row >= room:
                return items[: place + 1]
            if not item.reason:
                room = self._breaker.limit
        return items

    # --- rebalance and end -----------------------------------------------------------------------------------------

    async def revoked(self) -> None:
        """The partitions are going elsewhere: settle the batch in flight, commit, and forget them.

        Heartbeats go on meanwhile. A batch that takes too long is left to itself: its transaction either commits, and
        the inbox tells the new owner so, or rolls back; its offsets are not committed by us.
        """
        self._assigned = False
        self._abandon.set()
        task = self._in_flight
        if task is not None and not task.done():
            await asyncio.wait({task}, timeout=_REVOKE_PATIENCE)
        await self._offsets.flush(timeout=3.0)
        self._generation += 1
        self._offsets.forget()
        self._lag.forget()

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """These partitions are ours now."""
        self._assigned = True
        logger.info("partitions assigned", extra={"group": self._group, "count": len(partitions)})

    async def _finish_in_flight(self) -> None:
        """At the end: let the batch in flight commit, for as long as the process may take."""
        self._abandon.set()
        task = self._in_flight
        if task is not None and not task.done():
            await asyncio.wait({task}, timeout=self._settings.drain_seconds * 0.6)
            if not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=5.0)
        if task is not None and task.done() and not task.cancelled():
            task.exception()
        self._in_flight = None

    async def _leave(self) -> None:
        consumer, self._consumer = self._consumer, None
        self._assigned = False
        self._offsets.forget()
        self._generation += 1
        if consumer is not None:
            await kafka.stop(consumer, _STOP_PATIENCE)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Tells the bus of rebalances."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Before the group settles anew; `revoked` is empty at the first join."""
        del revoked
        await self._bus.revoked()

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """After it settled."""
        self._bus.assigned(assigned)
