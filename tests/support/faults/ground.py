"""Bus parts on a real database, driven step by step from synchronous code: what state machines stand on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID, uuid4

from shared import waiting
from shared.bus.batch import Runner
from shared.bus.breaker import Breaker, FailureLimits
from shared.bus.decode import Item, decode
from shared.bus.drain import Drain
from shared.bus.route import BoundRoute, Route
from shared.db import Database, Tx
from shared.envelope import Answer, Emit, NotYet, Received
from shared.metrics import Metrics
from shared.publish import OutboxRow, Published
from shared.relay import Relay
from tests.support.faults import contracts
from tests.support.faults.contracts import Answered, Asked
from tests.support.faults.records import headers
from tests.support.faults.service import Settings, apply

T = TypeVar("T")
SERVICE = "faults"


class Thread:
    """An event loop in a thread of its own: machines are synchronous, and pytest has a loop already."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The answer of `work`."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=60)

    def stop(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()


@dataclass(frozen=True, slots=True)
class FakeRecord:
    """One record of a topic with one partition."""

    offset: int
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    id: UUID
    event: Asked
    partition: int = 0
    timestamp: int = 1_700_000_000_000


def fact(offset: int, event: Asked, identity: UUID | None = None) -> FakeRecord:
    """A fact at an offset; given an id, the same again."""
    chosen = identity or uuid4()
    return FakeRecord(
        offset, event.key.encode(), event.to_bytes(), tuple(headers(event.TYPE, str(chosen))), chosen, event
    )


class CrashError(BaseException):
    """The process died here."""


@dataclass
class FakeBroker:
    """Takes rows in order until told otherwise."""

    log: list[OutboxRow] = field(default_factory=list)
    most: int | None = None
    """After so many it fails, once."""
    crash: bool = False
    """Dies when everything is sent, once."""

    def unavailable(self) -> list[str]:
        """Every topic exists."""
        return []

    async def publish(self, rows: Sequence[OutboxRow], alive: Callable[[], Awaitable[None]]) -> Published:
        """Append; like the real one, rows after a failure are not sent."""
        await alive()
        most, self.most = self.most, None
        taken = rows if most is None else rows[:most]
        self.log += taken
        if self.crash:
            self.crash = False
            raise CrashError
        failed = None if len(taken) == len(rows) else "the broker went away"
        return Published(ids=[row.id for row in taken], failed=failed)


class Nobody:
    """A relay to be woken that is driven by hand."""

    def wake(self) -> None:
        """Not needed."""


class Ground:
    """Runner, drain and relay over one database, with a handler that can be told to fail."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.broker = FakeBroker()
        self.fail: list[Exception] = []
        """Raised one by one by the handler after it did its work."""
        route = BoundRoute(Route(contracts.ASKED, self._handle), "asked")
        self._routes = [route]
        self.breaker = Breaker(FailureLimits(consecutive=10_000, least=10_000))
        metrics = Metrics(SERVICE)
        self.drain = Drain(SERVICE, database, self._routes, Nobody(), metrics)
        self._runner = Runner(
            SERVICE,
            database=database,
            routes=self._routes,
            relay=Nobody(),
            metrics=metrics,
            breaker=self.breaker,
            put_away=self.drain.hint,
        )
        self._settings = Settings()
        self._metrics = metrics

    @classmethod
    async def connect(cls, url: str) -> Ground:
        """A ground whose tables are empty."""
        ground = cls(await Database.connect(url, application="machine"))
        for table in ("effect", "known", "repaired", "inbox", "outbox", "waiting"):
            await ground.database.execute(f"DELETE FROM {table}")  # noqa: S608 - our own tables
        return ground

    async def handle(self, records: Sequence[FakeRecord]) -> list[Item]:
        """Run one batch; the items committed."""
        items = [decode(record, self._routes[0], position) for position, record in enumerate(records)]
        done: list[Item] = []
        await self._runner.run(items, done.extend, asyncio.Event())
        return done

    async def relay(self, *, most: int | None = None, crash: bool = False) -> None:
        """One round of a newly elected relay."""
        self.broker.most, self.broker.crash = most, crash
        relay = Relay(self._settings, self.database, metrics=self._metrics)
        relay._publisher = self.broker  # type: ignore[assignment]  # what a broker is to a relay
        session = await self.database.session(application="machine relay")
        try:
            await relay._round(session)
        except CrashError:
            pass
        finally:
            await session.close()

    async def store(self, name: str) -> None:
        """What somebody waits for arrives."""
        async with self.database.begin() as tx:
            await tx.execute("INSERT INTO known VALUES ($1) ON CONFLICT DO NOTHING", name)
            await waiting.wake(tx, "parent", [name])

    async def _handle(self, tx: Tx, batch: Sequence[Received[Asked]]) -> Sequence[Answer]:
        known = {row["name"] for row in await tx.fetch("SELECT name FROM known")}
        needy = [one for one in batch if one.event.kind == "child" and one.event.about not in known]
        if needy:
            return [NotYet(one, "parent", one.event.about) for one in needy]
        if any(one.event.kind == "poison" for one in batch) and not await tx.fetchval("SELECT 1 FROM repaired"):
            raise ValueError("cannot be handled")
        await apply(tx, [(one.topic, one.key, one.event.seq, one.id) for one in batch])
        if self.fail:
            raise self.fail.pop()
        return [Emit(Answered(tenant_id="acme", thing=one.key, seq=one.event.seq), cause=one) for one in batch]
