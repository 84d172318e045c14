"""JSON from strangers: one meaning or none.

Refused: what RFC 8259 leaves open and two parsers read differently (duplicate keys, NaN, integers past 64 bits), what
exhausts a parser (depth), and what PostgreSQL cannot store (NUL). One parse by orjson and one walk over the
containers; the slow, exact pass runs only when a cheap count says that it might find something.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

from shared.problem import FieldError, Problem

MAX_DEPTH = 64
_LARGEST = 2**63 - 1
_DIGITS = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER = b"0" * len(str(_LARGEST))


def parse(body: bytes) -> Any:
    """The value of a JSON body.

    Raises a 400 problem for what is not JSON, has duplicate keys or nests deeper than 64; 422 with a pointer for an
    integer past 64 bits or a NUL character.
    """
    try:
        tree = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _malformed(error) from error
    # Each key written has a colon, and a parser keeps one of two equal keys: as many colons as keys, none was lost.
    # Texts with colons in them fail this count and go to the exact pass.
    if body.count(b":") != _survey(tree) or _LONG_NUMBER in body.translate(_DIGITS):
        _exact(body)
    if b"\\u0000" in body:
        _refuse_nul(tree, [])
    return tree


def _malformed(error: orjson.JSONDecodeError) -> Problem:
    if "depth limit" in error.msg or "ecursion" in error.msg:
        return _too_deep()
    return Problem(400, "malformed-json", "Malformed JSON", f"{error.msg[:200]}.")


def _too_deep() -> Problem:
    return Problem(400, "too-deep", "Nested too deeply", f"Arrays and objects may nest {MAX_DEPTH} deep.")


def _survey(tree: Any) -> int:
    """How many keys all objects have together; raises when containers nest too deeply."""
    level = [tree] if type(tree) is dict or type(tree) is list else []
    keys = depth = 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise _too_deep()
        below: list[Any] = []
        for node in level:
            if type(node) is dict:
                keys += len(node)
                values: Any = node.values()
            else:
                values = node
            below += [value for value in values if type(value) is dict or type(value) is list]
        level = below
    return keys


def _exact(body: bytes) -> None:
    json.loads(body, object_pairs_hook=_unique, parse_int=_bounded, parse_float=_ignore)


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) == len(pairs):
        return
    seen = set()
    for key, _ in pairs:
        if key in seen:
            raise Problem(
                400, "duplicate-key", "Duplicate key", f"The key {json.dumps(key[:100])} appears twice in one object."
            )
        seen.add(key)


def _bounded(digits: str) -> None:
    if len(digits) > len(_LONG_NUMBER) + 1 or not -_LARGEST - 1 <= int(digits) <= _LARGEST:
        raise Problem(422, "number-too-large", "Number too large", "Integers have at most 64 bits.")


def _ignore(_: str) -> None:
    return None


def _refuse_nul(node: Any, path: list[object]) -> None:
    items: Any = ()
    if type(node) is str:
        if "\0" in node:
            raise Problem(422, "invalid", "Invalid request", errors=[FieldError.at(path, "has a NUL character")])
    elif type(node) is dict:
        if any("\0" in key for key in node):
            raise Problem(
                422, "invalid", "Invalid request", errors=[FieldError.at(path, "has a key with a NUL character")]
            )
        items = node.items()
    elif type(node) is list:
        items = enumerate(node)
    for key, value in items:
        _refuse_nul(value, [*path, key])
