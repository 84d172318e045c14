"""Templates of tenants: what the language takes, that it always ends, that it reads only what it is given."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.templates import Compiled, TemplateFailedError, check

SHAPE = {"ticket": {"number": None, "tags": [None]}, "files": [{"name": None}], "url": None}


@pytest.mark.parametrize(
    "source",
    [
        "plain",
        "{{ ticket.number }} {{ ticket['number'] }}",
        "{% if url and not ticket.number %}{{ url }}{% elif url == 'x' %}a{% else %}b{% endif %}",
        "{% for file in files %}{{ loop.index }}: {{ file.name }}{% else %}none{% endfor %}",
        "{{ ticket.number or 'none' }}{{ ticket.number ~ url }}{{ 'a' if url else 'b' }}",
        "{{ url|default('x')|upper|truncate(20) }}{{ ticket.tags|join(', ') }}{{ ticket.tags|length }}",
        "{{ files|join(', ', attribute='name') }}",
    ],
)
def test_what_is_needed_is_possible(source: str) -> None:
    assert check(source, SHAPE) == []


@pytest.mark.parametrize(
    ("source", "line", "said"),
    [
        ("{{ tiket.number }}", 1, "did you mean 'ticket'"),
        ("a\nb {{ ticket.nummer }}", 2, "did you mean 'number'"),
        ("{{ ticket.number.x }}", 1, "unknown part"),
        ("{{ ticket.__class__ }}", 1, "unknown part"),
        ("{{ ''.__class__.__mro__ }}", 1, "a name is a variable"),
        ("{{ url.upper() }}", 1, "no calls"),
        ("{% for i in range(9) %}{% endfor %}", 1, "a name is a variable"),
        ("{{ 'a' * 1000000000 }}", 1, "no mul"),
        ("{{ 9 ** 9 ** 9 }}", 1, "no pow"),
        ("{{ url|safe }}", 1, "unknown filter 'safe'"),
        ("{{ url|join('xxxxxxxx') }}", 1, "takes a list"),
        ("{{ ticket.tags|join('xxxxxxxxxxxxxxxxxxxxxxxxx') }}", 1, "at most 20"),
        ("{{ url|truncate(ticket.number) }}", 1, "written values"),
        ("{{ ticket.tags|map('upper') }}", 1, "unknown filter 'map'"),
        ("{% for a in url %}{% endfor %}", 1, "only a list"),
        ("{% for a in files %}{% for b in files %}{% endfor %}{% endfor %}", 1, "within another"),
        ("{% for a in files if a.name %}{% endfor %}", 1, "for one in list"),
        ("{% for a, b in files %}{% endfor %}", 1, "for one in list"),
        ("{% set x = 1 %}", 1, "no assignments"),
        ("{% macro m() %}{% endmacro %}", 1, "no macros"),
        ("{% include 'x' %}", 1, "no includes"),
        ("{% extends 'x' %}", 1, "no inheritance"),
        ("{% import 'x' as y %}", 1, "no imports"),
        ("{% block a %}{% endblock %}", 1, "no blocks"),
        ("{{ {'a': 1} }}", 1, "no mappings"),
        ("\n\n{{ url", 3, "unexpected end"),
        ("{% if url %}", 1, "nexpected end"),
        ("{{ self }}", 1, "unknown variable"),
        ("{{ lipsum() }}", 1, "no calls"),
        ("{{ '%999999999d' % 1 }}", 1, "no mod"),
        ("{{ loop.index }}", 1, "unknown variable"),
        ("{{ url is mapping }}", 1, "unknown test"),
    ],
)
def test_what_could_do_harm_or_is_a_mistake_is_told_with_its_line(source: str, line: int, said: str) -> None:
    faults = check(source, SHAPE)
    assert faults
    assert (faults[0].line, said in faults[0].message) == (line, True), faults


@given(st.text(alphabet="{}%| abefilnorst.'\"[]()~-+*1\n", max_size=80))
def test_any_text_is_either_refused_or_filled_in(source: str) -> None:
    if not check(source, SHAPE):
        filled = Compiled(source).fill({"ticket": {"number": "1", "tags": ["a"]}, "files": [{"name": "f"}], "url": "u"})
        assert len(filled) <= len(source) * 10


def test_nested_beyond_reason_is_refused() -> None:
    assert check("{{ " + "(" * 20_000 + "url" + ")" * 20_000 + " }}", SHAPE)


def test_too_long_a_result_is_given_up() -> None:
    many = Compiled("{% for file in files %}{{ file.name }}{% endfor %}")
    with pytest.raises(TemplateFailedError, match="longer than"):
        many.fill({"files": [{"name": "x" * 100_000}] * 30})


def test_what_is_missing_or_of_another_kind_fails_without_naming_values() -> None:
    with pytest.raises(TemplateFailedError) as caught:
        Compiled("{{ ticket.number }}").fill({"secret": "s"})
    assert "secret" not in str(caught.value)


def test_html_is_escaped_and_text_is_not() -> None:
    assert Compiled("{{ url }}", html=True).fill({"url": "<a>"}) == "&lt;a&gt;"
    assert Compiled("{{ url }}").fill({"url": "<a>"}) == "<a>"
    assert Compiled("{{ url|lines }}", html=True).fill({"url": "<a>\nb"}) == "&lt;a&gt;<br>\nb"
    assert Compiled("{{ url|quote }}").fill({"url": "a\n\nb"}) == "> a\n>\n> b"
