"""Arm, move, cancel, fail, repair, step the clock, in any order: what fired is what a small model says."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Coroutine, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, TypeVar

import asyncpg
import pytest
from hypothesis import HealthCheck, settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from prometheus_client import CollectorRegistry

from shared import timers
from shared.db import Database, Tx
from shared.envelope import Emit
from shared.metrics import Metrics
from shared.timers import Timer, Timers
from tests.integration.timers.conftest import COUNT_TABLE, Settings, count
from tests.support.databases import ScratchDatabases
from tests.support.engines import Engines

T = TypeVar("T")

KEYS = strategies.sampled_from(["a", "b", "c"])
KINDS = strategies.sampled_from(["one", "two"])
MINUTES = strategies.integers(-30, 120)
FULL = os.environ.get("DESKWIRE_DOSE") == "full"


class TimerMachine(RuleBasedStateMachine):
    """The timers of one database beside a dictionary of instants."""

    runner: ClassVar[asyncio.Runner]
    database: ClassVar[Database]

    def __init__(self) -> None:
        super().__init__()
        self.armed: dict[tuple[str, str], datetime] = {}
        self.fired: Counter[tuple[str, str, datetime]] = Counter()
        self.broken: set[str] = set()
        handlers = {"one": self.handle, "two": self.handle}
        self.timers = Timers(Settings(), self.database, None, handlers, Metrics("due", CollectorRegistry()), batch=2)
        self.do(self._reset())

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    async def _reset(self) -> None:
        await self.database.execute("DELETE FROM timer")
        await self.database.execute("DELETE FROM fired")
        await self.database.execute("UPDATE clock_offset SET shift = '0'")

    async def handle(self, tx: Tx, due: Sequence[Timer]) -> list[Emit]:
        if any(timer.key in self.broken for timer in due):
            raise ValueError("broken")
        return await count(tx, due)

    @rule(kind=KINDS, key=KEYS, minutes=MINUTES)
    def arm(self, kind: str, key: str, minutes: int) -> None:
        async def go() -> datetime:
            async with self.database.begin() as tx:
                due = tx.instant + timedelta(minutes=minutes)
                await timers.arm(tx, [Timer(kind=kind, key=key, tenant_id="acme", due_at=due)])
                return due

        self.armed[kind, key] = self.do(go())

    @rule(kind=KINDS, keys=strategies.lists(KEYS))
    def cancel(self, kind: str, keys: list[str]) -> None:
        async def go() -> None:
            async with self.database.begin() as tx:
                await timers.cancel(tx, kind, keys)

        self.do(go())
        for key in keys:
            self.armed.pop((kind, key), None)

    @rule(kind=KINDS, key=KEYS)
    def arm_and_roll_back(self, kind: str, key: str) -> None:
        async def go() -> None:
            async with self.database.begin() as tx:
                await timers.arm(tx, [Timer(kind=kind, key=key, tenant_id="acme", due_at=tx.instant)])
                await timers.cancel(tx, kind, ["a", "b"])
                raise InterruptedError

        with pytest.raises(InterruptedError):
            self.do(go())

    @rule(minutes=strategies.integers(-60, 240))
    def step_the_clock(self, minutes: int) -> None:
        self.do(self.database.execute("UPDATE clock_offset SET shift = shift + $1", timedelta(minutes=minutes)))

    @rule(key=KEYS)
    def break_or_repair(self, key: str) -> None:
        self.broken ^= {key}

    @rule()
    def fire(self) -> None:
        self.do(self._fire())

    @rule()
    def repair_and_fire(self) -> None:
        """What was put off is due again after the longest back-off at the latest."""
        self.broken.clear()
        self.step_the_clock(6)
        self.do(self._fire())

    async def _fire(self) -> None:
        now: datetime = await self.database.fetchval("SELECT desk_now()")
        put_off = {
            (row["kind"], row["key"])
            for row in await self.database.fetch("SELECT kind, key FROM timer WHERE run_at > desk_now()")
        }
        while await self.timers._fire():
            pass
        for place, due in list(self.armed.items()):
            if due <= now and place[1] not in self.broken and place not in put_off:
                del self.armed[place]
                self.fired[(*place, due)] += 1

    @invariant()
    def what_fired_is_what_was_due(self) -> None:
        rows = self.do(self.database.fetch("SELECT kind, key, due_at, fired_at FROM fired"))
        assert Counter((row["kind"], row["key"], row["due_at"]) for row in rows) == self.fired
        armed = self.do(self.database.fetch("SELECT kind, key, due_at FROM timer"))
        assert {(row["kind"], row["key"]): row["due_at"] for row in armed} == self.armed


@pytest.mark.engines
@pytest.mark.slow
def test_any_order_of_arming_moving_failing_and_stepping_fires_what_the_model_says(engines: Engines) -> None:
    with asyncio.Runner() as runner:
        databases = ScratchDatabases(engines.database_url)

        async def prepare() -> Database:
            url = await databases.create("mechanism")
            admin = await asyncpg.connect(databases.admin(url))
            await admin.execute(COUNT_TABLE + "; GRANT ALL ON fired, clock_offset TO PUBLIC")
            await admin.close()
            return await Database.connect(url, application="test")

        TimerMachine.runner = runner
        TimerMachine.database = runner.run(prepare())
        try:
            run_state_machine_as_test(
                TimerMachine,
                settings=settings(
                    max_examples=400 if FULL else 25,
                    stateful_step_count=40,
                    deadline=None,
                    derandomize=not FULL,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(TimerMachine.database.close())
            runner.run(databases.drop_all())
