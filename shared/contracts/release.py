"""A release of the contracts: schemas, examples and topics as files that never change again.

`released/<version>/` holds what was promised; the compatibility gate holds today's models against every one of them.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from shared.contracts import golden, schemas
from shared.contracts.manifest import TOPICS

FOLDER = Path(__file__).parent / "released"
_SUMS = "SHA256SUMS"


class ReleaseError(Exception):
    """A release cannot be written or read as asked."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """Everything promised to whoever subscribes, as plain JSON values."""

    version: str
    topics: Mapping[str, Mapping[str, Any]]
    """`schemas.topic_record` by topic name."""
    schemas: Mapping[str, schemas.Schema]
    """By event type."""
    examples: Mapping[str, golden.Examples]
    """By event type."""


def current() -> Release:
    """What the code says today."""
    events = [event for topic in TOPICS for event in topic.events]
    return Release(
        version="current",
        topics={topic.name: schemas.topic_record(topic) for topic in TOPICS},
        schemas={event.TYPE: schemas.json_schema(event) for event in events},
        examples={event.TYPE: golden.examples(event) for event in events},
    )


def released(folder: Path = FOLDER) -> list[str]:
    """Every frozen version, oldest first."""
    found = [path.name for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    return sorted(found, key=_number)


def read(version: str, folder: Path = FOLDER) -> Release:
    """A frozen release. Raises ReleaseError when there is none, or a file is not what was frozen."""
    root = folder / version
    if not root.is_dir():
        raise ReleaseError(f"there is no release {version}")
    changed = tampered(root)
    if changed:
        raise ReleaseError(f"release {version} is frozen, but these files are not as they were: {', '.join(changed)}")
    suffix = schemas.file_name("")
    found = {path.name.removesuffix(suffix): orjson.loads(path.read_bytes()) for path in root.glob(f"*{suffix}")}
    return Release(
        version=version,
        topics=orjson.loads((root / "topics.json").read_bytes()),
        schemas=dict(sorted(found.items())),
        examples={event_type: golden.of_type(event_type, root / "examples") for event_type in sorted(found)},
    )


def freeze(version: str, *, replace: bool = False, folder: Path = FOLDER) -> Path:
    """Write today's contracts as a release. Raises ReleaseError when it exists, unless it is to be replaced."""
    if not all(part.isdecimal() for part in version.split(".")) or version.count(".") != 1:
        raise ReleaseError(f"{version!r} is not a version: <major>.<minor>, like 1.0")
    root = folder / version
    if root.exists():
        if not replace:
            raise ReleaseError(f"release {version} is frozen; --replace rewrites it, which breaks its promise")
        shutil.rmtree(root)
    for name, text in files(current()).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
    (root / _SUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in sorted(_digests(root).items())))
    return root


def files(release: Release) -> dict[str, bytes]:
    """The files of a release by their paths within it."""
    made = {"topics.json": to_json(release.topics)}
    for event_type, schema in release.schemas.items():
        made[schemas.file_name(event_type)] = to_json(schema)
    for event_type, examples in release.examples.items():
        for name, payload in examples.items():
            made[f"examples/{event_type}/{name}.json"] = to_json(payload)
    return made


def tampered(root: Path) -> list[str]:
    """Files of a release that were changed, added or removed since it was frozen."""
    lines = (root / _SUMS).read_text().splitlines() if (root / _SUMS).is_file() else []
    frozen = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    found = _digests(root)
    return sorted(name for name in frozen.keys() | found.keys() if frozen.get(name) != found.get(name))


def to_json(value: Any) -> bytes:
    """JSON for people: indented, in the order of the source."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _digests(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*.json")
    }


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdecimal() else 0 for part in version.split("."))
