"""What people type, and the query it becomes: always of one tenant, never of what they may not read."""

from __future__ import annotations

import string
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.search.domain import question as asking
from services.search.domain.question import FACETS, SORTS, Question, QuestionError, Reader

PERSON = UUID(int=7)
READERS = {
    "customer": Reader(tenant_id="acme", person_id=PERSON),
    "customer with a wrong role": Reader(tenant_id="acme", person_id=PERSON, internal=True),
    "service": Reader(tenant_id="acme", all_tickets=True),
    "nobody": Reader(tenant_id="acme"),
    "agent": Reader(tenant_id="acme", all_tickets=True, internal=True),
}
TYPED = st.text(st.sampled_from('ab1é漢" -|*:~^()/\\{}') | st.characters(codec="utf-8"), max_size=60)


def strings(value: Any) -> list[str]:
    """Every name and text in a body, but what the person typed."""
    if isinstance(value, dict):
        return [
            text
            for name, part in value.items()
            if name != "query" or not isinstance(part, str)
            for text in [name, *strings(part)]
        ]
    if isinstance(value, list):
        return [text for part in value for text in strings(part)]
    return [value] if isinstance(value, str) else []


def questions() -> st.SearchStrategy[Question]:
    return st.builds(
        Question,
        text=TYPED,
        filters=st.dictionaries(st.sampled_from(sorted(FACETS)), st.lists(st.text(max_size=5), max_size=3)),
        created_from=st.none() | st.just(datetime(2026, 1, 1, tzinfo=UTC)),
        merged=st.booleans(),
        facets=st.lists(st.sampled_from(sorted(FACETS)), unique=True),
        sort=st.sampled_from(sorted(SORTS)),
        after=st.none() | st.just([1, "x"]),
        limit=st.integers(1, 101),
    )


@given(questions(), st.sampled_from(sorted(READERS)))
def test_every_query_is_of_the_tenant_and_names_no_field_its_reader_may_not_read(asked: Question, who: str) -> None:
    reader = READERS[who]
    try:
        body = asking.request(reader, asked, seconds=1)
    except QuestionError:
        return
    check(reader, body)
    assert body["size"] <= 101
    assert body["timeout"] == "1000ms"
    assert not {"query_string", "simple_query_string", "regexp", "wildcard", "script"} & set(strings(body))


@given(TYPED, st.lists(st.text(string.ascii_lowercase, min_size=3, max_size=8)), st.sampled_from(sorted(READERS)))
def test_so_is_every_question_for_similar_tickets(text: str, words: list[str], who: str) -> None:
    body = asking.similar(READERS[who], text, words, without=uuid4(), limit=5, seconds=1)
    check(READERS[who], body)
    assert "internal_text" not in strings(body["query"])


def check(reader: Reader, body: dict[str, Any]) -> None:
    filters = body["query"]["bool"]["filter"]
    assert {"term": {"tenant_id": "acme"}} in filters
    if not (reader.internal and reader.all_tickets):
        named = strings({name: part for name, part in body.items() if name != "_source"})
        assert not [text for text in named if "internal" in text and text.startswith("internal_text")]
    if not reader.all_tickets:
        own = [{"term": {"requester_id": str(PERSON)}}, {"term": {"watcher_ids": str(PERSON)}}]
        narrow = (
            {"match_none": {}} if reader.person_id is None else {"bool": {"should": own, "minimum_should_match": 1}}
        )
        assert narrow in filters
    assert {"public_text", "internal_text"} <= set(body["_source"]["excludes"])


def must(text: str) -> list[dict[str, Any]]:
    clause = asking.request(READERS["service"], Question(text=text), seconds=1)["query"]["bool"]["must"][0]
    found: list[dict[str, Any]] = clause["bool"]["must"]
    return found


def test_words_are_all_wanted_and_alternatives_are_not() -> None:
    clauses = must('alpha "beta gamma" delta|epsilon zeta*')
    assert [clause.get("multi_match", {}).get("type") for clause in clauses] == [None, "phrase", None, "phrase_prefix"]
    assert [one["multi_match"]["query"] for one in clauses[2]["bool"]["should"]] == ["delta", "epsilon"]


def test_a_beginning_too_short_to_mean_something_is_a_word() -> None:
    (clause,) = must("ab*")
    assert "type" not in clause["multi_match"]


def test_an_unwanted_word_is_meant_as_it_is_written() -> None:
    body = asking.request(READERS["service"], Question(text="printer -invoice"), seconds=1)
    (unwanted,) = body["query"]["bool"]["must_not"]
    assert "fuzziness" not in unwanted["multi_match"]


def test_too_many_words_are_refused() -> None:
    with pytest.raises(QuestionError, match="16"):
        asking.request(READERS["agent"], Question(text=" ".join(f"w{n}" for n in range(17))), seconds=1)


@pytest.mark.parametrize("text", ["", "  ", '""', "-", "|", "* *", "- | -", "!?"])
def test_nothing_typed_asks_for_everything_there_is(text: str) -> None:
    body = asking.request(READERS["agent"], Question(text=text), seconds=1)
    assert "must" not in body["query"]["bool"]
    assert "highlight" not in body
