"""Build the images of services: `make images`, `make images S="tickets sla"`; says how long each took and its size.

DESKWIRE_BASE_IMAGE names the base (a Debian-like one with Python 3.11+ and its venv module), as for the engines.
"""

from __future__ import annotations

import os
import subprocess
import time
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from deploy.local.folders import CHECKOUT
from deploy.local.refusal import Refusal
from deploy.local.services import discover

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TAG: Final = "local"
DEFAULT_BASE: Final = "python:3.11-slim-bookworm"
COMMAND_LINE: Final = "cli"
SINK: Final = "sink"
# The sink has no requirements of its own; ingest speaks SMTP too.
BORROWED: Final = {SINK: "ingest"}


def known() -> list[str]:
    """Everything an image can be made of: the services, the command line, and the sink of trials."""
    return [*discover(), COMMAND_LINE, SINK]


@dataclass(frozen=True, kw_only=True)
class Built:
    """One image and what it took."""

    reference: str
    seconds: float
    megabytes: int


def reference(service: str, tag: str | None = None) -> str:
    """The name an image is built under; DESKWIRE_TAG names another version than `local`."""
    return f"deskwire-{service}:{tag or os.environ.get('DESKWIRE_TAG') or TAG}"


def build(services: Sequence[str]) -> list[Built]:
    """Build one image per service, all of them when none is named, and say so. Raises Refusal."""
    wanted = list(dict.fromkeys(services)) or known()
    for name in wanted:
        if name not in known():
            raise Refusal(f"There is no service {name!r}.", f"There are {', '.join(known())}.")
    made = []
    for name in wanted:
        made.append(build_one(name))
        told = f"built in {made[-1].seconds:>4.0f} s, {made[-1].megabytes} MB"
        print(f"  {made[-1].reference:<28} {told}", flush=True)
    return made


def build_one(service: str, *, source: Path = CHECKOUT, tag: str | None = None) -> Built:
    """Build the image of one service from a checkout, under another tag if one is given. Raises Refusal."""
    began = time.monotonic()
    version = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    arguments = {
        "BASE": os.environ.get("DESKWIRE_BASE_IMAGE") or DEFAULT_BASE,
        "SERVICE": service,
        "REQUIREMENTS": BORROWED.get(service, service),
        "VERSION": version,
        "REVISION": _revision(),
    }
    command = ["docker", "build", "--file", str(source / "deploy/Dockerfile"), "--tag", reference(service, tag)]
    for name, value in arguments.items():
        command += ["--build-arg", f"{name}={value}"]
    done = _run([*command, str(source)])
    if done.returncode != 0:
        raise Refusal(
            f"The image of {service} could not be built.",
            "Is a daemon running (DOCKER_HOST), and is the base image there (DESKWIRE_BASE_IMAGE)?",
            detail="\n".join((done.stdout + done.stderr).splitlines()[-15:]),
        )
    made = reference(service, tag)
    return Built(reference=made, seconds=time.monotonic() - began, megabytes=megabytes(made) or 0)


def megabytes(image: str) -> int | None:
    """The size of an image; None where there is none of that name."""
    done = _run(["docker", "image", "inspect", "--format", "{{.Size}}", image])
    return round(int(done.stdout) / 1e6) if done.returncode == 0 else None


def _revision() -> str:
    """The commit, marked when the checkout differs from it; `unknown` outside a checkout."""
    done = _run(["git", "-C", str(CHECKOUT), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"])
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, check=False, capture_output=True, text=True, errors="replace")
    except FileNotFoundError as error:
        raise Refusal(f"{command[0]} is not installed.", "It is needed to build images.") from error
