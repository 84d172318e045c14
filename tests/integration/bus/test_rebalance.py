"""Instances come and go: every effect once, each key in order, nobody waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from shared.envelope import Answer, Received
from tests.support.bus import Bench, Counted, count, wire
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines


async def test_instances_joining_and_leaving_under_load_lose_and_repeat_nothing(bench: Bench) -> None:
    async def slowish(tx: Any, batch: Sequence[Received[Any]]) -> Sequence[Answer]:
        await asyncio.sleep(0.02)
        return await count(tx, batch)

    async def produce() -> None:
        for n in range(60):
            await bench.send(
                "test.counted", [wire(Counted(tenant_id="acme", thing=f"t{t}", number=n)) for t in range(20)]
            )
            await asyncio.sleep(0.1)

    producing = asyncio.create_task(produce())
    stays = await bench.start({"test.counted": slowish})
    for _ in range(3):
        await asyncio.sleep(0.8)
        other = await bench.start({"test.counted": slowish})
        await asyncio.sleep(1.2)
        await other.stop()
    await producing

    async def done() -> bool:
        return bool(await bench.value("SELECT count(*) FROM effect") >= 1200)

    await eventually(done)
    assert await bench.value("SELECT count(*) FROM effect") == 1200
    rows = await bench.rows("SELECT key, array_agg(number ORDER BY id) AS numbers FROM effect GROUP BY key")
    assert {row["key"]: row["numbers"] for row in rows} == {f"t{t}": list(range(60)) for t in range(20)}
    assert stays.bus._generation >= 4, "no rebalance took place"


async def test_a_stopping_instance_finishes_the_batch_in_flight(bench: Bench) -> None:
    begun = asyncio.Event()

    async def slow(tx: Any, batch: Sequence[Received[Any]]) -> Sequence[Answer]:
        begun.set()
        await asyncio.sleep(1.0)
        return await count(tx, batch)

    await bench.send("test.counted", [wire(Counted(tenant_id="acme", thing="t", number=n)) for n in range(5)])
    one = await bench.start({"test.counted": slow})
    await begun.wait()
    await one.stop()
    assert await bench.value("SELECT count(*) FROM effect") == 5
    assert await bench.value("SELECT count(*) FROM outbox") == 0, "the relay ended before the bus"
    assert len(await bench.read("test.told")) == 5
    second = await bench.start()
    await bench.send("test.counted", [wire(Counted(tenant_id="acme", thing="t", number=5))])

    async def sixth() -> bool:
        return bool(await bench.value("SELECT count(*) FROM effect") == 6)

    await eventually(sixth)
    assert second.metrics.events("test.counted", "duplicate")._value.get() == 0, "offsets were not committed"
