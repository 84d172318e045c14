"""How much of a mail is read, and what happens beyond: a named reason, never an exception that leaves the parser."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum


class Bound(StrEnum):
    """Why a mail was quarantined; the `reason` of `message.quarantined`."""

    TOO_LARGE = "too_large"
    TOO_DEEP = "too_deep"
    TOO_MANY_PARTS = "too_many_parts"
    HEADERS_TOO_LARGE = "headers_too_large"
    TOO_SLOW = "too_slow"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one mail. Sizes are bytes."""

    raw_bytes: int = 25 * 1024 * 1024
    parts: int = 500
    depth: int = 30
    recipients: int = 200
    """Kept; further ones stay in the original only."""
    header_bytes: int = 100_000
    """Of one header block."""
    seconds: float = 5.0
    """CPU time of one mail."""
    references: int = 50
    """Message-IDs of ancestors looked up, the nearest first."""
    html_bytes: int = 2_000_000
    """HTML beyond this is turned into text by dropping its tags and is not offered sanitised."""
    html_depth: int = 1_000
    """The HTML parser's time grows with the square of the nesting."""


DEFAULT = Limits()


class BoundError(Exception):
    """A bound was passed. Caught by `parse`, which answers with the reason instead."""

    def __init__(self, bound: Bound) -> None:
        super().__init__(bound.value)
        self.bound = bound


class Budget:
    """What is left of the bounds while one mail is read."""

    __slots__ = ("_deadline", "_parts", "limits")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._parts = 0
        self._deadline = time.process_time() + limits.seconds

    def part(self, depth: int) -> None:
        """Count one MIME part at `depth`. Raises BoundError."""
        self._parts += 1
        if self._parts > self.limits.parts:
            raise BoundError(Bound.TOO_MANY_PARTS)
        if depth > self.limits.depth:
            raise BoundError(Bound.TOO_DEEP)
        self.spend()

    def spend(self) -> None:
        """Look at the clock. Raises BoundError when the CPU time is used up."""
        if time.process_time() > self._deadline:
            raise BoundError(Bound.TOO_SLOW)
