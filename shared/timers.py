"""Durable instants that fire once, never early, in one transaction with what they cause.

A timer is a row. A firing claims what is due, runs the handler, publishes its answers, deletes the timers and enters
them in the ledger, all in one transaction: killed anywhere, it either happened or is still due. "Due" is decided by
the database's clock alone.

Instances keep apart by transaction-level advisory locks on the timers' ids, tried and never waited for, rather than by
row locks. A handler of the bus locks its own row first and then cancels or moves a timer; a firing that held timer
rows while its handler waits for that same row would deadlock with it. So a firing takes the timers' rows last, in the
same order as everyone else, and finds out there whether one was cancelled or moved meanwhile: then all of it is rolled
back and run again without that one.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import structlog
from prometheus_client import Counter, Gauge, Histogram

from shared import crash, outbox, timer_rows
from shared.db import is_retryable
from shared.due import STUCK_AFTER, DueLoop, hint, is_away
from shared.explain import explain
from shared.health import NotReadyError
from shared.service import Check, Loop
from shared.timer_rows import Claim, Place, Timer

if TYPE_CHECKING:
    from shared.db import Database, Tx
    from shared.envelope import Delete, Emit
    from shared.metrics import Metrics
    from shared.settings import ServiceSettings

__all__ = ["Handler", "RelayLike", "Timer", "Timers", "arm", "cancel"]

CHANNEL = "deskwire_timer"
"""The database notification that hints at an earlier instant."""
BATCH = 500
"""Timers fired in one transaction at most."""
FIRST_RETRY, LONGEST_RETRY = timedelta(seconds=1), timedelta(minutes=5)
"""Back-off of a timer whose handler fails; doubled at each attempt, for ever, alarmed from the first."""
HOUSEKEEPING = 10.0
"""Seconds between looks at failing timers; the ledger is pruned every 60th time."""
ATTEMPTS_AT_ONCE = 8
"""How often a firing is run again at once when a timer moved under it or the database saw a conflict."""
CAREFUL_FOR = 5.0
"""Seconds after such a race in which claims are read twice, which costs a round trip and avoids the next one."""
BLAMED_AFTER = 3
"""So many connection-class failures in a row with the database answering are the handler's own doing."""

logger = structlog.get_logger(__name__)

_own: ContextVar[set[Place] | None] = ContextVar("timers_touched", default=None)


class RelayLike(Protocol):
    """A relay, as far as those who write to the outbox outside the bus need one."""

    def wake(self) -> None:
        """Look for rows to publish at once."""

    def attach(self) -> None:
        """Somebody writes to the outbox; do not end before they do."""

    def detach(self) -> None:
        """They have ended."""


Handler = Callable[["Tx", Sequence[Timer]], Awaitable[Sequence["Emit | Delete"]]]
"""Gets due timers of one kind in key order, answers what to publish. May arm and cancel, also its own timer.

It locks its own rows in key order and then looks whether the instant still means something: whoever changed the thing
may be about to cancel this very timer.
"""


async def arm(tx: Tx, timers: Sequence[Timer]) -> None:
    """Set timers with the commit of `tx`; one that exists is moved, and fires at its new instant only.

    Lock what the timers are about first: whoever holds that row is the one to say when it is due.
    """
    latest = {(timer.kind, timer.key): timer for timer in timers}
    if not latest:
        return
    _touch(latest)
    await timer_rows.insert(tx, list(latest.values()))
    await hint(tx, CHANNEL, (min(timer.due_at for timer in latest.values()) - tx.instant).total_seconds())


async def cancel(tx: Tx, kind: str, keys: Sequence[str]) -> None:
    """Unset timers with the commit of `tx`; those that are not set are no error."""
    _touch((kind, key) for key in keys)
    await timer_rows.delete(tx, kind, keys)


def _touch(places: Iterable[Place]) -> None:
    """Remember what a handler of ours arms or cancels: its own timer gone is then no surprise."""
    touched = _own.get()
    if touched is not None:
        touched.update(places)


class _MovedError(Exception):
    """A claimed timer was cancelled or moved by another transaction while its handler ran."""


