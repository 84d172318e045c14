"""What agents, leads and customers do with tickets, and what the desk does by itself when nobody does."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cli.seed import DEFAULT_PACK
from tests.support.desk import Desk
from tests.support.tap import Fact
from tests.support.waiting import eventually

SEATS = 5 + 5 + 2
"""Capacity of Tier 1 as seeded: Ana, Ben, Leo."""


def who(desk: Desk, person_id: str) -> str:
    """The role whose person this is."""
    return next(name for name, one in desk.people.items() if str(one) == person_id)


async def owned(desk: Desk, subject: str = "Cannot log in") -> tuple[dict[str, Any], str]:
    """A ticket that the desk has given to somebody, and that somebody's role."""
    opened = await desk.open(subject)

    async def assigned() -> dict[str, Any]:
        ticket = await desk.ticket(opened["id"])
        assert ticket["assignee_id"]
        return ticket

    ticket = await eventually(assigned, what=f"an owner of {opened['number']}")
    return ticket, who(desk, ticket["assignee_id"])


async def assignments(desk: Desk, ticket_id: str, reason: str) -> list[Fact]:
    return await desk.events("ticket.assigned", ticket_id=ticket_id, reason=reason)


async def test_an_internal_note_is_invisible_to_the_customer_and_a_reply_is_not(desk: Desk) -> None:
    ticket, owner = await owned(desk)
    path = f"/v1/tickets/{ticket['id']}/messages"
    await desk.post(path, {"text": "We look into it."}, as_=owner)
    await desk.post(path, {"text": "He forgot it again.", "visibility": "internal"}, as_=owner)
    seen = {
        role: [message["body"]["text"] for message in await desk.conversation(ticket["id"], as_=role)]
        for role in ("customer", "agent")
    }
    assert seen["customer"] == ["It says no.", "We look into it."]
    assert seen["agent"] == ["It says no.", "We look into it.", "He forgot it again."]
    refused = await desk.call("POST", path, as_="customer", json={"text": "Psst", "visibility": "internal"})
    assert refused.status_code == 403
    for fact in await desk.events("ticket.message_added", ticket_id=ticket["id"]):
        assert fact.data is not None
        assert (fact.data["message"]["body"]["text"] == "He forgot it again.") == (
            fact.data["message"]["visibility"] == "internal"
        )


async def test_a_guard_that_does_not_hold_is_named(desk: Desk) -> None:
    ticket, owner = await owned(desk)
    refused = await desk.move(ticket["id"], "pending", as_=owner)
    assert refused.status_code == 409
    assert refused.headers["content-type"] == "application/problem+json"
    assert "answered" in refused.json()["detail"], "the requester has not been answered"
    unsolved = await desk.move(ticket["id"], "solved", as_=owner)
    assert unsolved.status_code == 409
    assert [error["pointer"] for error in unsolved.json()["errors"]] == ["/resolution"]
    nowhere = await desk.move(ticket["id"], "archived", as_=owner)
    assert nowhere.status_code == 409
    assert "archived" in nowhere.json()["detail"]
    unknown = await desk.move(ticket["id"], "limbo", as_=owner)
    assert unknown.status_code == 422
    assert (await desk.ticket(ticket["id"]))["version"] == ticket["version"], "a refusal changes nothing"


async def test_a_ticket_goes_from_answer_to_solution_to_reopening_and_its_chain_holds(desk: Desk) -> None:
    ticket, owner = await owned(desk)
    path = f"/v1/tickets/{ticket['id']}"
    await desk.post(f"{path}/messages", {"text": "Which browser?"}, as_=owner)
    assert (await desk.move(ticket["id"], "pending", as_=owner)).status_code == 200
    await desk.post(f"{path}/messages", {"text": "The blue one."}, as_="customer")
    assert (await desk.ticket(ticket["id"]))["status"] == "open", "the answer brings it back"
    solved = await desk.move(ticket["id"], "solved", as_=owner, resolution="Cache emptied.")
    assert (solved.status_code, solved.json()["category"]) == (200, "solved")
    await desk.post(f"{path}/messages", {"text": "It is back."}, as_="customer")
    again = await desk.ticket(ticket["id"])
    assert (again["cycle"], again["category"]) == (2, "open")
    chain = await desk.get(f"{path}/audit", as_="manager", params={"verify": "true", "limit": 200})
    assert chain["verified"] is True, chain["flaws"]
    states = [
        (fact.data["previous"], fact.data["current"])
        for fact in await desk.events("ticket.status_changed", ticket_id=ticket["id"])
        if fact.data
    ]
    assert states[:4] == [("new", "open"), ("open", "pending"), ("pending", "open"), ("open", "solved")]


