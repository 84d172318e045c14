"""What was accepted, written by whoever handed it over, never by the code under test: one JSON line each.

`ok` means acknowledged by the broker or committed; `info` means that nobody knows (a timeout), which is never taken
for a failure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Expected = Literal["effect", "dead", "away", "state", "tombstone", "rule", "timer", "task"]
"""What must have become of it: an effect; a dead letter; put away; what its topic or its mechanism is for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing handed over."""

    outcome: Literal["ok", "info"] = "ok"
    topic: str
    """The manifest's name; `timer` and `task` for those."""
    partition: int = -1
    offset: int = -1
    key: str = ""
    id: str = ""
    """ce_id of an event; key of a timer; id of a task."""
    seq: int = 0
    """Number of a fact; version of a state or a rule."""
    expected: Expected = "effect"
    reason: str = ""
    """Kind of malformation, for a dead letter."""
    due_at: str = ""
    """When a timer is due."""

    @property
    def place(self) -> tuple[str, int, int]:
        """Where it lies."""
        return self.topic, self.partition, self.offset


class Journal:
    """A file of entries."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def write(self, entries: Iterable[Entry]) -> None:
        """Append."""
        with self.path.open("a") as out:
            out.writelines(json.dumps(asdict(entry)) + "\n" for entry in entries)

    def read(self) -> list[Entry]:
        """Everything, events in the order in which they lie on their partitions."""
        with self.path.open() as lines:
            entries = [Entry(**json.loads(line)) for line in lines]
        return sorted(entries, key=lambda entry: entry.place)

    def expect(self, places: Sequence[tuple[str, int, int]], expected: Expected) -> None:
        """From here on something else must become of what lies at `places` (a key released, a type learnt)."""
        chosen = set(places)
        entries = self.read()
        self.path.unlink()
        self.path.touch()
        self.write(
            Entry(**{**asdict(entry), "expected": expected}) if entry.place in chosen else entry for entry in entries
        )
