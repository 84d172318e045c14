"""A token of one service for another: for one purpose, one tenant, one minute."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.auth import service_token
from shared.auth.service_token import LIFETIME, TICKETS_EXPORT

KEY = service_token.key_of(bytes(range(32)))
NOW = 1_780_000_000.0
TOKEN = service_token.make(KEY, TICKETS_EXPORT, "acme", now=NOW)


def test_a_token_names_its_tenant_for_a_minute() -> None:
    for seconds in (-20, 0, 30, LIFETIME, LIFETIME + 20):
        assert service_token.verify(KEY, TICKETS_EXPORT, TOKEN, now=NOW + seconds) == "acme"
    for seconds in (-120, LIFETIME + 40, 10**6):
        assert service_token.verify(KEY, TICKETS_EXPORT, TOKEN, now=NOW + seconds) is None


def test_it_is_good_for_its_purpose_and_its_key_alone() -> None:
    assert service_token.verify(KEY, "tickets.delete", TOKEN, now=NOW) is None
    other = service_token.key_of(bytes(32))
    assert service_token.verify(other, TICKETS_EXPORT, TOKEN, now=NOW) is None


@pytest.mark.parametrize("place", range(len(service_token.PREFIX), len(TOKEN) - 1))
def test_no_character_of_it_can_be_changed(place: int) -> None:
    changed = TOKEN[:place] + ("A" if TOKEN[place] != "A" else "B") + TOKEN[place + 1 :]
    assert service_token.verify(KEY, TICKETS_EXPORT, changed, now=NOW) is None


@given(st.text(max_size=500))
def test_any_other_text_is_no_token(text: str) -> None:
    assert service_token.verify(KEY, TICKETS_EXPORT, text, now=NOW) is None
    assert service_token.verify(KEY, TICKETS_EXPORT, service_token.PREFIX + text, now=NOW) is None
