"""Rules of the house that no linter knows: nothing unfinished, files a person can read, names that say something."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("services", "shared", "cli", "deploy", "bench", "tests")
LONGEST = 400
"""Lines of one file."""
SAYS_NOTHING = re.compile(r"^(utils?|helpers?|base|managers?|common|misc)(\.py|\.sql|\.sh)?$")
UNFINISHED = re.compile(r"(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
"""Put together from halves, so that this file does not find itself."""
LAYERS = re.compile(r"^\s*class (\w*(Manager|Processor|Helper|Util)s?|(Base|Abstract)[A-Z]\w*)\b", re.MULTILINE)
SOURCES = tuple(
    path
    for folder in FOLDERS
    for path in sorted((ROOT / folder).rglob("*"))
    if path.is_file() and "__pycache__" not in path.parts
)
PYTHON = tuple(path for path in SOURCES if path.suffix == ".py")


def told(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def test_no_file_is_longer_than_a_person_reads_at_once() -> None:
    assert told([path for path in PYTHON if path.read_text().count("\n") > LONGEST]) == []


def test_nothing_is_left_to_be_done_later() -> None:
    assert told([path for path in PYTHON if UNFINISHED.search(path.read_text())]) == []


def test_files_and_folders_are_named_for_what_they_own() -> None:
    nameless = [path for path in SOURCES if any(SAYS_NOTHING.search(p) for p in path.relative_to(ROOT).parts)]
    assert told(nameless) == []


def test_classes_are_named_for_what_they_are() -> None:
    assert told([path for path in PYTHON if LAYERS.search(path.read_text())]) == []


@pytest.mark.parametrize(
    ("rule", "bad", "good"),
    [
        (UNFINISHED, "x = 1  # TO" + "DO: later", "x = 1  # to do it later would lose it"),
        (LAYERS, "class TicketManager:", "class Queue:"),
        (LAYERS, "class BaseStore(Protocol):", "class Baseline:"),
        (SAYS_NOTHING, "utils.py", "bases.py"),
    ],
)
def test_the_rules_see_what_they_are_for(rule: re.Pattern[str], bad: str, good: str) -> None:
    assert rule.search(bad)
    assert not rule.search(good)
