"""Who is on call: one person at any instant, handed over at the wall-clock time, also when clocks change."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.escalation.domain.rotation import Override, Schedule, handover_at, on_call, shift_number, shifts
from tests.unit.escalation.desk import person

ANA, BEN, CIA = person("ana"), person("ben"), person("cia")
# Zones with every kind of change: both halves of the globe, half an hour, none, a day left out, a change at midnight.
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "Pacific/Apia",
    "America/Sao_Paulo",
)


def schedule(
    *members: UUID,
    zone: str = "Europe/Berlin",
    at: time = time(9),
    shift_days: int = 7,
    starts_on: date = date(2026, 3, 1),
    weekday: int = 0,
) -> Schedule:
    return Schedule(
        tenant_id="acme",
        name="primary",
        timezone=zone,
        starts_on=starts_on,
        weekday=weekday,
        handover=at,
        members=members or (ANA, BEN),
        shift_days=shift_days,
    )


def override(who: UUID, starts_at: datetime, hours: float, made: int = 0) -> Override:
    made_at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=made)
    return Override(
        override_id=uuid5(who, str(starts_at)),
        starts_at=starts_at,
        ends_at=starts_at + timedelta(hours=hours),
        person_id=who,
        made_at=made_at,
    )


def berlin(day: int, hour: int, minute: int = 0, month: int = 3) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC)


def who(one: Schedule, instant: datetime, *overrides: Override, active: set[UUID] | None = None) -> UUID | None:
    shift = on_call(one, overrides, instant, active)
    return shift.person_id if shift else None


instants = st.datetimes(datetime(2005, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))
schedules = st.builds(
    schedule,
    st.just(ANA),
    st.just(BEN),
    st.just(CIA),
    zone=st.sampled_from(ZONES),
    at=st.times().map(lambda t: t.replace(second=0, microsecond=0)),
    shift_days=st.integers(1, 30),
    starts_on=st.dates(date(2005, 1, 1), date(2040, 1, 1)),
    weekday=st.integers(0, 6),
)


@given(schedules, instants)
def test_exactly_one_shift_covers_any_instant(one: Schedule, instant: datetime) -> None:
    number = shift_number(one, instant)
    assert handover_at(one, number) <= instant < handover_at(one, number + 1)
    shift = on_call(one, (), instant)
    assert shift is not None
    assert shift.starts_at <= instant < shift.ends_at
    assert shift.person_id == one.members[number % 3]


@given(schedules, instants)
def test_the_handover_is_exact_and_at_the_clocks_time_on_the_wall(one: Schedule, instant: datetime) -> None:
    number = shift_number(one, instant)
    edge = handover_at(one, number)
    assert shift_number(one, edge) >= number > shift_number(one, edge - timedelta(microseconds=1))
    zone = ZoneInfo(one.timezone)
    wall = edge.astimezone(zone).replace(tzinfo=None)
    named = datetime.combine(wall.date(), one.handover)
    # Where the clock leaps over the time that is named, the handover is as much later.
    leapt = named.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None) != named
    assert wall == named or leapt


@pytest.mark.parametrize(
    ("instant", "expected"),
    [
        (berlin(2, 8, 59), BEN),
        (berlin(2, 9), ANA),
        (berlin(9, 8, 59), ANA),
        (berlin(9, 9), BEN),
        # Clocks go forward on 29 March: the handover stays at nine, one hour earlier in UTC.
        (berlin(30, 8, 59), BEN),
        (berlin(30, 9), ANA),
        (datetime(2026, 3, 30, 6, 59, 59, tzinfo=UTC), BEN),
        (datetime(2026, 3, 30, 7, tzinfo=UTC), ANA),
        # And back on 25 October.
        (datetime(2026, 10, 26, 7, 59, 59, tzinfo=UTC), BEN),
        (datetime(2026, 10, 26, 8, tzinfo=UTC), ANA),
    ],
)
def test_a_week_is_handed_over_on_monday_at_nine(instant: datetime, expected: UUID) -> None:
    assert who(schedule(), instant) == expected


def test_a_handover_in_the_hour_that_is_left_out_is_an_hour_later_and_in_the_doubled_hour_the_first() -> None:
    nightly = schedule(zone="Europe/Berlin", at=time(2, 30), shift_days=1, starts_on=date(2026, 3, 23))
    assert handover_at(nightly, 6) == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    autumn = schedule(zone="Europe/Berlin", at=time(2, 30), shift_days=1, starts_on=date(2026, 10, 19))
    assert handover_at(autumn, 6) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


def test_who_is_not_active_is_skipped_and_nobody_active_is_nobody() -> None:
    one = schedule(ANA, BEN, CIA)
    assert who(one, berlin(2, 10), active={BEN, CIA}) == BEN
    assert who(one, berlin(2, 10), active={CIA}) == CIA
    assert who(one, berlin(2, 10), active=set()) is None
    assert on_call(replace(one, members=()), (), berlin(2, 10)) is None


def test_an_override_holds_from_its_first_instant_to_before_its_last_and_the_newer_one_counts() -> None:
    one = schedule()
    swap = override(CIA, berlin(3, 18), 12)
    assert who(one, berlin(3, 18) - timedelta(microseconds=1), swap) == ANA
    assert who(one, berlin(3, 18), swap) == CIA
    assert who(one, berlin(4, 6), swap) == ANA
    later = override(BEN, berlin(3, 20), 1, made=5)
    assert who(one, berlin(3, 20, 30), swap, later) == BEN
    assert who(one, berlin(3, 20, 30), swap, later, active={ANA, CIA}) == CIA


@given(schedules, st.integers(0, 3000), st.integers(1, 200), st.integers(1, 60))
def test_the_shifts_of_a_period_join_without_gap_and_say_what_on_call_says(
    one: Schedule, day: int, hours: int, days: int
) -> None:
    start = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=day)
    end = start + timedelta(days=days)
    swap = override(CIA, start + timedelta(hours=hours / 2), hours)
    found = shifts(one, [swap], start, end)
    assert (found[0].starts_at, found[-1].ends_at) == (start, end)
    assert all(a.ends_at == b.starts_at for a, b in pairwise(found))
    for shift in found:
        assert who(one, shift.starts_at, swap) == shift.person_id
        assert who(one, shift.ends_at - timedelta(microseconds=1), swap) == shift.person_id
