"""Asked to end, a process finishes what it has in hand and leaves nothing to be delivered again."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.faults.contracts import Asked
from tests.support.faults.lab import Lab
from tests.support.faults.records import asked, record, traffic
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines

DRAIN = 10.0


async def test_a_process_asked_to_end_under_load_finishes_and_leaves_nothing_to_repeat(lab: Lab) -> None:
    worker = await lab.start(parts="bus,relay,timers,tasks", batch_pause=0.3)
    await worker.joined()
    await lab.send(traffic(lab.random, 40, 40))
    await lab.send([asked("bell", n, kind="timer", pause=0.2) for n in range(20)])
    await lab.send([asked("work", n, kind="task", pause=0.3) for n in range(20)])

    async def under_way() -> bool:
        return bool(await lab.value("SELECT count(*) FROM effect") > 100)

    await eventually(under_way, every=0.05)
    began = time.monotonic()
    assert await worker.terminate() == 0
    assert time.monotonic() - began < DRAIN
    found = await lab.look()
    assert found.outbox == [], "the relay ended before the bus"
    applied = {effect[3] for effect in found.effects}
    early = [
        entry
        for entry in lab.journal.read()
        if entry.topic in {"fault.asked", "fault.noted"}
        and entry.id in applied
        and entry.offset >= found.committed.get((entry.topic, entry.partition), 0)
    ]
    assert early == [], f"{len(early)} handled events would be delivered again"
    # Offsets say no more than what was done, either; the rest is done by the next one.
    assert await lab.findings(settled=False) != [], "it had done everything: this run proves nothing"
    await lab.start(parts="bus,relay,timers,tasks")
    await lab.verify()


async def test_processes_replaced_one_after_another_under_load_lose_and_repeat_nothing(lab: Lab) -> None:
    old = [await lab.start(batch_pause=0.05) for _ in range(2)]
    for worker in old:
        await worker.joined()
    stop = asyncio.Event()

    async def sending() -> None:
        first = 0
        while not stop.is_set():
            await lab.send(traffic(lab.random, 20, 2, first=first))
            first += 2
            await asyncio.sleep(0.1)

    task = asyncio.create_task(sending())
    for worker in old:
        new = await lab.start(batch_pause=0.05)
        await new.joined()
        assert await worker.terminate() == 0
        assert "CRITICAL" not in worker.log.read_text().upper().replace('"LEVEL":"INFO"', "")
    stop.set()
    await task
    await lab.verify()


async def test_the_inbox_of_a_running_service_is_pruned_by_age(lab: Lab) -> None:
    now = datetime.now(UTC)
    old, young = now - timedelta(days=40), now - timedelta(days=3)
    facts = [Asked(tenant_id="acme", thing="t1", seq=n) for n in range(20)]
    aged = [record(fact, time=old if fact.seq % 2 else young) for fact in facts]
    await lab.send(aged)
    first = await lab.start(inbox_days=67)
    await lab.verify()
    assert await lab.value("SELECT count(*) FROM inbox") == 20
    assert await first.terminate() == 0
    await lab.start(inbox_days=14)

    async def pruned() -> bool:
        return bool(await lab.value("SELECT count(*) FROM inbox") == 10)

    await eventually(pruned, what="old partitions dropped")
    kept = {str(row["ce_id"]) for row in await lab.sql("SELECT ce_id FROM inbox")}
    assert kept == {one.id for one in aged if one.seq % 2 == 0}
    # The young ones are still known: a redelivery has no effect.
    await lab.send([one for one in aged if one.seq % 2 == 0])
    await lab.send([asked("t2", 1), asked("t3", 1), asked("t4", 1)])

    async def passed() -> bool:
        return bool(await lab.value("SELECT count(*) FROM effect WHERE key <> 't1'") == 3)

    await eventually(passed)
    assert await lab.value("SELECT count(*) FROM effect WHERE key = 't1'") == 20
