"""Business time, counted minute by minute: slow, and too plain to be wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from shared.contracts.pack import Calendar
from shared.contracts.pack.calendars import WEEKDAYS

MINUTE = timedelta(minutes=1)


def is_open(calendar: Calendar, zone: str, instant: datetime) -> bool:
    """Whether the wall clock shows an open minute."""
    if calendar.always:
        return True
    local = instant.astimezone(ZoneInfo(zone))
    day = local.date()
    closed = {one.date for one in calendar.holidays}
    if day.isoformat() in closed or day.isoformat()[5:] in closed:
        return False
    now = f"{local.hour:02d}:{local.minute:02d}"
    today, yesterday = WEEKDAYS[day.weekday()], WEEKDAYS[(day.weekday() - 1) % 7]
    for one in calendar.week:
        overnight = one.closes < one.opens
        if today in one.days and one.opens <= now and (overnight or now < one.closes):
            return True
        if overnight and yesterday in one.days and now < one.closes:
            return True
    return False


def between(calendar: Calendar, zone: str, start: datetime, end: datetime) -> timedelta:
    """The open time from `start` to `end`: whole minutes of UTC, and what is cut off at both sides."""
    total = timedelta()
    minute = start.astimezone(UTC).replace(second=0, microsecond=0)
    while minute < end:
        if is_open(calendar, zone, minute):
            total += max(timedelta(), min(minute + MINUTE, end) - max(minute, start))
        minute += MINUTE
    return total


def add(calendar: Calendar, zone: str, start: datetime, duration: timedelta) -> datetime:
    """The first instant at which `duration` of open time has passed."""
    if not duration:
        return start
    left = duration
    minute = start.astimezone(UTC).replace(second=0, microsecond=0)
    while True:
        if is_open(calendar, zone, minute):
            begins = max(minute, start)
            room = minute + MINUTE - begins
            if room >= left:
                return begins + left
            left -= room
        minute += MINUTE
