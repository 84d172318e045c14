"""OpenSearch away, slow to return, emptied: nothing is lost, readiness says so, and all catches up by itself."""

from __future__ import annotations

import asyncio
import time

import pytest

from services.search.engine import Engine, Outcome, Write
from shared.contracts.directory import Role
from tests.integration.search.conftest import Desk, Start, Ticket
from tests.support.engines import Engines
from tests.support.link import Link
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines


async def unready(desk: Desk) -> bool:
    missing = await desk.missing()
    assert [one.name for one in missing] == ["opensearch"], missing
    return True


@pytest.mark.parametrize("how", ["cut", "silent"])
async def test_nothing_is_lost_while_the_engine_is_away(start: Start, engines: Engines, how: str) -> None:
    async with Link(engines.opensearch_url) as link:
        desk = await start(opensearch_url=link.url, search_seconds=0.3, bulk_seconds=1.0)
        await desk.ready()
        who = await desk.known(Role.AGENT)
        before = Ticket("Before it")
        await desk.open(before)
        if how == "cut":
            await link.cut()
        else:
            link.silence()
        began = time.monotonic()
        await eventually(lambda: unready(desk), what="unreadiness", within=10)
        assert time.monotonic() - began < 10
        answer = await desk.client.get("/v1/search", headers=who.headers)
        assert answer.status_code == 503
        assert answer.headers["retry-after"]

        while_away = [Ticket(f"While away {n}") for n in range(30)]
        for ticket in while_away:
            await desk.publish(ticket.created(), ticket.state())
        await desk.publish(before.message("Still there?"), before.state())

        async def stored() -> bool:
            assert await desk.value("SELECT count(*) FROM dirty") == 31
            return True

        await eventually(stored, what="everything stored")
        if how == "cut":
            await link.mend()
        else:
            link.speak()
        await desk.ready()
        await desk.quiet()
        for ticket in while_away:
            assert await desk.document(ticket) is not None
        document = await desk.document(before)
        assert document is not None
        assert document["public_text"].startswith("Still there?")


async def test_what_the_engine_is_too_busy_for_is_written_later(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    busy = Ticket("Busy")
    answered: list[int] = []
    write = Engine.write

    async def refusing(engine: Engine, number: int, writes: list[Write]) -> list[Outcome]:
        outcomes = []
        for one in writes:
            if one.ticket_id == busy.id and len(answered) < 3:
                answered.append(429)
                outcomes.append(Outcome(one, 429, "rejected_execution_exception"))
            else:
                outcomes += await write(engine, number, [one])
        return outcomes

    monkeypatch.setattr(Engine, "write", refusing)
    neighbour = Ticket("Neighbour")
    await desk.open(busy, neighbour)
    assert len(answered) == 3
    assert await desk.document(busy) is not None
    assert await desk.document(neighbour) is not None
    assert await desk.value("SELECT count(*) FROM refused") == 0


async def test_an_index_that_was_deleted_is_filled_anew_from_what_is_stored(desk: Desk) -> None:
    tickets = [Ticket(f"Number {n}") for n in range(5)]
    await desk.open(*tickets)
    await desk.opensearch.delete(f"/{desk.settings.index_prefix}tickets-1")
    await eventually(lambda: unready(desk), what="unreadiness", within=10)
    await desk.publish(tickets[0].change(status="open"))
    await desk.ready()

    async def all_there() -> bool:
        found = [await desk.document(ticket) for ticket in tickets]
        assert all(found)
        return True

    await eventually(all_there, what="all documents")
    await desk.quiet()
    document = await desk.document(tickets[0])
    assert document is not None
    assert document["status"] == "open"


async def test_two_instances_write_as_one_and_either_goes_on_alone(start: Start) -> None:
    first, second = await start(), await start()
    await asyncio.gather(first.ready(), second.ready())
    one = Ticket("With both")
    await first.open(one)
    await first.stop()
    other = Ticket("With one")
    await second.open(other)
    assert await second.document(one) is not None
    assert await second.document(other) is not None
