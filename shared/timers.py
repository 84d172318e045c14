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
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import orjson
import structlog
from prometheus_client import Counter, Gauge, Histogram

from shared import crash, outbox
from shared.db import is_retryable
from shared.due import STUCK_AFTER, DueLoop, hint, is_away
from shared.explain import explain
from shared.health import NotReadyError
from shared.service import Check, Loop

if TYPE_CHECKING:
    from shared.db import Database, Record, Tx
    from shared.envelope import Delete, Emit
    from shared.metrics import Metrics
    from shared.settings import ServiceSettings

CHANNEL = "deskwire_timer"
"""The database notification that hints at an earlier instant."""
BATCH = 500
"""Timers fired in one transaction at most."""
LOCK_CLASS = 0x74696D65  # "time": the first half of our advisory locks' keys
FIRST_RETRY, LONGEST_RETRY = timedelta(seconds=1), timedelta(minutes=5)
"""Back-off of a timer whose handler fails; doubled at each attempt, for ever, alarmed from the first."""
HOUSEKEEPING = 10.0
"""Seconds between looks at failing timers; the ledger is pruned every 60th time."""
ATTEMPTS_AT_ONCE = 8
"""How often a firing is run again at once when a timer moved under it or the database saw a conflict."""

logger = structlog.get_logger(__name__)

_own: ContextVar[set[tuple[str, str]] | None] = ContextVar("timers_touched", default=None)


class RelayLike(Protocol):
    """A relay, as far as those who write to the outbox outside the bus need one."""

    def wake(self) -> None:
        """Look for rows to publish at once."""

    def attach(self) -> None:
        """Somebody writes to the outbox; do not end before they do."""

    def detach(self) -> None:
        """They have ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timer:
    """One instant of one thing: `kind` names the handler, `key` the thing. There is one per (kind, key)."""

    kind: str
    key: str
    tenant_id: str
    due_at: datetime
    """UTC, by the database's clock; in the past fires at once."""
    payload: Mapping[str, Any] = field(default_factory=dict)
    """What the handler will need, as JSON; better little, since the handler looks at its own rows."""
    attempts: int = 0
    """How often its handler has failed; nothing to set when arming."""

    def __post_init__(self) -> None:
        """Refuse an instant without a zone."""
        if self.due_at.tzinfo is None:
            raise ValueError("due_at: an instant needs a zone")


Handler = Callable[["Tx", Sequence[Timer]], Awaitable[Sequence["Emit | Delete"]]]
"""Gets due timers of one kind in key order, answers what to publish. May arm and cancel, also its own timer.

It locks its own rows in key order and then looks whether the instant still means something: whoever changed the thing
may be about to cancel this very timer.
"""

_ARM = """
    INSERT INTO timer (kind, key, tenant_id, due_at, run_at, payload, armed_at)
    SELECT a.kind, a.key, a.tenant_id, a.due_at, a.due_at, a.payload::jsonb, desk_now()
    FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::text[])
        AS a (kind, key, tenant_id, due_at, payload)
    ON CONFLICT (kind, key) DO UPDATE SET
        id = nextval('timer_id'), tenant_id = excluded.tenant_id, due_at = excluded.due_at, run_at = excluded.run_at,
        payload = excluded.payload, attempts = 0, last_error = NULL, armed_at = excluded.armed_at
    WHERE timer.due_at <> excluded.due_at OR timer.payload <> excluded.payload
"""

_CANCEL = "DELETE FROM timer WHERE kind = $1 AND key = ANY ($2::text[])"

CLAIM = """
    WITH due AS MATERIALIZED (
        SELECT kind, key, id FROM timer
        WHERE run_at <= (SELECT desk_now()) AND kind = ANY ($1::text[])
        ORDER BY run_at LIMIT $2
    )
    SELECT kind, key, id FROM due WHERE pg_try_advisory_xact_lock($3, (id % 2147483647)::integer) LIMIT $4
"""
"""Public for the plan test: `desk_now()` must be an index condition, since a filter would visit every timer."""

_RECLAIM = """
    SELECT kind, key, id FROM unnest($1::text[], $2::text[], $3::bigint[]) AS c (kind, key, id)
    WHERE pg_try_advisory_xact_lock($4, (id % 2147483647)::integer)
"""

# A statement of its own, after the locks: it sees what whoever held them before us has committed.
_READ = """
    SELECT t.kind, t.key, t.id, t.tenant_id, t.due_at, t.payload, t.attempts
    FROM unnest($1::text[], $2::text[], $3::bigint[]) AS c (kind, key, id)
    JOIN timer t ON t.kind = c.kind AND t.key = c.key AND t.id = c.id
    WHERE t.run_at <= (SELECT desk_now())
"""

