"""Which chat visitors are connected to this instance, and who of them has news.

The table is what counts: a notification after each commit only says where to look at once, and a look every other
second finds what was missed while nobody listened.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator
from uuid import UUID

import asyncpg

from services.ingest.archive import Blobs
from services.ingest.chat.frames import Line
from services.ingest.chat.token import Visitor
from services.ingest.store import chat as store
from shared.db import Database, is_connection_failure
from shared.service import Loop

EVERY = 0.5
"""Seconds between rounds: what visitors have seen is written, all of them in one statement."""
PRESENT_EVERY = 5.0
"""Seconds after which it is written again that a visitor is here."""
LOOK_EVERY = 2.0
"""Seconds between looks for news that no notification told of."""
PAGE = 100
"""Lines read at once."""

logger = logging.getLogger(__name__)


class Listener:
    """One connection, or one waiting request, of a visitor."""

    def __init__(self, visitor: Visitor, after: int) -> None:
        self.visitor = visitor
        self.sent = after
        """The last line it has got."""
        self.acked = after
        """The last line its visitor has seen for sure."""
        self.news = asyncio.Event()
        self.news.set()


class Hub:
    """The listeners of this instance."""

    def __init__(self, database: Database, blobs: Blobs, *, most: int, most_per_session: int = 5) -> None:
        self._database = database
        self._blobs = blobs
        self._most = most
        self._most_per_session = most_per_session
        self._listeners: dict[UUID, set[Listener]] = {}
        self._count = 0
        self._written: dict[UUID, tuple[int, float]] = {}
        """What was last written of each session: acknowledged line, and when."""
        self._looked = 0.0

    def loop(self) -> Loop:
        """Runs as long as the service does."""
        return Loop(name="chat", run=self._run)

    @property
    def count(self) -> int:
        """How many listeners there are."""
        return self._count

    @contextlib.contextmanager
    def listening(self, visitor: Visitor, after: int) -> Iterator[Listener | None]:
        """Be told of news for as long as the block lasts; None when there are too many."""
        mine = self._listeners.setdefault(visitor.session_id, set())
        if self._count >= self._most or len(mine) >= self._most_per_session:
            if not mine:
                del self._listeners[visitor.session_id]
            yield None
            return
        listener = Listener(visitor, after)
        mine.add(listener)
        self._count += 1
        try:
            yield listener
        finally:
            mine.discard(listener)
            self._count -= 1
            if not mine:
                self._listeners.pop(visitor.session_id, None)

    async def left(self, listener: Listener) -> None:
        """Write what a listener that goes has seen, so that its visitor's absence counts from now."""
        try:
            await store.seen(self._database, {listener.visitor.session_id: listener.acked})
        except Exception as error:
            if not is_connection_failure(error):
                raise

    async def lines(self, visitor: Visitor, after: int) -> list[Line]:
        """The transcript after a number, a page of it."""
        rows = await store.lines(self._database, visitor.tenant_id, visitor.session_id, after, PAGE)
        return [
            Line(
                seq=row["seq"],
                message_id=row["message_id"],
                side=row["side"],
                text=row["text"] if row["text_sha256"] is None else await self._text(visitor, row["text_sha256"].hex()),
                at=row["at"],
                client_id=row["client_id"],
                files=tuple(row["files"]),
            )
            for row in rows
        ]

    async def _text(self, visitor: Visitor, sha256: str) -> str:
        try:
            return (await self._blobs.get(visitor.tenant_id, sha256)).decode("utf-8", "replace")
        except KeyError:
            return ""

    async def _run(self) -> None:
        session: asyncpg.Connection[asyncpg.Record] | None = None
        try:
            while True:
                try:
                    if session is None or session.is_closed():
                        session = await self._database.session(application="ingest chat")
                        await session.add_listener(store.CHANNEL, self._notified)
                        self._looked = 0.0
                    await self._round()
                except Exception as error:
                    if not is_connection_failure(error):
                        raise
                    logger.warning("chat waits for the database", extra={"reason": type(error).__name__})
                    await asyncio.sleep(1.0)
                await asyncio.sleep(EVERY)
        finally:
            if session is not None and not session.is_closed():
                session.terminate()

    def _notified(self, *told: object) -> None:
        with contextlib.suppress(ValueError):
            for listener in self._listeners.get(UUID(str(told[-1])), ()):
                listener.news.set()

    async def _round(self) -> None:
        now = time.monotonic()
        here = {one: max(listener.acked for listener in mine) for one, mine in self._listeners.items() if mine}
        never = (-1, -PRESENT_EVERY)
        wanted = {
            one: acked
            for one, acked in here.items()
            if (before := self._written.get(one, never))[0] < acked or now - before[1] >= PRESENT_EVERY
        }
        if wanted:
            await store.seen(self._database, wanted)
            self._written = {one: kept for one, kept in self._written.items() if one in here}
            self._written |= {one: (acked, now) for one, acked in wanted.items()}
        if here and now - self._looked >= LOOK_EVERY:
            self._looked = now
            for one, last in (await store.last_seqs(self._database, list(here))).items():
                for listener in self._listeners.get(one, ()):
                    if listener.sent < last:
                        listener.news.set()
