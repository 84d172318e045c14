"""Webhooks end to end: facts in, signed requests at a sink, what became of them by the API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest

from tests.integration.notify.webhook_ground import (
    Ground,
    Sink,
    created,
    fact,
    ground,
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


async def settled(desk: Ground, endpoint: dict[str, Any], state: str, count: int = 1) -> list[dict[str, Any]]:
    async def reached() -> list[dict[str, Any]]:
        found = await desk.deliveries(endpoint, state=state, limit="200")
        assert len(found) == count, found
        return found

    return await eventually(reached, what=f"{count} {state}")


async def test_a_fact_is_sent_signed_once_to_each_endpoint_that_wants_it(desk: Ground, at: Sink) -> None:
    every = await desk.add(f"{at.url}/every")
    tickets = await desk.add(f"{at.url}/tickets", event_types=["ticket.created"])
    await desk.add(f"{at.url}/sla", event_types=["sla.*"])
    await desk.add(f"{at.url}/theirs", who=desk.stranger)
    told = fact(created())
    async with working(desk.parts):
        await desk.tell(told)
        await settled(desk, every, "delivered")
        await settled(desk, tickets, "delivered")
    assert sorted(one.path for one in at.got) == ["/every", "/tickets"]
    [got] = at.at("/every")
    assert got.id == str(told.id)
    assert got.is_signed_with(every["secret"])
    assert not got.is_signed_with(tickets["secret"])
    assert got.json["type"] == "ticket.created.v1"
    assert got.json["data"] == told.event.model_dump(mode="json", exclude_none=True)
    assert datetime.fromisoformat(got.json["timestamp"]) == told.time
