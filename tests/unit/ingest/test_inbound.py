"""Whose address it is, and whose ticket a reply address names."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.inbound import (
    Claim,
    Destination,
    by_tenant,
    claims,
    destination,
    inbound_address,
    others,
    places,
)
from services.ingest.mail.addresses import Mailbox
from shared.auth import mail_token
from shared.contracts.directory import TenantChanged

KEY = mail_token.key_of(bytes(32))
TICKET = UUID("00000000-0000-5000-8000-000000000042")


def tenant(tenant_id: str, *addresses: str, domains: tuple[str, ...] = (), active: bool = True) -> TenantChanged:
    return TenantChanged(
        tenant_id=tenant_id, version=1, name="x", inbound_addresses=addresses, mail_domains=domains, active=active
    )


def found(*tenants: TenantChanged) -> dict[str, list[Claim]]:
    made: dict[str, list[Claim]] = {}
    for one in tenants:
        for claim in claims(one):
            made.setdefault(claim.place, []).append(claim)
    return made


ACME = tenant("acme", "Support@Acme.example", domains=("acme.example",))


@pytest.mark.parametrize(
    ("address", "mine"),
    [
        ("support@acme.example", True),
        ("SUPPORT@ACME.EXAMPLE", True),
        ("support+anything@acme.example", True),
        ("postmaster@acme.example", True),
        ("reply+whatever@acme.example", True),
        ("ceo@acme.example", False),
        ("support@acme.example.evil.example", False),
        ("support", False),
        ("@acme.example", False),
        ("", False),
    ],
)
def test_only_listed_addresses_are_taken(address: str, mine: bool) -> None:
    assert (destination(address, found(ACME), KEY) is not None) is mine


def test_a_tenant_that_lists_only_domains_takes_everything_there() -> None:
    given_ = found(tenant("acme", domains=("@Acme.example", "münchen.example")))
    whole = "any@acme.example"
    assert destination("Any@acme.example", given_, KEY) == Destination("acme", whole, inbound_address=whole)
    assert destination("any@xn--mnchen-3ya.example", given_, KEY) is not None


def test_an_inactive_tenant_takes_nothing() -> None:
    assert claims(tenant("acme", "a@acme.example", active=False)) == []


def test_of_two_claims_the_older_one_counts() -> None:
    both = found(tenant("acme", "a@x.example"), tenant("beta", "a@x.example"))
    taken = destination("a@x.example", both, KEY)
    assert taken is not None
    assert taken.tenant_id == "acme"


def test_a_token_finds_its_tenant_among_those_that_share_a_domain() -> None:
    both = found(tenant("acme", "acme@desk.example"), tenant("beta", "beta@desk.example"))
    address = mail_token.address(KEY, "beta", TICKET, "desk.example")
    assert destination(address, both, KEY) == Destination("beta", address, TICKET)


def test_recipients_are_grouped_by_tenant() -> None:
    grouped = by_tenant([Destination("b", "1"), Destination("a", "2"), Destination("b", "3")])
    assert {name: [one.address for one in mine] for name, mine in grouped.items()} == {"a": ["2"], "b": ["1", "3"]}


def test_an_address_is_looked_up_with_and_without_its_tag_and_by_its_domain() -> None:
    assert places("A+b@C.example") == ("a+b@c.example", "a@c.example", "c.example")


def test_a_token_survives_a_change_of_case_and_fits_a_local_part() -> None:
    address = mail_token.address(KEY, "acme", TICKET, "acme.example")
    assert len(address.partition("@")[0]) <= 64
    token = mail_token.in_address(address.upper())
    assert token is not None
    assert mail_token.verify(KEY, "acme", token) == TICKET


def test_a_token_of_another_tenant_or_key_is_none() -> None:
    token = mail_token.make(KEY, "acme", TICKET)
    assert mail_token.verify(KEY, "beta", token) is None
    assert mail_token.verify(mail_token.key_of(bytes(31) + b"1"), "acme", token) is None


@given(st.integers(0, 41), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
def test_a_token_with_one_letter_changed_names_no_ticket_of_ours(place: int, letter: str) -> None:
    token = mail_token.make(KEY, "acme", TICKET)
    changed = token[:place] + letter + token[place + 1 :]
    if changed != token:
        assert mail_token.verify(KEY, "acme", changed) != TICKET or place == 41


@given(st.text(max_size=60))
def test_any_text_is_no_token(text: str) -> None:
    assert mail_token.verify(KEY, "acme", text) is None
    mail_token.in_address(text)


def test_tokens_of_two_tickets_differ() -> None:
    assert mail_token.make(KEY, "acme", TICKET) != mail_token.make(KEY, "acme", uuid4())


def test_a_mail_was_sent_to_the_first_of_our_addresses_that_it_names_else_to_the_first_it_came_to() -> None:
    claimed = found(tenant("acme", "Support@acme.example", "billing@acme.example"))
    named = ["carl@customer.example", "BILLING+now@acme.example", "support@acme.example"]
    came = [
        one for one in (destination(address, claimed, KEY) for address in ("support@acme.example", named[1])) if one
    ]
    assert inbound_address(came, named) == "billing@acme.example"
    assert inbound_address(came, ["list@customer.example"]) == "support@acme.example", "in blind copy"
    answered = destination(mail_token.address(KEY, "acme", TICKET, "acme.example"), claimed, KEY)
    assert answered is not None
    assert inbound_address([answered], [answered.address]) is None


def test_nobody_takes_part_who_is_an_address_of_ours_by_a_tag_or_a_token() -> None:
    claimed = found(tenant("acme", "support@acme.example"))
    reply = mail_token.address(KEY, "acme", TICKET, "acme.example")
    came = [one for one in (destination(a, claimed, KEY) for a in ("Support+x@acme.example", reply)) if one]
    named = [
        Mailbox(address, "")
        for address in (
            "SUPPORT+X@acme.example",
            reply.upper(),
            "reply+other@acme.example",
            "reply+me@customer.example",
        )
    ]
    assert [one.address for one in others(came, named)] == ["reply+me@customer.example"]
