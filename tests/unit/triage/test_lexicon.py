"""Which words of a pack a text has, and which of them count."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from services.triage.domain.lexicon import Lexicon
from shared.contracts.pack.triage import Signal
from tests.unit.triage.desk import SMALL, default, signals, small

NEGATION = {"words": {"en": ["not", "no", "isn't"]}, "between": {"en": ["a", "really", "an"]}}


def pack(*phrases: str, **more: Any) -> Any:
    """A pack with one signal, `hit`, of these phrases."""
    return small(signals=[{"name": "hit", "words": {"en": list(phrases)}}], negation=NEGATION, **more)


@pytest.mark.parametrize(
    ("phrase", "text", "hit"),
    [
        ("down", "it is down", True),
        ("down", "a touchdown", False),
        ("down", "DOWN!", True),
        ("débité", "j'ai ete DEBITE", True),
        ("can't log in", "I can\u2019t log-in", True),
        ("payment*", "two payments", True),
        ("payment*", "repayment", False),
        ("site|portal is down", "the portal is down", True),
        ("site|portal is down", "the server is down", False),
        ("site .. down", "the site has been quite down", True),
        ("site .. down", "the site is one two three four down", False),
        ("site .. down", "the site works. It went down", False),
        ("data loss", "data\nloss", True),
        ("data loss", "data, loss", False),
        ("erlmcp core", "erlmcp_core crashed", True),
        ("障害", "本日障害が発生", True),
        ("?", "really?", True),
    ],
)
def test_phrases_are_whole_words_with_endings_choices_and_gaps(phrase: str, text: str, *, hit: bool) -> None:
    assert signals(pack(phrase), text) == ({"hit"} if hit else set())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("this is urgent", "hit"),
        ("this is not urgent", "-hit"),
        ("it isn't really urgent", "-hit"),
        ("this is not really a urgent matter", "-hit"),
        ("no, it is urgent", "hit"),
        ("not today, urgent", "hit"),
        ("we could not work so it is urgent", "hit"),
        ("not urgent at first, but now urgent", "hit"),
    ],
)
def test_what_is_denied_does_not_count(text: str, said: str) -> None:
    assert signals(pack("urgent"), text) == {said}


def test_a_longer_phrase_hides_the_shorter_one_within_it_whatever_their_order() -> None:
    for names in (("calm", "loud"), ("loud", "calm")):
        words = {"calm": "not urgent", "loud": "urgent"}
        ruleset = small(signals=[{"name": name, "words": {"en": [words[name]]}} for name in names])
        assert signals(ruleset, "not urgent") == {"calm"}


def test_words_of_another_language_mean_nothing_in_a_text_whose_language_is_clear() -> None:
    ruleset = small(signals=[{"name": "storing", "words": {"nl": ["storing"]}}])
    assert signals(ruleset, "We are storing the boxes that you have sent to us in our basement.") == set()
    assert signals(ruleset, "Er is een storing en wij kunnen het portaal niet bereiken.") == {"storing"}
    assert signals(ruleset, "storing") == {"storing"}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("300 customers", 300),
        ("about 1,200 of our users", 1200),
        ("1.400 users", 1400),
        ("1 200 users", 1200),
        ("30-40 users", 40),
        ("100-200 users", 200),
        ("some forty people", 40),
        ("2 thousand users", 2000),
        ("12 users and 30 customers", 30),
        ("since 2024 users complain", None),
        ("2024 users", 2024),
        ("user 4711 complains", None),
        ("at 9:30. Users complain", None),
        ("99999999999999999999999999 users", 999999999999999),
        ("users", None),
    ],
)
def test_people_are_counted_where_a_number_stands_before_them(text: str, number: int | None) -> None:
    counting = {"people": {"en": ["users|customers|people"]}, "numbers": {"en": {"forty": 40, "thousand": 1000}}}
    assert small(counting=counting).lexicon.read("", text).affected == number


def test_a_phrase_that_nobody_could_mean_is_refused() -> None:
    for phrase in (".. down", "down ..", "", "no*", "a|", "pay*ment", " ".join(["can't|won't|don't"] * 5)):
        with pytest.raises(ValidationError):
            Signal(name="x", words={"en": (phrase,)})


def test_a_text_full_of_keywords_is_read_in_milliseconds() -> None:
    text = "server is not down emergency cannot log in all our users 300 customers " * 500
    default().lexicon.read("", text)
    began = time.process_time()
    default().lexicon.read("", text)
    assert time.process_time() - began < 0.5, "typically 10 ms"


_WORDS = st.sampled_from(["urgent", "not", "down", "site", "is", "data", "loss", "a", ".", "users", "40", "very"])


@settings(max_examples=60)
@given(st.lists(_WORDS, max_size=25).map(" ".join), st.permutations(range(4)), st.permutations(range(3)))
def test_nothing_depends_on_the_order_of_a_packs_words(text: str, order: list[int], phrases: list[int]) -> None:
    made = [
        {"name": "a", "words": {"en": ["urgent", "very urgent", "site .. down"]}},
        {"name": "b", "words": {"en": ["not urgent", "down", "data loss"]}},
        {"name": "c", "words": {"en": ["data", "loss", "is down"]}},
        {"name": "d", "words": {"en": ["site is", "urgent", "users"]}},
    ]
    mixed = [
        {"name": made[i]["name"], "words": {"en": [made[i]["words"]["en"][p] for p in phrases]}}  # type: ignore[index]
        for i in order
    ]
    one = small(signals=made, negation=NEGATION).lexicon.read("", text)
    other = small(signals=mixed, negation=NEGATION).lexicon.read("", text)
    assert one == other


def test_a_pack_without_words_reads_anything() -> None:
    assert small().lexicon.read("Emergency", "everything is down").signals == ()
    assert isinstance(default().lexicon, Lexicon)
    assert set(SMALL) == {"impact", "urgency", "matrix"}