_FIRED = """
    WITH gone AS (
        DELETE FROM timer t USING unnest($1::text[], $2::text[], $3::bigint[]) AS c (kind, key, id)
        WHERE t.kind = c.kind AND t.key = c.key AND t.id = c.id
        RETURNING 1
    ), now AS MATERIALIZED (
        SELECT clock_timestamp() + shift AS instant FROM clock_offset
    ), told AS (
        INSERT INTO timer_ledger (slot, kind, key, due_at, fired_at, attempts)
        SELECT timer_ledger_slot(now.instant), f.kind, f.key, f.due_at, now.instant, f.attempts
        FROM now, unnest($4::text[], $5::text[], $6::timestamptz[], $7::integer[]) AS f (kind, key, due_at, attempts)
    )
    SELECT (SELECT count(*) FROM gone) AS gone, (SELECT instant FROM now) AS fired_at
"""

_POSTPONE = """
    UPDATE timer SET attempts = attempts + 1, run_at = desk_now() + $4, last_error = $5
    WHERE kind = $1 AND key = $2 AND id = $3
"""

_PEEK = """
    SELECT extract(epoch FROM min(run_at) - (clock_timestamp() + (SELECT shift FROM clock_offset)))::float8
    FROM timer WHERE kind = ANY ($1::text[])
"""


async def arm(tx: Tx, timers: Sequence[Timer]) -> None:
    """Set timers with the commit of `tx`; one that exists is moved, and fires at its new instant only.

    Lock what the timers are about first: whoever holds that row is the one to say when it is due.
    """
    latest = {(timer.kind, timer.key): timer for timer in timers}
    if not latest:
        return
    _touch(latest)
    # In key order, so that two transactions that arm the same timers wait for each other instead of deadlocking.
    ordered = [latest[place] for place in sorted(latest)]
    await tx.execute(
        _ARM,
        [timer.kind for timer in ordered],
        [timer.key for timer in ordered],
        [timer.tenant_id for timer in ordered],
        [timer.due_at for timer in ordered],
        [orjson.dumps(timer.payload).decode() for timer in ordered],
    )
    await hint(tx, CHANNEL, (min(timer.due_at for timer in ordered) - tx.instant).total_seconds())


async def cancel(tx: Tx, kind: str, keys: Sequence[str]) -> None:
    """Unset timers with the commit of `tx`; those that are not set are no error."""
    _touch([(kind, key) for key in keys])
    await tx.execute(_CANCEL, kind, list(keys))


def _touch(places: Mapping[tuple[str, str], Timer] | Sequence[tuple[str, str]]) -> None:
    """Remember what a handler of ours arms or cancels: its own timer gone is then no surprise."""
    touched = _own.get()
    if touched is not None:
        touched.update(places)


class _MovedError(Exception):
    """A claimed timer was cancelled or moved by another transaction while its handler ran."""


