"""Engines stopped in turn under running services: readiness names them, nothing accepted is lost, all by itself.

The services of this file run in one process, so it also shows that they work together as they do one by one.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.scenarios.engines import OwnEngines
from tests.support.desk import CUSTOMER, Desk, open_desk
from tests.support.engines import Engines
from tests.support.installation import TOGETHER, WITH_DATABASE, Installation, log_lines
from tests.support.invariants import Places, told, violations
from tests.support.link import Link
from tests.support.tap import Tap
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines

NOTICED = 10.0
"""Seconds within which a stopped engine must show in `/readyz`."""
PATIENCE = 180.0
"""Seconds in which what was held up is done."""
EVERYWHERE = (
    "/v1/tickets",
    "/v1/people",
    "/v1/quarantine",
    "/v1/triage/corrections",
    "/v1/sla/calendars/business_hours/hours?from=2026-11-23&to=2026-11-24",
    "/v1/escalations",
    "/v1/schedules",
    "/v1/webhooks",
    "/v1/notifications",
    "/v1/search/status",
)
"""Paths of every service with a database."""


@pytest.fixture(scope="module")
async def own() -> AsyncIterator[OwnEngines]:
    """Kafka and PostgreSQL in a folder that the engines' user reaches."""
    with tempfile.TemporaryDirectory(prefix="scenario-") as folder:
        Path(folder).chmod(0o755)
        engines = OwnEngines(Path(folder) / "state")
        try:
            yield engines
        finally:
            engines.stop("kafka", "postgres")


@pytest.fixture(scope="module")
async def link(engines: Engines) -> AsyncIterator[Link]:
    """The way to OpenSearch, which is everybody's and so cut off instead of stopped."""
    async with Link(engines.opensearch_url) as made:
        yield made


@pytest.fixture(scope="module")
async def together(
    own: OwnEngines, link: Link, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Installation]:
    """All services in one process on those engines."""
    addresses = replace(own.start_all(), opensearch_url=link.url)
    made = Installation(addresses, tmp_path_factory.mktemp("together"), processes=TOGETHER)
    try:
        await made.start()
        yield made
    finally:
        # A test that failed may have left an engine down; leaving needs both.
        own.start_all()
        await made.stop()


@pytest.fixture(scope="module")
async def desk(together: Installation) -> AsyncIterator[Desk]:
    tap = Tap(together.engines.kafka_url, together.prefix)
    made = await open_desk(together, tap, "lasting")
    yield made
    await made.close()
    await tap.close()


async def noticed(installation: Installation, engine: str, services: tuple[str, ...] = WITH_DATABASE) -> float:
    """Wait until `/readyz` of every service is 503 and names the engine, `/livez` staying 200; how long it took."""
    began = time.monotonic()

    async def named() -> bool:
        for service in services:
            status, body = await installation.health(service, "readyz")
            assert status == 503, (service, body)
            assert engine in {missing["name"] for missing in body["missing"]}, (service, body)
        return True

    await eventually(named, within=NOTICED, every=0.1, what=f"/readyz naming {engine}")
    took = time.monotonic() - began
    for service in services:
        assert (await installation.health(service, "livez"))[0] == 200, f"{service} is no less alive"
    return took


async def each_once(desk: Desk, accepted: dict[str, str]) -> None:
    """Every accepted message (id → subject) is the first message of exactly one ticket."""

    async def complete() -> Counter[str]:
        facts = await desk.events("ticket.created")
        # A relay that lost its session may have repeated a fact: the same id is the same fact.
        told = {fact.id: fact.data["message"]["message_id"] for fact in facts if fact.data}
        found = Counter(told.values())
        assert found.keys() >= accepted.keys(), f"{len(accepted.keys() - found.keys())} not yet"
        return found

    found = await eventually(complete, within=PATIENCE, every=0.2, what="a ticket for every accepted message")
    assert {message: found[message] for message in accepted} == dict.fromkeys(accepted, 1)
    subjects = Counter(ticket["subject"] for ticket in await desk.tickets())
    assert {subject: subjects[subject] for subject in accepted.values()} == dict.fromkeys(accepted.values(), 1)


async def worked_on(desk: Desk, accepted: dict[str, str]) -> None:
    """Each of these messages' tickets was triaged, has its clocks and is found, all of it once."""
    tickets = {
        fact.key
        for fact in await desk.events("ticket.created")
        if fact.data and fact.data["message"]["message_id"] in accepted
    }

    async def complete() -> bool:
        triaged = {fact.key for fact in await desk.events("ticket.triaged")}
        started = {fact.key for fact in await desk.events("sla.changed", change="started")}
        assert triaged >= tickets, f"{len(tickets - triaged)} not triaged"
        assert started >= tickets, f"{len(tickets - started)} without clocks"
        return True

    await eventually(complete, within=PATIENCE, every=0.2, what="everybody's work for every ticket")
    await desk.quiet()
    findings = await violations(Places.of(desk.installation), tap=desk.tap, accepted=accepted, tenants={desk.tenant})
    assert not findings, told(findings)


