"""Make the checkout's virtual environment from hashed requirements, on a bare Python.

The stamp is written last: an interrupted run is simply done again.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from deploy.local import room
from deploy.local.folders import CHECKOUT, cache_folder
from deploy.local.refusal import Refusal, guarded

NETWORK: Final = re.compile(
    r"error sending request|failed to lookup|dns error|connection (refused|reset|error)|tunnel|proxy|timed out|"
    r"certificate|temporary failure|network is unreachable|no matching distribution|could not connect",
    re.IGNORECASE,
)
SHOWN_LINES: Final = 12


def main() -> int:
    """Build or refresh the environment."""
    return guarded(_build)


def _build() -> int:
    room.require_system()
    began = time.monotonic()
    venv = CHECKOUT / os.environ.get("DESKWIRE_VENV", ".venv")
    cache = cache_folder()
    if not (venv / "deskwire.stamp").exists():
        room.require_disk(cache, room.FRESH_DISK)
        print(f"deskwire: setting up in {venv} (cache {cache}; the whole needs about 4 GiB)", flush=True)
    with (cache / f"venv-{_digest(str(venv).encode())}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        uv = _uv(cache)
        python = venv / "bin/python"
        if not _usable(python):
            _run(
                [uv, "venv", "--quiet", "--clear", "--python", _interpreter(), str(venv)],
                cache,
                "The virtual environment could not be made.",
            )
        requirements = sorted(
            str(path) for path in (CHECKOUT / "requirements").glob("*.txt") if path.name != "bootstrap.txt"
        )
        print("deskwire: packages", flush=True)
        _run(
            [uv, "pip", "sync", "--require-hashes", "--python", str(python), *requirements],
            cache,
            "The packages could not be installed.",
        )
        (venv / "deskwire.stamp").write_text(os.environ.get("DESKWIRE_STAMP", "") + "\n")
    print(f"deskwire: environment ready in {time.monotonic() - began:.1f} s", flush=True)
    return 0


def _uv(cache: Path) -> str:
    """The pinned uv in an environment of its own, shared by checkouts with the same pin; made with whatever is here."""
    pin = CHECKOUT / "requirements/bootstrap.txt"
    home = cache / f"bootstrap-{_digest(pin.read_bytes() + _interpreter().encode())}"
    if os.access(home / "bin/uv", os.X_OK):
        return str(home / "bin/uv")
    print("deskwire: fetching the installer", flush=True)
    shutil.rmtree(home, ignore_errors=True)
    failed = "The installer (uv) could not be fetched."
    python = _interpreter()
    if (
        _quietly([python, "-m", "venv", str(home)])
        or _quietly([python, "-m", "virtualenv", str(home)])
        or _quietly(["virtualenv", "-p", python, str(home)])
    ):
        _run(
            [
                str(home / "bin/python"),
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--require-hashes",
                "-r",
                str(pin),
            ],
            cache,
            failed,
        )
        return str(home / "bin/uv")
    shutil.rmtree(home, ignore_errors=True)
    found = shutil.which("uv")
    if found:
        return found
    if _quietly([python, "-m", "pip", "--version"]):
        _run(
            [
                python,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--require-hashes",
                "--target",
                str(home),
                "-r",
                str(pin),
            ],
            cache,
            failed,
        )
        return str(home / "bin/uv")
    raise Refusal(
        f"{python} can make no virtual environment, and neither virtualenv nor uv nor pip is here.",
        "Debian, Ubuntu: apt install python3-venv. Elsewhere install your system's package of venv or pip.",
    )


def _interpreter() -> str:
    """The Python that we run on, seen through an activated environment."""
    return str(getattr(sys, "_base_executable", "") or sys.executable)


def _usable(python: Path) -> bool:
    """Whether an environment is there and new enough to be kept."""
    return os.access(python, os.X_OK) and _quietly(
        [str(python), "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


def _quietly(command: list[str]) -> bool:
    try:
        return (
            subprocess.run(
                command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
            ).returncode
            == 0
        )
    except OSError:
        return False


def installer_environment(cache: Path) -> dict[str, str]:
    """What pip and uv run under: the user's proxies and certificates, our cache, no interpreter from elsewhere."""
    own = {
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_CACHE_DIR": str(cache / "uv"),
        "UV_NO_PROGRESS": "1",
        "PIP_CACHE_DIR": str(cache / "pip"),
    }
    dropped = {"VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH"}
    environment = {name: value for name, value in os.environ.items() if name not in dropped} | own
    if cache.stat().st_dev != CHECKOUT.stat().st_dev:
        environment.setdefault("UV_LINK_MODE", "copy")
    return environment


def _run(command: list[str], cache: Path, failed: str) -> None:
    """Run a step and pass its lines on as they come; explain a failure in one line."""
    process = subprocess.Popen(
        command,
        cwd=CHECKOUT,
        env=installer_environment(cache),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    lines: list[str] = []
    for line in process.stdout or ():
        lines.append(line.rstrip())
        if re.match(r"\s*(Downloading|Prepared|Installed|Uninstalled)", line):
            print(f"  {line.strip()}", flush=True)
    if process.wait() != 0:
        raise explained(failed, lines)


def explained(failed: str, lines: list[str]) -> Refusal:
    """Say why an installer failed, from what it printed."""
    said = "\n".join(lines)
    detail = "\n".join(f"  {line}" for line in lines[-SHOWN_LINES:])
    if re.search(r"No space left|os error 28", said):
        return Refusal(
            f"{failed} The disk is full.",
            "Free some space (about 4 GiB are needed) or set DESKWIRE_CACHE to a larger disk.",
            detail=detail,
        )
    if re.search(r"hash mismatch|THESE PACKAGES DO NOT MATCH THE HASHES", said, re.IGNORECASE):
        return Refusal(
            f"{failed} A package differs from its pinned hash.",
            "Check the mirror or proxy in between; if the pins are old, `make lock`.",
            detail=detail,
        )
    if NETWORK.search(said):
        return Refusal(
            f"{failed} The package index cannot be reached.",
            "Check the network, HTTPS_PROXY, and SSL_CERT_FILE behind an inspecting proxy; then run it again.",
            detail=detail,
        )
    return Refusal(failed, "The lines above say why; the same command can be run again.", detail=detail)


if __name__ == "__main__":
    raise SystemExit(main())
