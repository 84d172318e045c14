"""Where things are kept: one cache for what was downloaded, one state folder per checkout.

Invariant: no parent's mode is ever changed. A folder that the engines' user cannot use is passed over for the next one.
"""

from __future__ import annotations

import errno
import hashlib
import os
import pwd
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.local.refusal import Refusal

CHECKOUT: Final = Path(__file__).resolve().parents[2]
NOBODY: Final = 65534


@dataclass(frozen=True, kw_only=True)
class EngineUser:
    """Who the engines run as; PostgreSQL and OpenSearch refuse to run as root."""

    uid: int
    gid: int
    switched: bool

    @classmethod
    def current(cls) -> EngineUser:
        """Ourselves, or nobody when we are root (no account is ever created)."""
        if os.geteuid() != 0:
            return cls(uid=os.geteuid(), gid=os.getegid(), switched=False)
        try:
            entry = pwd.getpwnam("nobody")
        except KeyError:
            return cls(uid=NOBODY, gid=NOBODY, switched=True)
        return cls(uid=entry.pw_uid, gid=entry.pw_gid, switched=True)

    def may(self, path: Path, access: str) -> bool:
        """Ask the kernel, as that user, whether `path` can be used (`access` is any of r, w and x)."""
        if not self.switched:
            wanted = (
                (os.R_OK if "r" in access else 0)
                | (os.W_OK if "w" in access else 0)
                | (os.X_OK if "x" in access else 0)
            )
            return os.access(path, wanted)
        question = " && ".join(f'test -{letter} "$1"' for letter in access)
        answer = subprocess.run(
            ["/bin/sh", "-c", question, "sh", str(path)],
            check=False,
            cwd="/",
            user=self.uid,
            group=self.gid,
            extra_groups=[],
            stdin=subprocess.DEVNULL,
        )
        return answer.returncode == 0


def state_folder() -> Path:
    """The folder of this checkout's state: `.deskwire` in it, or one of the user's when it cannot be written."""
    named = os.environ.get("DESKWIRE_STATE")
    if named:
        folder = Path(named).expanduser().absolute()
        if not _own(folder, mode=0o755):
            raise Refusal(
                f"The state folder {folder} cannot be written.",
                "Correct its owner or mode, or set DESKWIRE_STATE to another folder.",
            )
        return folder
    mark = hashlib.sha256(str(CHECKOUT).encode()).hexdigest()[:12]
    for folder in (
        CHECKOUT / ".deskwire",
        _home("XDG_STATE_HOME", ".local/state") / f"deskwire/{mark}",
        _temporary() / f"state-{mark}",
    ):
        if _own(folder, mode=0o755):
            return folder
    raise Refusal(
        "No folder for the state of this checkout can be written.", "Set DESKWIRE_STATE to a folder that you own."
    )


def cache_folder(user: EngineUser | None = None) -> Path:
    """The folder of downloads and unpacked engines, in which the engines' user can read and execute."""
    reader = user or EngineUser.current()
    named = os.environ.get("DESKWIRE_CACHE")
    if named:
        folder = Path(named).expanduser().absolute()
        if not _own(folder, mode=0o755):
            raise Refusal(
                f"The cache folder {folder} cannot be read and written.",
                "Correct its owner or mode, or set DESKWIRE_CACHE to another folder.",
            )
        if not _executes(folder, reader):
            raise Refusal(
                f"Programs in the cache folder {folder} cannot be run by the engines' user (uid {reader.uid}).",
                "Set DESKWIRE_CACHE to a folder that this user can reach, on a disk not mounted noexec.",
            )
        return folder
    for folder in (
        _home("XDG_CACHE_HOME", ".cache") / "deskwire",
        CHECKOUT / ".deskwire/cache",
        _temporary() / "cache",
    ):
        if _own(folder, mode=0o755) and _executes(folder, reader):
            return folder
    raise Refusal(
        f"No cache folder can be used by the engines' user (uid {reader.uid}).",
        "Set DESKWIRE_CACHE to a folder that this user can reach, on a disk not mounted noexec.",
    )


def data_folder(state: Path, user: EngineUser) -> Path:
    """The folder of the engines' data: in the state where the engines' user gets there, else under TMPDIR."""
    mark = hashlib.sha256(str(state).encode()).hexdigest()[:12]
    for folder in (state / "data", _temporary() / f"data-{mark}"):
        if _own(folder, mode=0o755) and user.may(folder, "x"):
            return folder
    raise Refusal(
        f"The engines' user (uid {user.uid}) reaches no folder for its data.",
        "Set DESKWIRE_STATE to a folder whose parents everyone may traverse.",
    )


def _home(variable: str, beneath: str) -> Path:
    """A folder of the user's, by the XDG rules; one that cannot exist when there is no home."""
    named = os.environ.get(variable, "")
    if named.startswith("/"):
        return Path(named)
    return Path(os.environ.get("HOME") or "/nonexistent") / beneath


def _temporary() -> Path:
    """Our own folder under TMPDIR."""
    return Path(os.environ.get("TMPDIR") or tempfile.gettempdir()) / f"deskwire-{os.geteuid()}"


def _own(folder: Path, *, mode: int) -> bool:
    """Make the folder if need be; say whether it is ours to write (never another's, planted under /tmp)."""
    try:
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
        for level in (folder, folder.parent):
            if level.name.startswith("deskwire-") and (level.is_symlink() or level.lstat().st_uid != os.geteuid()):
                return False
    except (OSError, ValueError):
        return False
    return stat.S_ISDIR(folder.stat().st_mode) and os.access(folder, os.R_OK | os.W_OK | os.X_OK)


def _executes(folder: Path, user: EngineUser) -> bool:
    """Whether the user can run a program kept there: neither a closed parent nor a noexec mount stands in between."""
    probe = folder / f".probe-{os.getpid()}"
    try:
        probe.write_text("#!/bin/sh\n")
        probe.chmod(0o755)
        return user.may(probe, "rx")
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        return False
    finally:
        probe.unlink(missing_ok=True)