async def test_a_change_against_an_old_version_is_refused_and_has_no_effect(desk: Desk) -> None:
    ticket, owner = await owned(desk)
    path = f"/v1/tickets/{ticket['id']}"
    tag = (await desk.call("GET", path, as_=owner)).headers["ETag"]
    first = await desk.call("PATCH", path, as_=owner, json={"priority": "P1"}, headers={"If-Match": tag})
    assert first.status_code == 200
    second = await desk.call("PATCH", path, as_="lead", json={"priority": "P4"}, headers={"If-Match": tag})
    assert second.status_code == 412
    blind = await desk.call("PATCH", path, as_="lead", json={"priority": "P4"})
    assert blind.status_code == 428
    now = await desk.call("GET", path, as_=owner)
    assert now.json()["priority"]["label"] == "P1"
    assert now.headers["ETag"] == first.headers["ETag"]
    unchanged = await desk.call("GET", path, as_=owner, headers={"If-None-Match": now.headers["ETag"]})
    assert (unchanged.status_code, unchanged.content) == (304, b"")


async def test_nobody_gets_more_than_their_capacity_and_room_made_is_given_to_the_next(desk: Desk) -> None:
    # Of nobody's contract: Mia's goes to Tier 2.
    opened = [await desk.open(f"Number {number}", sender="nora@nowhere.example") for number in range(SEATS + 2)]

    async def full() -> list[dict[str, Any]]:
        tickets = await desk.tickets()
        assert sum(ticket["assignee_id"] is not None for ticket in tickets) == SEATS
        return tickets

    tickets = await eventually(full, within=120, what=f"{SEATS} tickets given out")
    load = dict.fromkeys(("agent", "other_agent", "lead"), 0)
    for ticket in tickets:
        if ticket["assignee_id"]:
            load[who(desk, ticket["assignee_id"])] += 1
    assert load == {"agent": 5, "other_agent": 5, "lead": 2}
    waiting = [ticket["id"] for ticket in tickets if ticket["assignee_id"] is None]
    assert set(waiting) == {ticket["id"] for ticket in opened[-2:]}, "the last to come wait"
    refused = await desk.call(
        "POST",
        f"/v1/tickets/{waiting[0]}/assignment",
        as_="lead",
        json={"assignee_id": str(desk.people["agent"])},
    )
    assert (refused.status_code, refused.json()["detail"]) == (409, "5 of 5 tickets are active.")

    done = next(ticket for ticket in tickets if ticket["assignee_id"] == str(desk.people["agent"]))
    assert (await desk.move(done["id"], "solved", resolution="Done.")).status_code == 200
    first = opened[-2]["id"]

    async def given() -> bool:
        return bool((await desk.ticket(first))["assignee_id"] == str(desk.people["agent"]))

    await eventually(given, what="the oldest waiting ticket with Ana")
    assert (await desk.ticket(opened[-1]["id"]))["assignee_id"] is None


async def test_a_ticket_untouched_for_thirty_minutes_goes_to_somebody_else(desk: Desk) -> None:
    left, first = await owned(desk, "Left alone")
    kept, keeper = await owned(desk, "Worked on")
    await desk.post(f"/v1/tickets/{kept['id']}/messages", {"text": "On it."}, as_=keeper)
    await desk.forward(minutes=29)
    assert await assignments(desk, left["id"], "untouched") == []
    await desk.forward(minutes=2)

    async def moved() -> list[Fact]:
        return await assignments(desk, left["id"], "untouched")

    (fact,) = await eventually(moved, what="the untouched ticket moved")
    assert fact.data is not None
    assert fact.data["previous_assignee_id"] == str(desk.people[first])
    assert fact.data["assignee_id"] != fact.data["previous_assignee_id"]
    moved_at, opened_at = (datetime.fromisoformat(fact.data["ticket"][name]) for name in ("updated_at", "created_at"))
    assert moved_at - opened_at >= timedelta(minutes=30), "never early"
    assert await assignments(desk, kept["id"], "untouched") == []
    assert (await desk.ticket(kept["id"]))["assignee_id"] == str(desk.people[keeper])


async def test_a_solved_ticket_closes_by_itself_when_the_workflow_says_so(desk: Desk, folder: Path) -> None:
    text = re.sub(
        r"(\{from: solved, to: closed, trigger: timer, after_minutes: )\d+", r"\g<1>120", DEFAULT_PACK.read_text()
    )
    assert "after_minutes: 120}" in text
    pack = folder / "closing.yaml"
    pack.write_text(text)
    await desk.cli("apply", str(pack), "--tenant", desk.tenant)
    await desk.quiet()
    quiet, owner = await owned(desk, "Quiet")
    answered, other = await owned(desk, "Answered")
    for ticket, by in ((quiet, owner), (answered, other)):
        assert (await desk.move(ticket["id"], "solved", as_=by, resolution="Done.")).status_code == 200
    await desk.post(f"/v1/tickets/{answered['id']}/messages", {"text": "No, it is not."}, as_="customer")
    await desk.forward(minutes=119)
    assert (await desk.ticket(quiet["id"]))["status"] == "solved"
    await desk.forward(minutes=2)

    async def closed() -> bool:
        return bool((await desk.ticket(quiet["id"]))["status"] == "closed")

    await eventually(closed, what="the solved ticket closed")
    (fact,) = await desk.events("ticket.status_changed", ticket_id=quiet["id"], current="closed")
    assert fact.data is not None
    assert fact.data["trigger"] == "timer"
    assert (await desk.ticket(answered["id"]))["status"] != "closed"
