"""Timers fire once and never early, tasks have one result, whatever is done to the processes and the clock."""

from __future__ import annotations

import asyncio
import signal
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from tests.support.faults.lab import Lab, arm
from tests.support.faults.records import asked
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines


async def armed(lab: Lab, count: int, *, over: float, ago: float = 0.0) -> None:
    """Timers due at random instants within `over` seconds, the first `ago` seconds in the past."""
    now: datetime = await lab.value("SELECT desk_now()")
    dues = {
        str(UUID(int=lab.random.getrandbits(128))): now + timedelta(seconds=lab.random.random() * over - ago)
        for _ in range(count)
    }
    await arm(lab, dues)


async def left(lab: Lab) -> int:
    found: int = await lab.value("SELECT count(*) FROM timer")
    return found


async def test_ten_thousand_instants_passed_while_stopped_fire_once_at_the_start(lab: Lab) -> None:
    await armed(lab, 10_000, over=3600, ago=3600)
    await lab.start(parts="timers,relay", timer_batch=500)
    found = await lab.verify(within=90)
    assert len(found.ledger) == 10_000


@pytest.mark.parametrize(("count", "kills"), [(2_000, 3), pytest.param(50_000, 30, marks=pytest.mark.soak)])
async def test_three_instances_killed_at_random_fire_each_timer_once_and_none_early(
    lab: Lab, count: int, kills: int
) -> None:
    await armed(lab, count, over=kills * 2.0, ago=1.0)
    for _ in range(3):
        await lab.start(parts="timers,relay", timer_batch=count // 50, timer_pause=0.05)

    async def firing() -> bool:
        return await left(lab) < count

    await eventually(firing)
    for _ in range(kills):
        await asyncio.sleep(0.3 + lab.random.random())
        victim = lab.random.choice([worker for worker in lab.workers if worker.process.returncode is None])
        await victim.kill()
        await lab.start(parts="timers,relay", timer_batch=count // 50, timer_pause=0.05)
    await lab.verify(within=120)


async def test_a_clock_that_steps_forward_and_back_fires_what_it_passes_once_and_nothing_early(lab: Lab) -> None:
    await armed(lab, 300, over=4.0)
    await armed(lab, 300, over=7200)
    for _ in range(2):
        await lab.start(parts="timers,relay", timer_batch=50, timer_pause=0.01)
    for shift in ("1 hour", "-1 hour", "10 minutes", "0", "2 hours 10 minutes"):
        await lab.sql("UPDATE clock_offset SET shift = $1::text::interval", shift)
        await asyncio.sleep(0.8)
    found = await lab.verify()
    assert len(found.ledger) == 600


async def test_a_worker_killed_at_its_task_loses_its_lease_and_each_task_has_one_result(lab: Lab) -> None:
    trace = lab.folder / "work"
    first = await lab.start(parts="bus,relay,tasks", work_trace=trace)
    await lab.send([asked(f"t{n % 5}", n, kind="task", pause=0.2) for n in range(40)])

    async def at_it() -> bool:
        return trace.exists() and len(trace.read_text().splitlines()) > 6

    await eventually(at_it)
    await first.kill()
    held: int = await lab.value("SELECT count(*) FROM task WHERE lease_token IS NOT NULL")
    assert held, "it held no lease when it died: this run proves nothing"
    await lab.start(parts="bus,relay,tasks", work_trace=trace)
    await lab.verify()
    attempts = [line.split()[0] for line in trace.read_text().splitlines()]
    # At least once, and again only what the dead one had in hand.
    assert len(set(attempts)) == 40
    assert 40 < len(attempts) <= 40 + held


async def test_a_worker_frozen_past_its_lease_writes_no_second_result(lab: Lab) -> None:
    frozen = await lab.start(parts="bus,relay,tasks", stop_at="tasks.before_result:3")
    await lab.send([asked(f"t{n % 5}", n, kind="task", pause=0.05) for n in range(20)])
    await eventually(frozen.stopped)
    await lab.start(parts="bus,relay,tasks")
    await lab.verify()
    frozen.signal(signal.SIGCONT)
    await lab.send([asked("t", n, kind="task") for n in range(10)])
    await lab.verify()

    async def told() -> bool:
        return "lease was lost" in frozen.log.read_text()

    await eventually(told, what="the lost lease in its log")
    assert await lab.findings() == []
