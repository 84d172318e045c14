"""`make compose-test`: build what is missing, play, take everything down; status 1 when a check failed.

Works from a fresh clone where a Docker daemon answers: DESKWIRE_BASE_IMAGE names the base of the images where no
registry has the default one, DESKWIRE_REGISTRY takes built ones from a registry, DESKWIRE_COMPOSE names Compose.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from deploy.containers import images
from deploy.local import folders
from deploy.local import images as engines
from deploy.local.progress import Progress
from deploy.local.refusal import Refusal, guarded
from tests.containers import play, stack
from tests.containers.report import Report

ROLL = "rolled"
"""The tag of the images that services are rolled to."""
LOG = "compose-test.log"


def main() -> int:
    """Play it and print the table."""
    report = Report()
    require()
    _build(report)
    with tempfile.TemporaryDirectory(prefix="deskwire-compose-") as folder:
        project = stack.Stack(Path(folder) / "secrets")
        # What a run that was killed left would be no cold start.
        project.down()
        try:
            asyncio.run(play.Play(project, report, Path(folder), ROLL).run())
        except BaseException:
            report.say(f"what the containers said: {project.keep_logs(LOG)}")
            raise
        finally:
            if report.failed:
                report.say(f"what the containers said: {project.keep_logs(LOG)}")
            report.say("taking everything down")
            project.down()
            _remove_rolled()
            print(report.table(), flush=True)
    left = project.containers()
    if left:
        raise Refusal(f"{len(left)} containers are left.", "`docker ps -a` lists them.")
    return 1 if report.failed else 0


def require() -> None:
    """A daemon and Compose. Raises Refusal."""
    stack.program()
    if subprocess.run(["docker", "info"], check=False, capture_output=True).returncode != 0:
        raise Refusal(
            f"No Docker daemon answers at {os.environ.get('DOCKER_HOST') or 'its usual place'}: nothing was played.",
            "Start one or set DOCKER_HOST; `make demo` and `make test` need none.",
        )


def _build(report: Report) -> None:
    """Engines that are missing; every service of this checkout; the next release of those that are rolled."""
    roles = {role: os.environ.get(f"DESKWIRE_{role.upper()}_IMAGE") for role in engines.PARTS}
    ours = [engines.reference(role) for role, named in roles.items() if not named]
    if any(images.megabytes(name) is None for name in ours):
        report.say("building the engines' images")
        engines.build(folders.cache_folder(), Progress())
    if not os.environ.get("DESKWIRE_REGISTRY"):
        report.say("building the services' images")
        built = images.build([])
        report.figure("images of all services", f"built in {sum(one.seconds for one in built):.0f} s")
        play.sizes(report, [one.reference for one in built])
    play.sizes(report, ours)
    report.say("building the release to roll to")
    with tempfile.TemporaryDirectory(prefix="deskwire-release-") as folder:
        source = _next_release(Path(folder))
        for service in play.ROLLED:
            made = images.build_one(service, source=source, tag=ROLL)
            report.figure(f"image of {service} after a change of its code", f"built in {made.seconds:.0f} s")


def _next_release(folder: Path) -> Path:
    """A copy of what images are made of, with another line in the services that are rolled."""
    unwanted = shutil.ignore_patterns("__pycache__", ".*_cache", ".venv", ".git")
    for name in ("requirements", "deploy", "cli", "shared", "services"):
        shutil.copytree(folders.CHECKOUT / name, folder / name, ignore=unwanted)
    shutil.copy2(folders.CHECKOUT / ".dockerignore", folder)
    for service in play.ROLLED:
        with (folder / "services" / service / "__init__.py").open("a", encoding="utf-8") as out:
            out.write("\nRELEASE = 'the next one'\n")
    return folder


def _remove_rolled() -> None:
    names = [images.reference(service, ROLL) for service in play.ROLLED]
    subprocess.run(["docker", "image", "rm", "--force", *names], check=False, capture_output=True)


if __name__ == "__main__":
    raise SystemExit(guarded(main))
