"""Rate limits of one process: a token bucket per caller, and one per address for failed authentications.

In process on purpose: a limit here keeps one caller from starving the others, it is not an accounting of use. With
three replicas a caller gets up to three times the rate.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

REMEMBERED = 20_000
"""Callers remembered at most; the one not seen for longest is forgotten, which gives it a full bucket."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether this one may pass, and what is left."""

    allowed: bool
    remaining: int
    wait_seconds: float
    """Until the next one may pass; 0 when one may now."""


class Buckets:
    """A token bucket for each key: `burst` at once, `per_second` on the long run."""

    def __init__(self, per_second: float, burst: int, *, now: Callable[[], float] = time.monotonic) -> None:
        self.per_second = per_second
        self.burst = burst
        self._now = now
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> Verdict:
        """Take one token; an empty bucket stays as it is."""
        now = self._now()
        level = self._level(key, now)
        allowed = level >= 1
        if allowed:
            level -= 1
        self._levels[key] = (level, now)
        self._levels.move_to_end(key)
        if len(self._levels) > REMEMBERED:
            self._levels.popitem(last=False)
        return Verdict(allowed, int(level), 0.0 if level >= 1 else (1 - level) / self.per_second)

    def wait(self, key: str) -> float:
        """Seconds until `key` has a token; 0 when it has. Takes none."""
        level = self._level(key, self._now())
        return 0.0 if level >= 1 else (1 - level) / self.per_second

    def _level(self, key: str, now: float) -> float:
        known = self._levels.get(key)
        if known is None:
            return float(self.burst)
        return min(float(self.burst), known[0] + (now - known[1]) * self.per_second)


@lru_cache(maxsize=4096)
def address_key(host: str) -> str:
    """What a client address counts as: an IPv4 address itself, an IPv6 address its /64, since one host has them all."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host[:64]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.IPv6Network((address, 64), strict=False))
    return str(address)
