"""Another index behind the alias: filled from what is stored while changes go on, swapped when it is whole."""

from __future__ import annotations

from uuid import UUID

import asyncpg
import pytest
from pydantic import SecretStr

from services.search import indexer as indexing
from services.search.app import ROUTES
from services.search.domain import mapping
from shared.contracts.directory import Role
from tests.integration.search.conftest import Desk, Start, Ticket
from tests.support.databases import ScratchDatabases
from tests.support.topics import create_topics
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines


async def indexes(desk: Desk) -> list[str]:
    answer = await desk.opensearch.get(f"/{desk.settings.index_prefix}tickets-*/_alias")
    return sorted(answer.json())


async def searched(desk: Desk) -> list[str]:
    answer = await desk.opensearch.get(f"/_alias/{desk.alias}")
    return sorted(answer.json())


async def swapped(desk: Desk, name: str) -> None:
    async def done() -> bool:
        assert await searched(desk) == [name]
        assert await indexes(desk) == [name]
        return True

    await eventually(done, what="the swap", within=30)


async def test_a_rebuild_goes_on_under_writes_and_loses_none(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    # Pages of two, so that changes come before, at and behind every place of the walk.
    monkeypatch.setattr(indexing, "BATCH", 2)
    who = await desk.known(Role.ADMIN)
    tickets = [Ticket(f"Old {n}", id=UUID(int=n << 100)) for n in range(1, 15)]
    await desk.open(*tickets)
    prefix = desk.settings.index_prefix
    assert await searched(desk) == [f"{prefix}tickets-1"]

    answer = await desk.client.post("/v1/search/rebuild", headers=who.headers)
    assert answer.status_code == 202
    assert [(one["name"], one["state"]) for one in answer.json()["indexes"]] == [
        (f"{prefix}tickets-1", "live"),
        (f"{prefix}tickets-2", "filling"),
    ]
    again = await desk.client.post("/v1/search/rebuild", headers=who.headers)
    assert again.status_code == 409
    for ticket in tickets:
        await desk.publish(ticket.change(status="open", subject=f"New {ticket.subject}"))
        assert len((await desk.find(who, limit=100))["items"]) == len(tickets)
    added = [Ticket(f"New added {n}", id=UUID(int=(n << 100) + 5)) for n in range(1, 15)]
    await desk.open(*added)
    await swapped(desk, f"{prefix}tickets-2")
    await desk.quiet()
    found = await desk.find(who, limit=100)
    assert found["total"] == 28
    assert all(item["subject"].startswith("New") for item in found["items"])
    status = (await desk.client.get("/v1/search/status", headers=who.headers)).json()
    assert [(one["state"], one["filled"]) for one in status["indexes"]] == [("live", True)]


async def test_where_one_tenant_runs_the_installation_no_other_rebuilds_it(start: Start) -> None:
    desk = await start(operator_tenant="operator")
    theirs, ours = await desk.known(Role.ADMIN), await desk.known(Role.ADMIN, tenant="operator")
    for path in ("rebuild", "replay"):
        assert (await desk.client.post(f"/v1/search/{path}", headers=theirs.headers)).status_code == 403
        assert (await desk.client.post(f"/v1/search/{path}", headers=ours.headers)).status_code == 202
    assert (await desk.client.get("/v1/search/status", headers=theirs.headers)).status_code == 200
    await swapped(desk, f"{desk.settings.index_prefix}tickets-2")


async def test_a_rebuild_goes_on_where_a_crash_left_it(start: Start) -> None:
    desk = await start()
    await desk.ready()
    tickets = [Ticket(f"Number {n}", id=UUID(int=n << 100)) for n in range(1, 8)]
    await desk.open(*tickets)
    await desk.stop()
    prefix = desk.settings.index_prefix

    # It died after it had filled the first three, and had made the index.
    again = await start()
    await again.stop()
    connection = await asyncpg.connect(desk.admin_url)
    await connection.execute(
        "INSERT INTO generation (number, fingerprint, state, after, written) VALUES (2, $1, 'filling', $2, 3)",
        mapping.fingerprint(1),
        tickets[2].id,
    )
    await connection.close()
    last = await start()
    await last.ready()
    await swapped(last, f"{prefix}tickets-2")
    answer = await last.opensearch.get(f"/{last.alias}/_count")
    # The first three were in the index that the crash left; this test made none, so the walk did not repeat them.
    assert answer.json()["count"] == 4


async def test_another_mapping_is_another_index_at_the_next_start(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = await start()
    await desk.ready()
    ticket = Ticket("Carried over")
    await desk.open(ticket)
    await desk.stop()
    monkeypatch.setitem(mapping.PROPERTIES, "mood", mapping.KEYWORD)
    later = await start()
    await later.ready()
    await swapped(later, f"{later.settings.index_prefix}tickets-2")
    assert await later.document(ticket) is not None


async def test_a_new_database_does_not_take_up_the_index_of_the_one_before(
    start: Start, databases: ScratchDatabases
) -> None:
    desk = await start()
    await desk.ready()
    gone = Ticket("Of the time before")
    await desk.open(gone)
    await desk.stop()
    # The topics keep nothing of it either.
    url = await databases.create("search")
    again = await start(database_url=SecretStr(url), topic_prefix=f"{desk.settings.topic_prefix}later.")
    await create_topics(
        again.settings.kafka_url, again.settings.topic_prefix, [r.topic for r in ROUTES], groups=["search"]
    )

    async def another_is_searched() -> bool:
        assert await searched(again) == [f"{again.settings.index_prefix}tickets-2"]
        return True

    await eventually(another_is_searched, what="the new index")
    assert await again.document(gone) is None
