"""Templates written by tenants: a part of Jinja that always ends, reads only what it is given, and is checked before.

What is left of the language has no calls, macros, arithmetic, assignments or includes, and loops only over lists it
is given, never one inside another. So a template's work is bounded by its own length times the length of what it is
given; no clock is needed. `check` says what is wrong and in which line, for whoever takes a template in; `Compiled`
fills it in. Values are plain texts, numbers, booleans, lists and mappings; what is missing is the empty text.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from jinja2 import Environment, StrictUndefined, TemplateError, TemplateSyntaxError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup, escape

MAX_OUTPUT = 2_000_000
"""Characters of one filled-in template."""

Shape: TypeAlias = "Mapping[str, object] | list[object] | None"
"""Of a variable: a mapping by key, a list of one element's shape, None for a value."""
Value: TypeAlias = "str | int | float | bool | Mapping[str, Value] | list[Value]"

_FILTERS = frozenset(
    {"capitalize", "default", "first", "join", "last", "length", "lines", "lower", "quote", "trim", "truncate", "upper"}
)
_OF_LISTS = frozenset({"first", "join", "last"})
_SEPARATOR = 20
_TESTS = frozenset({"eq", "ne", "lt", "le", "gt", "ge", "equalto", "in", "sameas", "true", "false"})
_LOOP = {"index": None, "first": None, "last": None, "length": None}
_PLAIN = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.Const,
    nodes.If,
    nodes.CondExpr,
    nodes.Compare,
    nodes.Operand,
    nodes.And,
    nodes.Or,
    nodes.Not,
    nodes.Concat,
    nodes.Tuple,
    nodes.List,
    nodes.Keyword,
)
_WORDS = {
    nodes.Call: "calls",
    nodes.Macro: "macros",
    nodes.Import: "imports",
    nodes.FromImport: "imports",
    nodes.Include: "includes",
    nodes.Extends: "inheritance",
    nodes.Block: "blocks",
    nodes.Assign: "assignments",
    nodes.AssignBlock: "assignments",
    nodes.Slice: "slices",
    nodes.Dict: "mappings",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a template, and in which of its lines (from 1)."""

    line: int
    message: str


class TemplateFailedError(Exception):
    """A checked template could not be filled in: its result is too long, or a value is not what it takes."""


def check(source: str, variables: Mapping[str, object]) -> list[Fault]:
    """Everything wrong with a template that may name `variables`, by line; empty when it may be used."""
    try:
        tree = _TEXT.parse(source)
    except TemplateSyntaxError as error:
        return [Fault(error.lineno, (error.message or "not a template").rstrip("."))]
    except RecursionError:
        return [Fault(1, "nested too deeply")]
    return sorted(_faults(tree, dict(variables), looping=False), key=lambda fault: fault.line)


class Compiled:
    """A template ready to be filled in, any number of times."""

    def __init__(self, source: str, *, html: bool = False) -> None:
        """`html` escapes what is filled in. Raises TemplateSyntaxError for a source `check` would have refused."""
        self._template = (_HTML if html else _TEXT).from_string(source)

    def fill(self, values: Mapping[str, Value]) -> str:
        """The text with `values` in it. Raises TemplateFailedError, which names no value."""
        parts: list[str] = []
        room = MAX_OUTPUT
        try:
            for part in self._template.generate(values):
                room -= len(part)
                if room < 0:
                    msg = f"longer than {MAX_OUTPUT} characters"
                    raise TemplateFailedError(msg)
                parts.append(part)
        except (TemplateError, TypeError, ValueError) as error:
            msg = f"{type(error).__name__} while filling in"
            raise TemplateFailedError(msg) from error
        return "".join(parts)


def _faults(node: nodes.Node, known: dict[str, object], *, looping: bool) -> Iterator[Fault]:
    """Walk down; `known` is what may be named here."""
    match node:
        case nodes.For():
            yield from _loop(node, known, looping=looping)
            return
        case nodes.Name() | nodes.Getattr() | nodes.Getitem():
            shape = _shape(node, known)
            if isinstance(shape, Fault):
                yield shape
            return
        case nodes.Filter():
            yield from _filter(node, known)
        case nodes.Test():
            if node.name not in _TESTS:
                yield Fault(node.lineno, f"unknown test {node.name!r}{_meant(node.name, _TESTS)}")
        case _:
            if not isinstance(node, _PLAIN):
                what = _WORDS.get(type(node), f"{type(node).__name__.lower()} expressions")
                yield Fault(node.lineno, f"templates have no {what}")
                return
    for child in node.iter_child_nodes():
        yield from _faults(child, known, looping=looping)


def _filter(node: nodes.Filter, known: Mapping[str, object]) -> Iterator[Fault]:
    if node.name not in _FILTERS:
        yield Fault(node.lineno, f"unknown filter {node.name!r}{_meant(node.name, _FILTERS)}")
    if node.node is None:
        yield Fault(node.lineno, "a filter needs something before it")
        return
    arguments = _arguments(node)
    if any(not isinstance(one, nodes.Const) for one in arguments):
        yield Fault(node.lineno, f"the filter {node.name!r} takes written values only")
    if node.name in _OF_LISTS:
        # Of a text they would take the letters, and a long word between each two is how a short template grows.
        named = isinstance(node.node, (nodes.Name, nodes.Getattr, nodes.Getitem))
        shape = _shape(node.node, known) if named else None
        if not isinstance(shape, (list, Fault)):
            yield Fault(node.lineno, f"the filter {node.name!r} takes a list")
        if any(isinstance(one, nodes.Const) and len(str(one.value)) > _SEPARATOR for one in arguments):
            yield Fault(node.lineno, f"the filter {node.name!r} takes at most {_SEPARATOR} characters")


def _loop(node: nodes.For, known: dict[str, object], *, looping: bool) -> Iterator[Fault]:
    if looping:
        yield Fault(node.lineno, "a loop stands within another")
        return
    if node.recursive or node.test is not None or not isinstance(node.target, nodes.Name):
        yield Fault(node.lineno, "a loop is `for one in list`, no more")
        return
    shape = _shape(node.iter, known)
    if isinstance(shape, Fault):
        yield shape
        return
    if not isinstance(shape, list):
        yield Fault(node.lineno, "only a list can be gone through")
        return
    inside = known | {"loop": _LOOP, node.target.name: shape[0]}
    for child in node.body:
        yield from _faults(child, inside, looping=True)
    for child in node.else_:
        yield from _faults(child, known, looping=True)


def _shape(node: nodes.Node, known: Mapping[str, object]) -> object:
    """The shape of what is named, or what is wrong with the name."""
    match node:
        case nodes.Name():
            if node.ctx != "load" or node.name not in known:
                return Fault(node.lineno, f"unknown variable {node.name!r}{_meant(node.name, known)}")
            return known[node.name]
        case nodes.Getattr():
            return _member(node, node.attr, _shape(node.node, known))
        case nodes.Getitem() if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
            return _member(node, node.arg.value, _shape(node.node, known))
        case _:
            return Fault(node.lineno, "a name is a variable and its parts, like `ticket.number`")


def _member(node: nodes.Node, name: str, shape: object) -> object:
    if isinstance(shape, Fault):
        return shape
    if not isinstance(shape, Mapping) or name not in shape:
        known = shape if isinstance(shape, Mapping) else ()
        return Fault(node.lineno, f"unknown part {name!r} of a variable{_meant(name, known)}")
    return shape[name]


def _arguments(node: nodes.Filter) -> list[nodes.Node]:
    given: list[nodes.Node] = [*node.args, *(keyword.value for keyword in node.kwargs)]
    return [*given, *(one for one in (node.dyn_args, node.dyn_kwargs) if one is not None)]


def _meant(word: str, known: object) -> str:
    names = sorted(map(str, known)) if isinstance(known, (Mapping, frozenset)) else []
    if not names:
        return ""
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(names)}"


def _lines(value: object) -> Markup:
    """Lines of a text as lines of HTML."""
    return Markup("<br>\n").join(escape(line) for line in str(value).splitlines())


def _quote(value: object) -> str:
    """Lines of a text as a mail quotes them."""
    return "\n".join(f"> {line}".rstrip() for line in str(value).splitlines())


def _environment(*, html: bool) -> Environment:
    made = ImmutableSandboxedEnvironment(
        autoescape=html, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, cache_size=0
    )
    made.globals.clear()
    made.filters = {name: made.filters[name] for name in _FILTERS - {"lines", "quote"}}
    made.filters |= {"lines": _lines, "quote": _quote}
    made.tests = {name: made.tests[name] for name in _TESTS}
    return made


_TEXT, _HTML = _environment(html=False), _environment(html=True)