class Timers:
    """Fires the timers of one service; any number of instances may."""

    def __init__(
        self,
        settings: ServiceSettings,
        database: Database,
        relay: RelayLike | None,
        handlers: Mapping[str, Handler],
        metrics: Metrics,
        *,
        batch: int = BATCH,
    ) -> None:
        self._database = database
        self._relay = relay
        self._handlers = dict(handlers)
        self._kinds = sorted(handlers)
        self._batch = batch
        self._series = _Series(metrics)
        self._busy = False
        self._strangers = False
        self._careful_until = 0.0
        self._blamed = 0
        self._housekeeping_at = 0.0
        self._housekeepings = 0
        self._loop = DueLoop(f"{settings.SERVICE} timers", database, self._round, channel=CHANNEL)

    def loops(self) -> Sequence[Loop]:
        """What the process runs."""
        return [Loop(name="timers", run=self._run)]

    def checks(self) -> Sequence[Check]:
        """What readiness asks."""
        return [Check(name="postgresql", ready=self._database.ping), Check(name="timers", ready=self._alive)]

    def wake(self) -> None:
        """Look at once; arming already hints, this is for a process that does not want to wait for the database."""
        self._loop.wake()

    async def _run(self) -> None:
        if self._relay is not None:
            self._relay.attach()
        try:
            await self._loop.run()
        finally:
            if self._relay is not None:
                self._relay.detach()

    async def _alive(self) -> None:
        if self._loop.silent_for > STUCK_AFTER:
            raise NotReadyError(f"no round for {self._loop.silent_for:.0f} s")

    async def _round(self) -> float | None:
        """Fire what is due; seconds until something else is."""
        await self._keep_house()
        until = time.monotonic() + 1.0
        # While timers fall due all the time, asking when the next one will is a round trip for nothing.
        if not self._busy:
            pause = await timer_rows.peek(self._database, self._kinds)
            self._series.overdue.set(0.0 if pause is None else max(0.0, -pause))
            if pause is None or pause > 0:
                return pause
        fired = await self._fire()
        # Bounded, so that a backlog of a million does not keep a stopping process.
        while fired == self._batch and time.monotonic() < until:
            fired = await self._fire()
        was_busy, self._busy = self._busy, fired > 0
        if fired or was_busy:
            return 0.0
        # Something is due and nothing was claimed: another instance has it, or kinds of another release are in front.
        self._strangers = not self._strangers
        return 0.02

    async def _fire(self) -> int:
        """One transaction of due timers; how many were claimed."""
        claimed: list[Claim] = []
        try:
            await self._persist(None, claimed)
        except Exception as error:
            if not claimed or await self._is_away(error):
                raise
            logger.warning("a batch of timers failed and is halved", timers=len(claimed), reason=explain(error))
            await self._halve(claimed, error)
        self._blamed = 0
        return len(claimed)

    async def _is_away(self, error: Exception) -> bool:
        """Whether the database failed rather than a handler that does input and output of its own."""
        if not is_away(error) or is_retryable(error):
            return False
        await self._database.ping()
        self._blamed += 1
        return self._blamed < BLAMED_AFTER

    async def _halve(self, claims: Sequence[Claim], error: Exception) -> None:
        """Find the timers that fail alone and put them off; all others fire now."""
        if len(claims) == 1:
            await self._postpone(claims[0], error)
            return
        middle = len(claims) // 2
        for half in (claims[:middle], claims[middle:]):
            try:
                await self._persist(half, [])
            except Exception as inner:  # noqa: BLE001 - whatever a handler raises is judged one by one
                # If it is the database after all, putting off will fail as well, and end this.
                await self._halve(half, inner)

    async def _persist(self, only: Sequence[Claim] | None, claimed: list[Claim]) -> None:
        """Run one firing, again at once when something moved under it."""
        for attempt in range(ATTEMPTS_AT_ONCE):
            claimed.clear()
            try:
                await self._transaction(only, claimed)
            except Exception as error:
                if attempt + 1 == ATTEMPTS_AT_ONCE or not (isinstance(error, _MovedError) or is_retryable(error)):
                    raise
                self._careful_until = time.monotonic() + CAREFUL_FOR
                self._series.conflicts.inc()
            else:
                return

    async def _transaction(self, only: Sequence[Claim] | None, claimed: list[Claim]) -> None:
        """Claim, handle, publish, delete and enter in the ledger."""
        async with self._database.begin() as tx:
            if only is None:
                claimed += await timer_rows.claim(
                    tx,
                    self._kinds,
                    self._batch,
                    careful=time.monotonic() < self._careful_until,
                    strangers=self._strangers,
                )
            else:
                claimed += await timer_rows.claim_again(tx, only)
            if not claimed:
                return
            touched: set[Place] = set()
            token = _own.set(touched)
            try:
                answers, handled = await self._handle(tx, claimed, touched)
            finally:
                _own.reset(token)
            await outbox.add(tx, answers)
            gone, fired_at = await timer_rows.settle(tx, handled)
            # What a handler itself cancelled is gone and what it moved has a new id: neither is missed.
            if any(claim.id not in gone and claim.place not in touched for claim in handled):
                raise _MovedError
            crash.point("timers.before_commit")
        crash.point("timers.after_commit")
        if answers and self._relay is not None:
            self._relay.wake()
        self._series.fired(handled, fired_at)

    async def _handle(
        self, tx: Tx, due: Sequence[Claim], touched: set[Place]
    ) -> tuple[list[Emit | Delete], list[Claim]]:
        """Call the handlers kind by kind; their answers and the timers they got."""
        answers: list[Emit | Delete] = []
        handled: list[Claim] = []
        for kind in sorted({claim.timer.kind for claim in due}):
            # What an earlier handler of this firing cancelled or moved is not due any more.
            mine = [claim for claim in due if claim.timer.kind == kind and claim.place not in touched]
            if mine:
                answers.extend(await self._handlers[kind](tx, [claim.timer for claim in mine]))
                handled.extend(mine)
        return answers, handled

    async def _postpone(self, claim: Claim, error: Exception) -> None:
        """Put off a timer that fails alone, so that its neighbours go on; it is tried for ever."""
        timer = claim.timer
        delay = min(FIRST_RETRY * 2 ** min(timer.attempts, 20), LONGEST_RETRY)
        reason = explain(error)
        await timer_rows.postpone(self._database, claim, delay, reason)
        self._series.failed(timer.kind)
        told = {"kind": timer.kind, "key": timer.key, "attempts": timer.attempts + 1, "reason": reason}
        logger.error("timer failed", again_in=delay.total_seconds(), **told)

    async def _keep_house(self) -> None:
        """Count what fails and let the ledger's oldest day go."""
        if time.monotonic() < self._housekeeping_at:
            return
        self._housekeeping_at = time.monotonic() + HOUSEKEEPING
        self._series.failing.set(await timer_rows.count_failing(self._database))
        if self._housekeepings % 60 == 0:
            await timer_rows.prune(self._database)
        self._housekeepings += 1


