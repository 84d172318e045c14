"""TCP ports on 127.0.0.1: remembered from start to start, chosen anew when someone else has taken one."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.local.refusal import Refusal

if TYPE_CHECKING:
    from deploy.local.record import Record

LOOPBACK = "127.0.0.1"
_choosing = threading.Lock()


def free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        # As servers do, or a port that was closed a moment ago would count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def listening(port: int) -> bool:
    """Whether anyone answers there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0


def choose(record: Record, name: str) -> int:
    """The port of `name`: the one configured, else that of last time, else any that is free; recorded at once."""
    variable = f"{name.upper().replace('-', '_')}_PORT"
    configured = os.environ.get(variable)
    with _choosing:
        if configured:
            port = number(variable, configured)
            if not free(port):
                raise Refusal(f"Port {port} is taken by {holder(port)}.", f"Free it, or set {variable} to another.")
        else:
            port = record.ports.get(name, 0)
            others = {number for other, number in record.ports.items() if other != name}
            while not port or port in others or not free(port):
                port = _any()
        record.ports[name] = port
        record.save()
        return port


def number(variable: str, text: str) -> int:
    """Read a port out of an environment variable."""
    if not text.isdigit() or not 0 < int(text) < 1 << 16:
        raise Refusal(f"{variable}={text} is no port.", "Give a number from 1 to 65535.")
    return int(text)


def _any() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def holder(port: int, proc: Path = Path("/proc")) -> str:
    """Name the program that listens on a port, as far as we may see it."""
    inodes = set()
    for table in ("net/tcp", "net/tcp6"):
        try:
            rows = (proc / table).read_text().splitlines()[1:]
        except OSError:
            continue
        inodes |= {
            row.split()[9]
            for row in rows
            if row.split()[3] == "0A" and int(row.split()[1].rpartition(":")[2], 16) == port
        }
    targets = {f"socket:[{inode}]" for inode in inodes}
    for entry in proc.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if any(str(link.readlink()) in targets for link in (entry / "fd").iterdir()):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                return f"process {entry.name} ({command[:60]})"
        except OSError:
            continue
    return "another program"
