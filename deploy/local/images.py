"""Build the engines' images from the packages in the cache, for ENGINES=docker and Compose: `make engine-images`.

The base image is named by DESKWIRE_BASE_IMAGE, so that a machine without an image registry can use one of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from deploy.local import install
from deploy.local.refusal import Refusal

if TYPE_CHECKING:
    from deploy.local.progress import Progress

RECIPE: Final = Path(__file__).parents[1] / "engines"
TAG: Final = "local"
DEFAULT_BASE: Final = "debian:bookworm-slim"
PARTS: Final[dict[str, tuple[str, ...]]] = {
    "kafka": ("java", "kafka"),
    "postgres": ("postgres",),
    "opensearch": ("java", "opensearch"),
}


def reference(role: str) -> str:
    """The name an image is built under."""
    return f"deskwire-engine-{role}:{TAG}"


def build(cache: Path, progress: Progress) -> list[str]:
    """Build all three; their references. Raises Refusal with the builder's last lines."""
    places = install.install(cache, PARTS, progress)
    made = []
    with tempfile.TemporaryDirectory(prefix="deskwire-images-") as folder:
        context = Path(folder)
        for path in RECIPE.iterdir():
            shutil.copy(path, context / path.name)
        for name in ("java", "kafka", "postgres", "opensearch"):
            shutil.copytree(getattr(places, name), context / name, symlinks=True, copy_function=_link)
        for role in PARTS:
            began = time.monotonic()
            _docker(context, role, "--target", role)
            made.append(reference(role))
            progress.say(f"  {made[-1]} built in {time.monotonic() - began:.0f} s")
    return made


def build_postgres_tls(programs: Path) -> str:
    """Build the PostgreSQL with TLS from where it was unpacked to; its reference. Raises Refusal."""
    with tempfile.TemporaryDirectory(prefix="deskwire-images-") as folder:
        context = Path(folder)
        for path in RECIPE.iterdir():
            shutil.copy(path, context / path.name)
        shutil.copytree(programs, context / "postgres", symlinks=True, copy_function=_link)
        _docker(context, "postgres-tls", "--file", str(context / "postgres-tls.Dockerfile"))
    return reference("postgres-tls")


def _docker(context: Path, role: str, *options: str) -> None:
    base = os.environ.get("DESKWIRE_BASE_IMAGE", DEFAULT_BASE)
    built = subprocess.run(
        ["docker", "build", *options, "--tag", reference(role), "--build-arg", f"BASE={base}", str(context)],
        check=False,
        capture_output=True,
        text=True,
        errors="replace",
    )
    if built.returncode != 0:
        raise Refusal(
            f"The image of {role} could not be built.",
            "Is a daemon running (DOCKER_HOST), and is the base image there (DESKWIRE_BASE_IMAGE)?",
            detail="\n".join((built.stdout + built.stderr).splitlines()[-15:]),
        )


def _link(source: str, target: str) -> str:
    """A hard link where the disk allows one: the context is some 400 MB."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target
