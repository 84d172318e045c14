"""What handlers may do, what their failures cost, and that nobody waits for anybody in a circle."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import asyncpg
import pytest
from prometheus_client import CollectorRegistry

from shared import timer_rows, timers
from shared.contracts.directory import TenantChanged
from shared.db import Database, Tx
from shared.envelope import Emit
from shared.metrics import Metrics
from shared.timers import Timer, Timers
from tests.integration.timers.conftest import Settings, StartTimers, count
from tests.integration.timers.test_firing import arm, at, fired, left, now, quiet
from tests.support.databases import ScratchDatabases
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines

SOON = timedelta(milliseconds=50)


async def keys(database: Database) -> list[str]:
    return [row["key"] for row in await fired(database)]


async def test_what_a_handler_answers_is_published_with_the_firing(database: Database, start: StartTimers) -> None:
    async def tell(tx: Tx, due: Sequence[Timer]) -> list[Emit]:
        return [Emit(TenantChanged(tenant_id=timer.key, version=1, name=str(timer.payload["name"]))) for timer in due]

    start(tell=tell)
    async with database.begin() as tx:
        due = tx.instant + SOON
        await timers.arm(
            tx,
            [Timer(kind="tell", key=key, tenant_id=key, due_at=due, payload={"name": key * 2}) for key in ("b", "a")],
        )
    await eventually(lambda: quiet(database))
    rows = await database.fetch("SELECT payload FROM outbox ORDER BY id")
    told = [TenantChanged.model_validate_json(row["payload"]).name for row in rows]
    assert told == ["aa", "bb"]


async def test_a_timer_that_fails_leaves_its_neighbours_alone_and_is_tried_again(
    database: Database, start: StartTimers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timers, "FIRST_RETRY", timedelta(milliseconds=20))
    broken = True

    async def handle(tx: Tx, due: Sequence[Timer]) -> list[Emit]:
        if broken and any(timer.key == "k0333" for timer in due):
            raise ValueError("personal data")
        return await count(tx, due)

    start(count=handle)
    due = await now(database) + SOON
    await arm(database, *(at(due, f"k{n:04}") for n in range(600)))

    async def others() -> bool:
        assert len(await fired(database)) == 599
        return True

    await eventually(others)
    row = await eventually(
        lambda: database.fetchrow("SELECT key, attempts, last_error, due_at FROM timer WHERE attempts > 2")
    )
    assert row is not None
    assert (row["key"], row["due_at"]) == ("k0333", due)
    assert row["last_error"].startswith("ValueError")
    assert "personal" not in row["last_error"]
    broken = False
    await eventually(lambda: quiet(database))
    assert await keys(database) == [f"k{n:04}" for n in range(600)]


async def test_a_handler_that_does_input_and_output_is_not_taken_for_a_lost_database(
    database: Database, start: StartTimers
) -> None:
    async def handle(tx: Tx, due: Sequence[Timer]) -> list[Emit]:
        if any(timer.key == "bad" for timer in due):
            raise TimeoutError("somebody's server")
        return await count(tx, due)

    start(count=handle)
    due = await now(database) + SOON
    await arm(database, at(due, "bad"), at(due, "good"))

    async def good() -> bool:
        return await keys(database) == ["good"]

    await eventually(good)


async def test_a_handler_may_arm_its_own_timer_again(database: Database, start: StartTimers) -> None:
    async def tick(tx: Tx, due: Sequence[Timer]) -> list[Emit]:
        await count(tx, due)
        for timer in due:
            if timer.payload["left"] > 0:
                await timers.arm(
                    tx,
                    [
                        Timer(
                            kind="tick",
                            key=timer.key,
                            tenant_id="acme",
                            due_at=timer.due_at + timedelta(milliseconds=30),
                            payload={"left": timer.payload["left"] - 1},
                        )
                    ],
                )
        return []

    start(tick=tick)
    first = await now(database) + SOON
    async with database.begin() as tx:
        await timers.arm(tx, [Timer(kind="tick", key="k", tenant_id="acme", due_at=first, payload={"left": 5})])
    await eventually(lambda: quiet(database))
    rows = await fired(database)
    assert [row["due_at"] for row in rows] == [first + timedelta(milliseconds=30 * n) for n in range(6)]
    ledger = await database.fetch("SELECT due_at FROM timer_ledger ORDER BY due_at")
    assert [row["due_at"] for row in ledger] == [row["due_at"] for row in rows]


async def test_what_a_handler_cancels_does_not_fire_even_in_the_same_firing(
    database: Database, start: StartTimers
) -> None:
    async def first(tx: Tx, due: Sequence[Timer]) -> list[Emit]:
        await timers.cancel(tx, "second", [timer.key for timer in due])
        return await count(tx, due)

    due = await now(database) + SOON
    await arm(database, at(due, "k", "first"), at(due, "k", "second"), at(due, "other", "second"))
    start(first=first, second=count)
    await eventually(lambda: quiet(database))
    rows = await database.fetch("SELECT kind, key FROM fired ORDER BY kind, key")
    assert [(row["kind"], row["key"]) for row in rows] == [("first", "k"), ("second", "other")]


class Gate:
    """A handler that can be held in the middle, after it has locked its thing."""

    def __init__(self) -> None:
        self.entered, self.proceed = asyncio.Event(), asyncio.Event()
        self.calls: list[list[str]] = []

    async def handle(self, tx: Tx, due: Sequence[Timer]) -> list[Emit]:
        self.calls.append([timer.key for timer in due])
        await tx.execute("SELECT pg_advisory_xact_lock(hashtext(k)) FROM unnest($1::text[]) k", self.calls[-1])
        await count(tx, due)
        self.entered.set()
        await self.proceed.wait()
        return []


async def lock(tx: Tx, key: str) -> None:
    await tx.execute("SELECT pg_advisory_xact_lock(hashtext($1))", key)


@pytest.mark.parametrize("change", ["cancel", "move"])
async def test_changing_a_timer_while_it_fires_does_not_deadlock_and_wins(
    database: Database, start: StartTimers, change: str
) -> None:
    """The thing's lock is taken first by both sides, as a handler of the bus does."""
    gate = Gate()
    gate.proceed.set()
    due = await now(database) + SOON
    await arm(database, at(due, "k"), at(due, "other"))
    later = due + timedelta(hours=1)
    async with asyncio.timeout(10), database.begin() as tx:
        await lock(tx, "k")
        start(count=gate.handle)
        await eventually(lambda: _called(gate))
        # The firing waits for the thing's lock, which we hold; were it holding the timer's row, this would never end.
        if change == "cancel":
            await timers.cancel(tx, "count", ["k"])
        else:
            await timers.arm(tx, [at(later, "k")])

    async def only_other() -> bool:
        assert await keys(database) == ["other"]
        return True

    await eventually(only_other)
    assert await left(database) == (0 if change == "cancel" else 1)
    assert await database.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0
    assert [row["key"] for row in await database.fetch("SELECT key FROM timer_ledger")] == ["other"]