@dataclass(frozen=True, slots=True)
class _Claim:
    kind: str
    key: str
    id: int


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
        self._series = Series(metrics)
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
        pause: float | None = await self._database.fetchval(_PEEK, self._kinds)
        self._series.overdue.set(0.0 if pause is None else max(0.0, -pause))
        if pause is None or pause > 0:
            return pause
        until = time.monotonic() + 1.0
        # Bounded, so that a backlog of a million does not keep a stopping process.
        while (fired := await self._fire()) == self._batch and time.monotonic() < until:
            pass
        # Nothing claimed although something is due: another instance has it. Look again, but do not race it.
        return 0.0 if fired else 0.02

    async def _fire(self) -> int:
        """One transaction of due timers; how many were claimed."""
        claimed: list[_Claim] = []
        try:
            return await self._persist(None, claimed)
        except Exception as error:
            if not claimed or (is_away(error) and not is_retryable(error)):
                raise
            logger.warning("a batch of timers failed and is halved", timers=len(claimed), reason=explain(error))
            await self._halve(claimed, error)
            return len(claimed)

    async def _halve(self, claims: Sequence[_Claim], error: Exception) -> None:
        """Find the timers that fail alone and put them off; all others fire now."""
        if len(claims) == 1:
            await self._postpone(claims[0], error)
            return
        middle = len(claims) // 2
        for half in (claims[:middle], claims[middle:]):
            try:
                await self._persist(half, [])
            except Exception as inner:
                if is_away(inner) and not is_retryable(inner):
                    raise
                await self._halve(half, inner)

    async def _persist(self, only: Sequence[_Claim] | None, claimed: list[_Claim]) -> int:
        """Run one firing, again at once when something moved under it."""
        for attempt in range(ATTEMPTS_AT_ONCE):
            claimed.clear()
            try:
                return await self._transaction(only, claimed)
            except Exception as error:
                if attempt + 1 == ATTEMPTS_AT_ONCE or not (isinstance(error, _MovedError) or is_retryable(error)):
                    raise
                self._series.conflicts.inc()
        raise AssertionError("the last attempt returns or raises")

    async def _transaction(self, only: Sequence[_Claim] | None, claimed: list[_Claim]) -> int:
        """Claim, handle, publish, delete and enter in the ledger; how many fired."""
        async with self._database.begin() as tx:
            claims = await self._claim(tx, only)
            claimed.extend(claims)
            due = await self._read(tx, claims)
            if not due:
                return len(claims)
            touched: set[tuple[str, str]] = set()
            token = _own.set(touched)
            try:
                answers, due = await self._handle(tx, due, touched)
            finally:
                _own.reset(token)
            await outbox.add(tx, answers)
            fired_at = await self._settle(tx, due, touched)
            crash.point("timers.before_commit")
        crash.point("timers.after_commit")
        if answers and self._relay is not None:
            self._relay.wake()
        for _, timer in due:
            self._series.fired(timer.kind, (fired_at - timer.due_at).total_seconds())
        return len(claims)

    async def _handle(
        self, tx: Tx, due: Sequence[tuple[_Claim, Timer]], touched: set[tuple[str, str]]
    ) -> tuple[list[Emit | Delete], list[tuple[_Claim, Timer]]]:
        """Call the handlers kind by kind; their answers and the timers they got."""
        answers: list[Emit | Delete] = []
        handled: list[tuple[_Claim, Timer]] = []
        for kind in sorted({claim.kind for claim, _ in due}):
            # What an earlier handler of this firing cancelled or moved is not due any more.
            mine = [pair for pair in due if pair[0].kind == kind and (kind, pair[0].key) not in touched]
            if mine:
                answers.extend(await self._handlers[kind](tx, [timer for _, timer in mine]))
                handled.extend(mine)
        return answers, handled

    async def _claim(self, tx: Tx, only: Sequence[_Claim] | None) -> list[_Claim]:
        if only is None:
            # Look further than we take: the first ones may all be another instance's.
            rows = await tx.fetch(CLAIM, self._kinds, self._batch * 4, LOCK_CLASS, self._batch)
        else:
            rows = await tx.fetch(_RECLAIM, *_columns(only), LOCK_CLASS)
        return [_Claim(row["kind"], row["key"], row["id"]) for row in rows]

    async def _read(self, tx: Tx, claims: Sequence[_Claim]) -> list[tuple[_Claim, Timer]]:
        """The claimed timers that still are as claimed, in key order."""
        if not claims:
            return []
        rows = await tx.fetch(_READ, *_columns(claims))
        return sorted((_timer(row) for row in rows), key=lambda pair: (pair[0].kind, pair[0].key))

    async def _settle(self, tx: Tx, due: Sequence[tuple[_Claim, Timer]], touched: set[tuple[str, str]]) -> datetime:
        """Delete what fired and enter it in the ledger; the instant it fired. Raises _MovedError."""
        left = [claim for claim, _ in due if (claim.kind, claim.key) not in touched]
        # A timer that its own handler cancelled is gone and one that it moved has a new id: neither is counted, but
        # a handler that armed its timer exactly as it was left the row as it is, and has to lose it here.
        row = await tx.fetchrow(
            _FIRED,
            *_columns([claim for claim, _ in due]),
            [timer.kind for _, timer in due],
            [timer.key for _, timer in due],
            [timer.due_at for _, timer in due],
            [timer.attempts for _, timer in due],
        )
        if row is None:
            raise AssertionError("an aggregate has one row")
        if row["gone"] < len(left):
            raise _MovedError
        fired_at: datetime = row["fired_at"]
        return fired_at

    async def _postpone(self, claim: _Claim, error: Exception) -> None:
        """Put off a timer that fails alone, so that its neighbours go on; it is tried for ever."""
        row = await self._database.fetchrow(
            "SELECT attempts FROM timer WHERE kind = $1 AND key = $2 AND id = $3", claim.kind, claim.key, claim.id
        )
        if row is None:
            return
        delay = min(FIRST_RETRY * 2 ** min(row["attempts"], 20), LONGEST_RETRY)
        reason = explain(error)
        await self._database.execute(_POSTPONE, claim.kind, claim.key, claim.id, delay, reason)
        self._series.failed(claim.kind)
        logger.error(
            "timer failed",
            kind=claim.kind,
            key=claim.key,
            attempts=row["attempts"] + 1,
            again_in=delay.total_seconds(),
            reason=reason,
        )

    async def _keep_house(self) -> None:
        """Count what fails and let the ledger's oldest day go."""
        if time.monotonic() < self._housekeeping_at:
            return
        self._housekeeping_at = time.monotonic() + HOUSEKEEPING
        self._series.failing.set(await self._database.fetchval("SELECT count(*) FROM timer WHERE attempts > 0"))
        if self._housekeepings % 60 == 0:
            await self._database.fetchval("SELECT timer_ledger_prune()")
        self._housekeepings += 1


class Series:
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

    def fired(self, kind: str, lateness: float) -> None:
        """One timer fired `lateness` seconds after it was due."""
        self._lateness.labels(self._service, kind).observe(lateness)

    def failed(self, kind: str) -> None:
        """One timer failed alone."""
        self._failures.labels(self._service, kind).inc()


def _columns(claims: Sequence[_Claim]) -> tuple[list[str], list[str], list[int]]:
    return [claim.kind for claim in claims], [claim.key for claim in claims], [claim.id for claim in claims]


def _timer(row: Record) -> tuple[_Claim, Timer]:
    claim = _Claim(row["kind"], row["key"], row["id"])
    return claim, Timer(
        kind=row["kind"],
        key=row["key"],
        tenant_id=row["tenant_id"],
        due_at=row["due_at"],
        payload=orjson.loads(row["payload"]),
        attempts=row["attempts"],
    )
