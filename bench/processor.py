"""Processor time by part, read from /proc: our process, PostgreSQL's, Kafka's, OpenSearch's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PARTS = {"kafka": b"kafka.Kafka", "opensearch": b"org.opensearch.bootstrap", "postgresql": b"postgres"}


@dataclass(frozen=True)
class Seconds:
    """Processor seconds used so far by each part."""

    own: float
    parts: dict[str, float]

    def since(self, earlier: Seconds) -> dict[str, float]:
        """Seconds used by each part between two readings; `own` is this process with its children."""
        used = {name: value - earlier.parts[name] for name, value in self.parts.items()}
        return {"own": self.own - earlier.own, **used}


def read(pids: Mapping[str, int] | None = None) -> Seconds:
    """Read every process of the machine, and those named by `pids` each by itself.

    Engines of other checkouts count too, so let them be idle.
    """
    times = os.times()
    parts = dict.fromkeys(_PARTS, 0.0)
    for name, pid in (pids or {}).items():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        parts[name] = sum(int(fields[i]) for i in (11, 12, 13, 14)) / _TICK
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            command = (folder / "cmdline").read_bytes()
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        for name, mark in _PARTS.items():
            if mark in command:
                # Ended PostgreSQL backends are counted by the postmaster's children fields.
                parts[name] += sum(int(fields[i]) for i in (11, 12, 13, 14)) / _TICK
    return Seconds(own=times.user + times.system + times.children_user + times.children_system, parts=parts)


def resident_megabytes(pid: int) -> float:
    """Resident memory of one process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)