async def _called(gate: Gate) -> bool:
    return bool(gate.calls)


async def test_a_second_instance_goes_on_with_the_rest_while_the_first_is_held(
    database: Database, start: StartTimers
) -> None:
    held = Gate()
    due = await now(database) + SOON
    await arm(database, *(at(due + timedelta(microseconds=n), f"k{n}") for n in range(40)))
    start(batch=5, count=held.handle)
    await held.entered.wait()
    start(batch=5, count=count)

    async def others() -> bool:
        assert len(await fired(database)) == 35
        return True

    await eventually(others)
    held.proceed.set()
    await eventually(lambda: quiet(database))
    assert len(await keys(database)) == 40
    assert len(held.calls) == 1, "nobody took from it what it had claimed"


async def test_stopping_finishes_the_firing_in_hand(database: Database) -> None:
    gate = Gate()
    made = Timers(Settings(), database, None, {"count": gate.handle}, Metrics("due", CollectorRegistry()))
    run = asyncio.ensure_future(made.loops()[0].run())
    await arm(database, at(await now(database), "k"))
    await gate.entered.wait()
    run.cancel()
    await asyncio.sleep(0.1)
    gate.proceed.set()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert await keys(database) == ["k"]
    assert await left(database) == 0


async def test_kinds_of_another_release_are_left_to_it_also_when_they_fill_the_front(
    database: Database, start: StartTimers
) -> None:
    past = await now(database) - timedelta(minutes=1)
    await arm(database, *(at(past + timedelta(microseconds=n), f"s{n}", "strange") for n in range(200)))
    await arm(database, at(past + timedelta(seconds=30), "mine"))
    start(batch=5, count=count)

    async def mine() -> bool:
        return await keys(database) == ["mine"]

    await eventually(mine)
    assert await left(database) == 200


async def test_the_ledger_forgets_the_oldest_day_as_a_whole_and_nothing_younger(database: Database) -> None:
    async def ledger(days_ago: int) -> None:
        await database.execute(
            "INSERT INTO timer_ledger SELECT timer_ledger_slot(i), 'count', $1::text, i, i, 0"
            " FROM (SELECT desk_now() - make_interval(days => $2)) AS d (i)",
            str(days_ago),
            days_ago,
        )

    for days in range(7):
        await ledger(days)
    assert not await timer_rows.prune(database)
    await ledger(7)
    assert await timer_rows.prune(database)
    rows = await database.fetch("SELECT key FROM timer_ledger ORDER BY key")
    assert [row["key"] for row in rows] == [str(days) for days in range(7)]


@pytest.mark.parametrize("analysed", [False, True])
@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_claiming_reads_the_index_of_instants_and_nothing_else(
    database: Database, url: str, databases: ScratchDatabases, mode: str, analysed: bool
) -> None:
    await database.execute(
        "INSERT INTO timer (kind, key, tenant_id, due_at, run_at, armed_at) SELECT 'count', n::text, 'acme', d, d, now()"
        " FROM (SELECT n, now() + make_interval(secs => n) AS d FROM generate_series(1, 60000) n)"
    )
    if analysed:
        admin = await asyncpg.connect(databases.admin(url))
        await admin.execute("ANALYZE timer")
        await admin.close()
    statement = timer_rows.claim_statement(500)
    async with database.begin() as tx:
        await tx.execute(f"SET LOCAL plan_cache_mode = {mode}")
        await tx.execute(f"PREPARE claim (text[], integer) AS {statement}")
        rows = await tx.fetch("EXPLAIN (ANALYZE, BUFFERS, TIMING off) EXECUTE claim (ARRAY['count'], 1)")
        await tx.execute("DEALLOCATE claim")
    plan = "\n".join(row[0] for row in rows)
    assert "Index Scan using timer_run_at" in plan, plan
    assert "Index Cond: (run_at <= (InitPlan" in plan.replace("$", ""), plan
    assert "Sort" not in plan, plan
    assert "Seq Scan on timer" not in plan, plan


async def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        Timer(kind="count", key="k", tenant_id="acme", due_at=datetime(2026, 1, 1))
