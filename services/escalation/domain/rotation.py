"""Who is on call: a weekly rotation in wall-clock time, and overrides of it.

Invariant: a schedule with at least one active member has exactly one person at any instant, and hands over at the
wall-clock time it names, also across changes to and from daylight saving time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A rotation: members take shifts in turn."""

    tenant_id: str
    name: str
    version: int = 1
    timezone: str
    """IANA zone of the handover."""
    starts_on: date
    """The first member's first shift begins at the first handover on or after this day; the rotation counts on from
    there in both directions."""
    weekday: int
    """Of the handover: 0 is Monday."""
    handover: time
    """Wall-clock time in the zone. Where the clock leaps over it, as much later; where it comes twice, the first."""
    members: tuple[UUID, ...]
    shift_days: int = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Somebody else for a while: a swap, a leave. Half-open; of two that overlap the one made later counts."""

    override_id: UUID
    starts_at: datetime
    ends_at: datetime
    person_id: UUID
    made_at: datetime

    def covers(self, instant: datetime) -> bool:
        """Whether it holds at this instant."""
        return self.starts_at <= instant < self.ends_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """Who is on call, from when until when, and why."""

    person_id: UUID
    starts_at: datetime
    ends_at: datetime
    override_id: UUID | None = None
    """The override it comes from; None for the rotation."""


def handover_at(schedule: Schedule, number: int) -> datetime:
    """When the shift of that number begins (UTC); 0 is the first member's first one."""
    first = schedule.starts_on + timedelta(days=(schedule.weekday - schedule.starts_on.weekday()) % 7)
    day = first + timedelta(days=number * schedule.shift_days)
    return datetime.combine(day, schedule.handover, ZoneInfo(schedule.timezone)).astimezone(UTC)


def shift_number(schedule: Schedule, instant: datetime) -> int:
    """The number of the shift that an instant belongs to."""
    local = instant.astimezone(ZoneInfo(schedule.timezone)).date()
    first = schedule.starts_on + timedelta(days=(schedule.weekday - schedule.starts_on.weekday()) % 7)
    number = (local - first).days // schedule.shift_days
    # The day is a guess that the time of day, and a zone that once left out a whole day, put right.
    while instant < handover_at(schedule, number):
        number -= 1
    while instant >= handover_at(schedule, number + 1):
        number += 1
    return number


def on_call(
    schedule: Schedule, overrides: Iterable[Override], instant: datetime, active: Collection[UUID] | None = None
) -> Shift | None:
    """Who is on call at `instant`; None only where nobody of them all is active.

    `active` are the people who can be reached at all; None for everybody. Others are skipped: an override of theirs
    counts for nothing, and a shift of theirs is the next member's.
    """
    holding = sorted((one for one in overrides if one.covers(instant)), key=_newest_first)
    for one in holding:
        if active is None or one.person_id in active:
            return Shift(
                person_id=one.person_id, starts_at=one.starts_at, ends_at=one.ends_at, override_id=one.override_id
            )
    if not schedule.members:
        return None
    number = shift_number(schedule, instant)
    for offset in range(len(schedule.members)):
        person = schedule.members[(number + offset) % len(schedule.members)]
        if active is None or person in active:
            return Shift(
                person_id=person,
                starts_at=handover_at(schedule, number),
                ends_at=handover_at(schedule, number + 1),
            )
    return None


def shifts(
    schedule: Schedule,
    overrides: Sequence[Override],
    starts_at: datetime,
    ends_at: datetime,
    active: Collection[UUID] | None = None,
) -> list[Shift]:
    """Who is on call from when until when within a period, joined where the same person goes on; gaps are left out."""
    edges = {starts_at}
    number = shift_number(schedule, starts_at)
    while (edge := handover_at(schedule, number := number + 1)) < ends_at:
        edges.add(edge)
    for one in overrides:
        edges |= {edge for edge in (one.starts_at, one.ends_at) if starts_at < edge < ends_at}
    found: list[Shift] = []
    ordered = sorted(edges)
    for begin, end in zip(ordered, [*ordered[1:], ends_at], strict=True):
        shift = on_call(schedule, overrides, begin, active)
        if shift is None:
            continue
        last = found[-1] if found else None
        if last and (last.person_id, last.override_id, last.ends_at) == (shift.person_id, shift.override_id, begin):
            found[-1] = Shift(
                person_id=last.person_id, starts_at=last.starts_at, ends_at=end, override_id=last.override_id
            )
        else:
            found.append(Shift(person_id=shift.person_id, starts_at=begin, ends_at=end, override_id=shift.override_id))
    return found


def _newest_first(one: Override) -> tuple[float, UUID]:
    return (-one.made_at.timestamp(), one.override_id)
