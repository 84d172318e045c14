"""Works on webhook deliveries: leases them in batches, sends them, writes the results in batches.

Any number of instances may. The window in which a delivery can be sent twice is the time between an endpoint's 2xx
and the commit of the result: a process that dies there leaves a lease that ends, and the next one sends the same
webhook-id again. `deskwire_webhook_unwritten_seconds` measures that window; `deskwire_webhook_leases_expired` counts
those who died in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from services.notify.domain import webhook_payload as payload
from services.notify.domain import webhook_signing as signing
from services.notify.domain.webhook_delivery import Answer, FailureReason
from services.notify.store import webhook_endpoints, webhook_queue
from services.notify.store.webhook_deliveries import CHANNEL, forget
from services.notify.store.webhook_queue import Leased, Result
from services.notify.webhooks.lanes import Bounds, Lane, Lanes
from services.notify.webhooks.measures import Measures
from services.notify.webhooks.secrets import SecretBox
from services.notify.webhooks.sender import Sender
from services.notify.webhooks.settling import Settling
from shared.auth import SecretError
from shared.db import Database
from shared.due import FIRST_BACKOFF, LONGEST_BACKOFF, STUCK_AFTER, DueLoop, is_away
from shared.explain import explain
from shared.health import NotReadyError
from shared.service import Check, Loop
from shared.timers import RelayLike

LEASE_MARGIN = 40.0
"""Seconds a lease is longer than an attempt may take: waiting in its lane, and writing the result."""
HOUSEKEEPING = 5.0
FORGET_EVERY = 60.0
KEYS_HELD = 10.0
"""Seconds after which an endpoint's keys are read anew: how long a former secret may sign beyond its day."""
GIVE_UP_ROWS = 500
WRITTEN_AT_ONCE = 500

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Keys:
    version: int
    until: float
    keys: Sequence[bytes] = field(repr=False)


