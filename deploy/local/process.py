"""Processes of ours: who they are beyond a number, starting them apart from us, ending them and no one else.

A process id alone proves nothing, since ids are reused: start time and command line are compared too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from deploy.local.folders import EngineUser

PROC: Final = Path("/proc")
OWNER: Final = "DESKWIRE_OWNER"
ROLE: Final = "DESKWIRE_ROLE"
START_TIME_FIELD: Final = 19  # counted after the command's name, which may hold spaces itself
POLL_SECONDS: Final = 0.02
SETTLE_SECONDS: Final = 2.0
LOG_BYTES: Final = 20_000_000


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What tells a process from a later one with the same id."""

    pid: int
    started: int
    command: tuple[str, ...]

    def alive(self, proc: Path = PROC) -> bool:
        """Whether this very process still runs."""
        return identify(self.pid, proc) == self


def identify(pid: int, proc: Path = PROC) -> Identity | None:
    """Read a process's identity; None when it is gone or a zombie."""
    try:
        fields = (proc / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
        command = (proc / str(pid) / "cmdline").read_bytes()
    except OSError:
        return None
    if fields[0] in {"Z", "X"}:
        return None
    return Identity(
        pid=pid,
        started=int(fields[START_TIME_FIELD]),
        command=tuple(command.decode(errors="replace").rstrip("\0").split("\0")),
    )


def spawn(
    role: str,
    command: Sequence[str],
    *,
    owner: Path,
    log: Path,
    cwd: Path,
    env: Mapping[str, str],
    user: EngineUser | None = None,
) -> Identity:
    """Start a process in a session of its own, marked with whose it is, its output appended to `log`."""
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
    marked = dict(env) | {OWNER: str(owner), ROLE: role}
    switched = user is not None and user.switched
    with log.open("ab") as output:
        child = subprocess.Popen(
            list(command),
            cwd=cwd,
            env=marked,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=user.uid if user and switched else None,
            group=user.gid if user and switched else None,
            extra_groups=[] if switched else None,
        )
    # It outlives us on purpose; without this the interpreter warns of it.
    child.returncode = 0
    return _settled(child.pid, tuple(command)) or Identity(pid=child.pid, started=-1, command=tuple(command))


def _settled(pid: int, command: tuple[str, ...]) -> Identity | None:
    """Wait for the kernel to show the new program's command line: right after exec it is empty for a moment."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while (identity := identify(pid)) is not None and identity.command != command and time.monotonic() < deadline:
        time.sleep(0.001)
    return identity


def owned(owner: Path, proc: Path = PROC) -> Iterator[tuple[str, Identity]]:
    """Find every leading process marked as `owner`'s, recorded or not (a starter may have died before recording)."""
    mark = f"{OWNER}={owner}".encode()
    prefix = f"{ROLE}=".encode()
    for entry in proc.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if mark not in variables:
            continue
        role = next((variable[len(prefix) :].decode() for variable in variables if variable.startswith(prefix)), "")
        identity = identify(int(entry.name), proc)
        if role and identity is not None and leads(identity.pid, proc):
            yield role, identity


def leads(pid: int, proc: Path = PROC) -> bool:
    """Whether the process leads a session, as all that we spawn do and their children do not."""
    try:
        fields = (proc / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return False
    return fields[3] == str(pid)


def end(identity: Identity, *, patience: float, polite: signal.Signals = signal.SIGTERM) -> None:
    """Ask the process to end, wait, then insist on its whole session; do nothing when the id is another's by now."""
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(identity.pid)
        try:
            if not identity.alive():
                return
            signal.pidfd_send_signal(handle, polite)
            if gone(identity, within=patience):
                return
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            os.killpg(identity.pid, signal.SIGKILL)
        finally:
            os.close(handle)
    gone(identity, within=patience)


def gone(identity: Identity, *, within: float) -> bool:
    """Wait for the process to end, and say whether it did."""
    deadline = time.monotonic() + within
    while identity.alive():
        _reap(identity.pid)
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_SECONDS)
    _reap(identity.pid)
    return True


def _reap(pid: int) -> None:
    """Collect it when it is our own child, so that it does not linger as a zombie."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def resident(pid: int, proc: Path = PROC) -> int:
    """Bytes of memory that the process and its session hold."""
    total = 0
    for entry in proc.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            if fields[3] == str(pid):
                pages, shared = (entry / "statm").read_text().split()[1:3]
                # Shared pages (PostgreSQL's buffers) are counted once, with the leader.
                total += int(pages) - (0 if entry.name == str(pid) else int(shared))
        except OSError:
            continue
    return total * os.sysconf("SC_PAGE_SIZE")
