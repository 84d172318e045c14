"""How long to wait for a fuller batch: cost is per batch, so under load a few milliseconds halve the work."""

from __future__ import annotations

import time
from collections.abc import Callable

SMALL = 4
"""A batch of fewer events after an idle moment is handled at once."""
LARGE = 200
"""After a batch this large waiting would only add latency."""


class Linger:
    """None while the last batch was small and the loop idle; the whole time under load; none after a large batch."""

    def __init__(self, longest: float, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._longest = longest
        self._most = most
        self._clock = clock
        self._last = 0
        self._at = 0.0

    def handled(self, count: int) -> None:
        """A batch of `count` events was handled just now."""
        self._last = count
        self._at = self._clock()

    def pause(self, count: int) -> float:
        """Seconds to wait with `count` events in hand."""
        if not count or count >= self._most or count >= LARGE or self._last >= LARGE:
            return 0.0
        idle = self._clock() - self._at > 2 * self._longest
        if idle or (count < SMALL and self._last < SMALL):
            return 0.0
        return self._longest
