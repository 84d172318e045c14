"""When too much fails, stop: a bus that goes on would put a whole topic aside within minutes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureLimits:
    """How much may be parked or dead-lettered before the bus stops and turns unhealthy."""

    consecutive: int = 50
    """This many in a row, with nothing handled between them."""
    share: float = 0.01
    """More than this share of all events within `window`."""
    least: int = 100
    """The share only counts from so many failures on: one in ten is no share of anything."""
    window: float = 300.0
    """Seconds."""


class Breaker:
    """Counts what failed and what was handled, in order; remembers why it tripped."""

    def __init__(self, limits: FailureLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._row = 0
        self._past: deque[tuple[float, int, int]] = deque()
        self._failed = 0
        self._total = 0
        self.reason: str | None = None
        """Why the bus has to stop; None while it may go on."""

    def good(self, count: int) -> None:
        """`count` events were handled."""
        if count:
            self._row = 0
            self._note(0, count)

    def bad(self, count: int = 1) -> None:
        """`count` events were parked or dead-lettered."""
        if not count:
            return
        self._row += count
        self._note(count, count)
        limits = self._limits
        if self._row >= limits.consecutive:
            self._trip(f"{self._row} events in a row could not be handled")
        elif self._failed >= limits.least and self._failed > limits.share * self._total:
            self._trip(f"{self._failed} of {self._total} events within {limits.window:g} s could not be handled")

    @property
    def limit(self) -> int:
        """How many may fail in a row."""
        return self._limits.consecutive

    def room(self) -> int:
        """How many more may fail in a row before the bus stops (at least one)."""
        return max(1, self._limits.consecutive - self._row)

    def trip(self, reason: str) -> None:
        """Stop for a reason of its own."""
        self._trip(reason)

    def _trip(self, reason: str) -> None:
        if self.reason is None:
            self.reason = reason

    def _note(self, failed: int, total: int) -> None:
        now = self._clock()
        past = self._past
        # One entry per second at most, so that five minutes are three hundred entries whatever the rate.
        if past and now - past[-1][0] < 1.0:
            at, f, t = past[-1]
            past[-1] = (at, f + failed, t + total)
        else:
            past.append((now, failed, total))
        self._failed += failed
        self._total += total
        horizon = now - self._limits.window
        while past and past[0][0] < horizon:
            _, f, t = past.popleft()
            self._failed -= f
            self._total -= t
