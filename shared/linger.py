"""How long to wait for a fuller batch: cost is per batch, so under load a few milliseconds halve the work."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

SMALL = 4
"""A batch of fewer events after an idle moment is handled at once."""
LARGE = 200
"""After a batch this large waiting would only add latency."""
MEMORY = 0.5
"""Seconds over which the rate of events is remembered."""
WORTH = 1.0
"""Events that must be expected within the wait: below that it would mostly be waited for nothing."""


class Linger:
    """None while events come one by one; the whole time when more are due within it; none after a large batch."""

    def __init__(self, longest: float, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._longest = longest
        self._most = most
        self._clock = clock
        self._last = 0
        self._at = clock()
        self._began = -longest
        self._recent = 0.0

    def handled(self, count: int) -> None:
        """A batch of `count` events was handled just now."""
        now = self._clock()
        self._recent = self._recent * math.exp((self._at - now) / MEMORY) + count
        self._last = count
        self._at = now

    def pause(self, count: int) -> float:
        """Seconds to wait with `count` events in hand, before they are handled.

        Counted from the start of the batch before: events that came while that one was handled have waited already.
        """
        wait = self._wait(count)
        now = self._clock()
        left = min(max(0.0, self._began + wait - now), wait)
        self._began = now + left
        return left

    def _wait(self, count: int) -> float:
        """Seconds that should lie between the starts of two batches."""
        if not count or count >= self._most or count >= LARGE or self._last >= LARGE:
            return 0.0
        since = self._clock() - self._at
        expected = self._recent * math.exp(-since / MEMORY) / MEMORY * self._longest
        idle = since > 2 * self._longest
        if expected < WORTH and (idle or (count < SMALL and self._last < SMALL)):
            return 0.0
        return self._longest
