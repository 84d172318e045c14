"""Named places where a fault test may kill the process.

A crash point costs one global look-up while nothing is armed. `CRASH_AT=bus.after_commit:3` kills the process with
SIGKILL the third time that point is passed; the name is first written to the file in `CRASH_LOG`, so that a test
can fail when its point was never reached.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

POINTS = (
    "bus.before_commit",
    "bus.after_commit",
    "bus.before_offset_commit",
    "bus.after_offset_commit",
    "relay.before_produce",
    "relay.after_produce",
    "relay.after_delete",
    "drain.before_commit",
    "drain.after_commit",
    "timers.before_commit",
    "timers.after_commit",
    "tasks.after_lease",
    "tasks.before_result",
    "tasks.after_result",
    "replica.before_commit",
    "replica.after_commit",
)
"""Every point there is; a test holds this list against the source."""

_armed: tuple[str, int, Path | None] | None = None


class UnknownCrashPointError(ValueError):
    """`CRASH_AT` names no crash point."""

    def __init__(self, name: str) -> None:
        super().__init__(f"CRASH_AT: no crash point is named {name!r}; there are {', '.join(POINTS)}")


def arm(spec: str, log: str | None = None) -> None:
    """Arm one point: `name` or `name:n` for the n-th passage (1 is the first)."""
    global _armed  # noqa: PLW0603 - one process dies once
    name, _, count = spec.partition(":")
    if name not in POINTS:
        raise UnknownCrashPointError(name)
    _armed = (name, int(count or 1), Path(log) if log else None)


def arm_from_environment() -> None:
    """Arm what `CRASH_AT` and `CRASH_LOG` say, if anything."""
    if spec := os.environ.get("CRASH_AT"):
        arm(spec, os.environ.get("CRASH_LOG"))


def point(name: str) -> None:
    """Pass a crash point; the process ends here if it is armed and its count is reached."""
    global _armed  # noqa: PLW0603 - see arm()
    if _armed is None or _armed[0] != name:
        return
    _, left, log = _armed
    if left > 1:
        _armed = (name, left - 1, log)
        return
    if log is not None:
        with log.open("a") as out:
            out.write(f"{name}\n")
            out.flush()
            os.fsync(out.fileno())
    os.kill(os.getpid(), signal.SIGKILL)
