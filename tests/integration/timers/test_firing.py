"""A timer fires once, never early, whatever happens around it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from shared import timers
from shared.db import Database
from shared.timers import Timer
from tests.integration.timers.conftest import StartTimers
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines


def at(due: datetime, key: str = "k", kind: str = "count") -> Timer:
    return Timer(kind=kind, key=key, tenant_id="acme", due_at=due)


async def now(database: Database) -> datetime:
    found: datetime = await database.fetchval("SELECT clock_timestamp() + shift FROM clock_offset")
    return found


async def arm(database: Database, *armed: Timer) -> None:
    async with database.begin() as tx:
        await timers.arm(tx, armed)


async def fired(database: Database) -> list[asyncpg.Record]:
    return await database.fetch("SELECT key, due_at, fired_at FROM fired ORDER BY key")


async def left(database: Database) -> int:
    found: int = await database.fetchval("SELECT count(*) FROM timer")
    return found


async def quiet(database: Database) -> bool:
    return await left(database) == 0


async def test_due_timers_fire_once_and_leave_a_ledger_entry(database: Database, start: StartTimers) -> None:
    due = await now(database) + timedelta(milliseconds=200)
    # One after the other, so that firing what is merely near would show.
    await arm(database, *(at(due + timedelta(milliseconds=n), f"k{n:04}") for n in range(1200)))
    start()
    await eventually(lambda: quiet(database))
    rows = await fired(database)
    assert [row["key"] for row in rows] == [f"k{n:04}" for n in range(1200)]
    assert all(row["fired_at"] >= row["due_at"] for row in rows)
    ledger = await database.fetch("SELECT key, due_at, fired_at FROM timer_ledger ORDER BY key")
    assert [(row["key"], row["due_at"]) for row in ledger] == [(row["key"], row["due_at"]) for row in rows]
    assert all(row["fired_at"] >= row["due_at"] for row in ledger)


async def test_an_earlier_instant_wakes_the_sleeping_loop(database: Database, start: StartTimers) -> None:
    await arm(database, at(await now(database) + timedelta(hours=1), "later"))
    start()
    await eventually(lambda: _listening(database))
    lateness = []
    for n in range(20):
        await asyncio.sleep(0.06)  # so that the loop has gone to sleep again
        due = await now(database) + timedelta(milliseconds=20)
        await arm(database, at(due, f"sooner{n}"))
        await eventually(lambda: _fired(database, f"sooner{n}"), every=0.005)  # noqa: B023 - awaited at once
        row = await database.fetchrow("SELECT fired_at - due_at AS late FROM timer_ledger WHERE key = $1", f"sooner{n}")
        assert row is not None
        lateness.append(row["late"].total_seconds())
    # Without the hint each would wait for the rest of a sleep of 0.5 s: a quarter of a second on average.
    assert sorted(lateness)[10] < 0.1


async def test_it_fires_although_every_hint_is_lost(
    database: Database, start: StartTimers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silence(*_args: object) -> None:
        return None

    monkeypatch.setattr(timers, "hint", silence)
    start()
    await arm(database, at(await now(database) + timedelta(milliseconds=10)))
    await eventually(lambda: quiet(database), within=5)


async def test_a_moved_timer_fires_at_its_new_instant_only(database: Database, start: StartTimers) -> None:
    start()
    first = await now(database) + timedelta(milliseconds=300)
    await arm(database, at(first))
    second = first + timedelta(milliseconds=400)
    await arm(database, at(second))
    await eventually(lambda: quiet(database))
    assert [row["due_at"] for row in await fired(database)] == [second]


async def test_a_cancelled_timer_never_fires(database: Database, start: StartTimers) -> None:
    due = await now(database) + timedelta(milliseconds=300)
    await arm(database, at(due, "gone"), at(due + timedelta(milliseconds=200), "kept"))
    start()
    async with database.begin() as tx:
        await timers.cancel(tx, "count", ["gone", "never there"])
    await eventually(lambda: quiet(database))
    assert [row["key"] for row in await fired(database)] == ["kept"]


async def test_an_instant_in_the_past_fires_at_once(database: Database, start: StartTimers) -> None:
    start()
    await arm(database, at(datetime(2020, 2, 29, tzinfo=UTC)))
    await eventually(lambda: quiet(database), within=5)


async def test_a_moved_clock_fires_what_it_passes_and_nothing_else(database: Database, start: StartTimers) -> None:
    start()
    base = await now(database)
    await arm(database, at(base + timedelta(days=40), "near"), at(base + timedelta(days=400), "far"))
    await database.execute("UPDATE clock_offset SET shift = interval '41 days'")
    await eventually(lambda: _fired(database, "near"))
    await database.execute("UPDATE clock_offset SET shift = interval '0'")
    await arm(database, at(await now(database) + timedelta(milliseconds=50), "after"))
    await eventually(lambda: _fired(database, "after"))
    assert [row["key"] for row in await fired(database)] == ["after", "near"]
    assert await left(database) == 1


async def _fired(database: Database, key: str) -> bool:
    return bool(await database.fetchval("SELECT 1 FROM timer_ledger WHERE key = $1", key))


async def _listening(database: Database) -> bool:
    return bool(
        await database.fetchval(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
        )
    )
