"""One reader per process behind all its listeners: follows the table, so every instance sees what any wrote.

A listener has a bounded queue. Who reads too slowly is told to come back: the table has what they missed.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from services.notify.domain import stream as rules
from services.notify.domain.stream import Position, Viewer
from services.notify.domain.webhook_endpoint import matches
from services.notify.store import stream
from services.notify.store.stream import CHANNEL, Placed
from shared.db import Database
from shared.due import STUCK_AFTER, DueLoop
from shared.health import NotReadyError
from shared.service import Check, Loop

QUEUE = 500
"""Entries a listener may be behind."""
READ_AT_ONCE = 500
KEPT = timedelta(hours=24)
MOST = 100_000
"""Entries kept per tenant."""
KEEP_EVERY = 600.0
PRUNE_EVERY = 60.0
COMPLETE_WITHIN = 5.0
"""Seconds a listener waits at most for transactions that began before anybody listened."""


class Listener:
    """One connection."""

    def __init__(self, tenant_id: str, viewer: Viewer, types: Sequence[str]) -> None:
        self.tenant_id = tenant_id
        self.viewer = viewer
        """May be replaced: what somebody may see can change while they listen."""
        self.position = Position(0)
        self.is_live = False
        """Whether it has caught up and hears what comes."""
        self.told_to_leave: str | None = None
        """Why the connection is to end: `slow`, `stopping`."""
        self._types = tuple(types)
        self._queue: deque[bytes] = deque()
        self._news = asyncio.Event()

    def offer(self, placed: Placed) -> None:
        """Queue an entry, if this listener sees it and has not had it."""
        if not self.is_live or placed.position <= self.position or self.told_to_leave is not None:
            return
        written = self.write(placed)
        if written is None:
            return
        if len(self._queue) >= QUEUE:
            self._queue.clear()
            self.leave("slow")
            return
        self.position = placed.position
        self._queue.append(written)
        self._news.set()

    def write(self, placed: Placed) -> bytes | None:
        """The entry as this listener sees it; None for nothing."""
        if self._types and not matches(self._types, placed.entry.type):
            return None
        shown = self.viewer.sees(placed.entry)
        return None if shown is None else rules.frame(placed.position, placed.entry, shown)

    def leave(self, why: str) -> None:
        """Have the connection end, after what is queued."""
        self.told_to_leave = why
        self._news.set()

    def take(self) -> bytes:
        """Everything queued, in one piece."""
        taken = b"".join(self._queue)
        self._queue.clear()
        return taken

    async def news(self, seconds: float) -> bool:
        """Wait for something to send or a reason to leave; False when there was none in that time."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        self._news.clear()
        return True


class Tail:
    """Follows the table for everybody who listens at this process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listeners: dict[str, set[Listener]] = {}
        self._position: Position | None = None
        """How far has been handed on; None while nobody listens."""
        self._stopping = False
        self._keep_at = 0.0
        self._prune_at = 0.0
        self._loop = DueLoop("notify stream", database, self._round, channel=CHANNEL)

    def loops(self) -> Sequence[Loop]:
        """What the process runs."""
        return [Loop(name="stream", run=self.run)]

    def checks(self) -> Sequence[Check]:
        """What readiness asks."""
        return [Check(name="stream", ready=self._alive)]

    async def _alive(self) -> None:
        if self._loop.silent_for > STUCK_AFTER:
            raise NotReadyError(f"no round for {self._loop.silent_for:.0f} s")

    async def start(self) -> None:
        """Before anything else: what another cluster left in a restored database is forgotten."""
        await stream.forget_future(self._database)

    async def run(self) -> None:
        """Follow until cancelled; then every listener is told to come back to another process."""
        self._stopping = False
        try:
            await self._loop.run()
        finally:
            self._stopping = True
            for listener in [one for each in self._listeners.values() for one in each]:
                listener.leave("stopping")

    # -- for listeners ------------------------------------------------------------------------------------------

    def count(self, tenant_id: str | None = None) -> int:
        """How many listen, altogether or to a tenant."""
        if tenant_id is not None:
            return len(self._listeners.get(tenant_id, ()))
        return sum(len(each) for each in self._listeners.values())

    async def begin(self, listener: Listener, after: Position | None) -> bool:
        """Stand at `after`, or at the present; False when not all that happened since `after` is there any more.

        What commits after the return is recorded: a tenant nobody listened to before waits for those transactions that
        began without recording.
        """
        complete = await stream.listen(self._database, listener.tenant_id)
        until = time.monotonic() + COMPLETE_WITHIN
        # Others' transactions are waited for, and they tell nobody when they end.
        while (present := await stream.horizon(self._database)) <= complete and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        listener.position = present
        if after is None:
            return True
        if not complete <= after <= present:
            return False
        listener.position = after
        return True

    @contextmanager
    def admitted(self, listener: Listener) -> Iterator[None]:
        """Count and stop a listener while the block runs; it hears nothing before it has `caught_up`."""
        each = self._listeners.setdefault(listener.tenant_id, set())
        each.add(listener)
        if self._stopping:
            listener.leave("stopping")
        try:
            yield
        finally:
            each.discard(listener)
            if not each:
                self._listeners.pop(listener.tenant_id, None)

    async def missed(self, listener: Listener) -> AsyncIterator[bytes]:
        """What happened between the listener's position and the present; at its end the listener is live."""
        while listener.told_to_leave is None:
            found, reached = await stream.read(self._database, [listener.tenant_id], listener.position, READ_AT_ONCE)
            written = b"".join(filter(None, map(listener.write, found)))
            listener.position = reached
            if written:
                yield written
            # Nothing is awaited from here on: no entry can pass between the two readers.
            if self._position is None:
                self._position = reached
            if len(found) < READ_AT_ONCE and listener.position >= self._position:
                listener.is_live = True
                self._loop.wake()
                return

    def present(self, listener: Listener) -> Position:
        """Up to where a listener with nothing queued has heard everything."""
        if listener.is_live and self._position is not None:
            return max(listener.position, self._position)
        return listener.position

    # -- the loop -----------------------------------------------------------------------------------------------

    async def _round(self) -> float | None:
        """Hand on what is new; nothing is read while nobody listens."""
        now = time.monotonic()
        if now > self._prune_at:
            self._prune_at = now + PRUNE_EVERY
            await stream.prune(self._database, KEPT, MOST)
        tenants = self._followed()
        if self._position is None or not tenants:
            self._position = None
            return None
        if now > self._keep_at:
            self._keep_at = now + KEEP_EVERY
            await stream.keep(self._database, list(self._listeners))
        found, reached = await stream.read(self._database, sorted(tenants), self._position, READ_AT_ONCE)
        for placed in found:
            for listener in tuple(self._listeners.get(placed.entry.tenant_id, ())):
                listener.offer(placed)
        if not self._followed() <= tenants:
            # Somebody began to listen to a tenant that was not read: the same again, which the others know already.
            return 0.0
        self._position = reached
        return 0.0 if len(found) == READ_AT_ONCE else None

    def _followed(self) -> set[str]:
        return {tenant for tenant, each in self._listeners.items() if any(one.is_live for one in each)}
