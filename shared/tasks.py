"""Input and output outside any transaction: durable rows worked on under a lease.

A task is leased in one short transaction, worked on in none, and its result is written in a second one, together with
what it causes, if the lease still is ours. A worker that died or is late loses its lease and its result: the work may
happen twice (give the other side an idempotency key), its result is written once.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import structlog
from prometheus_client import Counter, Gauge, Histogram

from shared import crash, outbox, task_rows
from shared.db import is_retryable
from shared.due import STUCK_AFTER, DueLoop, hint, is_away
from shared.explain import explain
from shared.health import NotReadyError
from shared.service import Check, Loop
from shared.task_rows import Leased, Parked, Task, discard, parked, release

if TYPE_CHECKING:
    from shared.db import Database, Tx
    from shared.envelope import Delete, Emit
    from shared.metrics import Metrics
    from shared.settings import ServiceSettings
    from shared.timers import RelayLike

__all__ = [
    "DeferError",
    "GiveUpError",
    "Parked",
    "RetryError",
    "Task",
    "TaskKind",
    "Tasks",
    "add",
    "cancel",
    "discard",
    "parked",
    "release",
]

CHANNEL = "deskwire_task"
LEASE_MARGIN = timedelta(seconds=10)
"""How much longer than the work may take a lease is: time to write the result."""
HOUSEKEEPING = 10.0

T = TypeVar("T")
logger = structlog.get_logger(__name__)


class GiveUpError(Exception):
    """Raised by work that can never succeed: the task is parked at once."""


class RetryError(Exception):
    """Raised by work that was told when to come back (`Retry-After`): it counts as an attempt."""

    def __init__(self, reason: str, after: timedelta) -> None:
        super().__init__(reason)
        self.after = after


class DeferError(Exception):
    """Raised by work that could not even begin (the other side is away): tried again, and counts as no attempt."""

    def __init__(self, reason: str, after: timedelta) -> None:
        super().__init__(reason)
        self.after = after


@dataclass(frozen=True, kw_only=True)
class TaskKind(Generic[T]):
    """How tasks of one kind are done."""

    name: str
    timeout: timedelta
    """How long one attempt may take; the lease is ten seconds longer."""
    schedule: Sequence[timedelta]
    """How long to wait after each failed attempt; after one more than these the task is parked."""
    work: Callable[[Task], Awaitable[T]]
    """Does it, outside any transaction; raises to be tried again."""
    finish: Callable[[Tx, Task, T], Awaitable[Sequence[Emit | Delete]]]
    """Writes the result and answers what to publish; locks rows in key order."""
    exhausted: Callable[[Tx, Task, str], Awaitable[Sequence[Emit | Delete]]] | None = None
    """Told when a task is parked, with why, in the same transaction; answers what to publish."""
    concurrency: int = 4
    """How many are worked on at once in one process."""
    jitter: float = 0.1
    """Each wait is stretched by up to this share, so that what failed together does not come back together."""


async def add(tx: Tx, tasks: Sequence[Task]) -> None:
    """Have work done after the commit of `tx`; a task whose id is there already is not added again."""
    if not tasks:
        return
    await task_rows.insert(tx, tasks)
    soonest = min((task.due_at - tx.instant).total_seconds() if task.due_at else 0.0 for task in tasks)
    await hint(tx, CHANNEL, soonest)


async def cancel(tx: Tx, kind: str, keys: Sequence[str]) -> None:
    """Have work not done; the result of an attempt under way is dropped."""
    await task_rows.delete(tx, kind, keys)


async def hasten(tx: Tx, kind: str, keys: Sequence[str], within: timedelta) -> None:
    """Have work done now that was to wait, `within` that time at most; what was put off for longer stays so."""
    if keys and await task_rows.hasten(tx, kind, keys, within):
        await hint(tx, CHANNEL, 0.0)


class _LeaseLostError(Exception):
    """Somebody else has the task now, or it was cancelled: our result must not be written."""


class Tasks:
    """Works on the tasks of one service; any number of instances may."""

    def __init__(
        self,
        settings: ServiceSettings,
        database: Database,
        relay: RelayLike | None,
        kinds: Sequence[TaskKind[Any]],
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._relay = relay
        self._kinds = {kind.name: kind for kind in kinds}
        self._running: dict[str, set[asyncio.Task[None]]] = {kind.name: set() for kind in kinds}
        self._series = _Series(metrics)
        self._housekeeping_at = 0.0
        self._loop = DueLoop(f"{settings.SERVICE} tasks", database, self._round, channel=CHANNEL)

    def loops(self) -> Sequence[Loop]:
        """What the process runs."""
        return [Loop(name="tasks", run=self._run)]

    def checks(self) -> Sequence[Check]:
        """What readiness asks."""
        return [Check(name="postgresql", ready=self._database.ping), Check(name="tasks", ready=self._alive)]

    async def _alive(self) -> None:
        if self._loop.silent_for > STUCK_AFTER:
            raise NotReadyError(f"no round for {self._loop.silent_for:.0f} s")

    async def _run(self) -> None:
        """Take tasks until cancelled, then finish those in hand; cancelled again, give them back."""
        if self._relay is not None:
            self._relay.attach()
        try:
            await self._loop.run()
        finally:
            running = [task for tasks in self._running.values() for task in tasks]
            try:
                if running:
                    await asyncio.wait(running)
            finally:
                for task in running:
                    task.cancel()
                await asyncio.gather(*running, return_exceptions=True)
                if self._relay is not None:
                    self._relay.detach()

    async def _round(self) -> float | None:
        """Start what is due as far as there is room; seconds until something else can be."""
        if time.monotonic() > self._housekeeping_at:
            self._housekeeping_at = time.monotonic() + HOUSEKEEPING
            self._series.parked.set(await task_rows.count_parked(self._database))
        room = {name: kind.concurrency - len(self._running[name]) for name, kind in self._kinds.items()}
        due, expiry = await task_rows.peek(self._database, [name for name, free in room.items() if free > 0])
        if expiry is not None and expiry <= 0:
            for identity in await task_rows.expire(self._database):
                self._series.expired.inc()
                logger.warning("a lease ended without a result", task=str(identity))
            return 0.0
        if due is not None and due <= 0:
            for name, free in room.items():
                if free > 0:
                    await self._take(self._kinds[name], free)
            # Either the rest is full, and a finished task wakes us, or there may be more: look again.
            return 0.02
        return min((pause for pause in (due, expiry) if pause is not None), default=None)

    async def _take(self, kind: TaskKind[Any], count: int) -> None:
        taken = await task_rows.lease(self._database, kind.name, count, kind.timeout + LEASE_MARGIN)
        if taken:
            crash.point("tasks.after_lease")
        running = self._running[kind.name]
        for leased in taken:
            task = asyncio.create_task(self._perform(kind, leased), name=f"task {kind.name}")
            running.add(task)
            task.add_done_callback(running.discard)
            task.add_done_callback(lambda _: self._loop.wake())

    async def _perform(self, kind: TaskKind[Any], leased: Leased) -> None:
        """Work, then write the result; never raises but for cancellation."""
        until = time.monotonic() + (kind.timeout + LEASE_MARGIN).total_seconds()
        began = time.perf_counter()
        try:
            try:
                async with asyncio.timeout(kind.timeout.total_seconds()):
                    result = await kind.work(leased.task)
            except Exception as error:  # noqa: BLE001 - whatever work raises, the task is tried again or parked
                await self._failed(kind, leased, error, until)
                return
            self._series.seconds(kind.name, time.perf_counter() - began)
            crash.point("tasks.before_result")
            await self._succeeded(kind, leased, result, until)
            crash.point("tasks.after_result")
        except asyncio.CancelledError:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(1):
                    await task_rows.give_back(self._database, leased)
            raise
        except Exception:
            # The lease ends by itself; the next attempt says more.
            logger.exception("task outcome not written", kind=kind.name, task=str(leased.task.id))

    async def _succeeded(self, kind: TaskKind[Any], leased: Leased, result: object, until: float) -> None:
        async def write(tx: Tx) -> Sequence[Emit | Delete]:
            answers = await kind.finish(tx, leased.task, result)
            # Last, so that rows are locked in the same order as everywhere: the thing first, then what is due of it.
            if not await task_rows.finish(tx, leased):
                raise _LeaseLostError
            return answers

        try:
            await self._write(write, until)
            self._series.outcome(kind.name, "done")
        except _LeaseLostError:
            self._series.outcome(kind.name, "lost")
            logger.warning("result dropped, the lease was lost", kind=kind.name, task=str(leased.task.id))
        except Exception as error:
            if is_away(error):
                raise
            await self._failed(kind, leased, error, until)

    async def _failed(self, kind: TaskKind[Any], leased: Leased, error: Exception, until: float) -> None:
        """Put the task off, or park it when nothing is left to try."""
        attempts = leased.task.attempts
        spoken = isinstance(error, (GiveUpError, RetryError, DeferError))
        reason = str(error)[:200] if spoken else explain(error)
        told = {"kind": kind.name, "key": leased.task.key, "task": str(leased.task.id), "attempts": attempts}
        deferred = isinstance(error, DeferError)
        exhausted = isinstance(error, GiveUpError) or (attempts > len(kind.schedule) and not deferred)

        async def write(tx: Tx) -> Sequence[Emit | Delete]:
            if exhausted:
                answers = await kind.exhausted(tx, leased.task, reason) if kind.exhausted else ()
                kept = await task_rows.park(tx, leased, reason)
            else:
                answers = ()
                delay = self._delay(kind, attempts, error)
                kept = await task_rows.postpone(tx, leased, delay, reason, counted=not deferred)
            if not kept:
                raise _LeaseLostError
            return answers

        with contextlib.suppress(_LeaseLostError):
            await self._write(write, until)
            self._series.outcome(kind.name, "parked" if exhausted else "deferred" if deferred else "retried")
            if exhausted:
                logger.error("task parked", reason=reason, **told)
            elif deferred:
                logger.info("task deferred", reason=reason, **told)
            else:
                logger.warning("task failed", reason=reason, **told)

    @staticmethod
    def _delay(kind: TaskKind[Any], attempts: int, error: Exception) -> timedelta:
        if isinstance(error, (RetryError, DeferError)):
            return error.after
        planned = kind.schedule[min(attempts, len(kind.schedule)) - 1]
        return planned * (1 + random.random() * kind.jitter)  # noqa: S311 - spreading, not secrecy

    async def _write(self, write: Callable[[Tx], Awaitable[Sequence[Emit | Delete]]], until: float) -> None:
        """One transaction, repeated while the database is away and the lease may still be ours."""
        pause = 0.05
        while True:
            try:
                async with self._database.begin() as tx:
                    answers = await write(tx)
                    await outbox.add(tx, answers)
            except Exception as error:
                if not is_away(error) or time.monotonic() + pause > until:
                    raise
                await asyncio.sleep(0 if is_retryable(error) else pause)
                pause = min(pause * 2, 2.0)
            else:
                if answers and self._relay is not None:
                    self._relay.wake()
                return


class _Series:
    """What tasks measure of themselves."""

    def __init__(self, metrics: Metrics) -> None:
        labels, registry, self._service = ["service", "kind"], metrics.registry, metrics.service
        self._seconds = Histogram("deskwire_task_seconds", "Time of one successful attempt.", labels, registry=registry)
        self._outcomes = Counter(
            "deskwire_tasks",
            "Attempts by outcome: done, retried, deferred, parked, lost.",
            [*labels, "outcome"],
            registry=registry,
        )
        self.parked = Gauge(
            "deskwire_tasks_parked", "Tasks no attempt is left for.", ["service"], registry=registry
        ).labels(self._service)
        self.expired = Counter(
            "deskwire_task_leases_expired", "Leases that ended without a result.", ["service"], registry=registry
        ).labels(self._service)

    def seconds(self, kind: str, seconds: float) -> None:
        """One attempt succeeded."""
        self._seconds.labels(self._service, kind).observe(seconds)

    def outcome(self, kind: str, outcome: str) -> None:
        """One attempt ended."""
        self._outcomes.labels(self._service, kind, outcome).inc()
