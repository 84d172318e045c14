"""What the API tells of clocks, to whom, and what it says of nonsense."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from shared.contracts.directory import Role
from tests.integration.sla.conftest import Desk, Ticket
from tests.support.api import Caller, caller
from tests.support.openapi import check_api
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines
OFFICE: dict[str, Any] = {
    "calendars": [
        {
            "name": "office",
            "zone": "Europe/Berlin",
            "week": [{"days": ["mon", "tue", "wed", "thu", "fri"], "from": "09:00", "to": "17:00"}],
            "holidays": [{"name": "Christmas Day", "date": "12-25"}],
        }
    ]
}
TARGETS: dict[str, Any] = {
    "calendar": "office",
    "targets": [{"tier": "gold", "first_response": 60}, {"resolution": 960}],
}


async def known(desk: Desk, *callers: Caller) -> None:
    """Wait until these may call."""
    await desk.publish(*(one.credential for one in callers))
    for one in callers:

        async def admitted(one: Caller = one) -> bool:
            assert (await desk.get(one, f"/v1/tickets/{uuid4()}/clocks")).status_code == 404
            return True

        await eventually(admitted)


async def test_whoever_may_see_the_ticket_sees_its_clocks_and_nobody_else(desk: Desk) -> None:
    ticket = Ticket(desk.now)
    ticket.watchers = (uuid4(),)
    agent, stranger = caller(Role.AGENT), caller(Role.AGENT, tenant_id="elsewhere")
    theirs = caller(Role.CUSTOMER, person_id=ticket.requester)
    watcher = caller(Role.CUSTOMER, person_id=ticket.watchers[0])
    other = caller(Role.CUSTOMER, person_id=uuid4())
    await desk.publish(ticket.state())
    await known(desk, agent, stranger, theirs, watcher, other)
    await desk.settled()
    path = f"/v1/tickets/{ticket.id}/clocks"
    for who, status in ((agent, 200), (theirs, 200), (watcher, 200), (other, 404), (stranger, 404)):
        assert (await desk.get(who, path)).status_code == status
        assert (await desk.get(who, f"{path}/first_response/explain")).status_code == status
    assert (await desk.client.get(path)).status_code == 401
    number = ticket.state().ticket.number
    answer = (await desk.get(agent, f"/v1/tickets/{number}/clocks")).json()
    (clock,) = answer["clocks"]
    assert (answer["number"], clock["clock"], clock["state"], clock["standing"]) == (
        number,
        "first_response",
        "running",
        "on_track",
    )
    assert clock["due_at"] == (ticket.opened_at + timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    assert 0 <= clock["elapsed_minutes"] <= 60
    assert clock["elapsed_minutes"] + clock["remaining_minutes"] == pytest.approx(60)
    assert (await desk.get(agent, f"{path}/resolution/explain")).status_code == 404
    assert (await desk.get(agent, "/v1/tickets/nonsense/clocks")).status_code == 404


async def test_an_explanation_shows_each_step_with_its_minutes(desk: Desk) -> None:
    ticket = Ticket(desk.now)
    ticket.write(desk.now + timedelta(minutes=20), status="pending")
    agent = caller(Role.AGENT)
    await desk.publish(ticket.state())
    await known(desk, agent)
    await desk.forward(minutes=90)
    await desk.publish(ticket.write(desk.now, status="open").state())
    await desk.settled()
    explained = (await desk.get(agent, f"/v1/tickets/{ticket.id}/clocks/first_response/explain")).json()
    assert [(s["what"], s["state"], s["elapsed_minutes"]) for s in explained["steps"]] == [
        ("opened", "running", 0.0),
        ("status", "paused", 20.0),
        ("status", "running", 20.0),
    ]
    assert [round(s["counted_minutes"]) for s in explained["steps"]][:2] == [20, 0]
    resumed_at = ticket.ledger[-1].at
    assert explained["due_at"] == (resumed_at + timedelta(minutes=40)).isoformat().replace("+00:00", "Z")
    assert "20 business minutes used of 60 (line 2, calendar always)" in explained["steps"][2]["says"]


async def test_a_preview_is_the_same_computation_for_a_ticket_that_does_not_exist(desk: Desk) -> None:
    await desk.policy(calendars=OFFICE, sla=TARGETS)
    agent, customer = caller(Role.AGENT), caller(Role.CUSTOMER)
    await known(desk, agent, customer)

    async def asked() -> Any:
        body = {
            "tier": "gold",
            "opened_at": "2026-12-24T16:30:00+01:00",
            "now": "2026-12-24T16:45:00+01:00",
            "happenings": [{"at": "2026-12-24T16:40:00+01:00", "kind": "status", "value": "open"}],
        }
        answer = await desk.client.post("/v1/sla/preview", json=body, headers=agent.headers)
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["clocks"]) == 2
        return answer.json()

    told = await eventually(asked)
    first = next(one for one in told["clocks"] if one["clock"] == "first_response")
    # Thursday the 24th, the holiday on Friday, the weekend: the other half hour is on Monday.
    assert first["due_at"] == "2026-12-28T08:30:00Z"
    assert first["steps"][0]["holidays"] == [{"day": "2026-12-25", "name": "Christmas Day"}]
    assert "around Christmas Day" in first["steps"][0]["says"]
    refused = await desk.client.post("/v1/sla/preview", json={"zone": "Mars/Olympus"}, headers=agent.headers)
    assert refused.status_code == 422
    assert "zone" in refused.text
    early = {"opened_at": "2026-12-24T16:30:00Z", "happenings": [{"at": "2026-12-24T16:00:00Z", "kind": "responded"}]}
    assert (await desk.client.post("/v1/sla/preview", json=early, headers=agent.headers)).status_code == 422
    assert (await desk.client.post("/v1/sla/preview", json={}, headers=customer.headers)).status_code == 403


async def test_the_hours_of_a_calendar_and_what_closes_it(desk: Desk) -> None:
    await desk.policy(calendars=OFFICE, sla=TARGETS)
    agent = caller(Role.AGENT)
    await known(desk, agent)
    span = {"from": "2026-12-24T00:00:00+01:00", "to": "2026-12-29T00:00:00+01:00"}

    async def asked() -> Any:
        answer = await desk.get(agent, "/v1/sla/calendars/office/hours", **span)
        assert answer.status_code == 200, answer.text
        return answer.json()

    told = await eventually(asked)
    assert told["minutes"] == 960.0
    assert [one["begins"] for one in told["open"]] == ["2026-12-24T08:00:00Z", "2026-12-28T08:00:00Z"]
    assert told["holidays"] == [{"day": "2026-12-25", "name": "Christmas Day"}]
    assert (await desk.get(agent, "/v1/sla/calendars/none/hours", **span)).status_code == 404
    for wrong in ({**span, "to": "2036-01-01T00:00:00Z"}, {**span, "from": "2026-12-24T00:00:00"}, {"from": "x"}):
        assert (await desk.get(agent, "/v1/sla/calendars/office/hours", **wrong)).status_code == 422


async def test_a_tenant_without_a_policy_is_told_so(desk: Desk) -> None:
    agent = caller(Role.AGENT, tenant_id="bare")
    await known(desk, agent)
    answer = await desk.client.post("/v1/sla/preview", json={}, headers=agent.headers)
    assert (answer.status_code, answer.json()["title"]) == (503, "Policy missing")


@pytest.mark.slow
async def test_every_operation_answers_as_documented(desk: Desk) -> None:
    ticket, admin = Ticket(desk.now), caller(Role.ADMIN)
    await desk.publish(ticket.state())
    await known(desk, admin)
    await desk.settled()
    # The loops draw random pauses, which is not allowed while cases are drawn.
    await desk.still()
    assert desk.service is not None
    assert desk.service.routes is not None
    report = await check_api(desk.service.routes, headers=admin.headers, examples=8)
    assert len(report.operations) == 4
