"""Escalations on a real database: started, walked, raised; nobody asked twice."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shared.contracts.sla import SlaBreached, SlaWarning
from tests.integration.escalation.conftest import Service
from tests.integration.escalation.facts import clock, created, states
from tests.unit.escalation.desk import (
    ADMIN,
    AGENT,
    LEAD,
    MANAGER,
    OTHER,
    policy_event,
    state,
    ticket_id,
)

pytestmark = pytest.mark.engines


async def test_a_p1_pages_at_once_and_walks_agent_lead_manager_director(service: Service) -> None:
    await service.staffed()
    await service.handle(await created(service, label="P1"))
    await service.fire()
    assert await service.steps() == [("agent", 1, [str(AGENT)])]
    assert await service.paged() == [(str(AGENT), "high"), (str(MANAGER), "low")]
    for minutes in (16, 15, 30, 30, 40):
        await service.forward(minutes=minutes)
    steps = await service.steps()
    assert [step[0] for step in steps] == ["agent", "team_lead", "manager", "director"]
    assert [step[2] for step in steps] == [[str(AGENT)], [str(LEAD)], [str(MANAGER)], [str(ADMIN)]]
    await service.forward(minutes=60)
    assert [one["reason"] for one in await service.published("escalation.ended")] == ["exhausted"]
    assert not await service.rows("SELECT * FROM timer")


async def test_who_is_on_call_is_paged_before_the_owner(service: Service) -> None:
    await service.staffed()
    lead = service.caller_of_lead()
    wanted = {
        "starts_on": "2026-01-05",
        "handover": {"weekday": "monday", "time": "09:00"},
        "members": [str(OTHER)],
        "timezone": "Europe/Berlin",
    }
    assert (await service.call(lead, "PUT", "/v1/schedules/primary", wanted)).status_code == 201
    await service.handle(await created(service, label="P1"))
    (step,) = await service.published("escalation.stepped")
    assert step["targets"] == [{"person_id": str(OTHER), "via": "on_call:primary"}]


async def test_a_repeated_and_a_replayed_cause_starts_nothing_a_second_time(service: Service) -> None:
    await service.staffed()
    cause = await created(service, label="P1")
    for _ in range(3):
        await service.handle(cause)
    assert len(await service.published("escalation.started")) == 1
    now = await service.now()
    await service.handle(state(label="P1", version=2, at=now, answered=now))
    await service.handle(cause)
    assert await states(service) == [("critical", "acknowledged", None)]
    assert len(await service.published("page.requested")) == 2


async def test_triage_makes_it_a_p1_and_back_again(service: Service) -> None:
    await service.staffed()
    now = await service.now()
    await service.handle(await created(service), state(at=now))
    assert await service.steps() == []
    await service.handle(state(version=2, label="P1", at=now + timedelta(milliseconds=100), created=now))
    assert [one["cause"] for one in await service.published("escalation.started")] == ["priority_raised"]
    await service.handle(state(version=3, label="P2", at=now + timedelta(seconds=1), created=now))
    assert await states(service) == [("critical", "ended", "priority_lowered")]
    await service.forward(minutes=60.1)
    # Nobody has handled it: the other path takes over when its agent's hour is over.
    assert await states(service) == [("critical", "ended", "priority_lowered"), ("high", "running", None)]


async def test_an_older_state_is_ignored(service: Service) -> None:
    await service.staffed()
    now = await service.now()
    await service.handle(state(version=5, label="P1", at=now))
    await service.handle(await created(service, label="P1"))
    await service.handle(state(version=4, label="P1", category="solved", at=now))
    assert await states(service) == [("critical", "running", None)]


async def test_what_nobody_has_handled_goes_to_the_team_lead_and_is_silent_before(service: Service) -> None:
    await service.staffed()
    now = await service.now()
    await service.handle(state("one", at=now), state("two", at=now), await created(service))
    await service.forward(minutes=239)
    assert await service.published("escalation.started") == []
    later = await service.now()
    await service.handle(state("two", version=2, at=later, created=now, answered=later))
    await service.forward(minutes=1.1)
    assert [(one["ticket_id"], one["level"]) for one in await service.published("escalation.started")] == [
        (str(ticket_id("one")), 2)
    ]
    assert await service.steps() == [("team_lead", 2, [str(LEAD)])]
    await service.handle(state("one", version=2, at=later, created=now))
    await service.forward(minutes=1)
    assert len(await service.published("escalation.started")) == 1


async def test_a_breach_while_a_path_runs_raises_it(service: Service) -> None:
    await service.staffed()
    await service.handle(await created(service, label="P1"))
    await service.handle(await clock(service, SlaBreached, label="P1"))
    assert len(await service.published("escalation.started")) == 1
    assert await service.steps() == [("agent", 1, [str(AGENT)]), ("team_lead", 2, [str(LEAD)])]
    asked = [(one["person_id"], one["step"]) for one in await service.published("page.requested")]
    assert len(asked) == len(set(asked)) == 3


async def test_a_warning_alerts_executives_or_else_the_manager(service: Service) -> None:
    await service.staffed()
    await service.handle(await clock(service, SlaWarning, clock="resolution"))
    assert await service.paged() == [(str(AGENT), "low"), (str(MANAGER), "low")]
    assert [one["level"] for one in await service.published("escalation.started")] == [3]


async def test_with_nobody_at_all_every_step_is_told_with_no_targets(service: Service) -> None:
    await service.learn(policy_event())
    await service.handle(await created(service, label="P1"))
    assert [step[2] for step in await service.steps()] == [[], [], [], []]
    assert await service.paged() == []
