"""Strict JSON (bad input B11): every value has one meaning, or is refused."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.http.strict import MAX_DEPTH, parse
from shared.problem import Problem
from tests.support.dose import examples

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)

STYLES = st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : "), ("\n,\n", "\t:\r\n")])


def refusal(body: bytes) -> Problem:
    with pytest.raises(Problem) as refused:
        parse(body)
    return refused.value


@given(VALUES, STYLES, st.booleans())
@settings(max_examples=examples(300))
def test_every_json_value_in_every_spelling_is_taken_as_it_is(
    value: Any, style: tuple[str, str], ascii_only: bool
) -> None:
    body = json.dumps(value, separators=style, ensure_ascii=ascii_only).encode()
    assert parse(body) == value


@given(st.dictionaries(TEXT, VALUES, min_size=1, max_size=4), STYLES, st.integers(0, 3), VALUES)
@settings(max_examples=examples(300))
def test_a_key_twice_in_one_object_is_refused_in_every_spelling(
    value: dict[str, Any], style: tuple[str, str], depth: int, other: Any
) -> None:
    key = next(iter(value))
    inner = json.dumps(value, separators=style)
    doubled = inner[:-1] + style[0] + json.dumps(key) + style[1] + json.dumps(other) + "}"
    body = ("[" * depth + doubled + "]" * depth).encode()
    assert refusal(body).slug == "duplicate-key"


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"a":1}',
        b'{"a":1,"a" :2}',
        b'{"a":1,"\\u0061":2}',
        b'{"":1,"":2}',
        b'{"x":{"a":1,"b":{"c":1,"c":2}}}',
        b'[{"a":1},{"a":1,"a":1}]',
        b'{"text":"a:b","a":1,"a":2}',
        b'{"a":1,"t":":::","a":2}',
    ],
)
def test_hidden_duplicates_are_found(body: bytes) -> None:
    assert refusal(body).slug == "duplicate-key"


@pytest.mark.parametrize(
    "body",
    [
        b'[{"a":1},{"a":2}]',
        b'{"a":{"a":{"a":1}}}',
        b'{"a":"\\"a\\":1,\\"a\\":2"}',
        b'{"k":":","l":"{\\"k\\":1}"}',
        b'{"A":1,"a":2}',
    ],
)
def test_equal_keys_in_different_objects_or_texts_are_no_duplicates(body: bytes) -> None:
    assert parse(body) == json.loads(body)


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_64_levels_are_taken_and_65_are_not(opening: str) -> None:
    closing = "]" if opening == "[" else "}"
    core = "1" if opening != "[" else ""
    parse((opening * MAX_DEPTH + core + closing * MAX_DEPTH).encode())
    deeper = refusal((opening * (MAX_DEPTH + 1) + core + closing * (MAX_DEPTH + 1)).encode())
    assert (deeper.status, deeper.slug) == (400, "too-deep")


@pytest.mark.parametrize("depth", [1_000, 10_000, 400_000])
@pytest.mark.parametrize("closed", [True, False])
def test_ten_thousand_levels_cost_nothing_and_are_refused(depth: int, closed: bool) -> None:
    assert refusal(b"[" * depth + b"]" * (depth if closed else 0)).status == 400
    assert refusal(b'{"a":' * depth + b"1" + b"}" * (depth if closed else 0)).status == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"NaN",
        b"Infinity",
        b"[-Infinity]",
        b'{"a":NaN}',
        b"1e400",
        b"-1e999",
        b"{'a':1}",
        b"[1,]",
        b"{a:1}",
        b"01",
        b"+1",
        b".5",
        b"1.",
        b"//x\n1",
        b"[1] x",
        b'"\t"',
        b'"\n"',
        b'"\x00"',
        b"tru",
        b"\xef\xbb\xbf{}",
        b'"\xff"',
        b'"\xc0\xaf"',
        b'"\xed\xa0\x80"',
        b'"\\ud800"',
        b'"\\ud800\\u0041"',
        b'"\\x41"',
        "{}".encode("utf-16"),
    ],
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    problem = refusal(body)
    assert (problem.status, problem.slug) == (400, "malformed-json")


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 0, 10**18, -(10**18)])
def test_integers_of_64_bits_are_taken(number: int) -> None:
    assert parse(b'{"n":%d}' % number) == {"n": number}


@pytest.mark.parametrize("number", [str(2**63), str(-(2**63) - 1), str(2**64), "9" * 20, "-" + "1" * 30])
def test_larger_integers_are_refused(number: str) -> None:
    problem = refusal(f'{{"n":[{number}]}}'.encode())
    assert (problem.status, problem.slug) == (422, "number-too-large")


def test_an_integer_past_every_float_is_refused() -> None:
    assert refusal(b'{"n":' + b"9" * 5000 + b"}").status == 400


@pytest.mark.parametrize(
    "body",
    [
        b'{"order":"' + b"1" * 40 + b'"}',
        b"[1.00000000000000000000000000001]",
        b"[1e300]",
        b"[123456789012345678901234567890.5]",
    ],
)
def test_long_digits_in_texts_and_fractions_are_no_large_integers(body: bytes) -> None:
    value = parse(body)
    assert value == json.loads(body)
    assert not (isinstance(value, list) and math.isinf(value[0]))


def test_a_nul_is_refused_where_it_stands() -> None:
    problem = refusal(b'{"items":[{"ok":"a"},{"a/b":"x\\u0000y"}]}')
    assert problem.status == 422
    assert [(error.pointer, error.place) for error in problem.errors] == [("/items/1/a~1b", "body")]
    assert refusal(b'{"a\\u0000":1}').status == 422


def test_the_escape_of_an_escape_is_no_nul() -> None:
    assert parse(b'{"a":"\\\\u0000"}') == {"a": "\\u0000"}


def test_a_refusal_never_quotes_a_long_input() -> None:
    key = "k" * 100_000
    problem = refusal(f'{{"{key}":1,"{key}":2}}'.encode())
    assert len(str(problem.detail)) < 300
