"""Waiting keys go on: one event per transaction, in arrival order, as soon as its reason is gone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from shared import crash, inbox, outbox, waiting
from shared.bus import dead
from shared.bus.batch import ALONE, Wakeable
from shared.bus.decode import Item, Kind, decode
from shared.bus.route import BoundRoute
from shared.db import Database, Tx, is_connection_failure, is_retryable
from shared.envelope import Delete, Emit, NotYet
from shared.explain import explain
from shared.metrics import Metrics

_BUSY, _IDLE = 0.1, 0.5
"""Seconds between looks while something waits, and while nothing does."""
_REPORT = 5.0
_RECHECK_FIRST, _RECHECK_MOST = timedelta(seconds=5), timedelta(seconds=60)
"""A key that nobody woke is tried again anyway: a forgotten `wake` costs a minute, not for ever."""

_SLICE = 50
"""Events of one key in a row."""

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Stored:
    """A waiting row in the shape of a record."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


class _NotYetError(Exception):
    """Rolls the transaction back: something the head needs has not arrived."""

    def __init__(self, kind: str, identity: str) -> None:
        super().__init__()
        self.missing = (kind, identity)


class _LoopError(Exception):
    """Rolls the transaction back: the head belongs to a loop and nobody has released it."""


class Drain:
    """The loop over one group's waiting keys. Any number of instances may run it: a key belongs to one at a time."""

    def __init__(
        self, service: str, database: Database, routes: Sequence[BoundRoute], relay: Wakeable, metrics: Metrics
    ) -> None:
        self._service = service
        self._database = database
        self._routes: Mapping[str, BoundRoute] = {route.name: route for route in routes}
        self._relay = relay
        self._metrics = metrics
        self._release = waiting.Release(
            types=[name for route in routes for name in route.classes], topics=[route.name for route in routes]
        )
        self._waiting = 0
        self._reported = 0.0
        self._told: set[int] = set()
        self._hint = asyncio.Event()

    def hint(self) -> None:
        """Something was put away just now: it gets its first try at once, and looks come closer together."""
        self._waiting = max(self._waiting, 1)
        self._hint.set()

    async def run(self) -> None:
        """Until cancelled; survives the database being away."""
        while True:
            try:
                if time.monotonic() - self._reported > _REPORT:
                    await self.report()
                worked = await self.step()
            except Exception as error:  # noqa: BLE001 - nothing that happens to one key may end the loop
                logger.warning("drain failed, trying again", extra={"error": explain(error)})
                await asyncio.sleep(1.0)
                continue
            if not worked:
                self._hint.clear()
                try:
                    async with asyncio.timeout(_BUSY if self._waiting else _IDLE):
                        await self._hint.wait()
                except TimeoutError:
                    pass

    async def step(self) -> int:
        """Try every key that is due once around; how many events were handled."""
        handled = 0
        due = await waiting.due_keys(self._database, self._service, self._release)
        if due:
            self._waiting = max(self._waiting, len(due))
        for key, kind in due:
            if kind is not None:
                await waiting.barrier(self._database, kind)
            # A long queue gives way to the others after a while; its next head is due already.
            for _ in range(_SLICE):
                more = await self._one(key)
                handled += more
                if not more:
                    break
        return handled

    async def _one(self, key: str) -> bool:
        """The head of one key; whether it was handled and there may be another."""
        head: waiting.Head | None = None
        rows: list[outbox.Row] = []
        try:
            async with self._database.begin() as tx:
                head = await waiting.claim(tx, self._service, self._release, key)
                if head is None:
                    return False
                rows = await self._handle(tx, head)
                more = await waiting.finish(tx, self._service, head)
                crash.point("drain.before_commit")
            crash.point("drain.after_commit")
        except _NotYetError as answer:
            if head is None:
                raise AssertionError("a NotYet answers a head") from answer
            await self._again(head, answer.missing)
            return False
        except _LoopError as error:
            if head is None:
                raise AssertionError("a loop has a head") from error
            async with self._database.begin() as tx:
                await waiting.postpone(tx, head, reason="hops", delay=None, error="part of a loop", attempts=0)
            return False
        except Exception as error:
            if is_retryable(error):
                return True
            if is_connection_failure(error) or head is None:
                raise
            await self._failed(head, error)
            return False
        if rows:
            self._relay.wake()
        self._metrics.events(head.topic, "drained").inc()
        return more

    async def _handle(self, tx: Tx, head: waiting.Head) -> list[outbox.Row]:
        route = self._routes.get(head.topic)
        if route is None:
            # The topic left the service's routes in a later release: nobody can handle it until it is back.
            raise _NotYetError("topic", head.topic)
        record = _Stored(
            head.partition,
            head.offset,
            head.record_ms,
            head.key.encode(),
            head.payload,
            tuple(outbox.unpack_any(head.headers)),
        )
        item = decode(record, route, 0)
        if item.kind is Kind.NEWER_TYPE:
            raise _NotYetError("type", item.error)
        new = item.inbox_id is None or item.inbox_day is None
        if item.inbox_id is not None and item.inbox_day is not None:
            new = await inbox.record(tx, self._service, item.inbox_id, item.inbox_day)
        if not new:
            return []
        if item.kind is Kind.LOOP and head.reason != "hops":
            raise _LoopError
        if item.kind is Kind.MALFORMED:
            rows = [dead.row(item, self._service, item.inbox_id)] if item.inbox_id is not None else []
        else:
            rows = await self._call(tx, route, item)
        if rows:
            await outbox.insert(tx, rows)
        return rows

    async def _call(self, tx: Tx, route: BoundRoute, item: Item) -> list[outbox.Row]:
        emits: list[Emit | Delete] = []
        for answer in await route.handler(tx, [item.value]):
            if isinstance(answer, NotYet):
                raise _NotYetError(answer.missing_kind, answer.missing_id)
            emits.append(answer)
        return outbox.rows_of(emits, tx.instant)

    async def _again(self, head: waiting.Head, missing: tuple[str, str]) -> None:
        """Still, or newly, waiting for something."""
        same = head.reason == "not_yet" and (head.missing_kind, head.missing_id) == missing
        tried = head.attempts + 1 if same else 0
        # What was just found missing may be in the hands of a transaction that looked before this row said so: the
        # first try after it is committed goes through the barrier at once.
        delay: timedelta | None = timedelta(0)
        if self._release.lacks(*missing):
            delay = None
        elif same:
            delay = min(_RECHECK_FIRST * 2 ** min(tried - 1, 10), _RECHECK_MOST)
        async with self._database.begin() as tx:
            await waiting.postpone(tx, head, reason="not_yet", delay=delay, missing=missing, attempts=tried)

    async def _failed(self, head: waiting.Head, error: Exception) -> None:
        """It raised: twice more after a pause, then a person has to look."""
        attempts = head.attempts + 1 if head.error is not None else 1
        told = explain(error)
        poison = attempts >= ALONE
        async with self._database.begin() as tx:
            await waiting.postpone(
                tx,
                head,
                reason="poison" if poison else "behind",
                delay=None if poison else timedelta(seconds=0.2 * attempts),
                error=told,
                attempts=attempts,
            )
        if poison:
            self._metrics.events(head.topic, "parked").inc()
            logger.error(
                "key parked",
                extra={
                    "topic": head.topic,
                    "partition": head.partition,
                    "offset": head.offset,
                    "key": head.key,
                    "reason": "poison",
                    "error": told,
                },
            )

    async def report(self) -> None:
        """Metrics, and one log line for each key that begins to alarm."""
        self._reported = time.monotonic()
        standing = {one.reason: one for one in await waiting.standing(self._database, self._service)}
        self._waiting = sum(one.keys for one in standing.values())
        reasons: tuple[waiting.Reason, ...] = ("not_yet", "poison", "hops", "behind")
        for reason in reasons:
            one = standing.get(reason)
            self._metrics.waiting_keys(reason).set(one.keys if one else 0)
            self._metrics.waiting_oldest(reason).set(one.oldest if one else 0)
        alarming = sum(one.alarming for one in standing.values())
        self._metrics.waiting_alarm.set(alarming)
        if not alarming:
            self._told.clear()
            return
        for head in await waiting.overdue(self._database, self._service):
            if head.id in self._told:
                continue
            self._told.add(head.id)
            logger.error(
                "key waits for more than five minutes",
                extra={
                    "topic": head.topic,
                    "key": head.key,
                    "reason": head.reason,
                    "missing_kind": head.missing_kind,
                    "missing_id": head.missing_id,
                },
            )
