"""Business hours: named calendars with zone, intervals and holidays (seed 000 §8.1).

Hours are wall-clock time of a zone. A holiday closes its own local date, from midnight to midnight: of a shift that
begins the evening before, the part before midnight still counts.
"""

from __future__ import annotations

import re
from datetime import date
from enum import StrEnum
from functools import cache
from typing import Annotated, ClassVar, Self
from zoneinfo import available_timezones

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, model_validator

from shared.contracts.pack.section import Name, Part, Section

DAY = 24 * 60
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|24:00")


class ZoneOf(StrEnum):
    """Whose zone a calendar is read in, where none is named."""

    TENANT = "tenant"
    ORGANISATION = "organisation"
    """The requester's organisation's; the tenant's where that has none, which today is always so."""
    REQUESTER = "requester"
    """The requester's own, else their organisation's, else the tenant's."""


class Weekday(StrEnum):
    """A day of the week."""

    MONDAY = "mon"
    TUESDAY = "tue"
    WEDNESDAY = "wed"
    THURSDAY = "thu"
    FRIDAY = "fri"
    SATURDAY = "sat"
    SUNDAY = "sun"


WEEKDAYS: tuple[Weekday, ...] = tuple(Weekday)
"""Monday first, as `date.weekday()` counts."""


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _zone(value: str) -> str:
    if value not in frozenset(ZoneOf) and value not in _zones():
        told = ", ".join(ZoneOf)
        raise ValueError(f"{value!r} is neither {told} nor an IANA time zone such as Europe/Berlin")
    return value


def _clock(value: str) -> str:
    if not _CLOCK.fullmatch(value):
        raise ValueError(f"{value!r} is no time of day; write it like '09:00', and midnight at the end as '24:00'")
    return value


def _day(value: str) -> str:
    try:
        # A leap year: 02-29 comes every fourth year.
        date.fromisoformat(value if len(value) > 5 else f"2024-{value}")
    except ValueError:
        raise ValueError(f"{value!r} is no day; write '2026-04-03', or '12-25' for every year") from None
    return value


TimeOfDay = Annotated[str, AfterValidator(_clock)]
"""`09:00`; `24:00` is the midnight that ends a day."""
Day = Annotated[str, StringConstraints(pattern=r"^(\d{4}-)?\d{2}-\d{2}$"), AfterValidator(_day)]
"""`2026-04-03`, or `12-25` for every year."""


def minute_of(time: str) -> int:
    """Minutes since local midnight."""
    hours, _, minutes = time.partition(":")
    return int(hours) * 60 + int(minutes)


class Interval(Part):
    """Open from one time of day to another, on some days of the week."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    days: Annotated[tuple[Weekday, ...], Field(min_length=1, max_length=7)]
    """The days on which it begins."""
    opens: Annotated[TimeOfDay, Field(alias="from")]
    closes: Annotated[TimeOfDay, Field(alias="to")]
    """Earlier than `from`: on the next day. Half-open: the minute of `to` is outside."""

    @model_validator(mode="after")
    def _has_length(self) -> Self:
        if self.opens == self.closes:
            raise ValueError("a whole day is from '00:00' to '24:00'")
        if self.opens == "24:00":
            raise ValueError("what begins at '24:00' begins on the next day at '00:00'")
        return self


class Holiday(Part):
    """A local date on which nothing is open."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=80)]
    date: Day


class Calendar(Part):
    """When business time passes."""

    name: Name
    zone: Annotated[str, AfterValidator(_zone)] = ZoneOf.TENANT.value
    """`tenant`, `organisation`, `requester`, or an IANA zone."""
    always: bool = False
    """Every minute counts; then there are neither intervals nor holidays."""
    week: Annotated[tuple[Interval, ...], Field(max_length=100)] = ()
    holidays: Annotated[tuple[Holiday, ...], Field(max_length=1000)] = ()

    @model_validator(mode="after")
    def _is_open_sometime(self) -> Self:
        if self.always and (self.week or self.holidays):
            raise ValueError("always: true goes without week and holidays")
        if not self.always and not self.week:
            raise ValueError("a calendar that is never open measures nothing: give it a week, or always: true")
        if len({holiday.date for holiday in self.holidays if len(holiday.date) == 5}) > 350:
            raise ValueError("no year can be made of holidays")
        return self


class Calendars(Section):
    """Business hours by name (seed 000 §8.1: 9 to 17, local)."""

    SECTION: ClassVar[str] = "calendars"

    calendars: Annotated[tuple[Calendar, ...], Field(min_length=1, max_length=50)]

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        names = [calendar.name for calendar in self.calendars]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"calendar {name!r} is defined twice")
        return self
