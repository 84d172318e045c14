"""The one loop behind all due work: sleep until the next due instant, never longer than a cap, never spin.

A round does what is due and says how long nothing else will be. The sleep has a floor, since waking for every single
instant costs more than half a core at 2,000 a second, and a cap, since no hint may be relied on: a notification can
be lost with its connection and a clock can be moved. Any number of instances may run the same loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg
import structlog

from shared.db import is_connection_failure, is_retryable
from shared.explain import explain

if TYPE_CHECKING:
    from shared.db import Database, Record, Tx

T = TypeVar("T")

FLOOR = 0.005
"""Seconds slept at least between two rounds: lateness p99 8 ms at 2,000/s for a sixth of a core."""
CAP = 0.5
"""Seconds slept at most, whatever is armed and whatever hints arrive."""
FIRST_BACKOFF, LONGEST_BACKOFF = 0.1, 5.0
"""Seconds after a round that failed because the database was away."""
LISTEN_AGAIN = 5.0
"""Seconds between attempts to listen for hints."""
STUCK_AFTER = 30.0
"""Seconds without a completed round after which the loop reports itself not ready."""

logger = structlog.get_logger(__name__)

Round = Callable[[], Awaitable[float | None]]
"""Does what is due; answers the seconds until something else is: 0 for now, None for nothing armed."""


def is_away(error: BaseException) -> bool:
    """Whether the database, not the work, failed: the same again after a while.

    A driver's session cut in the middle of a message may also fail at its next use with a complaint about its own
    state; the pool throws it away then.
    """
    return is_connection_failure(error) or is_retryable(error) or isinstance(error, asyncpg.InternalClientError)


async def unbroken(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end although this task is cancelled once meanwhile; the cancellation follows it.

    A second cancellation breaks the work. So a drain finishes the transaction in hand, and no connection is cut in
    the middle of a statement.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if task.done():
            raise
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait([task], timeout=1)
            raise
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("work failed while stopping", reason=explain(error))
        raise


class DueLoop:
    """Runs rounds until cancelled; a round in progress is finished first."""

    def __init__(self, name: str, database: Database, step: Round, *, channel: str) -> None:
        """`channel` is the database notification that hints at an earlier instant."""
        self.name = name
        self._database = database
        self._step = step
        self._channel = channel
        self._woken = asyncio.Event()
        self._listener: asyncpg.Connection[Record] | None = None
        self._listen_at = 0.0
        self._completed = time.monotonic()

    def wake(self) -> None:
        """Have the next round at once: something earlier was armed in this process."""
        self._woken.set()

    @property
    def silent_for(self) -> float:
        """Seconds since the last completed round."""
        return time.monotonic() - self._completed

    async def run(self) -> None:
        """Do rounds for ever. An absent database is waited for; any other error ends the loop."""
        backoff = FIRST_BACKOFF
        try:
            while True:
                self._woken.clear()
                try:
                    await self._listen()
                    pause = await unbroken(self._turn())
                except Exception as error:
                    if not (is_connection_failure(error) or is_retryable(error)):
                        raise
                    logger.warning(
                        "due work waits for the database", loop=self.name, reason=str(error), seconds=backoff
                    )
                    await asyncio.sleep(backoff)
                    backoff = min(backoff * 2, LONGEST_BACKOFF)
                    continue
                backoff = FIRST_BACKOFF
                self._completed = time.monotonic()
                await self._sleep(pause)
        finally:
            if self._listener is not None:
                self._listener.terminate()

    async def _turn(self) -> float | None:
        return await self._step()

    async def _sleep(self, pause: float | None) -> None:
        """Sleep `pause` seconds between floor and cap; a wake cuts it short, but never below the floor."""
        # Not `pause or CAP`: an instant due in exactly 0.0 s would sleep the whole cap.
        wanted = CAP if pause is None else min(max(pause, FLOOR), CAP)
        await asyncio.sleep(FLOOR)
        if wanted > FLOOR:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wanted - FLOOR):
                    await self._woken.wait()

    async def _listen(self) -> None:
        """Have a listener if one can be had; without it the cap alone wakes us."""
        if self._listener is not None and not self._listener.is_closed():
            return
        if time.monotonic() < self._listen_at:
            return
        self._listen_at = time.monotonic() + LISTEN_AGAIN
        try:
            self._listener = await self._database.session(application=f"deskwire {self.name} hints")
            await self._listener.add_listener(self._channel, self._hinted)
        except Exception as error:
            if not is_away(error):
                raise
            logger.warning("no hints", loop=self.name, reason=explain(error))

    def _hinted(self, *_hint: object) -> None:
        self.wake()


async def hint(tx: Tx, channel: str, seconds: float) -> None:
    """Tell all instances with the commit that something is due in `seconds`, if they would sleep past it."""
    # A notification serialises commits, and whoever is asleep wakes within the cap anyway.
    if seconds < CAP:
        await tx.execute("SELECT pg_notify($1, '')", channel)
