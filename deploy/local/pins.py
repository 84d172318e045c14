"""The pinned files of the engines, read from `engines.toml`."""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ENGINES_FILE: Final = Path(__file__).with_name("engines.toml")
SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Pin:
    """One file of a Maven repository, with what it must weigh and hash to."""

    coordinate: str
    sha256: str
    size: int

    @property
    def artifact(self) -> str:
        """The artifact's own name, without group and version."""
        return self.coordinate.split(":")[1]

    @property
    def filename(self) -> str:
        """The file's name in a repository and on our disk."""
        _, artifact, version, packaging = self._parts()
        return f"{artifact}-{version}.{packaging}"

    @property
    def path(self) -> str:
        """Where a Maven repository keeps it."""
        group, artifact, version, _ = self._parts()
        return f"{group.replace('.', '/')}/{artifact}/{version}/{self.filename}"

    def _parts(self) -> tuple[str, str, str, str]:
        group, artifact, version, *packaging = self.coordinate.split(":")
        return group, artifact, version, packaging[0] if packaging else "jar"


@dataclass(frozen=True, kw_only=True)
class PinnedEngine:
    """An engine's version and its files; the digest names the folder that it is unpacked to."""

    name: str
    version: str
    files: tuple[Pin, ...]

    @property
    def folder(self) -> str:
        """A folder name that changes whenever any file of the engine does."""
        digest = hashlib.sha256("".join(sorted(pin.sha256 for pin in self.files)).encode()).hexdigest()
        return f"{self.name}-{self.version}-{digest[:8]}"


def pinned(name: str, source: Path = ENGINES_FILE) -> PinnedEngine:
    """Read one engine's pins."""
    return parse(name, source.read_text())


def parse(name: str, text: str) -> PinnedEngine:
    """Take one engine's pins out of the list; a malformed one is our own mistake, so it raises `ValueError`."""
    table = tomllib.loads(text)[name]
    files = []
    for entry in table["files"]:
        pin = Pin(coordinate=str(entry["coordinate"]), sha256=str(entry["sha256"]), size=int(entry["size"]))
        if not SHA256.fullmatch(pin.sha256) or pin.size <= 0 or pin.coordinate.count(":") not in {2, 3}:
            raise ValueError(f"malformed pin {pin.coordinate}")
        files.append(pin)
    if len({pin.filename for pin in files}) != len(files):
        raise ValueError(f"two pins of {name} have the same file name")
    return PinnedEngine(name=name, version=str(table["version"]), files=tuple(files))
