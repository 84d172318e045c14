"""Webhooks under trouble: dead and slow endpoints, dying processes, several at once, what piles up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from services.notify.store.webhook_deliveries import forget
from services.notify.webhooks import dispatcher
from tests.integration.notify.webhook_ground import (
    Ground,
    Sink,
    build_parts,
    created,
    fact,
    ground,
    settled,
    sink,
    working,
)
from tests.support.databases import ScratchDatabases
from tests.support.engines import Engines
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines


@pytest.fixture
async def desk(engines: Engines, databases: ScratchDatabases) -> AsyncIterator[Ground]:
    url = await databases.create("notify")
    async with ground(url, databases.admin(url)) as made:
        yield made


@pytest.fixture
async def at() -> AsyncIterator[Sink]:
    async with sink() as made:
        yield made


async def test_neither_a_dead_nor_a_silent_endpoint_holds_up_another(desk: Ground, at: Sink) -> None:
    at.blocked["/silent"] = asyncio.Event()
    dead = await desk.add("http://127.0.0.1:9/dead")
    silent = await desk.add(f"{at.url}/silent")
    well = await desk.add(f"{at.url}/well")
    async with working(desk.parts):
        await desk.tell(*(fact(created()) for _ in range(100)))
        await settled(desk, well, "delivered", 100)
        assert len(at.at("/silent")) <= 8
        assert await desk.deliveries(silent, state="delivered") == []

        async def refused() -> bool:
            found = await desk.deliveries(dead, limit="200")
            return any(one["error"] == "connection" for one in found)

        await eventually(refused)
        # Five failures in a row, then a pause: the rest waits without losing attempts.
        tried = [one for one in await desk.deliveries(dead, limit="200") if one["attempts"]]
        assert len(tried) < 40
        at.blocked["/silent"].set()
        await settled(desk, silent, "delivered", 100)


async def test_deliveries_to_a_healthy_endpoint_go_out_in_order(
    engines: Engines, databases: ScratchDatabases, at: Sink
) -> None:
    url = await databases.create("notify")
    async with ground(url, databases.admin(url), webhook_concurrency=1) as desk:
        endpoint = await desk.add(f"{at.url}/hook")
        facts = [fact(created()) for _ in range(150)]
        async with working(desk.parts):
            for start in range(0, 150, 10):
                await desk.tell(*facts[start : start + 10])
            await settled(desk, endpoint, "delivered", 150)
    assert [one.id for one in at.got] == [str(one.id) for one in facts]


async def test_a_process_that_dies_between_the_2xx_and_the_commit_repeats_the_same_id(
    desk: Ground, at: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = await desk.add(f"{at.url}/hook")
    told = fact(created())
    await desk.tell(told)

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(desk.parts.dispatcher._settling, "write", never)
    dying = asyncio.create_task(desk.parts.dispatcher.run())

    async def sent() -> bool:
        return len(at.got) == 1

    await eventually(sent)
    dying.cancel()
    await asyncio.sleep(0.05)
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    [left] = await desk.deliveries(endpoint)
    assert (left["state"], left["attempts"]) == ("pending", 1)
    await desk.rows("UPDATE webhook_delivery SET lease_until = now() - interval '1 second'")
    successor = build_parts(desk.database, "", webhook_allowed_networks="127.0.0.0/8")
    async with working(successor):
        [done] = await settled(desk, endpoint, "delivered")
    await successor.sender.close()
    assert done["attempts"] == 2
    assert [one.id for one in at.got] == [str(told.id)] * 2


async def test_a_result_that_comes_after_its_lease_is_dropped(desk: Ground, at: Sink) -> None:
    endpoint = await desk.add(f"{at.url}/hook")
    at.blocked["/hook"] = asyncio.Event()
    async with working(desk.parts):
        await desk.tell(fact(created()))

        async def sent() -> bool:
            return len(at.got) == 1

        await eventually(sent)
        await desk.rows("UPDATE webhook_delivery SET lease_token = gen_random_uuid()")
        at.blocked["/hook"].set()

        async def written() -> bool:
            return not desk.parts.dispatcher._results

        await eventually(written)
        [one] = await desk.deliveries(endpoint)
        assert one["state"] == "pending"


async def test_two_instances_share_the_work_and_send_nothing_twice(desk: Ground, at: Sink) -> None:
    endpoint = await desk.add(f"{at.url}/hook")
    other = build_parts(desk.database, "", webhook_allowed_networks="127.0.0.0/8")
    facts = [fact(created()) for _ in range(200)]
    async with working(desk.parts), working(other):
        for start in range(0, 200, 20):
            await desk.tell(*facts[start : start + 20])
        await settled(desk, endpoint, "delivered", 200)
    await other.sender.close()
    assert sorted(one.id for one in at.got) == sorted(str(one.id) for one in facts)


async def test_a_drain_finishes_what_is_under_way_and_gives_back_the_rest(desk: Ground, at: Sink) -> None:
    endpoint = await desk.add(f"{at.url}/hook")
    at.blocked["/hook"] = asyncio.Event()
    await desk.tell(*(fact(created()) for _ in range(16)))
    task = asyncio.create_task(desk.parts.dispatcher.run())

    async def busy() -> bool:
        return len(at.got) == 8

    await eventually(busy)
    task.cancel()
    await asyncio.sleep(0.05)
    at.blocked["/hook"].set()
    await asyncio.gather(task, return_exceptions=True)
    await settled(desk, endpoint, "delivered", 8)
    left = await settled(desk, endpoint, "pending", 8)
    assert {one["attempts"] for one in left} == {0}
    assert await desk.rows("SELECT 1 FROM webhook_delivery WHERE lease_token IS NOT NULL") == []


async def test_an_endpoint_that_asks_to_be_left_alone_is(desk: Ground, at: Sink) -> None:
    at.says("/hook", 429, 200, Retry_After="600")
    endpoint = await desk.add(f"{at.url}/hook")
    async with working(desk.parts):
        await desk.tell(fact(created()))

        async def told() -> bool:
            [one] = await desk.deliveries(endpoint)
            return bool(one["status"] == 429)

        await eventually(told)
        await desk.tell(fact(created()))
        await desk.forward(timedelta(seconds=540))
        await asyncio.sleep(0.7)  # longer than the loop ever sleeps
        assert len(at.got) == 1
        await desk.forward(timedelta(seconds=120))
        await settled(desk, endpoint, "delivered", 2)


async def test_old_deliveries_and_bodies_are_forgotten_and_pending_ones_never(desk: Ground, at: Sink) -> None:
    endpoint = await desk.add(f"{at.url}/hook")
    await desk.tell(fact(created()))
    async with working(desk.parts):
        await settled(desk, endpoint, "delivered")
    await desk.tell(fact(created()))
    await desk.forward(timedelta(days=40))
    assert await forget(desk.database, timedelta(days=14)) == 3
    assert [one["state"] for one in await desk.deliveries(endpoint)] == ["pending"]
    async with working(desk.parts):

        async def tried() -> bool:
            [one] = await desk.deliveries(endpoint)
            return bool(one["error"] == "forgotten")

        await eventually(tried)


async def test_a_result_that_cannot_be_written_takes_no_other_with_it(
    desk: Ground, at: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = await desk.add(f"{at.url}/hook")
    facts = [fact(created()) for _ in range(9)]
    write = desk.parts.dispatcher._settling.write
    monkeypatch.setattr(dispatcher, "HOUSEKEEPING", 0.1)

    async def picky(results: Any) -> None:
        if any(one.leased.event_id == facts[4].id for one in results):
            raise ValueError("nobody expected this")
        await write(results)

    monkeypatch.setattr(desk.parts.dispatcher._settling, "write", picky)
    async with working(desk.parts):
        await desk.tell(*facts)
        await settled(desk, endpoint, "delivered", 8)
        [left] = await desk.deliveries(endpoint, state="pending")
        assert left["event_id"] == str(facts[4].id)
        monkeypatch.setattr(desk.parts.dispatcher._settling, "write", write)
        await desk.rows(
            "UPDATE webhook_delivery SET lease_until = now() - interval '1 s' WHERE lease_until IS NOT NULL"
        )
        await settled(desk, endpoint, "delivered", 9)


async def test_what_waits_long_in_its_lane_is_still_signed(
    engines: Engines, databases: ScratchDatabases, at: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "KEYS_HELD", 0.0)
    url = await databases.create("notify")
    async with ground(url, databases.admin(url), webhook_concurrency=1) as desk:
        endpoint = await desk.add(f"{at.url}/hook")
        await desk.tell(*(fact(created()) for _ in range(30)))
        async with working(desk.parts):
            await settled(desk, endpoint, "delivered", 30)
    assert len(at.got) == 30
    assert all(one.is_signed_with(endpoint["secret"]) for one in at.got)
