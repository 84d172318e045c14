"""The document of a ticket and its version."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.search.domain import document, mapping
from services.search.domain.document import Source
from services.search.intake import newest
from shared.contracts import golden
from shared.contracts.ticket import TicketState

COUNTS = st.integers(0, 200_000)
REVISIONS = st.integers(1, 2**45)


@given(REVISIONS, COUNTS, REVISIONS, COUNTS)
def test_a_version_rises_with_the_revision_first_and_then_with_the_texts(r1: int, t1: int, r2: int, t2: int) -> None:
    one, other = document.version_of(r1, t1), document.version_of(r2, t2)
    most = (1 << document.TEXTS_BITS) - 1
    assert (one < other) == ((r1, min(t1, most)) < (r2, min(t2, most)))
    assert other < 2**63


def source(state: TicketState, **more: Any) -> Source:
    given: dict[str, Any] = {
        "ticket_id": state.ticket_id,
        "tenant_id": state.tenant_id,
        "version": 1,
        "revision": state.revision,
        "head": document.head_of(state),
        "gist": "",
        "public_text": "said",
        "internal_text": "noted",
    }
    return Source(**(given | more))


@pytest.mark.parametrize("name", golden.examples(TicketState))
def test_every_field_of_a_document_is_in_the_mapping(name: str) -> None:
    body = document.body_of(source(TicketState.model_validate(golden.examples(TicketState)[name])))
    assert body.keys() <= mapping.PROPERTIES.keys()
    orjson.dumps(body)


def test_a_document_has_what_triage_said_and_no_more_text_than_is_indexed() -> None:
    state = TicketState.model_validate(golden.examples(TicketState)["full"])
    state = state.model_copy(update={"fields": {"category": "billing", "subcategory": 7, "own": "secret"}})
    body = document.body_of(source(state, public_text="x" * 100_000))
    assert body["about"] == "billing"
    assert "about_sub" not in body
    assert len(body["public_text"]) == document.MAX_TEXT
    assert "secret" not in str(body)


def test_of_one_batch_the_highest_revision_of_each_ticket_is_kept() -> None:
    state = TicketState.model_validate(golden.examples(TicketState)["minimal"])
    other = state.model_copy(update={"ticket_id": uuid4(), "revision": 2})
    states = [state.model_copy(update={"revision": revision}) for revision in (3, 9, 4)]
    kept = newest([*states, other])
    assert {one.ticket_id: one.revision for one in kept} == {state.ticket_id: 9, other.ticket_id: 2}
    assert [one.ticket_id for one in kept] == sorted(one.ticket_id for one in kept)


@pytest.mark.parametrize(
    ("number", "tail"),
    [("INC-2026-000123", "123"), ("42", "42"), ("INC-2026-", None), ("INC-A", None), ("X-000", None)],
)
def test_a_number_has_the_end_that_people_say(number: str, tail: str | None) -> None:
    assert document.tail(number) == tail


def test_another_field_or_another_number_of_shards_is_another_index(monkeypatch: pytest.MonkeyPatch) -> None:
    before = mapping.fingerprint(1)
    assert mapping.fingerprint(2) != before
    monkeypatch.setitem(mapping.PROPERTIES, "mood", mapping.KEYWORD)
    assert mapping.fingerprint(1) != before