async def accept(desk: Desk, *subjects: str) -> dict[str, str]:
    return {(await desk.message(subject))["message_id"]: subject for subject in subjects}


async def test_services_in_one_process_do_what_they_do_one_by_one(desk: Desk) -> None:
    await each_once(desk, await accept(desk, "In one process"))
    status = (await desk.call("GET", "/v1/status", as_=None)).json()
    assert status["status"] == "ok"
    assert set(status["services"]) == set(WITH_DATABASE)


async def test_while_kafka_is_away_messages_are_accepted_and_become_tickets_after_its_return(
    desk: Desk, together: Installation, own: OwnEngines
) -> None:
    accepted = await accept(desk, *(f"Before Kafka went {n}" for n in range(20)))
    await asyncio.to_thread(own.stop, "kafka")
    try:
        await noticed(together, "kafka")
        accepted |= await accept(desk, *(f"Without Kafka {n}" for n in range(20)))
        mailed = await desk.mail("Mail without Kafka")
        accepted[mailed.message_id] = "Mail without Kafka"
    finally:
        await asyncio.to_thread(own.start, "kafka")
    accepted |= await accept(desk, *(f"After Kafka came back {n}" for n in range(20)))
    await together.ready()
    await each_once(desk, accepted)
    await worked_on(desk, accepted)


async def test_while_postgresql_is_away_nothing_is_accepted_and_everybody_is_told_to_come_again(
    desk: Desk, together: Installation, own: OwnEngines
) -> None:
    accepted = await accept(desk, *(f"Before PostgreSQL went {n}" for n in range(20)))
    await asyncio.to_thread(own.stop, "postgres")
    try:
        await noticed(together, "postgresql")
        lost = {"subject": "Lost?", "sender": {"address": CUSTOMER}}
        for method, path, body in (("POST", "/v1/messages", lost), *(("GET", path, None) for path in EVERYWHERE)):
            refused = await desk.call(method, path, as_="admin", json=body)
            assert refused.status_code == 503, (path, refused.text)
            assert refused.headers["content-type"] == "application/problem+json"
            assert int(refused.headers["retry-after"]) >= 1
        assert (await desk.mail("Lost?")).code // 100 == 4
        assert together.running[TOGETHER[0]].poll() is None, "the process lives on"
    finally:
        await asyncio.to_thread(own.start, "postgres")
    await together.ready()
    accepted |= await accept(desk, *(f"After PostgreSQL came back {n}" for n in range(20)))
    await each_once(desk, accepted)
    await worked_on(desk, accepted)
    assert "Lost?" not in {ticket["subject"] for ticket in await desk.tickets()}


async def test_while_opensearch_is_away_only_search_says_so_and_comes_back_by_itself(
    desk: Desk, together: Installation, link: Link
) -> None:
    accepted = await accept(desk, *(f"Before OpenSearch went {n}" for n in range(5)))
    await link.cut()
    try:
        await noticed(together, "opensearch", ("search",))
        others = [service for service in WITH_DATABASE if service != "search"]
        await together.ready(*others)
        refused = await desk.call("GET", "/v1/search", params={"q": "OpenSearch"})
        assert refused.status_code == 503, refused.text
        assert refused.headers["content-type"] == "application/problem+json"
        assert int(refused.headers["retry-after"]) >= 1
        accepted |= await accept(desk, *(f"Without OpenSearch {n}" for n in range(5)))
        await each_once(desk, accepted)
    finally:
        await link.mend()
    await together.ready()
    await worked_on(desk, accepted)

    async def found() -> bool:
        hits = await desk.get("/v1/search", params={"q": "OpenSearch", "limit": 100})
        assert {hit["subject"] for hit in hits["items"]} >= set(accepted.values())
        return True

    await eventually(found, within=PATIENCE, every=0.5, what="every ticket found")


async def test_an_engine_that_goes_is_said_once_and_kills_nothing(together: Installation) -> None:
    lines = log_lines(together.logs())
    assert [line for line in lines if line["level"] == "critical"] == []
    told = [line for line in lines if line["event"] == "not ready" and "postgresql" in line.get("missing", ())]
    assert {line["service"] for line in told} >= set(WITH_DATABASE)


async def test_a_stopping_process_drains_and_ends_with_status_0(desk: Desk, together: Installation) -> None:
    """The last of this file: it ends the process."""
    accepted = await accept(desk, *(f"At the end {n}" for n in range(50)))
    began = time.monotonic()
    assert await together.terminate("tickets") == 0
    assert time.monotonic() - began < 20
    await together.restart("tickets")
    await each_once(desk, accepted)
