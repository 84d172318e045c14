"""What the three engines have in common: a place on this machine, a launch, a readiness, a way to end."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deploy.local.folders import EngineUser
    from deploy.local.install import Installed
    from deploy.local.record import Record


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where one set of engines lives: programs, data, user, memory."""

    record: Record
    installed: Installed
    data: Path
    user: EngineUser

    def folder(self, *names: str) -> Path:
        """A data folder that belongs to the engines' user, private to it."""
        path = self.data
        for name in names:
            path = path / name
            if not path.is_dir():
                path.mkdir(mode=0o700)
                self.give(path)
        return path

    def write(self, path: Path, text: str) -> Path:
        """Write a file that the engines' user, and nobody else, can read."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        self.give(path)
        return path

    def give(self, path: Path) -> None:
        """Hand a file of ours to the engines' user."""
        if self.user.switched:
            os.chown(path, self.user.uid, self.user.gid)

    def port(self, name: str) -> int:
        """A port that was chosen."""
        return self.record.ports[name]


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How a process is started."""

    command: list[str]
    cwd: Path
    env: Mapping[str, str] = field(default_factory=dict)


class Engine(Protocol):
    """One of Kafka, PostgreSQL, OpenSearch, as a process of this machine."""

    name: str
    title: str
    ports: tuple[str, ...]
    polite: signal.Signals
    start_seconds: float
    stop_seconds: float

    def prepare(self, site: Site) -> None:
        """Make data and configuration, once."""

    def launch(self, site: Site) -> Launch:
        """Say what to run, on the ports chosen."""

    def ready(self, site: Site) -> bool:
        """Whether it answers real questions."""

    def address(self, site: Site) -> str:
        """Its URL, as services are given it."""


def environment(home: Path) -> dict[str, str]:
    """All that an engine inherits: nothing of the shell's secrets, proxies or locale."""
    return {"PATH": "/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8", "TZ": "UTC"}
