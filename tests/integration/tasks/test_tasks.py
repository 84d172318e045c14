"""Work outside transactions is done, its result is written once, and what cannot be done is put aside and told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from typing import Any
from uuid import NAMESPACE_DNS, uuid5

import asyncpg
import pytest

from shared import task_rows, tasks
from shared.db import Database, Tx
from shared.envelope import Emit
from shared.metrics import Metrics
from shared.settings import ServiceSettings
from shared.tasks import DeferError, GiveUpError, RetryError, Task, TaskKind, Tasks
from tests.support.databases import ScratchDatabases
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines

SOON = timedelta(milliseconds=30)


class Settings(ServiceSettings):
    SERVICE = "due"


@pytest.fixture
async def database(databases: ScratchDatabases) -> AsyncIterator[Database]:
    url = await databases.create("mechanism")
    admin = await asyncpg.connect(databases.admin(url))
    await admin.execute("CREATE TABLE result (key text, value text); GRANT ALL ON result, clock_offset TO PUBLIC")
    await admin.close()
    found = await Database.connect(url, application="test")
    yield found
    await found.close()


async def write(tx: Tx, task: Task, result: object) -> Sequence[Emit]:
    """The effect: a row without a unique key, so that a second writing shows."""
    await tx.execute("INSERT INTO result VALUES ($1, $2)", task.key, str(result))
    return ()


def kind(work: Callable[[Task], Any], **options: Any) -> TaskKind[Any]:
    settings: dict[str, Any] = {"timeout": timedelta(seconds=2), "schedule": [SOON] * 3, "finish": write, "jitter": 0.0}
    return TaskKind(name="send", work=work, **{**settings, **options})


Start = Callable[..., Tasks]


@pytest.fixture
async def start(database: Database) -> AsyncIterator[Start]:
    running: list[asyncio.Task[None]] = []

    def begin(*kinds: TaskKind[Any]) -> Tasks:
        made = Tasks(Settings(), database, None, kinds, Metrics("due"))
        running.extend(asyncio.ensure_future(loop.run()) for loop in made.loops())
        return made

    yield begin
    for task in running:
        task.cancel()
    for task in running:
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def put(database: Database, *keys: str, **fields: Any) -> list[Task]:
    made = [Task(kind="send", key=key, tenant_id="acme", **fields) for key in keys]
    async with database.begin() as tx:
        await tasks.add(tx, made)
    return made


async def results(database: Database) -> list[str]:
    return sorted(row["key"] for row in await database.fetch("SELECT key FROM result"))


async def empty(database: Database) -> bool:
    return not await database.fetchval("SELECT count(*) FROM task")


async def test_work_runs_outside_transactions_within_its_concurrency(database: Database, start: Start) -> None:
    now, most = 0, 0

    async def work(task: Task) -> str:
        nonlocal now, most
        now += 1
        most = max(most, now)
        open_ = await database.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'"
        )
        await asyncio.sleep(0.01)
        now -= 1
        return f"open {open_}"

    start(kind(work, concurrency=3))
    await put(database, *(f"k{n:03}" for n in range(60)))
    await eventually(lambda: empty(database))
    assert await results(database) == [f"k{n:03}" for n in range(60)]
    assert most == 3


async def test_many_instances_do_each_task_once(database: Database, start: Start) -> None:
    done: list[str] = []

    async def work(task: Task) -> None:
        done.append(task.key)
        await asyncio.sleep(0.001)

    for _ in range(3):
        start(kind(work))
    await put(database, *(f"k{n:03}" for n in range(200)))
    await eventually(lambda: empty(database))
    assert sorted(done) == await results(database) == [f"k{n:03}" for n in range(200)]


async def test_failed_work_is_tried_again_by_schedule_then_parked_told_and_released(
    database: Database, start: Start
) -> None:
    attempts: list[int] = []
    told: list[str] = []

    async def work(task: Task) -> str:
        attempts.append(task.attempts)
        if not told:
            raise ConnectionResetError("no")
        return "at last"

    async def exhausted(tx: Tx, task: Task, reason: str) -> Sequence[Emit]:
        told.append(reason)
        return ()

    start(kind(work, exhausted=exhausted))
    await put(database, "k")

    async def parked() -> Sequence[tasks.Parked]:
        return await tasks.parked(database)

    (aside,) = await eventually(parked)
    assert attempts == [1, 2, 3, 4]
    assert (aside.key, aside.attempts) == ("k", 4)
    assert told[0].startswith("ConnectionResetError")
    async with database.begin() as tx:
        assert await tasks.release(tx, [aside.id]) == 1
    await eventually(lambda: empty(database))
    assert await results(database) == ["k"]


async def test_what_can_never_succeed_is_parked_at_once_and_can_be_discarded(database: Database, start: Start) -> None:
    async def work(task: Task) -> None:
        raise GiveUpError("no such mailbox")

    start(kind(work))
    await put(database, "k")

    async def parked() -> Sequence[tasks.Parked]:
        return await tasks.parked(database)

    (aside,) = await eventually(parked)
    assert (aside.attempts, aside.error) == (1, "no such mailbox")
    async with database.begin() as tx:
        assert await tasks.discard(tx, [aside.id]) == 1
    assert await empty(database)


async def test_the_other_side_may_say_when_to_come_back(database: Database, start: Start) -> None:
    async def work(task: Task) -> None:
        if task.attempts == 1:
            raise RetryError("429", timedelta(hours=2))

    start(kind(work))
    await put(database, "k")

    async def waits() -> bool:
        return bool(
            await database.fetchval("SELECT due_at > now() + interval '1 hour' FROM task WHERE lease_token IS NULL")
        )

    await eventually(waits)
    await database.execute("UPDATE clock_offset SET shift = interval '3 hours'")
    await eventually(lambda: empty(database))


async def test_work_that_could_not_begin_is_tried_again_and_counts_as_no_attempt(
    database: Database, start: Start
) -> None:
    seen: list[int] = []

    async def work(task: Task) -> None:
        seen.append(task.attempts)
        if len(seen) < 10:
            raise DeferError("away", timedelta(milliseconds=1))

    start(kind(work))
    await put(database, "k")
    await eventually(lambda: empty(database))
    assert seen == [1] * 10


async def test_slow_work_is_cut_off_at_its_timeout(database: Database, start: Start) -> None:
    async def work(task: Task) -> None:
        if task.attempts == 1:
            await asyncio.sleep(60)

    start(kind(work, timeout=timedelta(milliseconds=100)))
    await put(database, "k")
    await eventually(lambda: empty(database), within=5)


async def test_a_result_under_a_lost_lease_is_not_written(database: Database, start: Start) -> None:
    began = [asyncio.Event(), asyncio.Event()]
    proceed = [asyncio.Event(), asyncio.Event()]
    ended = asyncio.Event()

    async def work(task: Task) -> str:
        number = task.attempts - 1
        began[number].set()
        await proceed[number].wait()
        return f"attempt {task.attempts}"

    async def finish(tx: Tx, task: Task, result: object) -> Sequence[Emit]:
        written = await write(tx, task, result)
        ended.set()
        return written

    start(kind(work, finish=finish))
    await put(database, "k")
    await began[0].wait()
    await database.execute("UPDATE task SET lease_until = now() - interval '1 second'")
    await began[1].wait()
    proceed[0].set()
    await ended.wait()
    proceed[1].set()
    await eventually(lambda: empty(database))
    rows = await database.fetch("SELECT value FROM result")
    assert [row["value"] for row in rows] == ["attempt 2"]


async def test_a_cancelled_task_leaves_no_result(database: Database, start: Start) -> None:
    working, proceed = asyncio.Event(), asyncio.Event()

    async def work(task: Task) -> None:
        working.set()
        await proceed.wait()

    start(kind(work))
    await put(database, "k")
    await working.wait()
    async with database.begin() as tx:
        await tasks.cancel(tx, "send", ["k"])
    proceed.set()
    await asyncio.sleep(0.1)
    assert await results(database) == []


async def test_asking_twice_for_the_same_work_does_it_once(database: Database, start: Start) -> None:
    identity = uuid5(NAMESPACE_DNS, "delivery 1")
    await put(database, "k", id=identity)
    await put(database, "k", id=identity)

    async def work(task: Task) -> None:
        return None

    start(kind(work))
    await eventually(lambda: empty(database))
    assert await results(database) == ["k"]


async def test_a_lease_is_by_the_real_clock(database: Database) -> None:
    await put(database, "k")
    (leased,) = await task_rows.lease(database, "send", 1, timedelta(seconds=12))
    await database.execute("UPDATE clock_offset SET shift = interval '10 days'")
    assert await task_rows.expire(database) == []
    assert leased.task.attempts == 1


async def test_stopping_finishes_the_work_in_hand(database: Database) -> None:
    working = asyncio.Event()

    async def work(task: Task) -> None:
        working.set()
        await asyncio.sleep(0.3)

    made = Tasks(Settings(), database, None, [kind(work)], Metrics("due"))
    run = asyncio.ensure_future(made.loops()[0].run())
    await put(database, "k")
    await working.wait()
    run.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await run
    assert await results(database) == ["k"]


async def test_stopping_twice_gives_the_work_in_hand_back(database: Database) -> None:
    working = asyncio.Event()

    async def work(task: Task) -> None:
        working.set()
        await asyncio.sleep(60)

    made = Tasks(Settings(), database, None, [kind(work, timeout=timedelta(minutes=2))], Metrics("due"))
    run = asyncio.ensure_future(made.loops()[0].run())
    await put(database, "k")
    await working.wait()
    for _ in range(2):
        run.cancel()
        await asyncio.sleep(0.05)
    with contextlib.suppress(asyncio.CancelledError):
        await run
    row = await database.fetchrow("SELECT attempts, lease_token FROM task")
    assert row is not None
    assert (row["attempts"], row["lease_token"]) == (0, None)


@pytest.mark.parametrize("analysed", [False, True])
async def test_leasing_reads_an_index_and_not_the_table(
    database: Database, databases: ScratchDatabases, analysed: bool
) -> None:
    await database.execute(
        "INSERT INTO task (id, kind, key, tenant_id, due_at, created_at)"
        " SELECT gen_random_uuid(), 'send', 'k', 'acme', now() + interval '1 hour', now() FROM generate_series(1, 50000)"
    )
    if analysed:
        name = await database.fetchval("SELECT current_database()")
        admin = await asyncpg.connect(databases.admin(f"postgresql://x/{name}"))
        await admin.execute("ANALYZE task")
        await admin.close()
    async with database.begin() as tx:
        await tx.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        await tx.execute(f"PREPARE lease (text, interval) AS {task_rows.lease_statement(4)}")
        rows = await tx.fetch("EXPLAIN EXECUTE lease ('send', '12 s')")
        await tx.execute("DEALLOCATE lease")
    plan = "\n".join(row[0] for row in rows)
    assert "using task_due" in plan, plan
    assert "due_at <= (InitPlan" in plan.replace("$", ""), plan
    assert "Sort" not in plan, plan
