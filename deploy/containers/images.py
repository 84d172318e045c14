"""Build the images of services: `make images`, `make images S="tickets sla"`; says how long each took and its size.

DESKWIRE_BASE_IMAGE names the base (a Debian-like one with Python 3.11+ and its venv module), as for the engines.
"""

from __future__ import annotations

import os
import subprocess
import time
import tomllib
from typing import TYPE_CHECKING, Final

from deploy.local.folders import CHECKOUT
from deploy.local.refusal import Refusal
from deploy.local.services import discover

if TYPE_CHECKING:
    from collections.abc import Sequence

TAG: Final = "local"
DEFAULT_BASE: Final = "python:3.11-slim-bookworm"
COMMAND_LINE: Final = "cli"
SINK: Final = "sink"
# The sink has no requirements of its own; ingest speaks SMTP too.
BORROWED: Final = {SINK: "ingest"}


def known() -> list[str]:
    """Everything an image can be made of: the services, the command line, and the sink of trials."""
    return [*discover(), COMMAND_LINE, SINK]


def reference(service: str) -> str:
    """The name an image is built under; DESKWIRE_TAG names another version than `local`."""
    return f"deskwire-{service}:{os.environ.get('DESKWIRE_TAG') or TAG}"


def build(services: Sequence[str]) -> None:
    """Build one image per service, all of them when none is named. Raises Refusal."""
    wanted = list(dict.fromkeys(services)) or known()
    for name in wanted:
        if name not in known():
            raise Refusal(f"There is no service {name!r}.", f"There are {', '.join(known())}.")
    version = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    revision = _revision()
    for name in wanted:
        began = time.monotonic()
        _build(name, version, revision)
        print(f"  {reference(name):<28} built in {time.monotonic() - began:>4.0f} s, {_megabytes(name)} MB", flush=True)


def _build(service: str, version: str, revision: str) -> None:
    arguments = {
        "BASE": os.environ.get("DESKWIRE_BASE_IMAGE") or DEFAULT_BASE,
        "SERVICE": service,
        "REQUIREMENTS": BORROWED.get(service, service),
        "VERSION": version,
        "REVISION": revision,
    }
    command = ["docker", "build", "--file", str(CHECKOUT / "deploy/Dockerfile"), "--tag", reference(service)]
    for name, value in arguments.items():
        command += ["--build-arg", f"{name}={value}"]
    done = _run([*command, str(CHECKOUT)])
    if done.returncode != 0:
        raise Refusal(
            f"The image of {service} could not be built.",
            "Is a daemon running (DOCKER_HOST), and is the base image there (DESKWIRE_BASE_IMAGE)?",
            detail="\n".join((done.stdout + done.stderr).splitlines()[-15:]),
        )


def _revision() -> str:
    """The commit, marked when the checkout differs from it; `unknown` outside a checkout."""
    done = _run(["git", "-C", str(CHECKOUT), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"])
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def _megabytes(service: str) -> str:
    done = _run(["docker", "image", "inspect", "--format", "{{.Size}}", reference(service)])
    return f"{int(done.stdout) / 1e6:.0f}" if done.returncode == 0 else "?"


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, check=False, capture_output=True, text=True, errors="replace")
    except FileNotFoundError as error:
        raise Refusal(f"{command[0]} is not installed.", "It is needed to build images.") from error
