"""The whole service on real engines: states and watermarks in, what is true of clocks out, each once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from services.sla.app import REPLICATED, ROUTES
from shared.contracts import ids
from shared.contracts.manifest import TOPICS
from tests.integration.sla.conftest import TARGETS, Desk, Make, Ticket, word
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines
HOUR = timedelta(hours=1)
MICROSECOND = timedelta(microseconds=1)
SHORT: dict[str, Any] = {**TARGETS, "targets": [{"first_response": 10}]}


async def test_a_clock_starts_warns_and_breaches_when_tickets_have_said_all_there_is(desk: Desk) -> None:
    ticket = Ticket(desk.now)
    await desk.publish(ticket.state())
    await desk.says(ticket, "started")
    await desk.forward(minutes=49)
    await desk.mark()
    await desk.says(ticket, "started", "warning")
    due = ticket.opened_at + HOUR
    await desk.forward(minutes=30)
    # Late by our clock, but of what happened until the due instant not everything is known.
    await desk.mark(due)
    await desk.says(ticket, "started", "warning")
    await desk.mark(due + MICROSECOND)
    await desk.says(ticket, "started", "warning", "breached")
    (breach,) = [one for one in await desk.said() if one["type"] == "sla.breached.v1"]
    assert breach["id"] == str(ids.breach_id(ticket.id, "first_response", 1))
    assert breach["breached_at"] == breach["due_at"] == due.isoformat().replace("+00:00", "Z")
    assert (breach["target_minutes"], breach["policy_version"] > 0) == (60.0, True)


async def test_an_answer_in_time_that_arrives_late_is_no_breach(desk: Desk) -> None:
    """Design review, finding 2: the relay was held, the reply is inside."""
    ticket = Ticket(desk.now)
    await desk.publish(ticket.state())
    await desk.settled()
    await desk.forward(hours=2)
    await desk.publish(ticket.write(ticket.opened_at + 0.9 * HOUR, responded="").state())
    await desk.settled()
    await desk.says(ticket, "started", "met")


async def test_after_the_grace_a_breach_is_told_provisionally_and_withdrawn_when_it_proves_false(make: Make) -> None:
    desk = await make(grace=0.5)
    await desk.tenant()
    false, true = Ticket(desk.now), Ticket(desk.now)
    await desk.publish(false.state(), true.state())
    await desk.settled()
    await desk.forward(hours=2)
    await desk.says(false, "started", "provisional")
    await desk.says(true, "started", "provisional")
    await desk.publish(false.write(false.opened_at + 0.9 * HOUR, responded="").state())
    await desk.settled()
    await desk.says(false, "started", "provisional", "withdrawn", "met")
    await desk.says(true, "started", "provisional", "confirmed")


async def test_after_an_absence_an_answer_given_in_time_is_heard_before_anything_is_told_provisionally(
    make: Make,
) -> None:
    desk = await make(grace=20.0)
    await desk.tenant()
    ticket = Ticket(desk.now)
    await desk.publish(ticket.state())
    await desk.settled()
    await desk.stop()
    await desk.forward(hours=2)
    await desk.publish(ticket.write(ticket.opened_at + 0.9 * HOUR, responded="").state())
    await desk.start()
    await desk.settled()
    await desk.says(ticket, "started", "met")


async def test_a_ticket_with_a_parked_event_is_never_confirmed(make: Make) -> None:
    desk = await make(grace=10 * 86400)
    await desk.tenant()
    ticket, neighbour = Ticket(desk.now), Ticket(desk.now)
    await desk.publish(ticket.state(), neighbour.state())
    await desk.settled()
    await desk.rows(
        'INSERT INTO waiting (group_name, key, topic, partition, "offset", record_ms, headers, reason)'
        " VALUES ('sla', $1, 'ticket.state', 0, 999, 0, '0[]', 'poison')",
        str(ticket.id),
    )
    await desk.forward(hours=2)
    await desk.settled(parked=True)
    await desk.says(neighbour, "started", "breached")
    assert await desk.words(ticket) == ["started"]
    await desk.rows("DELETE FROM waiting")
    await desk.settled()
    await desk.says(ticket, "started", "breached")


async def test_a_pause_moves_the_due_instant_and_a_reopened_ticket_has_new_clocks(desk: Desk) -> None:
    ticket = Ticket(desk.now)
    await desk.publish(ticket.state(), ticket.write(ticket.opened_at + 0.5 * HOUR, status="pending").state())
    await desk.forward(hours=3)
    await desk.settled()
    row = await desk.clock(ticket)
    assert row is not None
    assert (row["state"], row["due_at"]) == ("paused", None)
    await desk.publish(ticket.write(desk.now, replied="", status="open").state())
    await desk.settled()
    row = await desk.clock(ticket)
    assert row is not None
    assert row["due_at"] == ticket.ledger[-1].at + 0.5 * HOUR
    await desk.publish(ticket.write(desk.now, responded="").state(), ticket.write(desk.now, status="solved").state())
    await desk.settled()
    answered = desk.now
    await desk.forward(hours=1)
    await desk.publish(ticket.reopen(desk.now, answered).state())
    await desk.settled()
    row = await desk.clock(ticket)
    assert row is not None
    assert (row["cycle"], row["due_at"]) == (2, ticket.opened_at + HOUR)
    cycles = [(one["cycle"], one.get("change") or one["type"]) for one in await desk.said()]
    assert {(1, "sla.met.v1"), (2, "started")} <= set(cycles)


async def test_cycles_that_pass_within_one_batch_each_get_their_verdict(make: Make) -> None:
    desk = await make(start=False)
    await desk.tenant()
    ticket = Ticket(desk.now - 9 * HOUR)
    states = [ticket.state(), ticket.write(ticket.opened_at + 2 * HOUR, responded="", status="solved").state()]
    first = ticket.opened_at
    states += [ticket.reopen(first + 3 * HOUR, first + 2 * HOUR).state()]
    states += [ticket.write(first + 3.5 * HOUR, responded="", status="solved").state()]
    await desk.publish(*states)
    await desk.start()
    await desk.settled()
    told = sorted((one["cycle"], one["type"]) for one in await desk.said())
    assert told == [(1, "sla.breached.v1"), (2, "sla.met.v1")]


async def test_a_raised_priority_moves_the_due_instant_forward(desk: Desk) -> None:
    ticket = Ticket(desk.now)
    await desk.publish(ticket.state(), ticket.write(desk.now + timedelta(minutes=5), priority="P1").state())
    await desk.forward(minutes=16)
    await desk.settled()
    await desk.says(ticket, *(await desk.words(ticket)))
    assert (await desk.words(ticket)).count("breached") == 1
    (breach,) = [one for one in await desk.said() if one["type"] == "sla.breached.v1"]
    assert breach["due_at"] == (ticket.opened_at + timedelta(minutes=15)).isoformat().replace("+00:00", "Z")


async def test_another_policy_is_a_replay_that_pages_nobody_for_what_is_past(desk: Desk) -> None:
    tickets = [Ticket(desk.now) for _ in range(8)]
    await desk.publish(*(ticket.state() for ticket in tickets))
    await desk.settled()
    await desk.forward(minutes=30)
    await desk.settled()
    await desk.policy(sla=SHORT, at=desk.now)

    async def judged() -> list[str]:
        return [word for word in await desk.words() if word == "verdict_changed"]

    for ticket in tickets:
        await desk.says(ticket, "started", "verdict_changed")
    assert len(await judged()) == 8
    await desk.settled()
    assert "breached" not in await desk.words()
    states = {row["state"] for row in await desk.rows("SELECT state FROM clock")}
    assert states == {"breached"}


async def test_a_tenants_zone_moves_its_clocks(desk: Desk) -> None:
    nine_to_five = {"calendars": [{"name": "always", "zone": "requester", "week": [
        {"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "from": "00:00", "to": "23:59"}]}]}  # fmt: skip
    await desk.policy(calendars=nine_to_five)
    ticket = Ticket(desk.now)
    await desk.publish(ticket.state())
    await desk.settled()
    row = await desk.clock(ticket)
    assert row is not None
    assert row["zone"] == "UTC"
    await desk.person(ticket.requester, "Asia/Kathmandu")

    async def moved() -> bool:
        row = await desk.clock(ticket)
        assert row is not None
        assert row["zone"] == "Asia/Kathmandu"
        return True

    await eventually(moved)


async def test_a_ticket_waits_for_its_policy_and_is_judged_when_it_comes(make: Make) -> None:
    desk = await make()
    ticket = Ticket(desk.now)
    await desk.publish(ticket.state())
    await desk.settled(parked=True)
    assert await desk.clock(ticket) is None
    await desk.tenant()
    await desk.says(ticket, "started")


async def test_repeats_replays_and_derived_revisions_say_nothing_twice(desk: Desk) -> None:
    ticket = Ticket(desk.now)
    states = [ticket.state()]
    states.append(ticket.write(desk.now + timedelta(minutes=5), status="pending").state())
    states.append(ticket.write(desk.now + timedelta(minutes=6), status="open").state())
    await desk.publish(*states)
    await desk.forward(minutes=50)
    await desk.settled()
    said, digest = await desk.said(), await desk.digest()
    await desk.publish(*states, ticket.state(), ticket.state(), *states)
    await desk.mark(desk.now - HOUR)
    await desk.settled()
    assert len(await desk.said()) == len(said)
    assert await desk.digest() == digest


async def test_a_restart_past_the_due_instant_tells_the_breach_once(make: Make) -> None:
    desk = await make()
    await desk.tenant()
    ticket = Ticket(desk.now)
    await desk.publish(ticket.state())
    await desk.settled()
    await desk.stop()
    await desk.forward(hours=3)
    await desk.mark()
    for _ in range(2):
        await desk.start()
        await desk.settled()
        await desk.says(ticket, "started", "breached")
        await desk.stop()


async def test_a_new_empty_database_reaches_the_same_digest_and_repeats_only_known_ids(make: Make) -> None:
    live = await make()
    await live.tenant()
    tickets = [Ticket(live.now) for _ in range(12)]
    await live.publish(*(ticket.state() for ticket in tickets))
    await live.settled()
    await live.forward(minutes=20)
    for number, ticket in enumerate(tickets):
        at = live.now
        match number % 6:
            case 0:
                ticket.write(at, responded="")
            case 1:
                ticket.write(at, status="pending")
            case 2:
                ticket.write(at, priority="P1")
            case 3:
                ticket.write(at, status="solved")
                ticket.write(at + timedelta(minutes=1), status="solved")
                ticket.reopen(at + timedelta(minutes=2), None)
            case 4:
                ticket.write(at, merged="9f0e", status="closed")
            case _:
                pass
    await live.publish(*(ticket.state() for ticket in tickets))
    await live.forward(hours=2)
    await live.settled()
    before = await live.said()
    digest, truth = await live.digest(), await live.truth()
    await live.stop()
    # Another group would be another service: the group's offsets go back, as an operator does it.
    await live.rewind()
    fresh = await make(start=False)
    fresh.now = live.now
    await fresh.rows("UPDATE clock_offset SET shift = $1", timedelta(hours=2, minutes=20))
    await fresh.start()
    await fresh.settled()
    assert await fresh.truth() == truth
    assert await fresh.digest() == digest
    known = {one["id"] for one in before}
    again = (await fresh.said())[len(before) :]
    pages = [one for one in again if one["type"] in ("sla.breached.v1", "sla.warning.v1", "sla.met.v1")]
    assert pages
    places = {str(ticket.id): number % 6 for number, ticket in enumerate(tickets)}
    unknown = [(places[one["ticket_id"]], word(one), one["cycle"]) for one in pages if one["id"] not in known]
    told = [(places[one["ticket_id"]], word(one), one["cycle"], one.get("due_at")) for one in before]
    assert not unknown, [one for one in told if one[0] in {place for place, _, _ in unknown}]


def test_the_wiring_names_what_the_manifest_says() -> None:
    declared = {topic.name for topic in TOPICS if "sla" in topic.consumers}
    assert {t.name for t in REPLICATED} | {r.topic.name for r in ROUTES} == declared
