"""Pack text to plain values that remember their line.

YAML as packs need it, and no more: text, whole numbers, decimals, true/false, null, lists and mappings. Anchors and
aliases are expanded within a bound; tags, merge keys, dates and YAML 1.1's `yes`/`no`/`on` are not known, so that a
state may be called `on`. JSON is read as what it is, a subset.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml
from pydantic import JsonValue
from typing_extensions import override

MAX_BYTES = 262_144
"""Largest pack text; also the largest section on the wire."""
MAX_DEPTH = 32
MAX_NODES = 50_000
"""Values after aliases are expanded: the bound that a bomb of aliases meets."""

Path = tuple[str | int, ...]
"""Where something is: `("workflow", "states", 2, "name")`."""

_PLAIN = {"tag:yaml.org,2002:str", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the text; both count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with a pack, and where."""

    path: Path
    message: str
    mark: Mark = Mark(1, 1)
    warning: bool = False
    """Worth saying, no reason to refuse."""

    @property
    def pointer(self) -> str:
        """The path as a JSON pointer (RFC 6901)."""
        return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in self.path)

    @override
    def __str__(self) -> str:
        where = ".".join(str(part) for part in self.path)
        kind = "warning: " if self.warning else ""
        return f"line {self.mark.line}, column {self.mark.column}: {kind}{where + ': ' if where else ''}{self.message}"


class UnreadableError(Exception):
    """The text is not a document at all; says what and where."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Source:
    """A document, and the place of everything in it."""

    value: JsonValue
    marks: dict[Path, Mark]
    problems: tuple[Problem, ...] = ()
    """Duplicate keys, tags and unprintable characters: readable, still refused."""

    def mark(self, path: Path) -> Mark:
        """The place of `path`, or of the nearest thing around it."""
        while path and path not in self.marks:
            path = path[:-1]
        return self.marks.get(path, Mark(1, 1))


class _Loader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):  # type: ignore[misc] # chosen at import
    """Resolves plain scalars as JSON would."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - yaml's own protocol


_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})$")
_DECIMAL = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,17})?(?:[eE][-+]?[0-9]{1,2})?$")
for _tag, _pattern, _first in (
    ("bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), "tTfF"),
    ("null", re.compile(r"(?:null|Null|NULL|~)$"), "nN~"),
    ("null", re.compile(r"$"), ("",)),
    ("int", _INTEGER, "-+0123456789"),
    ("float", _DECIMAL, "-+0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, list(_first))


def read(text: str) -> Source:
    """The document in `text`. Raises UnreadableError for a syntax error or a broken bound, with its line."""
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise UnreadableError(Problem(path=(), message=f"the pack is larger than {MAX_BYTES // 1024} kB"))
    try:
        _bound_depth(text)
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark or error.context_mark
        mark = Mark(at.line + 1, at.column + 1) if at else Mark(1, 1)
        context = f"{error.context}: " if error.context else ""
        raise UnreadableError(Problem(path=(), message=f"{context}{error.problem or 'not YAML'}", mark=mark)) from error
    except yaml.YAMLError as error:
        raise UnreadableError(_unreadable_character(text)) from error
    if root is None:
        raise UnreadableError(Problem(path=(), message="the pack is empty"))
    return _Reading().document(root)


def _bound_depth(text: str) -> None:
    """Walk the events, which needs no stack, before composing, which recurses."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Loader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH or count > 4 * MAX_NODES:
            at = event.start_mark
            mark = Mark(at.line + 1, at.column + 1) if at else Mark(1, 1)
            what = f"nested deeper than {MAX_DEPTH}" if depth > MAX_DEPTH else f"more than {MAX_NODES} values"
            raise UnreadableError(Problem(path=(), message=what, mark=mark))


def _unreadable_character(text: str) -> Problem:
    for number, line in enumerate(text.split("\n"), start=1):
        found = re.search(r"[^\t\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", line)
        if found:
            message = f"the character U+{ord(found[0]):04X} is not allowed"
            return Problem(path=(), message=message, mark=Mark(number, found.start() + 1))
    return Problem(path=(), message="not readable as UTF-8 text")


@dataclass(slots=True)
class _Reading:
    """One pass over the composed nodes."""

    marks: dict[Path, Mark] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    count: int = 0

    def document(self, root: yaml.Node) -> Source:
        self.marks[()] = _mark(root)
        value = self.value(root, ())
        return Source(value, self.marks, tuple(self.problems))

    def value(self, node: yaml.Node, path: Path) -> JsonValue:
        self.count += 1
        if self.count > MAX_NODES or len(path) > MAX_DEPTH:
            # Only aliases get here: the text itself was bounded before.
            message = f"aliases expand to more than {MAX_NODES} values or {MAX_DEPTH} levels"
            raise UnreadableError(Problem(path=path[:4], message=message, mark=_mark(node)))
        match node:
            case yaml.MappingNode():
                self._plain(node, path)
                return dict(self._entries(node, path))
            case yaml.SequenceNode():
                self._plain(node, path)
                return [self._item(item, (*path, number)) for number, item in enumerate(node.value)]
            case _:
                return self._scalar(node, path)

    def _item(self, node: yaml.Node, path: Path) -> JsonValue:
        self.marks[path] = _mark(node)
        return self.value(node, path)

    def _entries(self, node: yaml.MappingNode, path: Path) -> Iterator[tuple[str, JsonValue]]:
        seen: dict[str, int] = {}
        for key_node, value_node in node.value:
            mark = _mark(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self._say(path, "a key must be text", mark)
                continue
            key = key_node.value
            if _UNPRINTABLE.search(key):
                self._say(path, "a key with an unprintable character", mark)
                continue
            inner = (*path, key)
            if key in seen:
                self._say(inner, f"{key!r} is given twice, first on line {seen[key]}", mark)
                continue
            seen[key] = mark.line
            self.marks[inner] = mark
            yield key, self.value(value_node, inner)

    def _scalar(self, node: yaml.Node, path: Path) -> JsonValue:
        text: str = node.value
        match node.tag.removeprefix("tag:yaml.org,2002:"):
            case "bool" if text.lower() in {"true", "false"}:
                return text.lower() == "true"
            case "null":
                return None
            case "int" if _INTEGER.fullmatch(text):
                return int(text)
            case "float" if _DECIMAL.fullmatch(text):
                return float(text)
            case _:
                # Also `!!int x`: a tag that the text does not bear out.
                self._plain(node, path)
        if _UNPRINTABLE.search(text.replace("\n", "")):
            self._say(path, "text with an unprintable character", _mark(node))
        return text

    def _plain(self, node: yaml.Node, path: Path) -> None:
        if node.tag not in _PLAIN:
            self._foreign(node, path)

    def _foreign(self, node: yaml.Node, path: Path) -> None:
        tag = node.tag.replace("tag:yaml.org,2002:", "!!")
        self._say(path, f"the tag {tag} is not allowed here", _mark(node))

    def _say(self, path: Path, message: str, mark: Mark) -> None:
        self.problems.append(Problem(path=path, message=message, mark=mark))


def _mark(node: yaml.Node) -> Mark:
    return Mark(node.start_mark.line + 1, node.start_mark.column + 1)
