"""Outbox to Kafka: one elected relay per service, woken by commits, in order per key.

Elected by an advisory lock of a session of its own. The server ends that session when its process falls silent for
five seconds (stopped, frozen, gone), which frees the lock for a successor. Kafka cannot fence the one that was
stopped: when it wakes it may repeat what its successor sent, with the same ids and in the same order, and readers
take a repeat for a repeat.

At-least-once: rows are read, produced, acknowledged, deleted; no transaction is open while producing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

import asyncpg

from shared import crash
from shared.db import Database
from shared.explain import explain
from shared.health import NotReadyError
from shared.metrics import Metrics
from shared.publish import OutboxRow, Publisher
from shared.service import Check, Loop
from shared.settings import ServiceSettings

BATCH = 1000
"""Rows per round, at most."""
BATCH_BYTES = 4 * 1024 * 1024
"""What a round may hold in memory, roughly: rows per round follow the size of those of the round before."""
POLL = 0.5
"""Seconds after which the outbox is looked at although nobody woke the relay; also keeps its session from idling."""
FULL_SCAN = 1.0
"""Seconds between looks from the very first row. The others start a little below the last row sent (see `_low`)."""
WINDOW = 5000
"""Ids below the last one sent that are looked at every time: ids are drawn in another order than committed."""
SILENCE = timedelta(seconds=5)
CHANNEL = "deskwire_outbox"
_LOCK = "deskwire.relay"
_REPORT = 5.0
_PAUSE_FIRST, _PAUSE_MOST = 0.1, 5.0

_SELECT = """
    SELECT id, topic, key, payload, headers, created_at FROM outbox
    WHERE id > $1 AND topic <> ALL ($2::text[]) ORDER BY id LIMIT $3
"""
# Every tenant with something to send, its oldest rows up to a quota: a flood leaves in the same slices as a trickle.
_SELECT_FAIR = """
    WITH RECURSIVE tenants AS (
        (SELECT tenant FROM outbox ORDER BY tenant LIMIT 1)
        UNION ALL
        SELECT (SELECT o.tenant FROM outbox o WHERE o.tenant > t.tenant ORDER BY o.tenant LIMIT 1)
        FROM tenants t WHERE t.tenant IS NOT NULL
    )
    SELECT r.*, t.tenant FROM tenants t LEFT JOIN unnest($3::text[], $4::int[]) AS p (tenant, quota) USING (tenant)
    CROSS JOIN LATERAL (
        SELECT id, topic, key, payload, headers, created_at FROM outbox o
        WHERE o.tenant = t.tenant AND o.topic <> ALL ($1::text[]) ORDER BY o.id LIMIT least(p.quota, $2)
    ) r WHERE t.tenant IS NOT NULL
