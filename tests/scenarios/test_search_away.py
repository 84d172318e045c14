"""OpenSearch away while messages flow: nobody but search notices, and afterwards every ticket is found."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from uuid import uuid4

import pytest

from tests.support.desk import Desk
from tests.support.installation import WITH_DATABASE, Installation
from tests.support.invariants import Places, told, violations
from tests.support.link import Link
from tests.support.waiting import eventually

pytestmark = [pytest.mark.engines, pytest.mark.slow]

NOTICED = 10.0
"""Seconds within which `/readyz` of search must name the engine."""
PATIENCE = 180.0
"""Seconds in which what happened is to be seen."""
ROUNDS = 30
"""Of three reports by HTTP and mail: all of them are to fit on one page of results."""


@pytest.fixture
async def link(installation: Installation) -> AsyncIterator[Link]:
    """The way of this installation's search to its engine, to be cut; the engine itself serves others."""
    async with Link(installation.engines.opensearch_url) as made:
        await installation.terminate("search")
        installation.launch("search", OPENSEARCH_URL=made.url)
        await installation.ready("search")
        yield made
        await installation.terminate("search")
        installation.launch("search")
        await installation.ready("search")


async def found(desk: Desk, word: str) -> Counter[str]:
    """Ticket → how often a search for a word finds it."""
    answer = await desk.get("/v1/search", params={"q": word, "limit": 100})
    return Counter(hit["ticket_id"] for hit in answer["items"])


async def report(desk: Desk, word: str, number: int) -> str:
    """A ticket by HTTP, and a second one that reports the same; the second's id."""
    subject, text = (
        f"{word} gateway{number} drops tunnels",
        f"Gateway{number} resets every tunnel since {number} o'clock.",
    )
    first = await desk.message(subject, text, sender=f"first{number}@acme.example")
    await desk.ticket(first["ticket_id"], within=PATIENCE)
    second = await desk.message(subject, text, sender=f"second{number}@acme.example")
    return str(second["ticket_id"])


async def test_while_opensearch_is_away_all_else_goes_on_and_afterwards_every_ticket_is_found(
    desk: Desk, link: Link, dose: Callable[[int, int], int]
) -> None:
    installation, word = desk.installation, f"wort{uuid4().hex[:8]}"
    seconds_of = [await report(desk, word, 0)]
    await eventually(lambda: found(desk, word), within=PATIENCE, what="search works before")
    await link.cut()
    began = time.monotonic()

    async def named() -> bool:
        status, body = await installation.health("search", "readyz")
        assert status == 503, body
        assert [missing["name"] for missing in body["missing"]] == ["opensearch"]
        return True

    try:
        await eventually(named, within=NOTICED, every=0.1, what="/readyz of search naming opensearch")
        assert (await installation.health("search", "livez"))[0] == 200
        number = 0
        while time.monotonic() - began < dose(15, 60) or number < 5:
            if number == ROUNDS:
                await asyncio.sleep(0.2)
                continue
            number += 1
            seconds_of.append(await report(desk, word, number))
            assert (await desk.mail(f"{word} by mail {number}")).code == 250
        refused = await desk.call("GET", "/v1/search", params={"q": word})
        assert refused.status_code == 503, refused.text
        assert refused.headers["content-type"] == "application/problem+json"
        assert int(refused.headers["retry-after"]) >= 1
        for service in WITH_DATABASE:
            if service != "search":
                await installation.ready(service, within=PATIENCE)
        opened = {ticket["id"] for ticket in await desk.tickets(as_="manager")}
        assert opened >= set(seconds_of[:-1]), "tickets are opened meanwhile"
        triaged = {fact.key for fact in await desk.events("ticket.triaged")}
        assert triaged & set(seconds_of), "and triaged"
    finally:
        await link.mend()
    await installation.ready("search")
    await installation.quiet()
    wanted = {ticket["id"] for ticket in await desk.tickets(as_="manager") if word in ticket["subject"]}

    async def all_found() -> bool:
        hits = await found(desk, word)
        assert hits.keys() == wanted, f"{len(wanted - hits.keys())} of {len(wanted)} are not found"
        assert max(hits.values()) == 1
        return True

    assert len(wanted) == 3 * number + 2 <= 100
    await eventually(all_found, within=PATIENCE, every=0.5, what="every ticket found once")
    decided = {fact.key for fact in await desk.events("ticket.duplicates_found")}
    assert set(seconds_of) <= decided, f"{len(set(seconds_of) - decided)} repetitions were not told"
    findings = await violations(Places.of(installation), tap=desk.tap, tenants={desk.tenant})
    assert not findings, told(findings)
