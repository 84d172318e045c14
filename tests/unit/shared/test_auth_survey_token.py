"""The token of a survey's link: it says all there is to know, and only what we signed."""

from __future__ import annotations

from uuid import UUID

import pytest

from shared.auth import mail_token, survey_token
from shared.auth.survey_token import Survey

MASTER = bytes(32)
KEY = survey_token.key_of(MASTER)
TICKET = UUID("0190a0b0-0000-7000-8000-00000000000a")
PERSON = UUID("0190a0b0-0000-7000-8000-00000000000b")
TOKEN = survey_token.make(KEY, "acme", TICKET, 2, PERSON)


@pytest.mark.parametrize("tenant", ["a", "acme", "t" * 63])
def test_a_token_says_tenant_ticket_cycle_and_person(tenant: str) -> None:
    token = survey_token.make(KEY, tenant, TICKET, 7, PERSON)
    assert survey_token.verify(KEY, token) == Survey(tenant, TICKET, 7, PERSON)
    assert len(token) <= survey_token.MAX_LENGTH


def test_a_token_is_worth_nothing_with_another_key_or_for_another_purpose() -> None:
    assert survey_token.verify(survey_token.key_of(b"1" * 32), TOKEN) is None
    assert survey_token.verify(mail_token.key_of(MASTER), TOKEN) is None


def test_every_character_counts() -> None:
    for place, character in enumerate(TOKEN[:-1]):
        changed = TOKEN[:place] + ("A" if character != "A" else "B") + TOKEN[place + 1 :]
        assert survey_token.verify(KEY, changed) is None


@pytest.mark.parametrize("text", ["", "A", "A" * 60, "ä" * 80, "A" * 10_000, TOKEN + "AAAA", TOKEN[:-4], TOKEN + "="])
def test_any_other_text_is_no_token(text: str) -> None:
    assert survey_token.verify(KEY, text) is None
