"""Tickets that report the same, found among the batch, the last minutes and the index."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shared.contracts.decision import TicketDuplicatesFound
from tests.integration.search.conftest import Desk, Start, Ticket
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines


async def decided(desk: Desk, count: int) -> list[TicketDuplicatesFound]:
    async def published() -> list[TicketDuplicatesFound]:
        found = await desk.duplicates()
        assert len(found) >= count, found
        return found

    return await eventually(published, what=f"{count} decisions")


async def all_checked(desk: Desk) -> None:
    async def nothing_left() -> bool:
        left = await desk.value("SELECT count(*) FROM duplicate_check")
        assert left == 0
        return True

    await eventually(nothing_left, what="checks against the index")


async def test_reports_of_one_outage_in_the_same_second_are_found_before_any_is_indexed(start: Start) -> None:
    # The index is never asked.
    desk = await start(duplicate_share=0.0)
    await desk.ready()
    now = datetime.now(UTC)
    first = Ticket(
        "Checkout is down, payments fail with ERR-5021", "Hi,\n\nnobody can pay since 10:00.\n\nBest, Ann", at=now
    )
    second = Ticket(
        "Payments fail at checkout: ERR-5021",
        "Hello team,\n\ncheckout is down for all of us.",
        at=now + timedelta(seconds=1),
    )
    third = Ticket(
        "checkout down - payment faild (ERR-5021)",
        "Sehr geehrte Damen und Herren,\n\nnobody can pay.\n\nMfG",
        at=now + timedelta(seconds=1),
    )
    other = Ticket("Salary statement missing", "Where is the statement of October?", at=now + timedelta(seconds=1))
    foreign = Ticket(first.subject, first.text, tenant="beta", at=now + timedelta(seconds=2))
    await desk.publish(*(ticket.created() for ticket in (first, second, third, other, foreign)))
    found = {one.ticket_id: one for one in await decided(desk, 2)}
    assert found.keys() == {second.id, third.id}
    for one in found.values():
        assert first.id in {candidate.ticket_id for candidate in one.candidates}
        assert not one.full_check
        assert all(candidate.score >= 0.5 for candidate in one.candidates)
        assert all(candidate.source in {"batch", "recent"} for candidate in one.candidates)


async def test_an_older_ticket_is_found_in_the_index_and_named_once(start: Start) -> None:
    desk = await start(duplicate_minutes=0.0001)
    await desk.ready()
    old = Ticket(
        "Berlin VPN gateway drops every ten minutes", "The tunnel resets.", at=datetime.now(UTC) - timedelta(days=3)
    )
    solved = Ticket(
        "VPN gateway in Berlin drops",
        "Every ten minutes.",
        at=datetime.now(UTC) - timedelta(days=90),
        changes={"status": "closed", "category": "closed", "updated_at": datetime.now(UTC) - timedelta(days=60)},
    )
    await desk.open(old, solved)
    await all_checked(desk)
    new = Ticket(
        "VPN gateway in Berlin drops every few minutes", "My tunnel resets all the time.", requester=old.requester
    )
    await desk.publish(new.created(), new.state())
    (found,) = await decided(desk, 1)
    assert found.ticket_id == new.id
    (candidate,) = found.candidates
    assert (candidate.ticket_id, candidate.source, candidate.same_requester) == (old.id, "index", True)
    assert found.full_check
    assert "berlin" in candidate.reason
    await all_checked(desk)
    assert len(await desk.duplicates()) == 1


async def test_the_index_says_nothing_again_of_what_was_found_at_once(desk: Desk) -> None:
    now = datetime.now(UTC)
    first = Ticket("Warehouse scanner frozen at gate seven", "It shows a blue screen.", at=now)
    again = Ticket("Warehouse scanner frozen at gate seven", "Blue screen again.", at=now + timedelta(seconds=1))
    await desk.open(first, again)
    (found,) = await decided(desk, 1)
    await all_checked(desk)
    assert [one.decision_id for one in await desk.duplicates()] == [found.decision_id]
    checked = desk.service.metrics
    assert checked is not None
    assert (
        checked.registry.get_sample_value("deskwire_duplicate_checks_total", {"service": "search", "kind": "full"}) == 2
    )


async def test_a_replay_of_long_ago_decides_nothing(desk: Desk) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=2)
    await desk.open(
        Ticket("Warehouse scanner frozen at gate seven", "Blue screen.", at=long_ago),
        Ticket("Warehouse scanner frozen at gate seven", "Blue screen.", at=long_ago + timedelta(seconds=1)),
    )
    assert await desk.value("SELECT count(*) FROM duplicate_check") == 0
    assert await desk.duplicates() == []


async def test_what_machines_write_and_what_says_nothing_is_never_a_duplicate(desk: Desk) -> None:
    away = [
        Ticket("Automatic reply: Your order", "I am out of the office until Monday. In urgent cases write to Bob."),
        Ticket("Automatic reply: Your order", "I am out of the office until Monday. In urgent cases write to Bob."),
        Ticket("Monthly digest of scheduled maintenance", "Same text.", automatic=True),
        Ticket("Monthly digest of scheduled maintenance", "Same text.", automatic=True),
        Ticket("Help", "Please help me, it does not work"),
        Ticket("Help", "Please help me, it does not work"),
    ]
    await desk.open(*away)
    await all_checked(desk)
    assert await desk.duplicates() == []


async def test_a_storm_is_compared_with_its_beginning_alone(start: Start) -> None:
    desk = await start(duplicate_share=0.0)
    await desk.ready()
    now = datetime.now(UTC)
    storm = [
        Ticket("Data centre Frankfurt unreachable", f"All hosts time out, rack {n}", at=now + timedelta(milliseconds=n))
        for n in range(60)
    ]
    await desk.publish(*(ticket.created() for ticket in storm))
    found = {one.ticket_id: one for one in await decided(desk, 59)}
    assert len(found) == 59
    beginning = {ticket.id for ticket in storm[:12]}
    for one in found.values():
        assert {candidate.ticket_id for candidate in one.candidates} <= beginning
