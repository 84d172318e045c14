"""What was seen: said as it happens, and once more as a table at the end."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field

WIDTH = 46


@dataclass(frozen=True, kw_only=True)
class Line:
    """A check that passed or did not, or a figure, which can do neither."""

    what: str
    outcome: str
    passed: bool | None = None

    def told(self) -> str:
        """One line of the table."""
        mark = {True: "ok", False: "NO", None: "  "}[self.passed]
        return f"  {mark}  {self.what:<{WIDTH}} {self.outcome}"


@dataclass
class Report:
    """Lines in the order in which they were seen."""

    lines: list[Line] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """Tell what is being done, with the time since the beginning."""
        seconds = int(time.monotonic() - self._began)
        print(f"{seconds // 60:>3}:{seconds % 60:02}  {text}", file=sys.stderr, flush=True)

    def figure(self, what: str, value: str) -> None:
        """Keep a figure."""
        self._add(Line(what=what, outcome=value))

    def check(self, what: str, outcome: str, passed: bool) -> None:
        """Keep whether something holds."""
        self._add(Line(what=what, outcome=outcome, passed=passed))

    def _add(self, line: Line) -> None:
        self.lines.append(line)
        self.say(line.told().strip())

    @property
    def failed(self) -> int:
        """How many checks did not pass."""
        return sum(line.passed is False for line in self.lines)

    def table(self) -> str:
        """Everything seen; the last line says whether it was as it must be."""
        checks = sum(line.passed is not None for line in self.lines)
        ending = f"{self.failed} of {checks} checks failed" if self.failed else f"all {checks} checks passed"
        return "\n".join([*(line.told() for line in self.lines), "", f"  {ending}"])
