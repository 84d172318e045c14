"""Reference data of other services as rows in a service's own database, up to date within seconds.

Compacted topics (`tenant.changed`, `policy.published`, …) are read by an ordinary consumer group; each batch stores
what is newer together with how far it was read, in one transaction, so the database and not the broker knows where to
go on. A service serves and consumes nothing until its replica has reached the end of every partition as it was at
start. What waited for a key (`NotYet("policy", …)`) is woken by the transaction that stores it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import structlog
from aiokafka import ConsumerRebalanceListener, OffsetAndMetadata, TopicPartition

from shared import kafka, replica_store
from shared.bus.decode import decode
from shared.bus.route import BoundRoute, Route
from shared.due import is_away, unbroken
from shared.explain import explain
from shared.health import NotReadyError
from shared.replica_writer import Change, OnChange, Writer
from shared.service import Check, Loop

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer

    from shared.contracts.event import Event, EventT, Topic
    from shared.db import Database, Tx
    from shared.metrics import Metrics
    from shared.replica_store import Place
    from shared.settings import ServiceSettings
    from shared.timers import RelayLike

__all__ = ["Change", "OnChange", "Replica"]

CACHED_FOR = 5.0
"""Seconds another instance's read may be behind; with consuming it is far below the 30 s a revocation may take."""
FIRST_BACKOFF, LONGEST_BACKOFF = 0.2, 5.0
COMMIT_EVERY = 5.0
"""Seconds between commits to the broker, which only lag monitors read."""
COMMIT_PATIENCE = 20.0
"""Seconds one of them may take before another client is made: twice what a request may."""
logger = structlog.get_logger(__name__)


