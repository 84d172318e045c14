"""What a person wants to be told of, and the hours in which nothing but a page may disturb them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """Hours of every day, in the person's own zone; from 22:00 to 07:00 goes over midnight."""

    begins: time
    ends: time
    timezone: str

    def until(self, instant: datetime) -> datetime | None:
        """When the quiet hours that `instant` (UTC) is in are over; None when it is in none."""
        zone = ZoneInfo(self.timezone)
        local = instant.astimezone(zone)
        now = local.time()
        if self.begins <= self.ends:
            inside, days = self.begins <= now < self.ends, 0
        else:
            inside, days = now >= self.begins or now < self.ends, int(now >= self.begins)
        if not inside:
            return None
        day = local.date() + timedelta(days=days)
        end = datetime.combine(day, self.ends, zone).astimezone(instant.tzinfo)
        # A clock put back makes the end's wall time come twice; the earlier one may have passed.
        return max(end, instant)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """One person's; who never said anything wants everything, at any hour."""

    templates: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)
    """Template → channel → wanted; what is not named is wanted."""
    quiet: Quiet | None = None

    def wants(self, template: str, channel: str) -> bool:
        """Whether the person wants this over this way."""
        return self.templates.get(template, {}).get(channel, True)


INDIFFERENT = Preference()
"""Of everybody who never said anything."""
