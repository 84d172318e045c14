"""An endpoint of a tenant: what it wants to hear, and how well it has been answering.

The circuit: after five failures in a row nothing is sent for a while, then one delivery tries; each further failure
doubles the pause up to five minutes. Deliveries wait meanwhile without losing attempts. An endpoint that has done
nothing but fail for days is switched off, and its administrators are told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from services.notify.domain.webhook_payload import TOLD

MOST_ENDPOINTS = 50
"""Of one tenant."""
MOST_PATTERNS = 50
OPEN_AFTER = 5
FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=5)
DISABLED_NOT_BEFORE = 10
"""Failures in a row without which nothing is switched off, however long the time between them."""

_PATTERN = re.compile(r"\*|[a-z]+(\.[a-z_]+)*(\.v\d+)?(\.\*)?")


class DisabledReason(StrEnum):
    """Why an endpoint is not sent anything."""

    MANUAL = "manual"
    GONE = "gone"
    """It answered 410."""
    FAILING = "failing"
    """Days of nothing but failures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How an endpoint has been answering."""

    failures: int = 0
    """In a row."""
    failing_since: datetime | None = None
    """The first of them."""
    held_until: datetime | None = None
    """Nothing is sent before."""

    @property
    def is_open(self) -> bool:
        """Whether the circuit is open: nothing is sent, or one delivery at a time to see."""
        return self.failures >= OPEN_AFTER

    def after(self, successes: Iterable[bool], now: datetime, *, hold: timedelta | None = None) -> Health:
        """The health after attempts that ended in this order; `hold`: how long the endpoint asked to be left alone."""
        failures, since = self.failures, self.failing_since
        for success in successes:
            failures, since = (0, None) if success else (failures + 1, since or now)
        pause = pause_after(failures)
        if hold is not None:
            pause = max(pause, hold)
        return Health(failures=failures, failing_since=since, held_until=now + pause if pause else None)

    def is_hopeless(self, now: datetime, days: float) -> bool:
        """Whether it is to be switched off: nothing but failures for `days`."""
        return (
            self.failing_since is not None
            and self.failures >= DISABLED_NOT_BEFORE
            and now - self.failing_since >= timedelta(days=days)
        )


def pause_after(failures: int) -> timedelta:
    """How long nothing is sent after so many failures in a row."""
    if failures < OPEN_AFTER:
        return timedelta()
    doubled: int = 2 ** min(failures - OPEN_AFTER, 16)
    return min(FIRST_PAUSE * doubled, LONGEST_PAUSE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One endpoint as it is kept; secrets apart."""

    tenant_id: str
    endpoint_id: UUID
    version: int
    url: str
    description: str
    event_types: tuple[str, ...]
    """Patterns; `*` is everything."""
    include_internal: bool
    active: bool
    disabled_reason: str | None
    disabled_at: datetime | None
    health: Health
    former_until: datetime | None
    """Until when the secret before the last rotation still signs."""
    created_at: datetime
    updated_at: datetime


def complaint(patterns: Sequence[str]) -> tuple[int, str] | None:
    """The first pattern that could never match, and why; None when all are fine."""
    for place, pattern in enumerate(patterns):
        if _PATTERN.fullmatch(pattern) is None:
            return place, "is neither an event type, a prefix ending in .*, nor *"
        if pattern != "*" and not (pattern.removesuffix("*").rstrip(".") + ".").startswith(TOLD):
            return place, "names no event that is told to endpoints"
    return None


def matches(patterns: Iterable[str], event_type: str) -> bool:
    """Whether an event type is wanted: `ticket.created` stands for all its versions, `ticket.*` for all below."""
    for pattern in patterns:
        if pattern in ("*", event_type):
            return True
        if event_type.startswith(pattern.removesuffix("*").rstrip(".") + "."):
            return True
    return False
