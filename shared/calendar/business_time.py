"""One calendar in one zone as intervals of UTC, precomputed by year with running sums: a question is two bisections.

An instant is business time when the zone's wall clock shows an open minute then. So a night shift has nine hours where
clocks go back and seven where they go forward, and an hour that a zone skips is nobody's. All whole microseconds.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from shared.calendar.week import Closed, Week
from shared.contracts.pack.calendars import Calendar

LATEST_YEAR = 9990
FARTHEST = 150
"""Years ahead that are looked at for the end of a duration."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_SECOND = 1_000_000
_MINUTE = 60 * _SECOND
_DAY = 24 * 60 * _MINUTE
_MICROSECOND = timedelta(microseconds=1)
_PROBE = 6 * 3600
"""Seconds between looks at a zone's offset: no zone has changed twice within that."""


@dataclass(frozen=True, slots=True)
class Open:
    """A stretch of business time, half-open (UTC)."""

    begins: datetime
    ends: datetime


class BusinessTime:
    """Counts the business time of one calendar in one zone; exact to the microsecond."""

    def __init__(self, calendar: Calendar, zone: str) -> None:
        """Raises zoneinfo.ZoneInfoNotFoundError for a zone that nobody knows."""
        self.name = calendar.name
        self.zone = zone
        self._zone = ZoneInfo(zone)
        self._week = Week(calendar)
        self._always = calendar.always
        self._first, self._last = 1, 0
        """Years that are computed; none at first."""
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._before: list[int] = []
        """Microseconds of business time before each interval."""
        self._through: list[int] = []
        """The same with it."""

    def between(self, start: datetime, end: datetime) -> timedelta:
        """The business time from `start` to `end`; none when `end` is not later."""
        if end <= start:
            return timedelta()
        if self._always:
            return end - start
        self._cover(start.astimezone(UTC).year, end.astimezone(UTC).year)
        return (self._position(_microseconds(end)) - self._position(_microseconds(start))) * _MICROSECOND

    def add(self, start: datetime, duration: timedelta) -> datetime | None:
        """The first instant (UTC) at which `duration` of business time has passed since `start`.

        That is the end of an interval, not the begin of the next one, when it comes out even. None when it lies more
        than 150 years ahead. Raises ValueError for a negative duration.
        """
        if duration < timedelta():
            raise ValueError("a duration is not negative")
        if not duration:
            return start.astimezone(UTC)
        if self._always:
            try:
                return start.astimezone(UTC) + duration
            except OverflowError:
                return None
        year = start.astimezone(UTC).year
        self._cover(year, year)
        wanted = self._position(_microseconds(start)) + duration // _MICROSECOND
        ahead = 1
        while not self._through or self._through[-1] < wanted:
            if ahead > FARTHEST or year + ahead > LATEST_YEAR:
                return None
            self._cover(year, year + ahead)
            # Sums begin at the first year that is computed, which this did not change: it only went on.
            ahead = ahead * 2
        place = bisect_left(self._through, wanted)
        return _instant(self._starts[place] + wanted - self._before[place])

    def open(self, start: datetime, end: datetime) -> Iterator[Open]:
        """The stretches of business time between two instants, cut at both."""
        if end <= start:
            return
        if self._always:
            yield Open(start.astimezone(UTC), end.astimezone(UTC))
            return
        self._cover(start.astimezone(UTC).year, end.astimezone(UTC).year)
        low, high = _microseconds(start), _microseconds(end)
        for place in range(bisect_right(self._ends, low), bisect_left(self._starts, high)):
            yield Open(_instant(max(low, self._starts[place])), _instant(min(high, self._ends[place])))

    def is_open(self, instant: datetime) -> bool:
        """Whether that instant is business time."""
        return any(self.open(instant, instant + _MICROSECOND))

    def holidays(self, start: datetime, end: datetime) -> list[Closed]:
        """The local dates touched by that time on which a holiday closes what would be open."""
        first, last = start.astimezone(self._zone).date(), end.astimezone(self._zone).date()
        return self._week.closed(date.fromordinal(day) for day in range(first.toordinal(), last.toordinal() + 1))

    def local(self, instant: datetime) -> datetime:
        """The same instant as the zone's clocks show it."""
        return instant.astimezone(self._zone)

    def _position(self, instant: int) -> int:
        """Business time from the begin of what is computed to an instant within it."""
        place = bisect_right(self._starts, instant) - 1
        if place < 0:
            return 0
        return self._before[place] + min(instant, self._ends[place]) - self._starts[place]

    def _cover(self, first: int, last: int) -> None:
        """Have these years computed, and those between them and what is."""
        if self._first <= first and last <= self._last:
            return
        if self._last < self._first:
            self._first, self._last = first, first - 1
        if first < self._first:
            # Sums begin at the first year: all are made anew. Rare, since clocks start in the present.
            last = max(last, self._last)
            for column in (self._starts, self._ends, self._before, self._through):
                column.clear()
            self._first, self._last = first, first - 1
        while self._last < last:
            self._last += 1
            self._compute(self._last)

    def _compute(self, year: int) -> None:
        """Append one UTC year."""
        total = self._through[-1] if self._through else 0
        for begins, ends in self._intervals(year):
            if self._ends and self._ends[-1] == begins:
                # Midnight, the year's end or a change of offset within an interval: one interval it stays.
                self._ends[-1] = ends
                total += ends - begins
                self._through[-1] = total
                continue
            self._starts.append(begins)
            self._ends.append(ends)
            self._before.append(total)
            total += ends - begins
            self._through.append(total)

    def _intervals(self, year: int) -> Iterator[tuple[int, int]]:
        for begins, ends, offset in self._offsets(year):
            # While the offset stands, local time is UTC shifted by it: each local date's spans are cut to that piece.
            first, last = (begins + offset) // _DAY, (ends + offset - 1) // _DAY
            for day in range(first, last + 1):
                midnight = day * _DAY - offset
                for opens, closes in self._week.spans(date.fromordinal(day + _EPOCH_DAY)):
                    low, high = max(midnight + opens * _MINUTE, begins), min(midnight + closes * _MINUTE, ends)
                    if low < high:
                        yield low, high

    def _offsets(self, year: int) -> Iterator[tuple[int, int, int]]:
        """Pieces of a UTC year with one offset from UTC each; microseconds."""
        begin = _microseconds(datetime(year, 1, 1, tzinfo=UTC)) // _SECOND
        end = _microseconds(datetime(year + 1, 1, 1, tzinfo=UTC)) // _SECOND
        piece, offset = begin, self._offset(begin)
        for probe in range(begin + _PROBE, end + _PROBE, _PROBE):
            at = min(probe, end - 1)
            if self._offset(at) == offset:
                continue
            low, high = max(begin, probe - _PROBE), at
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if self._offset(middle) == offset else (low, middle)
            yield piece * _SECOND, high * _SECOND, offset * _SECOND
            piece, offset = high, self._offset(high)
        yield piece * _SECOND, end * _SECOND, offset * _SECOND

    def _offset(self, second: int) -> int:
        found = (_EPOCH + timedelta(seconds=second)).astimezone(self._zone).utcoffset()
        return round(found.total_seconds()) if found is not None else 0


@lru_cache(maxsize=4096)
def business_time(calendar: Calendar, zone: str) -> BusinessTime:
    """One calendar in one zone, computed once however many packs contain it."""
    return BusinessTime(calendar, zone)


def _microseconds(instant: datetime) -> int:
    return (instant - _EPOCH) // _MICROSECOND


def _instant(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
