"""Escalations by HTTP: listed, shown, started by hand, taken, ended; who may, and who sees nothing."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from shared.contracts.directory import Role
from tests.integration.escalation.conftest import Service
from tests.integration.escalation.facts import created
from tests.unit.escalation.desk import AGENT, DEFAULT, LEAD, MANAGER, OTHER, state, ticket_id

pytestmark = pytest.mark.engines


async def a_running_one(service: Service, name: str = "one") -> str:
    await service.staffed()
    await service.handle(await created(service, name, label="P1"))
    found: str = (await service.published("escalation.started"))[-1]["escalation_id"]
    return found


def manual(name: str = "one", **given: Any) -> dict[str, Any]:
    return {"ticket_id": str(ticket_id(name)), "reason": "The customer called.", **given}


async def test_one_is_shown_with_its_path_its_pages_and_what_happened(service: Service) -> None:
    identity = await a_running_one(service)
    agent = service.caller(Role.AGENT, AGENT)
    answer = await service.call(agent, "GET", f"/v1/escalations/{identity}")
    body = answer.json()
    assert answer.status_code == 200
    assert (body["state"], body["path"], body["level"], body["step"], body["step_name"], body["steps"]) == (
        "running",
        "critical",
        1,
        1,
        "agent",
        4,
    )
    assert [step["until"] for step in body["plan"]] == [15, 30, 60, 120]
    assert {(page["person_id"], page["state"], page["responsible"]) for page in body["pages"]} == {
        (str(AGENT), "open", True),
        (str(MANAGER), "open", False),
    }
    assert [entry["what"] for entry in body["history"]] == ["started", "stepped"]
    again = await service.call(agent, "GET", f"/v1/escalations/{identity}", If_None_Match=answer.headers["etag"])
    assert again.status_code == 304


async def test_they_are_listed_by_ticket_and_state_the_newest_first_by_page(service: Service) -> None:
    for name in ("one", "two", "three"):
        await a_running_one(service, name)
    agent = service.caller(Role.AGENT, AGENT)
    now = await service.now()
    await service.handle(state("two", label="P1", version=2, at=now, category="solved"))
    listed = (await service.call(agent, "GET", "/v1/escalations?state=running&limit=1")).json()
    assert [one["ticket_id"] for one in listed["items"]] == [str(ticket_id("three"))]
    cursor = listed["next_cursor"]
    rest = (await service.call(agent, "GET", f"/v1/escalations?state=running&limit=1&cursor={cursor}")).json()
    assert ([one["ticket_id"] for one in rest["items"]], rest["next_cursor"]) == ([str(ticket_id("one"))], None)
    own = (await service.call(agent, "GET", f"/v1/escalations?ticket_id={ticket_id('two')}")).json()
    assert [one["ended_reason"] for one in own["items"]] == ["solved"]
    refused = await service.call(agent, "GET", "/v1/escalations?state=sleeping")
    assert refused.status_code == 422


async def test_another_tenant_and_customers_see_nothing(service: Service) -> None:
    identity = await a_running_one(service)
    stranger = service.caller(Role.ADMIN, tenant="other")
    assert (await service.call(stranger, "GET", f"/v1/escalations/{identity}")).status_code == 404
    assert (await service.call(stranger, "GET", "/v1/escalations")).json()["items"] == []
    for action in ("acknowledge", "resolve", "cancel"):
        assert (await service.call(stranger, "POST", f"/v1/escalations/{identity}/{action}")).status_code == 404
    assert (await service.call(stranger, "POST", "/v1/escalations", manual())).status_code == 503
    customer = service.caller(Role.CUSTOMER)
    assert (await service.call(customer, "GET", "/v1/escalations")).status_code == 403
    assert (await service.http.get("/v1/escalations")).status_code == 401


async def test_whoever_was_paged_owns_the_ticket_or_manages_may_acknowledge_and_nobody_else(service: Service) -> None:
    identity = await a_running_one(service)
    stranger = await service.call(service.caller(Role.AGENT, OTHER), "POST", f"/v1/escalations/{identity}/acknowledge")
    assert stranger.status_code == 403
    assert "escalation.manage" in stranger.json()["detail"]
    agent = service.caller(Role.AGENT, AGENT)
    for _ in range(2):
        answer = await service.call(agent, "POST", f"/v1/escalations/{identity}/acknowledge")
        assert (answer.status_code, answer.json()["state"]) == (200, "acknowledged")
    (one,) = await service.published("escalation.acknowledged")
    assert (one["person_id"], one["via"]) == (str(AGENT), "api")
    assert len(await service.published("page.cancelled")) == 2
    await service.forward(minutes=100)
    assert len(await service.steps()) == 1


async def test_a_lead_resolves_or_cancels_it_once(service: Service) -> None:
    lead = service.caller_of_lead()
    for how, reason in (("resolve", "resolved"), ("cancel", "cancelled")):
        identity = await a_running_one(service, how)
        path = f"/v1/escalations/{identity}/{how}"
        assert (await service.call(service.caller(Role.AGENT, AGENT), "POST", path)).status_code == 403
        answer = await service.call(lead, "POST", path, {"reason": "A false alarm."})
        assert (answer.status_code, answer.json()["ended_reason"]) == (200, reason)
        assert answer.json()["history"][-2]["reason"] == "A false alarm."
        again = await service.call(lead, "POST", path)
        assert (again.status_code, again.json()["type"].rpartition("/")[2]) == (409, "escalation-over")
    assert [one["reason"] for one in await service.published("escalation.ended")] == ["resolved", "cancelled"]


async def test_an_acknowledged_one_can_still_be_resolved(service: Service) -> None:
    identity = await a_running_one(service)
    lead = service.caller_of_lead()
    await service.call(lead, "POST", f"/v1/escalations/{identity}/acknowledge")
    answer = await service.call(lead, "POST", f"/v1/escalations/{identity}/resolve")
    assert answer.json()["state"] == "ended"


async def test_a_lead_starts_one_by_hand_with_a_reason(service: Service) -> None:
    await service.staffed()
    now = await service.now()
    await service.handle(state(label="P2", at=now))
    lead = service.caller_of_lead()
    agent = service.caller(Role.AGENT, AGENT)
    assert (await service.call(agent, "POST", "/v1/escalations", manual())).status_code == 403
    answer = await service.call(lead, "POST", "/v1/escalations", manual(level=3, step="team_lead"))
    body = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/v1/escalations/{body['id']}"
    assert (body["path"], body["level"], body["step_name"], body["cause"]) == ("high", 3, "team_lead", "manual")
    (started,) = await service.published("escalation.started")
    assert started["reason"] == "The customer called."
    assert await service.steps() == [("team_lead", 3, [str(LEAD)])]


async def test_by_hand_what_runs_already_is_raised_and_a_retry_answers_the_same(service: Service) -> None:
    identity = await a_running_one(service)
    lead = service.caller_of_lead()
    raised = await service.call(lead, "POST", "/v1/escalations", manual(level=4), Idempotency_Key="k1")
    assert (raised.status_code, raised.json()["id"], raised.json()["level"]) == (200, identity, 4)
    again = await service.call(lead, "POST", "/v1/escalations", manual(level=4), Idempotency_Key="k1")
    assert (again.status_code, again.content) == (200, raised.content)
    assert len(await service.published("escalation.started")) == 1


async def test_the_pack_may_have_a_path_of_its_own_for_what_people_start(service: Service) -> None:
    vip = {"name": "vip", "steps": [{"name": "chief", "until": 30, "targets": ["role:admin"]}]}
    triggers = [*DEFAULT["triggers"], {"level": 4, "cause": "manual", "path": "vip"}]
    await service.staffed(paths=[*DEFAULT["paths"], vip], triggers=triggers)
    now = await service.now()
    await service.handle(state(label="P2", at=now))
    lead = service.caller_of_lead()
    for status in (201, 200):
        answer = await service.call(lead, "POST", "/v1/escalations", manual(level=4))
        assert (answer.status_code, answer.json()["path"], answer.json()["step_name"]) == (status, "vip", "chief")
    plain = await service.call(lead, "POST", "/v1/escalations", manual(level=3))
    assert plain.json()["path"] == "high"


async def test_a_retried_start_is_one_escalation(service: Service) -> None:
    await service.staffed()
    now = await service.now()
    await service.handle(state(label="P2", at=now))
    lead = service.caller_of_lead()
    answers = [await service.call(lead, "POST", "/v1/escalations", manual(), Idempotency_Key="k") for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert len(await service.published("escalation.started")) == 1


@pytest.mark.parametrize(
    ("given", "status", "pointer"),
    [
        ({"ticket_id": str(uuid4())}, 422, "/ticket_id"),
        ({"path": "nowhere"}, 422, "/path"),
        ({"step": "nobody"}, 422, "/step"),
        ({"level": 6}, 422, "/level"),
        ({"reason": ""}, 422, "/reason"),
        ({"surprise": 1}, 422, "/surprise"),
    ],
)
async def test_a_wrong_start_is_refused_by_its_field(
    service: Service, given: dict[str, Any], status: int, pointer: str
) -> None:
    await service.staffed()
    now = await service.now()
    await service.handle(state(label="P2", at=now))
    answer = await service.call(service.caller_of_lead(), "POST", "/v1/escalations", {**manual(), **given})
    assert answer.status_code == status
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_a_ticket_that_is_over_is_not_escalated(service: Service) -> None:
    await service.staffed()
    now = await service.now()
    await service.handle(state(label="P2", category="solved", at=now))
    answer = await service.call(service.caller_of_lead(), "POST", "/v1/escalations", manual())
    assert answer.status_code == 409


async def test_the_linter_tells_what_would_reach_nobody(service: Service) -> None:
    await service.staffed()
    lead = service.caller_of_lead()
    report = (await service.call(lead, "GET", "/v1/escalations/lint")).json()
    codes = {(one["code"], one["schedule"] or one["step"]) for one in report["findings"]}
    assert ("schedule_missing", "primary") in codes
    assert report["errors"] == 1, report
    assert (await service.call(service.caller(Role.CUSTOMER), "GET", "/v1/escalations/lint")).status_code == 403


async def test_an_unknown_escalation_is_404(service: Service) -> None:
    await service.staffed()
    answer = await service.call(service.caller_of_lead(), "GET", f"/v1/escalations/{UUID(int=5)}")
    assert answer.status_code == 404
