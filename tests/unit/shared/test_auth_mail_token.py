"""The token in a reply address: ours, for one ticket of one tenant, however a mail server spells it."""

from __future__ import annotations

from uuid import UUID

import pytest

from shared.auth import mail_token

KEY = mail_token.key_of(bytes(32))
TICKET = UUID("0190a0b0-0000-7000-8000-00000000000a")
TOKEN = mail_token.make(KEY, "acme", TICKET)


def test_a_token_names_its_ticket_in_either_case() -> None:
    assert mail_token.verify(KEY, "acme", TOKEN) == TICKET
    assert mail_token.verify(KEY, "acme", TOKEN.upper()) == TICKET


def test_a_token_is_worth_nothing_with_another_tenant_or_another_key() -> None:
    assert mail_token.verify(KEY, "other", TOKEN) is None
    assert mail_token.verify(mail_token.key_of(b"1" * 32), "acme", TOKEN) is None


def test_every_character_counts() -> None:
    for place, character in enumerate(TOKEN[:-1]):
        changed = TOKEN[:place] + ("a" if character != "a" else "b") + TOKEN[place + 1 :]
        assert mail_token.verify(KEY, "acme", changed) is None


@pytest.mark.parametrize("text", ["", "a" * 41, "a" * 43, "1" * 42, "ä" * 42, TOKEN + "a", TOKEN[:-1]])
def test_any_other_text_is_no_token(text: str) -> None:
    assert mail_token.verify(KEY, "acme", text) is None


@pytest.mark.parametrize(
    ("address", "token"),
    [
        (mail_token.address(KEY, "acme", TICKET, "desk.example"), TOKEN),
        (f"REPLY+{TOKEN}@desk.example", TOKEN),
        ("support@desk.example", None),
        (f"reply{TOKEN}@desk.example", None),
    ],
)
def test_a_token_is_found_in_its_address(address: str, token: str | None) -> None:
    assert mail_token.in_address(address) == token