class Replica(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """The reference data of one service; any number of instances share the partitions."""

    def __init__(
        self,
        settings: ServiceSettings,
        database: Database,
        topics: Mapping[str, Topic],
        *,
        metrics: Metrics,
        relay: RelayLike | None = None,
        on_change: OnChange | None = None,
        cached_for: float = CACHED_FOR,
    ) -> None:
        """`topics` by the name handlers wait for them under: `{"policy": POLICY_PUBLISHED}`."""
        self._settings = settings
        self._database = database
        self._relay = relay
        self._metrics = metrics
        self._kinds = {topic.name: kind for kind, topic in topics.items()}
        self._routes = {
            (wire := settings.topic(topic.name)): BoundRoute(Route(topic, _no_handler), wire)
            for topic in topics.values()
        }
        self._topic_of = {event: topic for topic in topics.values() for event in topic.events}
        self._cache = replica_store.Cache(cached_for)
        self._writer = Writer(
            settings.SERVICE, database, self._kinds, self._cache, metrics=metrics, relay=relay, on_change=on_change
        )
        self._consumer: AIOKafkaConsumer | None = None
        self._unplaced: set[TopicPartition] = set()
        self._targets: dict[Place, int] | None = None
        self._behind: set[str] = {topic.name for topic in topics.values()}
        self._ready = asyncio.Event()
        self._commit_at = 0.0
        self._uncommitted: dict[TopicPartition, int] = {}

    # -- for the service ----------------------------------------------------------------------------------------

    async def get(self, cls: type[EventT], key: object, *, tx: Tx | None = None) -> EventT | None:
        """The newest event of `key` (its text), or None; at most ten seconds old. Give `tx` inside a handler."""
        return (await self.get_many(cls, [key], tx=tx)).get(str(key))

    async def get_many(self, cls: type[EventT], keys: Sequence[object], *, tx: Tx | None = None) -> dict[str, EventT]:
        """The newest events of those `keys` that have one, by key."""
        topic = self._topic_of[cls]
        found: dict[str, Event] = {}
        unknown = []
        for key in map(str, keys):
            known = self._cache.get(topic.name, key)
            if known is None:
                unknown.append(key)
            else:
                found[key] = known
        if unknown:
            classes = {event.TYPE: event for event in topic.events}
            fresh = await replica_store.read(tx or self._database, topic.name, unknown, classes)
            for key, event in fresh.items():
                self._cache.put(topic.name, key, event)
            found.update(fresh)
        return cast("dict[str, EventT]", found)

    async def get_all(self, cls: type[EventT], *, tx: Tx | None = None) -> dict[str, EventT]:
        """Every event of a topic by key, straight from the table: for small topics, outside hot paths."""
        topic = self._topic_of[cls]
        classes = {event.TYPE: event for event in topic.events}
        return cast("dict[str, EventT]", await replica_store.read_all(tx or self._database, topic.name, classes))

    @property
    def is_ready(self) -> bool:
        """Whether everything published before this process started has been stored."""
        return self._ready.is_set()

    async def wait_ready(self) -> None:
        """Wait for that; it stays true."""
        await self._ready.wait()

    def loops(self) -> Sequence[Loop]:
        """What the process runs."""
        return [Loop(name="replica", run=self.run)]

    def checks(self) -> Sequence[Check]:
        """What readiness asks: both engines, and each topic until it was once complete."""
        topics = [Check(name=f"replica {name}", ready=partial(self._complete, name)) for name in sorted(self._kinds)]
        return [
            Check(name="kafka", ready=self._reachable),
            Check(name="postgresql", ready=self._database.ping),
            *topics,
        ]

    async def _complete(self, name: str) -> None:
        if name in self._behind:
            raise NotReadyError("not yet read up to the end seen at start")

    async def _reachable(self) -> None:
        if self._consumer is None:
            raise NotReadyError("not connected")
        await kafka.ping(self._consumer)

    # -- the loop -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Read for ever. Absent engines are waited for; any other error ends the loop."""
        if self._relay is not None:
            self._relay.attach()
        try:
            await self._run()
        finally:
            if self._relay is not None:
                self._relay.detach()

    async def _run(self) -> None:
        backoff = FIRST_BACKOFF
        while True:
            began = time.monotonic()
            try:
                await self._connected()
            except Exception as error:
                if not _is_absence(error):
                    raise
                if time.monotonic() - began > LONGEST_BACKOFF:
                    backoff = FIRST_BACKOFF
                logger.warning("replica waits for an engine", reason=explain(error), seconds=backoff)
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, LONGEST_BACKOFF)

    async def _connected(self) -> None:
        """One consumer's life; raises when the broker fails it."""
        consumer = kafka.group_consumer(self._settings, self._settings.group("replica"))
        try:
            await kafka.start(consumer)
            self._consumer = consumer
            await self._topics_exist(consumer)
            if self._targets is None:
                ends = await kafka.ends(consumer, self._routes)
                self._targets = {self._place(partition): end for partition, end in ends.items()}
            await self._look_whether_ready()
            consumer.subscribe(list(self._routes), listener=self)
            while True:
                await self._poll(consumer)
        finally:
            self._consumer = None
            with contextlib.suppress(Exception):
                async with asyncio.timeout(5):
                    await self._commit(consumer)
            await kafka.stop(consumer, 5)

    async def _topics_exist(self, consumer: AIOKafkaConsumer) -> None:
        """Wait for provisioning: a topic subscribed to before it exists is found a minute later."""
        while missing := set(self._routes) - set(await consumer.topics()):
            logger.warning("replica waits for topics", topics=sorted(missing))
            await asyncio.sleep(0.5)

    async def _poll(self, consumer: AIOKafkaConsumer) -> None:
        """Fetch once and store; when the database is away, wait and read the same again."""
        backoff = FIRST_BACKOFF
        while self._unplaced:
            try:
                await self._resume(consumer)
            except Exception as error:
                if not is_away(error):
                    raise
                logger.warning("replica waits for the database", reason=explain(error), seconds=backoff)
                # Polling nothing keeps the place in the group.
                await consumer.getmany(kafka.NOTHING, timeout_ms=int(backoff * 1000))
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, LONGEST_BACKOFF)
        records = await consumer.getmany(timeout_ms=500, max_records=1000)
        if self._unplaced:
            return
        items = [
            decode(record, self._routes[partition.topic], position)
            for partition, batch in records.items()
            for position, record in enumerate(batch)
        ]
        for position, item in enumerate(items):
            item.position = position
        reached = {tp: await consumer.position(tp) for tp in consumer.assignment()} if not self.is_ready else {}
        for partition, batch in records.items():
            reached[partition] = max(reached.get(partition, 0), batch[-1].offset + 1)
        try:
            await unbroken(self._writer.write(items, {self._place(tp): at for tp, at in reached.items()}))
        except Exception as error:
            if not is_away(error):
                raise
            logger.warning("replica rolled back", reason=explain(error))
            self._unplaced.update(consumer.assignment())
            return
        if not self.is_ready:
            await self._look_whether_ready()
        for partition in records:
            place = self._place(partition)
            highwater = consumer.highwater(partition)
            if highwater is not None:
                self._metrics.lag(*place).set(max(0, highwater - reached[partition]))
        self._uncommitted.update(reached)
        if time.monotonic() > self._commit_at:
            self._commit_at = time.monotonic() + COMMIT_EVERY
            await self._commit(consumer)

    async def _resume(self, consumer: AIOKafkaConsumer) -> None:
        """Go on where the database says that reading stopped."""
        fresh = self._unplaced & consumer.assignment()
        if fresh:
            stored = await replica_store.offsets(self._database, list(self._kinds))
            ends = await consumer.end_offsets(list(fresh))
            for partition in fresh:
                position = stored.get(self._place(partition), 0)
                if position > ends[partition]:
                    # The topic was made anew: what we know of it is of the former one.
                    logger.error("replica topic is shorter than what was read", topic=partition.topic)
                    async with self._database.begin() as tx:
                        await replica_store.set_offsets(tx, {self._place(partition): 0})
                    position = 0
                consumer.seek(partition, position)
        self._unplaced -= fresh
        self._unplaced &= consumer.assignment()

    async def _look_whether_ready(self) -> None:
        """Compare what any instance has stored with the ends seen at start."""
        if self._targets is None:
            return
        stored = await replica_store.offsets(self._database, list(self._kinds))
        self._behind = {place[0] for place, end in self._targets.items() if stored.get(place, 0) < end}
        if not self._behind and not self.is_ready:
            self._ready.set()
            logger.info("replica complete", topics=sorted(self._kinds))

    async def _commit(self, consumer: AIOKafkaConsumer) -> None:
        """Tell the broker how far we are, for those who watch lag; the database is what counts.

        Raises TimeoutError when the client does not come back: after a broker's restart it may wait for ever, and
        nothing would be read until the process ends.
        """
        mine = consumer.assignment()
        offsets = {tp: OffsetAndMetadata(offset, "") for tp, offset in self._uncommitted.items() if tp in mine}
        self._uncommitted.clear()
        if offsets:
            try:
                async with asyncio.timeout(COMMIT_PATIENCE):
                    await consumer.commit(offsets)
            except TimeoutError:
                raise
            except Exception as error:  # noqa: BLE001 - nothing depends on it
                logger.debug("offsets not committed", reason=str(error))

    def _place(self, partition: TopicPartition) -> Place:
        return self._routes[partition.topic].name, partition.partition

    # -- what the client calls ----------------------------------------------------------------------------------

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Nothing is in hand between polls."""
        for partition in revoked:
            self._metrics.forget_lag(*self._place(partition))

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Positions are set before the next fetch is used, from the database."""
        self._unplaced = set(assigned)


def _is_absence(error: BaseException) -> bool:
    return kafka.is_kafka_failure(error) or is_away(error)


async def _no_handler(tx: Tx, batch: Sequence[Any]) -> Sequence[Any]:
    del tx, batch
    return ()
