"""Calendars and SLA targets of a pack: what is refused, with its line, and what the default says."""

from __future__ import annotations

import pytest

from services.directory.domain.pack_check import PackRefusedError, check
from shared.contracts.pack import Calendars, SlaTargets
from tests.unit.directory.test_pack_check import DEFAULT, edited, line_of, problems

WEEK = '{days: [mon, tue, wed, thu, fri], from: "09:00", to: "17:00"}'
CHRISTMAS = '        - {name: Christmas Day, date: "12-25"}'
FIRST = "{tier: enterprise, first_response: 60, resolution: 720}"


def test_the_default_hours_and_targets_are_the_seeds() -> None:
    """Seed 000 §8.1: nine to five, local."""
    sections = check(DEFAULT).sections
    office = Calendars.model_validate(sections["calendars"]).calendars[0]
    assert [(one.opens, one.closes, len(one.days)) for one in office.week] == [("09:00", "17:00", 5)]
    assert office.zone == "requester"
    targets = SlaTargets.model_validate(sections["sla"]).targets
    assert [(t.tier, t.first_response, t.resolution) for t in targets[:4]] == [
        ("enterprise", 60, 720),
        ("premium", 120, 1440),
        ("standard", 240, 2880),
        ("essential", 480, 4320),
    ]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("zone: requester", "zone: Mars/Olympus", "neither tenant, organisation, requester nor an IANA time zone"),
        (WEEK, '{days: [mon], from: "25:00", to: "17:00"}', "no time of day"),
        (WEEK, '{days: [mon], from: "09:00", to: "09:00"}', "a whole day is from '00:00' to '24:00'"),
        (WEEK, '{days: [mon], from: "24:00", to: "02:00"}', "begins on the next day"),
        (WEEK, '{days: [someday], from: "09:00", to: "17:00"}', "'mon'"),
        (CHRISTMAS, '        - {name: Never, date: "02-30"}', "no day"),
        (CHRISTMAS, '        - {name: Never, date: "2026-02-29"}', "no day"),
        ("name: around_the_clock", "name: business_hours", "defined twice"),
        ("calendar: business_hours", "calendar: lunch_hours", "'lunch_hours' is not one of the calendars"),
        (FIRST, "{tier: enterprise}", "first_response, resolution, or both"),
        (FIRST, "{priority: P9, first_response: 60}", "'P9' is none of the priorities"),
        (FIRST, "{tier: enterprise, first_response: 60, calendar: lunch}", "'lunch' is not one of the calendars"),
    ],
)
def test_a_mistake_in_clocks_is_told_where_it_stands(old: str, new: str, says: str) -> None:
    text = edited(old, new)
    found = problems(text)
    assert any(says in message for _, message in found.values()), found
    if "defined twice" not in says:
        assert line_of(text, new) in {line for line, _ in found.values()}


def test_a_line_that_is_never_read_is_worth_a_warning() -> None:
    warned = check(edited(FIRST, "{first_response: 60}\n    - " + FIRST)).warnings
    assert "takes all these tickets before this line is read" in warned[0].message


def test_a_zone_that_nobody_can_have_yet_is_worth_a_warning() -> None:
    warned = check(edited("zone: requester", "zone: organisation")).warnings
    assert "the tenant's counts" in warned[0].message


def test_a_calendar_that_is_never_open_is_refused() -> None:
    with pytest.raises(PackRefusedError, match="never open measures nothing"):
        check(edited("      always: true", "      zone: tenant"))
