"""Business time against tables of cases and against an oracle that counts minutes."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.calendar import BusinessTime, Open
from shared.contracts.pack import Calendar
from tests.support.dose import examples
from tests.unit.calendar import oracle

WORKDAYS = ["mon", "tue", "wed", "thu", "fri"]
EVERY_DAY = [*WORKDAYS, "sat", "sun"]
OFFICE: dict[str, Any] = {"name": "office", "week": [{"days": WORKDAYS, "from": "09:00", "to": "17:00"}]}
BREAK: dict[str, Any] = {
    "name": "break",
    "week": [
        {"days": WORKDAYS, "from": "08:30", "to": "12:00"},
        {"days": WORKDAYS, "from": "12:45", "to": "17:15"},
        {"days": ["sat"], "from": "10:00", "to": "12:00"},
    ],
}
NIGHT: dict[str, Any] = {"name": "night", "week": [{"days": EVERY_DAY, "from": "22:00", "to": "06:00"}]}
ALL_DAY: dict[str, Any] = {"name": "all_day", "week": [{"days": EVERY_DAY, "from": "00:00", "to": "24:00"}]}
SMALL_HOURS: dict[str, Any] = {"name": "small", "week": [{"days": EVERY_DAY, "from": "01:30", "to": "03:00"}]}
ALWAYS: dict[str, Any] = {"name": "always", "always": True}


def hours(*spans: tuple[float, float]) -> timedelta:
    return sum((timedelta(hours=to - start) for start, to in spans), timedelta())


def of(document: dict[str, Any], zone: str = "UTC", **more: object) -> BusinessTime:
    return BusinessTime(Calendar.model_validate({**document, **more}), zone)


def local(text: str, zone: str = "UTC", fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)


@pytest.mark.parametrize(
    ("document", "zone", "start", "minutes", "due"),
    [
        (OFFICE, "UTC", "2026-03-02T10:00", 60, "2026-03-02T11:00"),
        (OFFICE, "UTC", "2026-03-02T08:00", 60, "2026-03-02T10:00"),
        (OFFICE, "UTC", "2026-03-02T16:30", 60, "2026-03-03T09:30"),
        (OFFICE, "UTC", "2026-03-06T16:30", 60, "2026-03-09T09:30"),
        (OFFICE, "UTC", "2026-03-07T12:00", 480, "2026-03-09T17:00"),
        (OFFICE, "UTC", "2026-03-02T16:00", 60, "2026-03-02T17:00"),
        (OFFICE, "America/New_York", "2026-03-02T16:30", 60, "2026-03-03T09:30"),
        (OFFICE, "Asia/Kolkata", "2026-03-02T09:00", 480, "2026-03-02T17:00"),
        (BREAK, "Europe/Berlin", "2026-03-02T11:50", 30, "2026-03-02T13:05"),
        (BREAK, "Europe/Berlin", "2026-03-06T17:00", 120, "2026-03-07T11:45"),
        (NIGHT, "UTC", "2026-03-02T23:00", 420, "2026-03-03T06:00"),
        (NIGHT, "UTC", "2026-03-02T12:00", 481, "2026-03-03T22:01"),
        # The hour that clocks skip belongs to nobody; the one they show twice counts twice.
        (NIGHT, "Europe/Berlin", "2026-03-28T22:00", 420, "2026-03-29T06:00"),
        (NIGHT, "Europe/Berlin", "2026-10-24T22:00", 540, "2026-10-25T06:00"),
        (ALL_DAY, "Europe/London", "2026-03-29T00:00", 23 * 60, "2026-03-30T00:00"),
        (ALL_DAY, "Europe/London", "2026-10-25T00:00", 25 * 60, "2026-10-26T00:00"),
        (ALL_DAY, "Australia/Lord_Howe", "2026-04-05T00:00", 24 * 60 + 30, "2026-04-06T00:00"),
        (OFFICE, "Europe/Berlin", "2026-03-27T16:00", 120, "2026-03-30T10:00"),
        (OFFICE, "UTC", "2028-02-28T16:00", 120, "2028-02-29T10:00"),
    ],
)
def test_so_much_business_time_later_it_is(
    document: dict[str, Any], zone: str, start: str, minutes: int, due: str
) -> None:
    counted = of(document, zone)
    begins, ends = local(start, zone), local(due, zone)
    assert counted.add(begins, timedelta(minutes=minutes)) == ends
    assert counted.between(begins, ends) == timedelta(minutes=minutes)


def test_minutes_that_a_zone_shows_twice_count_twice() -> None:
    """01:30 to 03:00 where 02:00 becomes 01:00: half an hour, closed for half an hour, then an hour and a half."""
    counted = of(SMALL_HOURS, "America/New_York")
    begins, ends = local("2026-11-01T00:00", "America/New_York"), local("2026-11-01T12:00", "America/New_York")
    assert counted.between(begins, ends) == timedelta(hours=2)
    assert list(counted.open(begins, ends)) == [
        Open(local("2026-11-01T01:30", "America/New_York"), local("2026-11-01T01:00", "America/New_York", fold=1)),
        Open(local("2026-11-01T01:30", "America/New_York", fold=1), local("2026-11-01T03:00", "America/New_York")),
    ]


def test_a_holiday_closes_its_own_local_date_and_no_more() -> None:
    counted = of(NIGHT, "UTC", holidays=[{"name": "Feast", "date": "2026-03-03"}])
    begins, ends = local("2026-03-02T22:00"), local("2026-03-04T06:00")
    assert counted.between(begins, ends) == timedelta(hours=8)
    assert [(one.day.isoformat(), one.name) for one in counted.holidays(begins, ends)] == [("2026-03-03", "Feast")]


def test_a_holiday_without_a_year_comes_every_year_and_a_leap_day_every_fourth() -> None:
    counted = of(OFFICE, "UTC", holidays=[{"name": "A", "date": "12-25"}, {"name": "B", "date": "02-29"}])
    assert counted.add(local("2026-12-24T16:30"), timedelta(hours=1)) == local("2026-12-28T09:30")
    assert counted.add(local("2030-12-24T16:30"), timedelta(hours=1)) == local("2030-12-26T09:30")
    assert counted.add(local("2028-02-28T16:30"), timedelta(hours=1)) == local("2028-03-01T09:30")


def test_a_day_that_a_zone_skipped_never_was() -> None:
    """Samoa went from 29 to 31 December 2011."""
    counted = of(ALL_DAY, "Pacific/Apia")
    begins, ends = local("2011-12-29T00:00", "Pacific/Apia"), local("2012-01-01T00:00", "Pacific/Apia")
    assert counted.between(begins, ends) == timedelta(hours=48)


def test_around_the_clock_every_microsecond_counts() -> None:
    counted = of(ALWAYS)
    begins = datetime(2026, 3, 2, 9, 0, 0, 1, tzinfo=UTC)
    assert counted.add(begins, timedelta(minutes=90)) == begins + timedelta(minutes=90)
    assert counted.between(begins, begins + timedelta(microseconds=7)) == timedelta(microseconds=7)


def test_time_does_not_run_backwards() -> None:
    counted = of(OFFICE)
    assert counted.between(local("2026-03-03T12:00"), local("2026-03-02T12:00")) == timedelta()
    with pytest.raises(ValueError, match="negative"):
        counted.add(local("2026-03-03T12:00"), timedelta(seconds=-1))


def test_what_would_never_end_has_no_end() -> None:
    counted = of({"name": "rare", "week": [{"days": ["mon"], "from": "09:00", "to": "09:01"}]})
    assert counted.add(local("2026-03-02T12:00"), timedelta(minutes=5_000_000)) is None
    assert of(ALWAYS).add(datetime(9999, 12, 31, tzinfo=UTC), timedelta(days=9)) is None


def test_an_earlier_question_after_a_later_one_is_answered_as_well() -> None:
    counted = of(OFFICE)
    later = counted.add(local("2026-03-02T16:30"), timedelta(hours=1))
    assert counted.add(local("2019-03-01T16:30"), timedelta(hours=1)) == local("2019-03-04T09:30")
    assert counted.add(local("2026-03-02T16:30"), timedelta(hours=1)) == later


def test_a_computation_costs_microseconds() -> None:
    counted = of(BREAK, "Europe/Berlin")
    begins = local("2026-03-02T11:50", "Europe/Berlin")
    counted.add(begins, timedelta(minutes=4320))
    began = time.perf_counter()
    for _ in range(1000):
        counted.add(begins, timedelta(minutes=4320))
    assert (time.perf_counter() - began) / 1000 < 200e-6


ZONES = (
    "UTC", "Europe/Berlin", "Europe/London", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata",
    "Africa/Casablanca", "America/Sao_Paulo", "Pacific/Chatham", "Asia/Kathmandu", "America/St_Johns", "Asia/Tehran",
)  # fmt: skip
# Around both changes of most zones, a year's end and a leap day, so that a few days of minutes meet something.
ANCHORS = (
    "2026-03-28",
    "2026-10-24",
    "2026-11-01",
    "2026-04-04",
    "2026-03-08",
    "2026-12-31",
    "2028-02-28",
    "2026-06-10",
)


@st.composite
def calendars(draw: st.DrawFn) -> Calendar:
    if draw(st.integers(0, 9)) == 0:
        return Calendar.model_validate(ALWAYS)
    quarters = st.integers(0, 95).map(lambda q: f"{q // 4:02d}:{q % 4 * 15:02d}")
    week = []
    for _ in range(draw(st.integers(1, 3))):
        opens = draw(quarters)
        closes = draw(st.one_of(quarters, st.just("24:00")).filter(lambda t: t != opens))  # noqa: B023 - used at once
        days = draw(st.lists(st.sampled_from(EVERY_DAY), min_size=2, max_size=7, unique=True))
        week.append({"days": days, "from": opens, "to": closes})
    holidays = draw(st.lists(st.sampled_from(["03-29", "2026-10-25", "12-31", "01-01", "2026-11-01"]), max_size=2))
    return Calendar.model_validate(
        {"name": "drawn", "week": week, "holidays": [{"name": "H", "date": day} for day in holidays]}
    )


starts = st.builds(
    lambda day, seconds, micro: (
        datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(seconds=seconds, microseconds=micro)
    ),
    st.sampled_from(ANCHORS),
    st.integers(0, 2 * 86400),
    st.sampled_from([0, 0, 1, 999_999]),
)


@settings(max_examples=examples(40), deadline=None)
@given(calendars(), st.sampled_from(ZONES), starts, st.integers(0, 2 * 1440), st.integers(0, 59_999_999))
def test_what_passes_between_two_instants_is_what_a_count_of_minutes_says(
    calendar: Calendar, zone: str, start: datetime, minutes: int, micro: int
) -> None:
    end = start + timedelta(minutes=minutes, microseconds=micro)
    assert BusinessTime(calendar, zone).between(start, end) == oracle.between(calendar, zone, start, end)


@settings(max_examples=examples(40), deadline=None)
@given(calendars(), st.sampled_from(ZONES), starts, st.integers(0, 600 * 60))
def test_when_so_much_has_passed_is_when_a_count_of_minutes_says_and_never_earlier(
    calendar: Calendar, zone: str, start: datetime, seconds: int
) -> None:
    counted, duration = BusinessTime(calendar, zone), timedelta(seconds=seconds)
    due = counted.add(start, duration)
    assert due is not None
    assert counted.between(start, due) == duration
    if duration:
        assert counted.between(start, due - timedelta(microseconds=1)) < duration
    if due - start < timedelta(days=4):
        assert due == oracle.add(calendar, zone, start, duration)


@settings(max_examples=examples(60), deadline=None)
@given(calendars(), st.sampled_from(ZONES), starts, st.integers(0, 10**10), st.integers(0, 10**10))
def test_more_time_is_never_due_earlier_and_two_steps_are_one(
    calendar: Calendar, zone: str, start: datetime, one: int, two: int
) -> None:
    counted = BusinessTime(calendar, zone)
    less, more = timedelta(microseconds=one), timedelta(microseconds=one + two)
    first, last = counted.add(start, less), counted.add(start, more)
    assert first is not None
    assert last is not None
    assert start <= first <= last
    if two:
        assert counted.add(first, more - less) == last
    assert counted.between(start, first) + counted.between(first, last) == counted.between(start, last)
