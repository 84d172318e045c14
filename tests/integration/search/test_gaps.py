"""A new database of an old installation: states from their topic, texts by reference from tickets' own export."""

from __future__ import annotations

import time

import asyncpg
import pytest

from services.search import gaps as filling
from shared.auth import service_token
from shared.auth.keys import derive
from tests.integration.search.conftest import Start, Ticket
from tests.integration.tickets.conftest import build, message, reply, ticket_id
from tests.support.api import MASTER_KEY, served
from tests.support.databases import ScratchDatabases
from tests.support.engines import Engines
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines


async def test_texts_that_no_topic_has_any_more_come_from_the_export(
    start: Start, engines: Engines, databases: ScratchDatabases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "_PAUSE", 0.1)
    tickets = await build(engines, databases, await databases.create("tickets"))
    await tickets.tenant()
    await tickets.team()
    opened = [message(subject=f"Old matter {n}", text=f"From long ago {n}.") for n in range(3)]
    await tickets.handle(*opened)
    await tickets.handle(reply(opened[1], text="Anything new?"))
    tickets.app.state.service_key = service_token.key_of(bytes.fromhex(MASTER_KEY))
    async with served(tickets.app) as url:
        desk = await start(tickets_url=url, gap_seconds=0.2)
        await desk.ready()
        states = [Ticket(f"Old matter {n}", id=ticket_id(first), tenant="acme") for n, first in enumerate(opened)]
        # As it is on the compacted topic: with references, without a text.
        await desk.publish(*(ticket.state() for ticket in states))

        async def complete() -> bool:
            first, second = await desk.document(states[0]), await desk.document(states[1])
            assert first is not None
            assert second is not None
            assert first.get("public_text") == "From long ago 0."
            assert second.get("public_text") == "Anything new?\n\nFrom long ago 1."
            return True

        await eventually(complete, what="the texts", within=40)

        async def closed() -> bool:
            connection = await asyncpg.connect(desk.admin_url)
            try:
                assert await connection.fetchval("SELECT count(*) FROM gap") == 0
                return True
            finally:
                await connection.close()

        await eventually(closed, what="no gap left", within=40)
    await tickets.http.aclose()
    await tickets.database.close()


async def test_the_export_takes_a_token_for_this_purpose_and_tenant_and_no_other(
    engines: Engines, databases: ScratchDatabases
) -> None:
    tickets = await build(engines, databases, await databases.create("tickets"))
    await tickets.tenant()
    await tickets.handle(message(subject="Theirs"))
    master = bytes.fromhex(MASTER_KEY)
    key = service_token.key_of(master)
    tickets.app.state.service_key = key
    client = tickets.http
    good = service_token.make(key, service_token.TICKETS_EXPORT, "acme", now=time.time())
    answer = await client.get("/v1/tickets/export", headers={"Authorization": f"Bearer {good}"})
    assert answer.status_code == 200
    assert "Theirs" in answer.text
    other = service_token.make(key, service_token.TICKETS_EXPORT, "beta", now=time.time())
    assert (await client.get("/v1/tickets/export", headers={"Authorization": f"Bearer {other}"})).text == ""
    refused = [
        service_token.make(key, "tickets.delete", "acme", now=time.time()),
        service_token.make(key, service_token.TICKETS_EXPORT, "acme", now=time.time() - 300),
        service_token.make(derive(master, "other"), service_token.TICKETS_EXPORT, "acme", now=time.time()),
        good[:-2] + "AA",
    ]
    for token in refused:
        answer = await client.get("/v1/tickets/export", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401, token
    # It opens nothing else.
    assert (await client.get("/v1/tickets", headers={"Authorization": f"Bearer {good}"})).status_code == 401
    await tickets.http.aclose()
    await tickets.database.close()
