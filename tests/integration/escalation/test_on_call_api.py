"""Schedules by HTTP: made, replaced against a version, overridden; who is on call and when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from shared.contracts.directory import PersonChanged, Role
from tests.integration.escalation.conftest import Service
from tests.unit.escalation.desk import AGENT, LEAD, OTHER, person

pytestmark = pytest.mark.engines

PATH = "/v1/schedules/primary"


def rotation(**given: Any) -> dict[str, Any]:
    return {
        "timezone": "Europe/Berlin",
        "starts_on": "2026-03-02",
        "handover": {"weekday": "monday", "time": "09:00"},
        "members": [str(AGENT), str(OTHER)],
        **given,
    }


async def on_call(service: Service, at: str) -> Any:
    answer = await service.call(service.caller(Role.AGENT), "GET", f"/v1/on-call?at={at}")
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


async def test_a_schedule_is_made_read_and_replaced_against_its_version(service: Service) -> None:
    await service.staffed()
    lead = service.caller_of_lead()
    made = await service.call(lead, "PUT", PATH, rotation())
    assert (made.status_code, made.headers["etag"], made.json()["shift_days"]) == (201, '"1"', 7)
    read = await service.call(service.caller(Role.AGENT), "GET", PATH)
    assert read.json() == made.json()
    assert (await service.call(lead, "PUT", PATH, rotation())).status_code == 428
    assert (await service.call(lead, "PUT", PATH, rotation(), If_Match='"7"')).status_code == 412
    changed = await service.call(lead, "PUT", PATH, rotation(members=[str(OTHER)]), If_Match='"1"')
    assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
    assert (await service.call(lead, "PUT", "/v1/schedules/new", rotation(), If_Match='"1"')).status_code == 412
    listed = (await service.call(lead, "GET", "/v1/schedules")).json()["items"]
    assert [one["name"] for one in listed] == ["primary"]


async def test_who_is_on_call_changes_hands_at_nine_on_the_wall_in_summer_and_winter(service: Service) -> None:
    await service.staffed()
    await service.call(service.caller_of_lead(), "PUT", PATH, rotation())
    # 2 March is the first Monday; clocks go forward on 29 March.
    for at, who in (
        ("2026-03-02T07:59:59Z", OTHER),
        ("2026-03-02T08:00:00Z", AGENT),
        ("2026-03-30T06:59:59Z", OTHER),
        ("2026-03-30T07:00:00Z", AGENT),
    ):
        (shift,) = await on_call(service, at)
        assert (shift["schedule"], shift["person"]) == ("primary", str(who)), at
    (shift,) = await on_call(service, "2026-03-28T12:00:00%2B01:00")
    assert (shift["from"], shift["to"]) == ("2026-03-23T08:00:00Z", "2026-03-30T07:00:00Z")


async def test_an_override_puts_somebody_else_on_call_for_a_while(service: Service) -> None:
    await service.staffed()
    lead = service.caller_of_lead()
    await service.call(lead, "PUT", PATH, rotation())
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    body = {"from": start.isoformat(), "to": (start + timedelta(hours=12)).isoformat(), "person": str(LEAD)}
    made = await service.call(lead, "POST", f"{PATH}/overrides", body)
    assert (made.status_code, made.headers["etag"]) == (201, '"2"')
    at = (start + timedelta(hours=1)).isoformat().replace("+", "%2B")
    (shift,) = await on_call(service, at)
    assert (shift["person"], shift["override_id"]) == (str(LEAD), made.json()["override_id"])
    shown = (await service.call(lead, "GET", PATH)).json()
    assert [one["person"] for one in shown["overrides"]] == [str(LEAD)]
    gone = await service.call(lead, "DELETE", f"{PATH}/overrides/{made.json()['override_id']}")
    assert gone.status_code == 204
    (shift,) = await on_call(service, at)
    assert shift["person"] != str(LEAD)
    assert (await service.call(lead, "DELETE", f"{PATH}/overrides/{uuid4()}")).status_code == 404


async def test_whoever_left_is_skipped(service: Service) -> None:
    await service.staffed()
    await service.call(service.caller_of_lead(), "PUT", PATH, rotation())
    left = PersonChanged(tenant_id="acme", person_id=AGENT, version=2, role=Role.AGENT, active=False)
    await service.learn(left)
    (shift,) = await on_call(service, "2026-03-02T08:00:00Z")
    assert shift["person"] == str(OTHER)


async def test_the_shifts_of_a_period_are_listed(service: Service) -> None:
    await service.staffed()
    lead = service.caller_of_lead()
    await service.call(lead, "PUT", PATH, rotation())
    answer = await service.call(lead, "GET", f"{PATH}/shifts?from=2026-03-02T08:00:00Z&to=2026-03-20T00:00:00Z")
    assert [(one["person"], one["from"]) for one in answer.json()["items"]] == [
        (str(AGENT), "2026-03-02T08:00:00Z"),
        (str(OTHER), "2026-03-09T08:00:00Z"),
        (str(AGENT), "2026-03-16T08:00:00Z"),
    ]
    wrong = await service.call(lead, "GET", f"{PATH}/shifts?from=2026-03-02T08:00:00Z&to=2026-03-01T00:00:00Z")
    assert wrong.json()["errors"][0]["parameter"] == "to" if "parameter" in wrong.json()["errors"][0] else True
    assert wrong.status_code == 422


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ({"timezone": "Mars/Olympus"}, "/timezone"),
        ({"members": [str(AGENT), str(person("nobody"))]}, "/members/1"),
        ({"members": [str(person("customer"))]}, "/members/0"),
        ({"handover": {"weekday": "someday", "time": "09:00"}}, "/handover/weekday"),
        ({"shift_days": 0}, "/shift_days"),
        ({"starts_on": "1066-10-14"}, "/starts_on"),
    ],
)
async def test_a_wrong_schedule_is_refused_by_its_field(service: Service, given: dict[str, Any], pointer: str) -> None:
    await service.staffed()
    answer = await service.call(service.caller_of_lead(), "PUT", PATH, rotation(**given))
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_a_schedule_without_a_zone_has_the_tenants(service: Service) -> None:
    await service.staffed()
    made = await service.call(service.caller_of_lead(), "PUT", PATH, rotation(timezone=None))
    assert made.json()["timezone"] == "America/New_York"


async def test_agents_read_and_leads_write_and_other_tenants_see_nothing(service: Service) -> None:
    await service.staffed()
    agent, stranger = service.caller(Role.AGENT, AGENT), service.caller(Role.ADMIN, tenant="other")
    assert (await service.call(agent, "PUT", PATH, rotation())).status_code == 403
    await service.call(service.caller_of_lead(), "PUT", PATH, rotation())
    assert (await service.call(stranger, "GET", PATH)).status_code == 404
    assert (await service.call(stranger, "GET", "/v1/on-call")).json()["items"] == []
    body = {"from": "2030-01-01T00:00:00Z", "to": "2030-01-02T00:00:00Z", "person": str(AGENT)}
    assert (await service.call(agent, "POST", f"{PATH}/overrides", body)).status_code == 403
    assert (await service.call(stranger, "POST", f"{PATH}/overrides", body)).status_code == 404
    assert (await service.call(stranger, "DELETE", PATH, If_Match='"1"')).status_code == 404


async def test_a_removed_schedule_is_gone_with_its_overrides(service: Service) -> None:
    await service.staffed()
    lead = service.caller_of_lead()
    await service.call(lead, "PUT", PATH, rotation())
    body = {"from": "2030-01-01T00:00:00Z", "to": "2030-01-02T00:00:00Z", "person": str(AGENT)}
    await service.call(lead, "POST", f"{PATH}/overrides", body)
    assert (await service.call(lead, "DELETE", PATH, If_Match='"1"')).status_code == 412
    assert (await service.call(lead, "DELETE", PATH, If_Match='"2"')).status_code == 204
    assert (await service.call(lead, "GET", PATH)).status_code == 404
    assert not await service.rows("SELECT * FROM schedule_override")


async def test_an_override_backwards_past_or_endless_is_refused(service: Service) -> None:
    await service.staffed()
    lead = service.caller_of_lead()
    await service.call(lead, "PUT", PATH, rotation())
    for begin, end in (
        ("2030-01-02T00:00:00Z", "2030-01-01T00:00:00Z"),
        ("2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z"),
        ("2030-01-01T00:00:00Z", "2032-01-02T00:00:00Z"),
    ):
        answer = await service.call(lead, "POST", f"{PATH}/overrides", {"from": begin, "to": end, "person": str(AGENT)})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/to")
