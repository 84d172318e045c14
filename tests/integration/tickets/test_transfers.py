"""A handover between two agents: asked, accepted or not, and never two owners (seed 000 §5.3)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from shared.contracts.directory import Role
from tests.integration.tickets.conftest import PACK, Service, message, person, ticket_id
from tests.support.api import Caller

pytestmark = pytest.mark.engines


async def _desk(service: Service, **assignment: Any) -> tuple[UUID, Caller, Caller]:
    """Ann's ticket, and the keys of Ann and Bob."""
    await service.tenant(assignment={**PACK["assignment"], **assignment})
    team = await service.team()
    await service.agent("ann", team)
    first = message("rita")
    await service.handle(first)
    await service.agent("bob", team, capacity=1)
    return ticket_id(first), service.caller("ann", Role.AGENT), service.caller("bob", Role.AGENT)


async def _ask(service: Service, who: Caller, ticket: UUID, to: str = "bob") -> dict[str, Any]:
    wanted = {"to": str(person(to)), "note": "my shift ends"}
    answer = await service.call(who, "POST", f"/v1/tickets/{ticket}/transfers", wanted)
    assert answer.status_code == 201, answer.text
    asked: dict[str, Any] = answer.json()
    return asked


async def _changes(service: Service) -> list[str]:
    return [one["state"] for one in await service.published("ticket.transfer_changed")]


async def test_the_ticket_moves_when_the_other_accepts_and_its_clock_goes_on(service: Service) -> None:
    ticket, ann, bob = await _desk(service)
    asked = await _ask(service, ann, ticket)
    assert (asked["state"], asked["from_id"], asked["to_id"]) == ("requested", str(person("ann")), str(person("bob")))
    assert await service.one("SELECT assignee_id FROM ticket") == person("ann"), "not before it is accepted"
    waiting = (await service.call(bob, "GET", "/v1/transfers")).json()["items"]
    assert [one["id"] for one in waiting] == [asked["id"]]

    before = await service.state(ticket)
    accepted = await service.call(bob, "POST", f"/v1/transfers/{asked['id']}/accept")
    assert (accepted.status_code, accepted.json()["state"]) == (200, "accepted")
    state = await service.state(ticket)
    assert (state.ticket.assignee_id, state.ticket.status, state.cycle) == (person("bob"), "open", 1)
    assert [entry.kind for entry in state.ledger[len(before.ledger) :]] == ["assignee"]
    assert await _changes(service) == ["requested", "accepted"]
    assert (await service.published("ticket.assigned"))[-1]["reason"] == "transfer"
    listed = (await service.call(ann, "GET", f"/v1/tickets/{ticket}/transfers")).json()["items"]
    assert [(one["id"], one["state"]) for one in listed] == [(asked["id"], "accepted")]
    assert await service.rows("SELECT kind FROM timer WHERE kind = 'transfer'") == []


async def test_only_the_one_who_was_asked_answers(service: Service) -> None:
    ticket, ann, bob = await _desk(service)
    asked = await _ask(service, ann, ticket)
    for answer in ("accept", "decline"):
        refused = await service.call(ann, "POST", f"/v1/transfers/{asked['id']}/{answer}")
        assert refused.status_code == 403, answer
    rita = service.caller("rita", Role.CUSTOMER)
    assert (await service.call(rita, "POST", f"/v1/transfers/{asked['id']}/accept")).status_code == 404
    stranger = service.caller("bob", Role.AGENT, tenant="evil")
    assert (await service.call(stranger, "POST", f"/v1/transfers/{asked['id']}/accept")).status_code == 404
    declined = await service.call(bob, "POST", f"/v1/transfers/{asked['id']}/decline")
    assert declined.json()["state"] == "declined"
    assert await service.one("SELECT assignee_id FROM ticket") == person("ann")
    again = await service.call(bob, "POST", f"/v1/transfers/{asked['id']}/accept")
    assert (again.status_code, again.json()["type"].rpartition("/")[2]) == (409, "transfer-declined")


async def test_a_request_is_taken_back_by_who_asked_or_a_lead_and_by_nobody_else(service: Service) -> None:
    ticket, ann, bob = await _desk(service)
    asked = await _ask(service, ann, ticket)
    assert (await service.call(bob, "POST", f"/v1/transfers/{asked['id']}/cancel")).status_code == 403
    assert (await service.call(ann, "POST", f"/v1/transfers/{asked['id']}/cancel")).status_code == 200
    again = await _ask(service, ann, ticket)
    lead = service.caller("lead", Role.TEAM_LEAD)
    assert (await service.call(lead, "POST", f"/v1/transfers/{again['id']}/cancel")).status_code == 200
    assert await _changes(service) == ["requested", "cancelled"] * 2


