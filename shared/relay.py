"""Outbox to Kafka: one elected relay per service, woken by commits, in order per key.

Elected by an advisory lock of a session of its own. When its process falls silent for five seconds (stopped, frozen,
gone) the server ends that session, or a follower does (`shared.silence`), which frees the lock for a successor. Kafka
cannot fence the one that was stopped: when it wakes it may repeat what its successor sent, with the same ids and in the
same order, and readers take a repeat for a repeat.

At-least-once: rows are read, produced, acknowledged, deleted; no transaction is open while producing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING

import asyncpg

from shared import crash, silence
from shared.ahead import Ahead, KafkaReader, Window
from shared.backlog import BATCH, Backlog
from shared.db import Database
from shared.explain import explain
from shared.health import NotReadyError
from shared.linger import Linger
from shared.metrics import Metrics
from shared.publish import Publisher
from shared.service import Check, Loop
from shared.settings import ServiceSettings

POLL = 0.5
"""Seconds after which the outbox is looked at although nobody woke the relay; also keeps its session from idling."""
SILENCE = timedelta(seconds=5)
CHANNEL = "deskwire_outbox"
_LOCK = "deskwire.relay"
LINGER = 0.006
"""Seconds a round waits for company while more than some 170 rows a second are committed."""
_REPORT = 5.0
_PAUSE_FIRST, _PAUSE_MOST = 0.1, 5.0

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

Beat = Callable[["Connection", Publisher], Awaitable[float]]
"""Called by the leader between rounds with its session and publisher: where the watermark of `ticket.state` goes.

Answers how many seconds later it wants to be called again, at the latest; not called while the broker fails.
"""


class Relay:
    """Publishes one service's outbox.

    `fair=True` releases tenants in turn; such a service makes the index `CREATE INDEX outbox_tenant ON outbox
    (tenant, id)` in its own migrations. With `tenant_rate` (events per second) each tenant's flood also stays in the
    table instead of filling the topic faster than its readers take it, where a neighbour's event would come after it.
    With `window` the same holds of all tenants together, as far as the reader really is behind (`shared.ahead`).
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
        window: Window | None = None,
        beat: Beat | None = None,
    ) -> None:
        self._settings = settings
        self._database = database
        self._metrics = metrics or Metrics(settings.SERVICE)
        self._ahead = None if window is None else Ahead(window, KafkaReader(settings, window))
        self._backlog = Backlog(fair=fair, tenant_rate=tenant_rate, ahead=self._ahead)
        self._linger = Linger(min(LINGER, settings.linger_milliseconds / 1000), BATCH)
        self._beat = beat
        self._publisher = Publisher(settings)
        self._woken = asyncio.Event()
        self._session: Connection | None = None
        self._leader = False
        self._users = 0
        self._stopping = False
        self._reported = 0.0
        self._looked = 0.0
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
            await self._end_silent(session)
            if self._finished:
                return
        self._leader = True
        self._metrics.relay_leader.set(1)
        self._backlog.elected()
        logger.info("relay elected")
        await session.add_listener(CHANNEL, self._notified)
        # Connected before there is anything to send, so that readiness can tell whether the broker answers.
        self._failure = (await self._publisher.publish([], lambda: _alive(session))).failed
        looking = None
        if self._ahead is not None:
            looking = asyncio.create_task(self._ahead.run(self.wake), name="relay ahead")
        try:
            await self._lead(session)
        finally:
            if looking is not None:
                looking.cancel()
                await asyncio.wait({looking})

    async def _lead(self, session: Connection) -> None:
        """Publish until the process ends."""
        failures = 0
        while True:
            sent = await self._round(session)
            self._linger.handled(sent)
            if self._failure is not None:
                await self._rest(session, failures)
                failures += 1
                continue
            failures = 0
            wanted = await self._between(session)
            if not sent:
                if self._finished:
                    return
                await self._waited(min(self._backlog.rest(POLL), wanted))
            elif (pause := self._linger.pause(sent)) > 0:
                # More is about to be committed: sent together it costs one look, one request and one delete.
                await asyncio.sleep(pause)

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
        rows = await self._backlog.read(session, passed_over=self._publisher.unavailable(), paced=not self._stopping)
        if not rows:
            self._failure = None
            return 0
        crash.point("relay.before_produce")
        published = await self._publisher.publish(rows, lambda: _alive(session))
        crash.point("relay.after_produce")
        if published.ids:
            await session.execute("DELETE FROM outbox WHERE id = ANY ($1::bigint[])", published.ids)
            crash.point("relay.after_delete")
            self._backlog.published(published.ids)
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

    async def _end_silent(self, session: Connection) -> None:
        """Every other second: free what processes keep that stopped in the middle of a statement."""
        now = time.monotonic()
        if now - self._looked >= silence.LOOK_EVERY:
            self._looked = now
            await silence.end(session, SILENCE)

    async def _between(self, session: Connection) -> float:
        """Between rounds: the hook, and every few seconds the metrics; in how many seconds the hook wants its turn."""
        await self._end_silent(session)
        wanted = POLL if self._beat is None else await self._beat(session, self._publisher)
        now = time.monotonic()
        if now - self._reported < _REPORT:
            return wanted
        self._reported = now
        row = await session.fetchrow(
            "SELECT (SELECT count(*) FROM (SELECT FROM outbox LIMIT 100000) AS seen) AS pending,"
            " (SELECT extract(epoch FROM now() - created_at)::float8 FROM outbox ORDER BY id LIMIT 1) AS age"
        )
        if row is not None:
            self._metrics.outbox_rows.set(row["pending"])
            self._metrics.outbox_age.set(row["age"] or 0.0)
        return wanted

    async def _close_session(self) -> None:
        session, self._session = self._session, None
        if session is not None and not session.is_closed():
            with contextlib.suppress(Exception):
                await session.close(timeout=2)
            if not session.is_closed():
                session.terminate()


async def _alive(session: Connection) -> None:
    """Talk to the server, or learn that the session, and with it the leadership, is gone."""
    await session.fetchval("SELECT 1")


def _pause_length(failures: int) -> float:
    longest = min(_PAUSE_FIRST * 2 ** min(failures, 10), _PAUSE_MOST)
    return float(longest * (0.5 + random.random() / 2))  # noqa: S311 - spreading, not secrecy


async def _pause(failures: int) -> None:
    await asyncio.sleep(_pause_length(failures))
