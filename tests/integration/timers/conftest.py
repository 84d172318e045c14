"""What timer tests share: a fresh database, a handler that counts in a table without any unique key."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

import asyncpg
import pytest

from shared.db import Database, Tx
from shared.envelope import Emit
from shared.metrics import Metrics
from shared.settings import ServiceSettings
from shared.timers import Handler, Timer, Timers
from tests.support.databases import ScratchDatabases


class Settings(ServiceSettings):
    SERVICE = "due"


COUNT_TABLE = "CREATE TABLE fired (kind text, key text, due_at timestamptz, fired_at timestamptz, payload jsonb)"


async def count(tx: Tx, timers: Sequence[Timer]) -> list[Emit]:
    """A handler whose effect can be counted: two firings leave two rows."""
    for timer in timers:
        await tx.execute(
            "INSERT INTO fired SELECT $1, $2, $3, clock_timestamp() + shift FROM clock_offset",
            timer.kind,
            timer.key,
            timer.due_at,
        )
    return []


@pytest.fixture
async def url(databases: ScratchDatabases) -> str:
    """A database with the mechanism's tables and one for counting."""
    made = await databases.create("mechanism")
    admin = await asyncpg.connect(databases.admin(made))
    await admin.execute(COUNT_TABLE + "; GRANT ALL ON fired, clock_offset TO PUBLIC")
    await admin.close()
    return made


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    found = await Database.connect(url, application="test")
    yield found
    await found.close()


StartTimers = Callable[..., Timers]


@pytest.fixture
async def start(database: Database) -> AsyncIterator[StartTimers]:
    """Run timers with the given handlers until the test ends."""
    running: list[asyncio.Task[None]] = []

    def begin(batch: int = 500, **handlers: Handler) -> Timers:
        timers = Timers(Settings(), database, None, handlers or {"count": count}, Metrics("due"), batch=batch)
        running.extend(asyncio.ensure_future(loop.run()) for loop in timers.loops())
        return timers

    yield begin
    for task in running:
        task.cancel()
    if running:
        # A failed test may have left a handler held: ask once, then insist.
        await asyncio.wait(running, timeout=3)
    for task in running:
        task.cancel()
    for task in running:
        with contextlib.suppress(asyncio.CancelledError):
            await task