async def test_nobody_is_asked_who_is_away_full_no_agent_or_has_the_ticket(service: Service) -> None:
    ticket, ann, _ = await _desk(service)
    team = await service.team()
    await service.agent("cleo", team, available=False)
    await service.handle(message("vera"))
    full = await service.one("SELECT count(*) FROM ticket WHERE assignee_id = $1", person("bob"))
    assert full == 1, "Bob, the least loaded, has the second ticket and room for no other"
    path = f"/v1/tickets/{ticket}/transfers"
    for who, status, slug in (
        ("cleo", 409, "agent-unavailable"),
        ("bob", 409, "agent-at-capacity"),
        ("rita", 422, "invalid"),
        ("ann", 422, "invalid"),
    ):
        answer = await service.call(ann, "POST", path, {"to": str(person(who))})
        assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (status, slug), who


async def test_one_request_at_a_time(service: Service) -> None:
    ticket, ann, _ = await _desk(service)
    asking = {"to": str(person("bob"))}
    answers = await asyncio.gather(
        *(service.call(ann, "POST", f"/v1/tickets/{ticket}/transfers", asking) for _ in range(6))
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 5


async def test_an_unanswered_request_lapses_and_cannot_be_accepted_after(service: Service) -> None:
    ticket, ann, bob = await _desk(service, transfer_minutes=10)
    asked = await _ask(service, ann, ticket)
    await service.forward(timedelta(minutes=9))
    await service.fire()
    assert await _changes(service) == ["requested"], "never early"
    await service.forward(timedelta(minutes=2))
    late = await service.call(bob, "POST", f"/v1/transfers/{asked['id']}/accept")
    assert (late.status_code, late.json()["type"].rpartition("/")[2]) == (409, "transfer-expired")
    await service.fire()
    assert await _changes(service) == ["requested", "expired"]
    assert await service.one("SELECT transfer FROM ticket") is None


async def test_whatever_else_moves_the_ticket_cancels_the_request(service: Service) -> None:
    ticket, ann, bob = await _desk(service)
    for body, path in (
        ({"assignee_id": None}, "assignment"),
        ({"to": "closed", "reason": "spam"}, "transitions"),
    ):
        asked = await _ask(service, ann, ticket)
        moved = await service.call(ann, "POST", f"/v1/tickets/{ticket}/{path}", body)
        assert moved.status_code == 200, moved.text
        refused = await service.call(bob, "POST", f"/v1/transfers/{asked['id']}/accept")
        assert (refused.status_code, refused.json()["type"].rpartition("/")[2]) == (409, "transfer-cancelled")
        back = {"assignee_id": str(person("ann"))}
        await service.call(ann, "POST", f"/v1/tickets/{ticket}/assignment", back)
    assert await _changes(service) == ["requested", "cancelled"] * 2


async def test_capacity_is_checked_again_when_it_is_accepted(service: Service) -> None:
    ticket, ann, bob = await _desk(service)
    asked = await _ask(service, ann, ticket)
    await service.handle(message("vera"))
    refused = await service.call(bob, "POST", f"/v1/transfers/{asked['id']}/accept")
    assert (refused.status_code, refused.json()["type"].rpartition("/")[2]) == (409, "agent-at-capacity")
    assert await service.one("SELECT transfer IS NOT NULL FROM ticket WHERE id = $1", ticket)


async def test_accepting_and_cancelling_at_once_have_one_outcome(service: Service) -> None:
    ticket, ann, bob = await _desk(service)
    asked = await _ask(service, ann, ticket)
    calls = [service.call(bob, "POST", f"/v1/transfers/{asked['id']}/accept") for _ in range(3)]
    calls += [service.call(ann, "POST", f"/v1/transfers/{asked['id']}/cancel") for _ in range(3)]
    answers = await asyncio.gather(*calls)
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 5
    (_, outcome) = await _changes(service)
    owner = await service.one("SELECT assignee_id FROM ticket")
    assert owner == (person("bob") if outcome == "accepted" else person("ann"))


async def test_a_ticket_of_nobodys_can_be_handed_over_too(service: Service) -> None:
    ticket, ann, bob = await _desk(service, strategy="manual")
    asked = await _ask(service, ann, ticket)
    assert asked["from_id"] is None
    await service.call(bob, "POST", f"/v1/transfers/{asked['id']}/accept")
    (row,) = await service.rows("SELECT assignee_id, status FROM ticket")
    assert (row["assignee_id"], row["status"]) == (person("bob"), "open")
