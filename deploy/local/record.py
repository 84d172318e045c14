"""What is remembered of one set of engines and services: ports, passwords, processes; one 0600 file under a lock.

Written by renaming, before a process is started (its port) and right after (its identity).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.local.process import Identity
from deploy.local.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSWORD_BYTES = 32


@dataclass(kw_only=True)
class Record:
    """The memory of one state folder."""

    folder: Path
    ports: dict[str, int] = field(default_factory=dict)
    passwords: dict[str, str] = field(default_factory=dict)
    processes: dict[str, Identity] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)
    data: str = ""
    containers: bool = False
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / "state.json"

    @property
    def logs(self) -> Path:
        """The folder of the logs."""
        return self.folder / "logs"

    def log(self, name: str) -> Path:
        """The log of one engine or service."""
        return self.logs / f"{name}.log"

    def password(self, role: str) -> str:
        """The role's password, made when first asked for."""
        with self._lock:
            if role not in self.passwords:
                self.passwords[role] = secrets.token_hex(PASSWORD_BYTES)
                self.save()
            return self.passwords[role]

    def remember(self, name: str, identity: Identity | None) -> None:
        """Note who runs under this name, or that no one does."""
        with self._lock:
            if identity is None:
                self.processes.pop(name, None)
            else:
                self.processes[name] = identity
            self.save()

    def running(self, name: str) -> Identity | None:
        """The recorded process, if it still is that process."""
        identity = self.processes.get(name)
        return identity if identity is not None and identity.alive() else None

    def save(self) -> None:
        """Replace the file."""
        with self._lock:
            content = {
                "ports": self.ports,
                "passwords": self.passwords,
                "data": self.data,
                "containers": self.containers,
                "fingerprints": self.fingerprints,
                "processes": {
                    name: {"pid": identity.pid, "started": identity.started, "command": list(identity.command)}
                    for name, identity in self.processes.items()
                },
            }
            part = self.path.with_suffix(".new")
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                json.dump(content, file, indent=1)
            part.replace(self.path)


def load(folder: Path) -> Record:
    """Read the record of a state folder; an empty one where there is none."""
    record = Record(folder=folder)
    try:
        content: dict[str, Any] = json.loads(record.path.read_text())
    except FileNotFoundError:
        return record
    except (OSError, ValueError) as error:
        raise Refusal(
            f"The state file {record.path} cannot be read.", "Correct its mode, or delete the folder to start afresh."
        ) from error
    record.ports.update(content.get("ports", {}))
    record.passwords.update(content.get("passwords", {}))
    record.fingerprints.update(content.get("fingerprints", {}))
    record.data = content.get("data", "")
    record.containers = content.get("containers", False)
    for name, entry in content.get("processes", {}).items():
        record.processes[name] = Identity(pid=entry["pid"], started=entry["started"], command=tuple(entry["command"]))
    return record


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[Record]:
    """Hold the folder against other starters and stoppers; the lock dies with its holder."""
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("deskwire: another start or stop of this checkout is under way; waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield load(folder)
