"""Whom a target means."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from services.escalation.domain.targets import Staff, first_of, resolve
from tests.unit.escalation.desk import ADMIN, AGENT, LEAD, MANAGER, OTHER, person, staff, summary


def reached(target: str, those: Staff | None = None, **ticket: object) -> list[UUID]:
    found = resolve(target, summary(**ticket), those or staff(primary="other"))  # type: ignore[arg-type]
    assert all(one.via == target for one in found)
    return [one.person_id for one in found]


@pytest.mark.parametrize(
    ("target", "people"),
    [
        ("assignee", [AGENT]),
        ("on_call:primary", [OTHER]),
        ("on_call:nights", []),
        ("team_lead", [LEAD]),
        ("queue_team", sorted([AGENT, OTHER, LEAD])),
        ("role:manager", [MANAGER]),
        ("role:admin", [ADMIN]),
        ("team:tier 1", sorted([AGENT, OTHER, LEAD])),
        ("team:nobody", []),
        ("carrier_pigeon", []),
    ],
)
def test_a_target_means_these_people(target: str, people: list[UUID]) -> None:
    assert reached(target) == people


def test_who_is_not_active_is_meant_by_nothing() -> None:
    away = staff("agent", "manager", "lead")
    assert reached("assignee", away) == reached("role:manager", away) == []
    assert reached("queue_team", away) == [OTHER]


def test_a_team_without_a_named_lead_has_those_with_the_role() -> None:
    those = staff()
    unnamed = replace(those, teams=[replace(team, lead_id=None) for team in those.teams])
    assert reached("team_lead", unnamed) == [LEAD]


def test_a_ticket_of_no_team_has_the_leads_of_the_teams_that_serve_its_queue() -> None:
    assert reached("team_lead", assignee=None) == [LEAD]
    assert reached("team_lead", assignee=None, queue="nowhere") == []


def test_the_first_target_that_yields_somebody_is_taken() -> None:
    targets = ("on_call:nights", "assignee", "role:manager")
    assert first_of(targets, summary(), staff())[0] == 1
    number, people = first_of(targets, summary(), staff(), after=2)
    assert (number, [one.person_id for one in people]) == (2, [MANAGER])
    assert first_of(targets, summary(assignee=person("gone")), staff("manager")) == (3, ())
