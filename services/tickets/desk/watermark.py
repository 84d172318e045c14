"""The watermark of `ticket.state`: up to which instant everything that was committed is out (architecture rule 5).

Why it is true. Each transaction here draws its id before it reads the clock for its instant (`Database`, stamped; ADR
0015), and the ledger bears that instant. A candidate is taken in this order:

1. the clock, then the oldest open transaction that has an id; the candidate is the lesser. A transaction that commits
   later either had its id already, then the candidate is no later than its start, or it drew its id after our look,
   then its instant is later than the clock we read.
2. the highest id in the outbox. Every transaction with an instant before the candidate has ended by now, so its rows
   are visible and not above that id.
3. the candidate is written when no row of `ticket.state` up to that id is left: a row goes once the broker has it, so
   in each partition the watermark stands behind all of them.

Ids are drawn in another order than committed: rows that appear below the id later belong to later instants, and waiting
for them too costs a moment and nothing else. A leader that was stopped and wakes may write an older candidate: it is
still true, and readers keep the highest.
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING

from services.tickets.store import watermark as store
from shared.contracts import watermark

if TYPE_CHECKING:
    import asyncpg

    from shared.publish import ControlRecord, Publisher

    Connection = asyncpg.Connection[asyncpg.Record]

EVERY = 0.2
"""Seconds between two watermarks while tickets change, or did within the last minute."""
IDLE = 1.0
"""Seconds between two when nothing happens."""
BUSY_FOR = 60.0


class WatermarkBeat:
    """Called by the elected relay between its rounds."""

    def __init__(self) -> None:
        self._candidate: tuple[datetime, int | None] | None = None
        self._taken = float("-inf")
        self._rows = 0
        self._busy = time.monotonic()
        self._written: datetime | None = None

    async def __call__(self, session: Connection, publisher: Publisher) -> float:
        """Take a candidate when it is time; write the one there is once everything before it is out."""
        now = time.monotonic()
        if publisher.rows != self._rows:
            self._rows, self._busy = publisher.rows, now
        every = EVERY if now - self._busy < BUSY_FOR else IDLE
        if self._candidate is None:
            if (left := self._taken + every - now) > 0:
                return left
            until = await store.oldest(session)
            self._candidate, self._taken = (until, await store.newest_row(session)), now
        until, newest = self._candidate
        if newest is not None and not await store.is_out(session, newest, watermark.TOPIC):
            # The next round sends it; while the relay is idle the rows are still on their way to it.
            return EVERY / 4
        if self._written is None or until > self._written:

            def make(partition: int, source: bytes) -> ControlRecord:
                value, headers = watermark.record(partition, until, source)
                return watermark.KEY, value, headers

            async def alive() -> None:
                await session.fetchval("SELECT 1")

            if not await publisher.control(watermark.TOPIC, make, alive):
                return EVERY
            self._written = until
        self._candidate = None
        return max(0.0, self._taken + every - time.monotonic())