"""

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

Beat = Callable[["Connection", Publisher], Awaitable[None]]
"""Called by the leader between rounds with its session and publisher: where the watermark of `ticket.state` goes."""


class Relay:
    """Publishes one service's outbox.

    `fair=True` releases tenants in turn; such a service makes the index `CREATE INDEX outbox_tenant ON outbox
    (tenant, id)` in its own migrations. With `tenant_rate` (events per second) each tenant's flood also stays in the
    table instead of filling the topic faster than its readers take it, where a neighbour's event would come after it.
    Cancelling the loop sends what is left, within the service's drain time.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        database: Database,
        *,
        metrics: Metrics | None = None,
        fair: bool = False,
        tenant_rate: int | None = None,
        beat: Beat | None = None,
    ) -> None:
        self._settings = settings
        self._database = database
        self._metrics = metrics or Metrics(settings.SERVICE)
        self._fair = fair
        self._pace = Pace(tenant_rate) if tenant_rate is not None else None
        self._beat = beat
        self._publisher = Publisher(settings)
        self._woken = asyncio.Event()
        self._session: Connection | None = None
        self._leader = False
        self._users = 0
        self._stopping = False
        self._last_id = 0
        self._full_at = 0.0
        self._reported = 0.0
        self._tenants = 1
        self._limit = 200
        self._failure: str | None = None

    # --- what others call --------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Something was committed: look at the outbox now. Cheap, and safe from any part of this process."""
        self._woken.set()

    def attach(self) -> None:
        """Somebody writes to the outbox; when the process ends the relay waits for them."""
        self._users += 1

    def detach(self) -> None:
        """They have ended."""
        self._users -= 1
        self._woken.set()

    def loops(self) -> list[Loop]:
        """What has to run for as long as the service does."""
        return [Loop(name="relay", run=self._run)]

    def checks(self) -> list[Check]:
        """Ready when some relay of this service can reach the database, and ours, if elected, the broker."""
        return [Check(name="relay", ready=self._ready)]

    @property
    def is_leader(self) -> bool:
        """Whether this process publishes."""
        return self._leader

    async def _ready(self) -> None:
        if self._session is None or self._session.is_closed():
            raise NotReadyError("postgresql: the relay has no session")
        if not self._leader:
            return
        if self._failure is not None:
            raise NotReadyError(f"kafka: {self._failure}")
        try:
            await self._publisher.ping()
        except Exception as error:
            raise NotReadyError(f"kafka: no broker of {self._settings.kafka_url} answers") from error

    # --- the loop ----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Work until cancelled; then, without breaking off what is under way, send what is left."""
        work = asyncio.create_task(self._work(), name="relay")
        try:
            await asyncio.shield(work)
        finally:
            self._stopping = True
            self._woken.set()
            if not work.done():
                await asyncio.wait({work}, timeout=self._settings.drain_seconds * 0.9)
            if not work.done():
                logger.warning("relay ended with rows left")
                work.cancel()
                await asyncio.wait({work}, timeout=5.0)

    async def _work(self) -> None:
        failures = 0
        try:
            while not self._finished:
                try:
                    await self._elected()
                except Exception as error:  # noqa: BLE001 - a dying session has many voices, and rows wait in the table
                    logger.warning("relay lost its session", extra={"error": explain(error)})
                    failures = 0 if self._leader else failures + 1
                self._leader = False
                self._metrics.relay_leader.set(0)
                if not self._finished:
                    await _pause(failures)
        finally:
            self._leader = False
            await self._close_session()
            await self._publisher.close()

    @property
    def _finished(self) -> bool:
        """The process ends and nobody writes to the outbox any more."""
        return self._stopping and not self._users

    async def _elected(self) -> None:
        """Open a session; follow until elected; then publish until the session is lost."""
        await self._close_session()
        session = await self._database.session(application=f"{self._settings.SERVICE} relay", idle_timeout=SILENCE)
        self._session = session
        # The table is empty most of the time, so statistics would have it read whole once it is not.
        await session.execute("SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off")
        await session.execute("SET plan_cache_mode = force_generic_plan")
        while not await session.fetchval("SELECT pg_try_advisory_lock(hashtextextended($1, 3))", _LOCK):
            if await self._waited(POLL):
                # Not ours to publish: tell the leader, wherever it is.
                await session.execute(f"NOTIFY {CHANNEL}")
            if self._finished:
                return
        self._leader = True
        self._metrics.relay_leader.set(1)
        self._full_at = 0.0
        logger.info("relay elected")
        await session.add_listener(CHANNEL, self._notified)
        # Connected before there is anything to send, so that readiness can tell whether the broker answers.
        self._failure = (await self._publisher.publish([], lambda: _alive(session))).failed
        failures = 0
        while True:
            sent = await self._round(session)
            if self._failure is not None:
                await self._rest(session, failures)
                failures += 1
                continue
            failures = 0
            await self._between(session)
            if not sent:
                if self._finished:
                    return
                await self._waited(POLL if self._pace is None else self._pace.rest(POLL))

    def _notified(self, *_: object) -> None:
        self._woken.set()

    async def _waited(self, seconds: float) -> bool:
        """Wait until woken, at most `seconds`; whether somebody woke us."""
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return False
        self._woken.clear()
        return True

    async def _rest(self, session: Connection, failures: int) -> None:
        """A pause after a failed round, during which the session must not fall silent."""
        until = time.monotonic() + _pause_length(failures)
        while (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(left, 1.0))
            await _alive(session)

    async def _round(self, session: Connection) -> int:
        """Read, produce, delete; how many rows were published."""
        self._woken.clear()
        rows = await self._select(session)
        if not rows:
            self._failure = None
            return 0
        held = sum(len(row.payload) for row in rows if row.payload is not None)
        self._limit = max(10, min(self._limit * 2, BATCH, BATCH_BYTES * len(rows) // max(held, 1)))
        crash.point("relay.before_produce")
        published = await self._publisher.publish(rows, lambda: _alive(session))
        crash.point("relay.after_produce")
        if published.ids:
            await session.execute("DELETE FROM outbox WHERE id = ANY ($1::bigint[])", published.ids)
            crash.point("relay.after_delete")
            self._last_id = max(self._last_id, published.ids[-1])
            self._metrics.relay_batch.observe(len(published.ids))
            self._metrics.relay_latency.observe(max(0.0, time.time() - rows[0].created_at.timestamp()))
        if published.missing:
            self._metrics.relay_failures.inc()
        if published.failed is not None:
            self._metrics.relay_failures.inc()
            if self._failure is None:
                logger.warning("not everything could be published", extra={"error": published.failed})
        self._failure = published.failed
        return len(published.ids)

    async def _select(self, session: Connection) -> list[OutboxRow]:
        missing = self._publisher.unavailable()
        if self._fair:
            quota = max(self._limit // max(self._tenants, 1), 20)
            held = self._pace.quotas() if self._pace is not None and not self._stopping else {}
            found = await session.fetch(_SELECT_FAIR, missing, quota, list(held), list(held.values()))
            taken = Counter(row["tenant"] for row in found)
            self._tenants = len(taken)
            if self._pace is not None:
                self._pace.took(taken)
            return [OutboxRow(*row[:6]) for row in found]
        found = await session.fetch(_SELECT, self._low(), missing, self._limit)
        return [OutboxRow(*row) for row in found]

    def _low(self) -> int:
        """Where to begin: a hint that saves walking over rows just deleted and not yet vacuumed.

        Only a hint, because ids are drawn before their transaction commits: every second the look is from the start.
        """
        now = time.monotonic()
        if now - self._full_at >= FULL_SCAN:
            self._full_at = now
            return 0
        return max(0, self._last_id - WINDOW)

    async def _between(self, session: Connection) -> None:
        """Between rounds: the watermark's hook, and every few seconds the metrics."""
        if self._beat is not None:
            await self._beat(session, self._publisher)
        now = time.monotonic()
        if now - self._reported < _REPORT:
            return
        self._reported = now
        row = await session.fetchrow(
            "SELECT (SELECT count(*) FROM (SELECT FROM outbox LIMIT 100000) AS seen) AS pending,"
            " (SELECT extract(epoch FROM now() - created_at)::float8 FROM outbox ORDER BY id LIMIT 1) AS age"
        )
        if row is not None:
            self._metrics.outbox_rows.set(row["pending"])
            self._metrics.outbox_age.set(row["age"] or 0.0)

    async def _close_session(self) -> None:
        session, self._session = self._session, None
        if session is not None and not session.is_closed():
            with contextlib.suppress(Exception):
                await session.close(timeout=2)
            if not session.is_closed():
                session.terminate()


class Pace:
    """How many events of each tenant may go out now: `rate` a second, a second's worth at once."""

    def __init__(self, rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._spent: dict[str, float] = {}
        self._at = clock()

    def quotas(self) -> dict[str, int]:
        """What is left for tenants that sent lately; the others may send a second's worth."""
        now = self._clock()
        back = (now - self._at) * self._rate
        self._at = now
        self._spent = {tenant: spent - back for tenant, spent in self._spent.items() if spent > back}
        return {tenant: max(0, int(self._rate - spent)) for tenant, spent in self._spent.items()}

    def took(self, sent: Mapping[str, int]) -> None:
        """These many of each tenant went out."""
        for tenant, count in sent.items():
            self._spent[tenant] = self._spent.get(tenant, 0.0) + count

    def rest(self, longest: float) -> float:
        """Seconds after which a tenant that has used up its share may go on."""
        return min(longest, 0.02) if any(spent >= self._rate - 1 for spent in self._spent.values()) else longest


async def _alive(session: Connection) -> None:
    """Talk to the server, or learn that the session, and with it the leadership, is gone."""
    await session.fetchval("SELECT 1")


def _pause_length(failures: int) -> float:
    longest = min(_PAUSE_FIRST * 2 ** min(failures, 10), _PAUSE_MOST)
    return float(longest * (0.5 + random.random() / 2))  # noqa: S311 - spreading, not secrecy


async def _pause(failures: int) -> None:
    await asyncio.sleep(_pause_length(failures))
