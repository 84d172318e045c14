"""A calendar's local side: which minutes of which local date are open. Knows no zone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from shared.contracts.pack.calendars import DAY, WEEKDAYS, Calendar, minute_of

Span = tuple[int, int]
"""Minutes since local midnight, half-open, within one date."""


@dataclass(frozen=True, slots=True)
class Closed:
    """A local date on which a holiday closes."""

    day: date
    name: str


class Week:
    """Spans by weekday and the dates that are closed.

    An interval that passes midnight is two spans, one on each date: so a holiday closes exactly its own local date.
    """

    def __init__(self, calendar: Calendar) -> None:
        self.always = calendar.always
        days: list[list[Span]] = [[] for _ in WEEKDAYS]
        for interval in calendar.week:
            opens, closes = minute_of(interval.opens), minute_of(interval.closes)
            for day in interval.days:
                number = WEEKDAYS.index(day)
                if opens < closes:
                    days[number].append((opens, closes))
                else:
                    days[number].append((opens, DAY))
                    if closes:
                        days[(number + 1) % 7].append((0, closes))
        self._days = tuple(_merged(spans) for spans in days)
        self._once = {
            date.fromisoformat(one.date): one.name for one in reversed(calendar.holidays) if len(one.date) > 5
        }
        self._yearly = {one.date: one.name for one in reversed(calendar.holidays) if len(one.date) == 5}

    def spans(self, day: date) -> Sequence[Span]:
        """The open minutes of a local date, in order, apart from each other."""
        return () if self.holiday(day) is not None else self._days[day.weekday()]

    def holiday(self, day: date) -> str | None:
        """The name of what closes that local date."""
        if not self._once and not self._yearly:
            return None
        return self._once.get(day) or self._yearly.get(f"{day.month:02d}-{day.day:02d}")

    def closed(self, days: Iterator[date]) -> list[Closed]:
        """Those of `days` that a holiday closes and that would be open otherwise."""
        found = []
        for day in days:
            name = self.holiday(day)
            if name is not None and self._days[day.weekday()]:
                found.append(Closed(day, name))
        return found


def _merged(spans: list[Span]) -> tuple[Span, ...]:
    merged: list[Span] = []
    for opens, closes in sorted(spans):
        if merged and opens <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(closes, merged[-1][1]))
        else:
            merged.append((opens, closes))
    return tuple(merged)
