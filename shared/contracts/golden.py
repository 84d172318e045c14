"""Golden examples: hand-written JSON of every event type, read by tests, documentation and outsiders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from shared.contracts.event import Event

FOLDER = Path(__file__).parent / "examples"

Examples = dict[str, dict[str, Any]]
"""Payloads by the example's name; `minimal` comes first, then `full`."""


def examples(event: type[Event], folder: Path = FOLDER) -> Examples:
    """Every example of one event type."""
    return of_type(event.TYPE, folder)


def of_type(event_type: str, folder: Path = FOLDER) -> Examples:
    """Every example of the type of that name, also of one that this release no longer has."""
    paths = sorted((folder / event_type).glob("*.json"), key=_order)
    return {path.stem: orjson.loads(path.read_bytes()) for path in paths}


def _order(path: Path) -> tuple[int, str]:
    first = {"minimal": 0, "full": 1}
    return first.get(path.stem, 2), path.stem