class _Series:
    """What timers measure of themselves."""

    def __init__(self, metrics: Metrics) -> None:
        labels, registry, self._service = ["service", "kind"], metrics.registry, metrics.service
        buckets = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0, 3600.0)
        self._lateness = Histogram(
            "deskwire_timer_lateness_seconds", "From due to fired.", labels, buckets=buckets, registry=registry
        )
        self._failures = Counter("deskwire_timer_failures", "Firings that failed alone.", labels, registry=registry)
        self.failing = Gauge(
            "deskwire_timers_failing", "Timers put off after a failure.", ["service"], registry=registry
        ).labels(self._service)
        self.overdue = Gauge(
            "deskwire_timers_overdue_seconds",
            "Age of the oldest instant not fired yet.",
            ["service"],
            registry=registry,
        ).labels(self._service)
        self.conflicts = Counter(
            "deskwire_timer_conflicts", "Firings run again because a timer moved.", ["service"], registry=registry
        ).labels(self._service)

    def fired(self, claims: Sequence[Claim], fired_at: datetime) -> None:
        """These timers fired at this instant (desk time)."""
        for claim in claims:
            lateness = (fired_at - claim.timer.due_at).total_seconds()
            self._lateness.labels(self._service, claim.timer.kind).observe(lateness)
        self.overdue.set(max(0.0, (fired_at - min(claim.timer.due_at for claim in claims)).total_seconds()))

    def failed(self, kind: str) -> None:
        """One timer failed alone."""
        self._failures.labels(self._service, kind).inc()
