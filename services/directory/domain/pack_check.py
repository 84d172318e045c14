"""Is a pack fit to be put in force? Every problem with its line, not only the first.

`shared.contracts.pack` says what a section is; here its verdicts are put to lines, and what concerns several places
of a pack at once is checked: arrows that exclude each other, states nobody leaves, sections that do not fit together.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue, ValidationError
from pydantic_core import ErrorDetails

from services.directory.domain.pack_rules import MOST_ITEMS, across, within
from services.directory.domain.pack_source import MAX_BYTES, Path, Problem, Source, UnreadableError, read
from shared.contracts.pack import SECTIONS, Section

_MODELS: dict[str, type[Section]] = {model.SECTION: model for model in SECTIONS}
_HEAD = ("pack", "description")
MOST_PROBLEMS = 100
"""Told at once; more would help nobody."""
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_ROOM = 4096
"""Bytes left for the rest of the event around a section."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """A pack fit to be published."""

    name: str
    text: str
    sections: dict[str, dict[str, JsonValue]]
    """By name, in full: every default is written out."""
    warnings: tuple[Problem, ...] = ()


class PackRefusedError(Exception):
    """A pack with at least one problem; says all of them."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def check(text: str) -> Pack:
    """The pack in `text`. Raises PackRefusedError with every problem found, in the order of the lines."""
    try:
        source = read(text)
    except UnreadableError as error:
        raise PackRefusedError((error.problem,)) from error
    if not isinstance(source.value, dict):
        raise PackRefusedError((Problem(path=(), message="a pack is a mapping of sections", mark=source.mark(())),))
    found = list(source.problems)
    found += _head(source, source.value)
    sections: dict[str, Section] = {}
    for name, model in _MODELS.items():
        if name in source.value:
            section, problems = _section(source, model, source.value[name])
            found += problems
            if section is not None:
                sections[name] = section
    found += [_placed(source, problem) for problem in across(sections)]
    found = found[:MOST_PROBLEMS]
    found.sort(key=lambda problem: (problem.mark.line, problem.mark.column, problem.pointer))
    if any(not problem.warning for problem in found):
        raise PackRefusedError(tuple(found))
    return Pack(
        name=str(source.value["pack"]),
        text=text,
        sections={name: section.model_dump(mode="json", by_alias=True) for name, section in sections.items()},
        warnings=tuple(found),
    )


def _head(source: Source, value: dict[str, JsonValue]) -> Iterator[Problem]:
    """The pack's own name, sections that nobody knows, sections that are missing."""
    name = value.get("pack")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        said = "name the pack" if "pack" not in value else "a pack's name"
        message = f"{said}: lower case letters, digits, - and _, at most 40"
        yield Problem(path=("pack",), message=message, mark=source.mark(("pack",)))
    description = value.get("description", "")
    if not isinstance(description, str) or len(description) > 2000:
        message = "a description is text of at most 2000 characters"
        yield Problem(path=("description",), message=message, mark=source.mark(("description",)))
    for key in value:
        if key not in _MODELS and key not in _HEAD:
            message = f"unknown section {key!r}{_meant(key, (*_MODELS, *_HEAD))}"
            yield Problem(path=(key,), message=message, mark=source.mark((key,)))
    for name in _MODELS:
        if name not in value:
            yield Problem(path=(name,), message=f"the section {name!r} is missing", mark=source.mark(()))


def _section(source: Source, model: type[Section], value: JsonValue) -> tuple[Section | None, list[Problem]]:
    """One section read strictly; None when it is refused."""
    at: Path = (model.SECTION,)
    if not isinstance(value, dict):
        return None, [Problem(path=at, message="a section is a mapping", mark=source.mark(at))]
    found = [_placed(source, problem) for problem in within(model.SECTION, value)]
    if any(len(problem.path) == 2 and problem.path[1] in MOST_ITEMS for problem in found):
        return None, found
    refused = any(not problem.warning for problem in found)
    try:
        section = model.model_validate(value)
    except ValidationError as error:
        # A verdict on the section as a whole repeats, without a line, what the rules have said with one.
        details = error.errors(include_url=False, include_context=False)
        found += [_told(source, at, model, detail) for detail in details if detail["loc"] or not refused]
        return None, found
    size = len(json.dumps(section.model_dump(mode="json", by_alias=True), ensure_ascii=False).encode())
    if size > MAX_BYTES - _ROOM:
        message = f"the section takes {size} bytes, at most {MAX_BYTES - _ROOM} are published"
        return None, [*found, Problem(path=at, message=message, mark=source.mark(at))]
    return (None if refused else section), found


def _told(source: Source, at: Path, model: type[Section], detail: ErrorDetails) -> Problem:
    """A verdict of the model in words that need no Python."""
    path: Path = (*at, *detail["loc"])
    message = detail["msg"].removeprefix("Value error, ")
    match detail["type"]:
        case "extra_forbidden":
            message = f"unknown field {str(path[-1])!r}{_meant(str(path[-1]), _fields(model))}"
        case "missing":
            message = f"the field {str(path[-1])!r} is missing"
        case "tuple_type":
            message = "a list is needed here"
        case "model_type" | "model_attributes_type" | "dict_type":
            message = "a mapping is needed here"
        case _:
            message = message[:1].lower() + message[1:]
    return Problem(path=path, message=message, mark=source.mark(path))


def _placed(source: Source, problem: Problem) -> Problem:
    return Problem(path=problem.path, message=problem.message, mark=source.mark(problem.path), warning=problem.warning)


def _meant(word: str, known: tuple[str, ...]) -> str:
    """`; did you mean …?` where something known is close, else what is known."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(sorted(known))}"


def _fields(model: type[Section]) -> tuple[str, ...]:
    """Every field name in a section, at any depth."""
    schema: dict[str, Any] = model.model_json_schema(by_alias=True)
    parts = [schema, *schema.get("$defs", {}).values()]
    return tuple(sorted({name for part in parts for name in part.get("properties", {})}))
