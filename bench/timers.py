"""A million armed timers: how late they fire while 2,000 a second fall due, and what it costs when none does."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import ClassVar
from uuid import UUID, uuid4

import asyncpg
from pydantic import SecretStr

from bench.bus import BenchSettings
from bench.figures import Figure, percentile
from bench.ground import Ground
from shared.contracts.event import Event, Topic
from shared.db import Database, Tx
from shared.envelope import Emit
from shared.metrics import Metrics
from shared.relay import Relay
from shared.timers import Timer, Timers
from tests.support.waiting import eventually

ARMED = 1_000_000
RATE = 2000
SECONDS = 15
IDLE_SECONDS = 15


class Rang(Event):
    """What each timer publishes."""

    TYPE: ClassVar[str] = "bench.rang.v1"
    KEY: ClassVar[str] = "thing_id"

    thing_id: UUID
    due_at: datetime


RANG = Topic(name="bench.rang", owner="bench", consumers=(), events=(Rang,), summary="bench")


async def on_due(tx: Tx, timers: Sequence[Timer]) -> list[Emit]:
    """One event for each timer."""
    del tx
    return [Emit(Rang(tenant_id="bench", thing_id=UUID(timer.key), due_at=timer.due_at)) for timer in timers]


async def measure(ground: Ground, say: Callable[[str], None], *, armed: int = ARMED) -> list[Figure]:
    """Arm, idle, then let `RATE` a second fall due for `SECONDS`; lateness from the ledger, by the database's clock."""
    url = await ground.database()
    prefix = await ground.topics((RANG,))
    settings = BenchSettings(
        kafka_url=ground.kafka_url, database_url=SecretStr(url), topic_prefix=prefix, log_level="warning"
    )
    connection = await asyncpg.connect(url)
    now: datetime = await connection.fetchval("SELECT desk_now()")
    began = time.perf_counter()
    await _arm(connection, armed, lambda number: now + timedelta(days=1, milliseconds=number))
    say(f"{armed:,} timers armed in {time.perf_counter() - began:.1f} s")

    database = await Database.connect(url, application="bench")
    metrics = Metrics("bench")
    relay = Relay(settings, database, metrics=metrics)
    timers = Timers(settings, database, relay, {"ring": on_due}, metrics)
    tasks = [asyncio.ensure_future(loop.run()) for loop in (*timers.loops(), *relay.loops())]
    try:
        await asyncio.sleep(3)
        before = os.times()
        await asyncio.sleep(IDLE_SECONDS)
        after = os.times()
        idle = (after.user + after.system - before.user - before.system) / IDLE_SECONDS

        start: datetime = await connection.fetchval("SELECT desk_now() + interval '3 seconds'")
        await _arm(connection, RATE * SECONDS, lambda number: start + timedelta(seconds=number / RATE))
        say(f"{RATE:,}/s falling due for {SECONDS} s")
        await eventually(lambda: _all_fired(connection), within=600, every=0.5, what="every timer fired")
        rows = await connection.fetch(
            "SELECT extract(epoch FROM fired_at - due_at)::float8 * 1000 AS late FROM timer_ledger"
        )
        late = [row["late"] for row in rows]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await database.close()
        await connection.close()
    name = f"{armed:,} timers armed, {RATE:,}/s due: lateness"
    return [
        Figure(name=f"{name} p50", value=percentile(late, 50), unit="ms"),
        Figure(name=f"{name} p99", value=percentile(late, 99), unit="ms", target=25),
        Figure(name="earliest firing before its instant", value=max(0.0, -min(late)), unit="ms", target=0),
        Figure(name="idle with all armed", value=idle * 100, unit="% of a core", target=2),
    ]


async def _all_fired(connection: asyncpg.Connection[asyncpg.Record]) -> bool:
    return bool(await connection.fetchval("SELECT count(*) FROM timer_ledger") == RATE * SECONDS)


async def _arm(connection: asyncpg.Connection[asyncpg.Record], count: int, due_at: Callable[[int], datetime]) -> None:
    """COPY in slices, so that memory stays flat."""
    now = await connection.fetchval("SELECT desk_now()")
    for first in range(0, count, 50_000):
        rows = [
            ("ring", str(uuid4()), "bench", due_at(number), due_at(number), now)
            for number in range(first, min(first + 50_000, count))
        ]
        await connection.copy_records_to_table(
            "timer", records=rows, columns=["kind", "key", "tenant_id", "due_at", "run_at", "armed_at"]
        )
