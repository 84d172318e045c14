"""A process stopped until another has taken over, then woken: what it does again is a repeat, and harmless."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg
import pytest

from tests.integration.faults.conftest import SEED
from tests.support.databases import ScratchDatabases
from tests.support.faults.contracts import ANSWERED, SCHEMA
from tests.support.faults.lab import Lab, Worker
from tests.support.faults.records import traffic
from tests.support.faults.world import Output
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines


async def downstream(lab: Lab, databases: ScratchDatabases) -> str:
    """Start a service that reads what the one under fault publishes; its database, for an administrator."""
    url = await databases.create("mechanism")
    connection = await asyncpg.connect(databases.admin(url))
    try:
        await connection.execute(SCHEMA)
    finally:
        await connection.close()
    await lab.start(role="downstream", database_url=url)
    return databases.admin(url)


async def stopped_at(lab: Lab, point: str, passage: int) -> Worker:
    """A leader that has stopped itself at a crash point, with what it was about to do in its hands."""
    zombie = await lab.start(stop_at=f"{point}:{passage}")
    await zombie.joined()

    async def asleep() -> bool:
        await lab.send(traffic(lab.random, 15, 4))
        return await zombie.stopped()

    await eventually(asleep, within=40, every=0.3, what=f"the stop at {point}")
    return zombie


async def applied(admin_url: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(admin_url)
    try:
        return await connection.fetch("SELECT key, ce_id FROM effect ORDER BY id")
    finally:
        await connection.close()


@dataclass(frozen=True)
class Sleep:
    """A leader stopped at one point."""

    point: str
    repeats: bool
    """Whether it must do something again when it wakes."""
    seed: int

    @property
    def name(self) -> str:
        """Which point."""
        return f"{self.point}-{self.seed}"

    async def play(self, lab: Lab, databases: ScratchDatabases) -> None:
        """Stop it, let another take over, wake it, compare everything here and downstream."""
        sink = await downstream(lab, databases)
        zombie = await stopped_at(lab, self.point, lab.random.randint(2, 4))
        former = await lab.leader()
        await lab.start()

        async def succeeded() -> bool:
            leader = await lab.leader()
            return leader is not None and leader != former

        await eventually(succeeded, within=40, what="another leader")
        await lab.send(traffic(lab.random, 15, 4))
        before = len((await lab.verify()).outputs)
        assert await zombie.stopped(), "it was meant to sleep until now"
        zombie.signal(signal.SIGCONT)
        await lab.send(traffic(lab.random, 15, 4))
        found = await lab.verify()
        answers = [output for output in found.outputs if output.topic == ANSWERED.name]
        if self.repeats:
            assert len(answers) > len({output.id for output in answers}), "it repeated nothing: a proof of nothing"
            assert len(answers) > before
        assert zombie.process.returncode is None, "the woken process ended"
        await _same_downstream(sink, answers)


async def _same_downstream(sink: str, answers: Sequence[Output]) -> None:
    """Whoever reads the answers counts each once, in the order in which they first appeared."""
    distinct = {output.id for output in answers}

    async def counted() -> bool:
        return len(await applied(sink)) >= len(distinct)

    await eventually(counted, what="every answer counted downstream")
    rows = await applied(sink)
    counts = Counter(str(row["ce_id"]) for row in rows)
    assert {identity: n for identity, n in counts.items() if n > 1} == {}
    assert set(counts) == distinct
    first: dict[str, list[str]] = {}
    for output in answers:
        if output.id not in first.setdefault(output.key, []):
            first[output.key].append(output.id)
    given: dict[str, list[str]] = {}
    for row in rows:
        given.setdefault(row["key"], []).append(str(row["ce_id"]))
    assert given == first


POINTS = (("relay.before_produce", True), ("relay.after_produce", True), ("bus.before_commit", False))
SHORT = [Sleep(point, repeats, SEED) for point, repeats in POINTS]
FULL = [Sleep(point, repeats, SEED + n) for n in range(1, 11) for point, repeats in POINTS]


@pytest.mark.parametrize("case", SHORT, ids=lambda case: case.point)
async def test_a_stopped_leader_that_wakes_after_its_successor_changes_nothing(
    case: Sleep, side_by_side: Mapping[str, asyncio.Task[None]]
) -> None:
    await side_by_side[case.name]


@pytest.mark.soak
@pytest.mark.parametrize("case", FULL, ids=lambda case: case.name)
async def test_ten_times_a_leader_is_stopped_and_woken_and_changes_nothing(
    case: Sleep, side_by_side: Mapping[str, asyncio.Task[None]]
) -> None:
    await side_by_side[case.name]


async def silent(lab: Lab, application: str, statement: str) -> asyncio.subprocess.Process:
    """A process of the service stopped in the middle of a statement, after it took something."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.faults.silent", lab.database_url, application, statement), cwd=lab.tree
    )

    async def stuck() -> bool:
        return bool(
            await lab.value(
                "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1"
                " AND state = 'active' AND wait_event = 'ClientRead'",
                application,
            )
        )

    await eventually(stuck, what="a session in the middle of a statement")
    return process


async def test_a_leader_stopped_in_the_middle_of_a_statement_is_succeeded(lab: Lab) -> None:
    lock = "SELECT pg_advisory_lock(hashtextextended('deskwire.relay', 3))"
    former = await silent(lab, "faults relay", lock)
    try:
        await lab.send(traffic(lab.random, 5, 4))
        await lab.start()
        await lab.verify(within=30)
    finally:
        former.kill()
        await former.wait()


async def test_a_process_stopped_in_the_middle_of_a_statement_holds_up_its_events_and_parks_none(lab: Lab) -> None:
    sent = await lab.send(traffic(lab.random, 5, 4))
    one = next(entry for entry in sent if entry.expected == "effect")
    day = "(now() AT TIME ZONE 'UTC')::date"
    former = await silent(
        lab,
        "faults",
        f"BEGIN; INSERT INTO inbox (group_name, ce_id, event_day) VALUES ('faults', '{one.id}', {day})",  # noqa: S608
    )
    try:
        await lab.start()
        await lab.verify(within=60)
        assert await lab.value("SELECT count(*) FROM waiting") == 0
    finally:
        former.kill()
        await former.wait()