class Dispatcher:
    """The loop behind all webhooks of one process."""

    def __init__(
        self,
        *,
        database: Database,
        relay: RelayLike,
        sender: Sender,
        box: SecretBox,
        settling: Settling,
        measures: Measures,
        seconds: float,
        kept: timedelta,
        bounds: Bounds | None = None,
    ) -> None:
        """`seconds` an attempt may take; ended deliveries are forgotten after `kept`."""
        self._database = database
        self._relay = relay
        self._sender = sender
        self._box = box
        self._settling = settling
        self._measures = measures
        self._seconds = seconds
        self._kept = kept
        self._lanes = Lanes(bounds or Bounds())
        self._keys: dict[UUID, _Keys] = {}
        self._attempts: set[asyncio.Task[None]] = set()
        self._results: list[Result] = []
        self._unwritten, self._written = asyncio.Event(), asyncio.Event()
        self._housekeeping_at = 0.0
        self._forget_at = 0.0
        self._loop = DueLoop("notify webhooks", database, self._round, channel=CHANNEL)

    def loops(self) -> Sequence[Loop]:
        """What the process runs."""
        return [Loop(name="webhooks", run=self.run)]

    def checks(self) -> Sequence[Check]:
        """What readiness asks."""
        return [Check(name="webhooks", ready=self._alive)]

    def wake(self) -> None:
        """Look for deliveries at once: this process has just committed some."""
        self._loop.wake()

    async def _alive(self) -> None:
        if self._loop.silent_for > STUCK_AFTER:
            raise NotReadyError(f"no round for {self._loop.silent_for:.0f} s")

    async def run(self) -> None:
        """Send until cancelled, then finish and write what is under way; cancelled again, leave it to its lease."""
        self._relay.attach()
        looking = asyncio.create_task(self._loop.run(), name="webhook rounds")
        writing = asyncio.create_task(self._write_results(), name="webhook results")
        try:
            # Neither ends but by an error nobody expects, which ends the service.
            done, _ = await asyncio.wait({looking, writing}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            looking.cancel()
            try:
                await asyncio.wait({looking})
                if not writing.done():
                    await self._finish()
            finally:
                for task in (writing, *self._attempts):
                    task.cancel()
                await asyncio.gather(looking, writing, *self._attempts, return_exceptions=True)
                self._relay.detach()

    async def _finish(self) -> None:
        given = self._lanes.drain()
        if given:
            with contextlib.suppress(Exception):
                await webhook_queue.give_back(self._database, given)
        if self._attempts:
            await asyncio.wait(self._attempts)
        while self._results:
            self._written.clear()
            await self._written.wait()

    # -- taking -------------------------------------------------------------------------------------------------

    async def _round(self) -> float | None:
        """Take what is due as far as there is room, begin it; seconds until something else is due."""
        now = time.monotonic()
        if now > self._housekeeping_at:
            self._housekeeping_at = now + HOUSEKEEPING
            if expired := await webhook_queue.expire(self._database):
                self._measures.expired.inc(expired)
                logger.warning("webhook leases ended without a result", count=expired)
        if now > self._forget_at:
            self._forget_at = now + FORGET_EVERY
            await forget(self._database, self._kept)
        if given := self._lanes.stale(now):
            await webhook_queue.give_back(self._database, given)
        heads = await webhook_queue.heads(self._database)
        off = [head.endpoint_id for head in heads if not head.active]
        if off and await self._settling.give_up(off, FailureReason.DISABLED, GIVE_UP_ROWS) == GIVE_UP_ROWS:
            self._loop.wake()
        rooms = self._lanes.rooms(heads)
        if rooms:
            await self._open_keys(list(rooms))
            length = self._seconds + LEASE_MARGIN
            leased = await webhook_queue.lease(self._database, rooms, timedelta(seconds=length))
            # Begun before this, an attempt ends well within its lease.
            self._lanes.take(rooms, leased, time.monotonic() + length - self._seconds - 10)
            self._begin()
        self._lanes.forget_idle(head.endpoint_id for head in heads)
        self._keys = {one: keys for one, keys in self._keys.items() if one in self._lanes}
        # What is due but has no room is looked at again when an attempt ends.
        return min((head.due_in for head in heads if head.active and head.due_in > 0), default=None)

    async def _open_keys(self, endpoint_ids: Sequence[UUID]) -> None:
        """Have the keys of these endpoints at hand, as they are now."""
        now = time.monotonic()
        missing = [
            one
            for one in endpoint_ids
            if (held := self._keys.get(one)) is None
            or held.until <= now
            or held.version != self._lanes[one].head.version
        ]
        if not missing:
            return
        for one, kept in (await webhook_endpoints.secrets(self._database, missing)).items():
            try:
                keys = self._box.keys(kept)
            except SecretError as error:
                logger.error("a webhook's secret does not open", endpoint=str(one), reason=str(error))
                keys = []
            self._keys[one] = _Keys(version=self._lanes[one].head.version, until=now + KEYS_HELD, keys=keys)

    # -- sending ------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        for lane, leased in self._lanes.next(time.monotonic()):
            keys = self._keys.get(leased.endpoint_id)
            task = asyncio.create_task(self._attempt(lane, leased, keys.keys if keys else ()), name="webhook")
            self._attempts.add(task)
            task.add_done_callback(self._attempts.discard)

    async def _attempt(self, lane: Lane, leased: Leased, keys: Sequence[bytes]) -> None:
        began = time.monotonic()
        answer = await self._send(lane.head.url, leased, keys)
        ended = time.monotonic()
        self._lanes.ended(lane, success=answer.is_success, seconds=ended - began)
        self._measures.attempt(answer, ended - began)
        self._results.append(Result(leased=leased, answer=answer, ended=ended))
        self._unwritten.set()
        self._begin()
        if lane.more and lane.room(self._lanes.bounds) > 0:
            self._loop.wake()

    async def _send(self, url: str, leased: Leased, keys: Sequence[bytes]) -> Answer:
        if leased.body is None:
            return Answer(error="forgotten")
        if not keys:
            return Answer(error="no_secret")
        identity = payload.webhook_id(leased.event_id)
        # Receivers compare it with their own clock: real time, never the desk's.
        timestamp = int(datetime.now(UTC).timestamp())
        try:
            return await self._sender.send(url, signing.headers(keys, identity, timestamp, leased.body), leased.body)
        except Exception as error:  # noqa: BLE001 - whatever sending raises is a failed attempt
            logger.warning("webhook attempt failed oddly", delivery=str(leased.id), reason=explain(error))
            return Answer(error="internal")

    # -- writing ------------------------------------------------------------------------------------------------

    async def _write_results(self) -> None:
        """Write what has ended, all there is at a time: the busier, the larger the batch."""
        pause = FIRST_BACKOFF
        while True:
            await self._unwritten.wait()
            batch = self._results[:WRITTEN_AT_ONCE]
            try:
                await self._write(batch)
            except Exception as error:
                if not is_away(error):
                    raise
                # Their leases may end meanwhile: then they are sent again under the same webhook-id.
                logger.warning("webhook results wait for the database", reason=explain(error), count=len(batch))
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_BACKOFF)
                continue
            pause = FIRST_BACKOFF
            del self._results[: len(batch)]
            if not self._results:
                self._unwritten.clear()
                self._written.set()
            now = time.monotonic()
            more = False
            for result in batch:
                lane = self._lanes[result.leased.endpoint_id]
                lane.unsettled -= 1
                more = more or lane.more
                self._measures.unwritten.observe(now - result.ended)
            if more:
                self._loop.wake()

    async def _write(self, batch: Sequence[Result]) -> None:
        """Write a batch; one that cannot be written for itself is left to the end of its lease, without its neighbours.

        Raises what says that the database is away.
        """
        try:
            await self._settling.write(batch)
        except Exception as error:
            if is_away(error):
                raise
            if len(batch) == 1:
                logger.exception("a webhook's result cannot be written", delivery=str(batch[0].leased.id))
                return
            middle = len(batch) // 2
            await self._write(batch[:middle])
            await self._write(batch[middle:])
