"""What reaches the index: the newest state with all its texts, whatever the order, however often."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from shared.blobs import Blobs
from shared.contracts.directory import Role
from shared.contracts.event import Event
from tests.integration.search.conftest import OWN, Desk, Start, Ticket
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines


def story() -> tuple[Ticket, list[Event]]:
    """A ticket's life as events."""
    ticket = Ticket("VPN drops", "Every ten minutes.")
    events: list[Event] = [ticket.created(), ticket.state()]
    events += [ticket.message("Which gateway?"), ticket.state(), ticket.message("Berlin has a bad router", "internal")]
    events += [ticket.change(status="open", category="open"), ticket.change(priority={"rank": 1, "label": "P1"})]
    return ticket, events


async def test_a_document_is_the_newest_state_with_all_texts_whatever_the_order_of_arrival(desk: Desk) -> None:
    stories = [story() for _ in range(12)]
    draw = random.Random(4)
    for ticket, events in stories:
        shuffled = events + draw.sample(events, 3)
        draw.shuffle(shuffled)
        # The facts come again with the same id, as a redelivery does; states come again as they are.
        await desk.publish(*shuffled)
        assert ticket.revision == 5
    await desk.quiet()
    for ticket, _ in stories:
        found = await desk.document(ticket)
        assert found is not None
        assert (found["status"], found["priority"], found["rank"]) == ("open", "P1", 1)
        assert found["public_text"] == "Which gateway?\n\nEvery ten minutes."
        assert found["internal_text"] == "Berlin has a bad router"
        assert found["_version"] == (5 << 17) + 3


async def test_what_only_others_say_of_a_ticket_writes_nothing(desk: Desk) -> None:
    ticket = Ticket()
    await desk.open(ticket)
    before = await desk.document(ticket)
    told = ticket.state().model_copy(update={"revision": 7, "derived": {"sla": {"resolution": {"state": "running"}}}})
    await desk.publish(told)
    await desk.quiet()
    assert await desk.document(ticket) == before
    assert await desk.value("SELECT revision FROM document") == 7


async def test_a_tombstone_deletes_and_what_is_late_does_not_bring_it_back(desk: Desk) -> None:
    ticket = Ticket()
    await desk.open(ticket)
    await desk.tombstone(ticket)
    await desk.publish(ticket.message("Hello?"), ticket.state())
    await desk.quiet()
    assert await desk.document(ticket) is None
    # Nothing of what was said is left, also not of what came late.
    assert await desk.value("SELECT count(*) FROM message") == 0
    assert await desk.value("SELECT count(*) FROM document WHERE head IS NOT NULL OR gist IS NOT NULL") == 0


async def test_a_long_text_is_read_from_the_blob_store(start: Start, tmp_path: Path) -> None:
    desk = await start(blobs_url=tmp_path.as_uri())
    await desk.ready()
    reference = await Blobs(tmp_path.as_uri()).put(OWN.tenant, b"the quick brown fox " * 3000, "text/plain")
    ticket = Ticket("Long story", blob=reference)
    await desk.open(ticket)

    async def found() -> bool:
        document = await desk.document(ticket)
        assert document is not None
        assert document.get("public_text", "").startswith("the quick brown fox")
        return True

    await eventually(found, what="the text")


async def test_a_document_the_engine_refuses_is_put_aside_and_its_neighbours_go_on(desk: Desk) -> None:
    who = await desk.known(Role.ADMIN)
    bad, good = Ticket("Bad one", changes={"priority": {"rank": 10**6, "label": "P1"}}), Ticket("Good one")
    await desk.publish(bad.created(), good.created(), bad.state(), good.state())
    await desk.quiet()
    assert await desk.document(bad) is None
    assert await desk.document(good) is not None
    status = (await desk.client.get("/v1/search/status", headers=who.headers)).json()
    assert (status["refused"], status["waiting"]) == (1, 0)
    assert status["refused_here"][0]["ticket_id"] == str(bad.id)
    assert "400" in status["refused_here"][0]["reason"]

    replayed = await desk.client.post("/v1/search/replay", headers=who.headers)
    assert replayed.json() == {"documents": 1}
    await desk.publish(bad.change(priority={"rank": 1, "label": "P1"}))
    await desk.quiet()
    assert await desk.document(bad) is not None

    async def taken() -> bool:
        answer: dict[str, Any] = (await desk.client.get("/v1/search/status", headers=who.headers)).json()
        assert answer["refused"] == 0
        return True

    await eventually(taken, what="nothing refused")
