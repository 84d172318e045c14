"""Text to values with their lines, whatever the text is."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.directory.domain.pack_check import PackRefusedError, check
from services.directory.domain.pack_source import MAX_BYTES, Mark, UnreadableError, read


def test_everything_remembers_its_line_and_column() -> None:
    source = read("pack: x\nworkflow:\n  states:\n    - {name: new}\n    -   name: open\n")
    assert source.mark(("pack",)) == Mark(1, 1)
    assert source.mark(("workflow", "states")) == Mark(3, 3)
    assert source.mark(("workflow", "states", 0, "name")) == Mark(4, 8)
    assert source.mark(("workflow", "states", 1, "name")) == Mark(5, 9)


def test_what_is_missing_is_placed_where_it_should_have_been() -> None:
    source = read("workflow:\n  states:\n    - label: Open\n")
    assert source.mark(("workflow", "states", 0, "name")) == source.mark(("workflow", "states", 0)) == Mark(3, 7)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("NO", "NO"),
        ("2026-11-21", "2026-11-21"),
        ("12:30", "12:30"),
        ("0x1f", "0x1f"),
        ("012", "012"),
        ("1_000", "1_000"),
        (".inf", ".inf"),
        ("true", True),
        ("null", None),
        ("", None),
        ("5", 5),
        ("-7", -7),
        ("1.5", 1.5),
        ('"5"', "5"),
        ("9" * 19, "9" * 19),
    ],
)
def test_plain_values_mean_what_json_would_make_of_them(text: str, value: object) -> None:
    source = read(f"x: {text}")
    assert source.value == {"x": value}
    assert not source.problems


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", 1, "empty"),
        ("# nothing\n", 1, "empty"),
        ("a: [1, 2\nb: 3", 2, "expected"),
        ("a: 1\n\tb: 2", 2, "tab"),
        ("a: b\n---\nc: d", 2, "another document"),
        ("a: 1\nb: *gone", 2, "undefined alias"),
        ("a: 1\nb: \x00", 2, "U+0000"),
        ("a: 1\nb: '\x07'", 2, "U+0007"),
        ("\n\n" + "[" * 40, 3, "nested deeper"),
        ("a: &a [*a]", 1, "aliases expand"),
        ("x" * (MAX_BYTES + 1), 1, "larger than 256 kB"),
    ],
)
def test_what_is_no_document_is_told_with_its_line(text: str, line: int, says: str) -> None:
    with pytest.raises(UnreadableError) as refused:
        read(text)
    assert refused.value.problem.mark.line == line
    assert says in refused.value.problem.message


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: 1\nb: 2\na: 3", 3, "given twice, first on line 1"),
        ("a: 1\n? [x]\n: 2", 2, "a key must be text"),
        ("a: 1\nb: !!python/object:os.system ls", 2, "tag"),
        ("a: !secret x", 1, "tag !secret"),
        ("a: !!int x", 1, "tag !!int"),
        ("a: !!binary aGk=", 1, "tag !!binary"),
        ('a: "\\u202e\\a"', 1, "unprintable"),
    ],
)
def test_what_could_mean_two_things_is_refused_with_its_line(text: str, line: int, says: str) -> None:
    [problem] = read(text).problems
    assert problem.mark.line == line
    assert says in problem.message


def test_a_bomb_of_aliases_goes_off_within_a_second() -> None:
    bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "\n".join(
        f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)
    )
    began = time.monotonic()
    with pytest.raises(UnreadableError, match="aliases expand"):
        read(bomb)
    assert time.monotonic() - began < 5  # a billion values would take hours


def test_ten_thousand_brackets_do_not_end_the_process() -> None:
    with pytest.raises(UnreadableError, match="nested deeper"):
        read("[" * 100_000)


def test_an_anchor_may_be_used_again() -> None:
    assert read("a: &x {k: 1}\nb: *x").value == {"a": {"k": 1}, "b": {"k": 1}}


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(PackRefusedError) as refused:
        check(text)
    lines = text.count("\n") + text.count("\r") + text.count("\x85") + text.count("\u2028") + text.count("\u2029") + 1
    assert refused.value.problems
    assert all(1 <= problem.mark.line <= lines + 1 for problem in refused.value.problems)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)


@given(st.fixed_dictionaries({"workflow": _json, "priorities": _json, "assignment": _json, "numbering": _json}))
def test_sections_of_any_shape_are_refused_and_never_crash(sections: dict[str, object]) -> None:
    import json  # noqa: PLC0415 - only here

    with pytest.raises(PackRefusedError):
        check(json.dumps({"pack": "x", **sections}, ensure_ascii=False))


_names = st.sampled_from(["new", "open", "closed", "pending", "", "New"])
_state = st.fixed_dictionaries(
    {"name": _names | _json, "label": st.just("L"), "category": st.sampled_from(["new", "open", "solved"]) | _json}
)
_arrow = st.fixed_dictionaries(
    {"from": _names | _json, "to": _names | _json},
    optional={
        "trigger": st.sampled_from(["timer", "manual", "assigned"]) | _json,
        "roles": _json,
        "after_minutes": _json,
    },
)


@given(st.lists(_state, max_size=4), st.lists(_arrow, max_size=5), _names | _json)
def test_nearly_right_workflows_never_crash(states: list[object], arrows: list[object], initial: object) -> None:
    import json  # noqa: PLC0415 - only here

    workflow = {"initial": initial, "states": states, "transitions": arrows}
    with pytest.raises(PackRefusedError):
        check(json.dumps({"pack": "x", "workflow": workflow}, ensure_ascii=False))
