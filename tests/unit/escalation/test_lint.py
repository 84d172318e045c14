"""What the linter tells before a night proves it."""

from __future__ import annotations

from datetime import date, time, timedelta
from typing import Any
from uuid import uuid4

from services.escalation.domain.lint import Finding, lint
from services.escalation.domain.rotation import Override, Schedule
from services.escalation.domain.targets import Staff
from tests.unit.escalation.desk import AGENT, OTHER, START, policy, staff


def schedule(*members: Any, name: str = "primary") -> Schedule:
    return Schedule(
        tenant_id="acme",
        name=name,
        timezone="UTC",
        starts_on=date(2026, 1, 5),
        weekday=0,
        handover=time(9),
        members=members,
    )


def linted(
    those: Staff | None = None, *schedules: Schedule, overrides: dict[str, list[Override]] | None = None, **changed: Any
) -> list[Finding]:
    return lint(policy(**changed).section, those or staff(primary="other"), schedules, overrides or {}, START)


def codes(found: list[Finding], severity: str | None = None) -> set[tuple[str, str | None]]:
    return {(one.code, one.schedule or one.step or one.path) for one in found if severity in (None, one.severity)}


def test_the_default_paths_of_a_staffed_desk_have_no_error() -> None:
    assert codes(linted(None, schedule(OTHER)), "error") == set()


def test_a_schedule_that_a_path_names_and_nobody_made_is_an_error() -> None:
    assert ("schedule_missing", "primary") in codes(linted(), "error")


def test_a_schedule_without_members_or_with_none_who_is_active_is_an_error() -> None:
    assert ("schedule_without_members", "primary") in codes(linted(None, schedule()), "error")
    away = staff("agent", "other")
    assert ("schedule_gap", "primary") in codes(linted(away, schedule(AGENT, OTHER)), "error")


def test_a_member_who_left_an_override_of_one_and_a_schedule_nobody_names_are_worth_a_warning() -> None:
    gone = Override(
        override_id=uuid4(),
        starts_at=START,
        ends_at=START + timedelta(days=1),
        person_id=AGENT,
        made_at=START,
    )
    found = linted(
        staff("agent", primary="other"),
        schedule(AGENT, OTHER),
        schedule(OTHER, name="spare"),
        overrides={"primary": [gone]},
    )
    assert {("member_inactive", "primary"), ("override_inactive", "primary"), ("schedule_unused", "spare")} <= codes(
        found, "warning"
    )


def test_steps_and_paths_that_reach_nobody_are_errors() -> None:
    found = linted(staff("agent", "other", "lead", "manager", "admin"))
    assert {("path_reaches_nobody", "critical"), ("step_reaches_nobody", "manager")} <= codes(found, "error")
    leaderless = linted(staff("manager", primary="other"), schedule(OTHER))
    # High ends with the manager: when all others have failed the ticket is nobody's.
    assert ("path_without_end", "high") in codes(leaderless, "error")


def test_a_step_that_only_the_owner_can_answer_is_worth_a_warning() -> None:
    path = {"name": "p", "priorities": ["P1"], "steps": [{"name": "own", "until": 5, "targets": ["assignee"]}]}
    found = linted(None, paths=[path], triggers=[{"level": 1, "cause": "ticket_created"}])
    assert ("step_needs_owner", "own") in codes(found, "warning")


def test_a_path_that_nothing_starts_and_a_desk_that_never_escalates_are_told() -> None:
    found = linted(triggers=[])
    assert ("path_never_starts", "critical") in codes(found, "warning")
    assert "nothing_escalates" in {one.code for one in found if one.severity == "error"}
    assert [one.severity for one in found] == sorted(one.severity for one in found)
