"""The service under fault: counts what it handles in a table without a unique key, and tells of it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared import tasks as task_module
from shared import timers as timer_module
from shared import waiting
from shared.bus import Bus, Route
from shared.contracts.event import Event
from shared.db import Database, Tx
from shared.envelope import Answer, Delete, Emit, NotYet, Received, Tombstone
from shared.metrics import for_service
from shared.relay import Relay
from shared.replica import Replica
from shared.service import Loop, Service
from shared.settings import ServiceSettings
from shared.tasks import Task, TaskKind, Tasks
from shared.timers import Timer, Timers
from tests.support.faults import contracts
from tests.support.faults.contracts import Answered, Asked, Done, Rang, State

BELL, WORK = "bell", "work"


class Settings(ServiceSettings):
    """Short leases; which parts run."""

    SERVICE: ClassVar[str] = "faults"
    model_config = SettingsConfigDict(env_prefix="FAULTS_")

    parts: str = Field("bus,relay", description="Which of bus, relay, timers, tasks, replica run here.")
    release: int = Field(1, description="2 knows a later version of an event.")
    calls: str = Field("", description="A file that gets the ids of every batch given to a handler.")
    work_timeout: float = Field(1.0, description="Seconds one attempt of a task may take.")
    lease_margin: float = Field(1.0, description="Seconds a lease is longer than that.")
    timer_batch: int = Field(100, description="Timers fired in one transaction at most.")
    timer_pause: float = Field(0.0, description="Seconds each firing takes, so that it can be hit.")
    batch_pause: float = Field(0.0, description="Seconds each batch takes.")

    def has(self, part: str) -> bool:
        """Whether this part runs here."""
        return part in self.parts.split(",")


class Downstream(Settings):
    """Another service, which reads what the first one publishes."""

    SERVICE: ClassVar[str] = "faultsink"


async def apply(tx: Tx, rows: Sequence[tuple[str, str, int, UUID]]) -> None:
    """The effect: one row per call and row, whatever is there already."""
    await tx.execute(
        "INSERT INTO effect (topic, key, seq, ce_id, applied_at)"
        " SELECT t, k, s, i, clock_timestamp() + (SELECT shift FROM clock_offset)"
        " FROM unnest($1::text[], $2::text[], $3::int[], $4::uuid[]) AS u (t, k, s, i)",
        [row[0] for row in rows],
        [row[1] for row in rows],
        [row[2] for row in rows],
        [row[3] for row in rows],
    )


class Handlers:
    """What the service does with its events."""

    def __init__(self, settings: Settings) -> None:
        self._calls = Path(settings.calls) if settings.calls else None
        self._pause = settings.batch_pause
        self._timer_pause = settings.timer_pause

    async def on_facts(self, tx: Tx, batch: Sequence[Received[Any]]) -> Sequence[Answer]:
        """Count each fact and answer it; some wait for a parent, some fail, some are slow, some start more."""
        if self._calls is not None:
            with self._calls.open("a") as out:
                out.write(json.dumps([str(one.id) for one in batch]) + "\n")
        known = {row["name"] for row in await tx.fetch("SELECT name FROM known")}
        needy = [one for one in batch if one.event.kind == "child" and one.event.about not in known]
        if needy:
            return [NotYet(one, "parent", one.event.about) for one in needy]
        if any(one.event.kind == "poison" for one in batch) and not await tx.fetchval("SELECT 1 FROM repaired"):
            raise ValueError("this one cannot be handled")
        pause = self._pause + sum(one.event.pause for one in batch if one.event.kind == "slow")
        if pause:
            await asyncio.sleep(pause)
        await apply(tx, [(one.topic, one.key, one.event.seq, one.id) for one in batch])
        parents = sorted({one.event.about for one in batch if one.event.kind == "parent"})
        if parents:
            await tx.execute("INSERT INTO known SELECT unnest($1::text[]) ON CONFLICT DO NOTHING", parents)
            await waiting.wake(tx, "parent", parents)
        await self._start_more(tx, batch)
        return [
            Emit(Answered(tenant_id=one.event.tenant_id, thing=one.key, seq=one.event.seq), cause=one) for one in batch
        ]

    async def _start_more(self, tx: Tx, batch: Sequence[Received[Asked]]) -> None:
        bells = [one for one in batch if one.event.kind == "timer"]
        await timer_module.arm(
            tx,
            [
                Timer(
                    kind=BELL, key=str(one.id), tenant_id="acme", due_at=tx.instant + timedelta(seconds=one.event.pause)
                )
                for one in bells
            ],
        )
        work = [one for one in batch if one.event.kind == "task"]
        await task_module.add(
            tx,
            [
                Task(kind=WORK, key=str(one.id), tenant_id="acme", id=one.id, payload={"pause": one.event.pause})
                for one in work
            ],
        )

    async def on_state(self, tx: Tx, batch: Sequence[Received[State] | Tombstone]) -> Sequence[Answer]:
        """Keep the highest version of each thing; each step up leaves a row."""
        for one in batch:
            if isinstance(one, Tombstone):
                await tx.execute("DELETE FROM state WHERE key = $1", one.key)
                continue
            stepped = await tx.fetchval(
                "INSERT INTO state VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET version = excluded.version"
                " WHERE state.version < excluded.version RETURNING 1",
                one.key,
                one.event.version,
            )
            if stepped:
                await tx.execute("INSERT INTO state_step (key, version) VALUES ($1, $2)", one.key, one.event.version)
        return ()

    async def on_bells(self, tx: Tx, due: Sequence[Timer]) -> Sequence[Emit | Delete]:
        """A timer rang."""
        if self._timer_pause:
            await asyncio.sleep(self._timer_pause)
        await apply(tx, [("timer", one.key, 0, UUID(one.key)) for one in due])
        return [Emit(Rang(tenant_id="acme", thing=one.key)) for one in due]

    async def on_answers(self, tx: Tx, batch: Sequence[Received[Event]]) -> Sequence[Answer]:
        """What a service downstream does: count, say nothing."""
        await apply(tx, [(one.topic, one.key, getattr(one.event, "seq", 0), one.id) for one in batch])
        return ()


async def work(task: Task) -> str:
    """Something slow outside any transaction; leaves a line when told where."""
    if trace := os.environ.get("FAULTS_WORK_TRACE"):
        with Path(trace).open("a") as out:
            out.write(f"{task.id} {task.attempts}\n")
    await asyncio.sleep(float(task.payload.get("pause", 0)))
    return "done"


async def finish(tx: Tx, task: Task, result: str) -> Sequence[Emit | Delete]:
    """Count the result."""
    del result
    await apply(tx, [("task", task.key, task.attempts, task.id)])
    return [Emit(Done(tenant_id="acme", thing=task.key))]


async def build(settings: ServiceSettings) -> Service:
    """Wire the parts that the settings name."""
    assert isinstance(settings, Settings)
    database = await Database.connect(settings.database_url.get_secret_value(), application=settings.SERVICE)
    metrics = for_service(settings.SERVICE)
    relay = Relay(settings, database, metrics=metrics)
    handlers = Handlers(settings)
    replica = None
    loops: list[Loop] = []
    checks = []
    if settings.has("replica"):
        replica = Replica(settings, database, {"rule": contracts.RULE}, metrics=metrics, relay=relay)
        loops += replica.loops()
    if settings.has("bus"):
        asked = contracts.ASKED_LATER if settings.release > 1 else contracts.ASKED
        routes: list[Route[Any]] = [
            Route(asked, handlers.on_facts),
            Route(contracts.NOTED, handlers.on_facts),
            Route(contracts.STATE, handlers.on_state),
        ]
        if isinstance(settings, Downstream):
            routes = [Route(contracts.ANSWERED, handlers.on_answers)]
        bus = Bus(settings, database, routes, relay=relay, replica=replica, metrics=metrics)
        loops += bus.loops()
        checks += bus.checks()
    if settings.has("timers"):
        timers = Timers(settings, database, relay, {BELL: handlers.on_bells}, metrics, batch=settings.timer_batch)
        loops += timers.loops()
    if settings.has("tasks"):
        kind = TaskKind(
            name=WORK,
            timeout=timedelta(seconds=settings.work_timeout),
            schedule=[timedelta(seconds=0.1)] * 20,
            work=work,
            finish=finish,
        )
        loops += Tasks(settings, database, relay, [kind], metrics).loops()
    if settings.has("relay"):
        loops += relay.loops()
    return Service(name=settings.SERVICE, settings=settings, loops=loops, checks=checks, stop=[database.close])
