"""Who is seen in messages, and how they may be called."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.directory.domain import access
from services.directory.domain.people import Person, clean_name, sightings, usable_address
from services.directory.domain.tenancy import SIGNS_AFTER, SigningKey, signer
from shared.auth import Permission, Principal
from shared.contracts.directory import Role
from shared.contracts.message import Channel, MessageReceived, Participant
from shared.envelope import Received

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def received(
    sender: Participant, *to: Participant, tenant_id: str = "acme", spoofed: bool = False
) -> Received[MessageReceived]:
    event = MessageReceived(
        tenant_id=tenant_id,
        message_id=uuid4(),
        conversation_id=uuid4(),
        channel=Channel.EMAIL,
        received_at=NOW,
        sender=sender,
        recipients=to,
        spoofed=spoofed,
    )
    return Received(
        event=event,
        id=uuid4(),
        type=event.TYPE,
        time=NOW,
        key=event.key,
        topic="message.received",
        partition=0,
        offset=0,
    )


def named(address: str, name: str | None = None) -> Participant:
    return Participant(person_id=uuid4(), address=address, name=name)


def test_everybody_is_seen_once_with_the_first_name_given() -> None:
    seen = sightings(
        [
            received(named("B@example.com"), named("a@example.com", "Anna")),
            received(named("b@example.com", "Bert"), named("A@example.com", "Other")),
        ]
    )
    assert [(one.address, one.name) for one in seen] == [("a@example.com", "Anna"), ("b@example.com", "Bert")]


def test_people_are_seen_in_the_order_in_which_rows_are_locked() -> None:
    batch = [received(named(f"{letter}@example.com"), tenant_id=tenant) for letter in "cab" for tenant in ("z", "a")]
    keys = [(one.tenant_id, one.address) for one in sightings(batch)]
    assert keys == sorted(keys)
    assert len(keys) == 6


def test_who_names_them_is_the_cause() -> None:
    first, second = received(named("a@example.com")), received(named("a@example.com", "Anna"))
    [seen] = sightings([first, second])
    assert seen.cause is second


def test_forged_mail_gives_nobody_a_name() -> None:
    [one, two] = sightings([received(named("a@example.com", "Boss"), named("b@example.com", "Bert"), spoofed=True)])
    assert (one.name, two.name) == ("", "")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("  Mia   Muster ", "Mia Muster"),
        ('"Mia Muster"', "Mia Muster"),
        ("Mia\r\nBcc: x", "Mia Bcc: x"),
        ("evil\u202egnp.exe", "evilgnp.exe"),
        ("a\u200bb", "ab"),
        ("e\u0301", "é"),
        ("\x00\x07", ""),
        ("x" * 500, "x" * 200),
        ("王小明", "王小明"),
    ],
)
def test_a_name_is_one_line_of_visible_text(name: str, shown: str) -> None:
    assert clean_name(name) == shown


@given(st.text(max_size=400))
def test_a_clean_name_is_clean(name: str) -> None:
    cleaned = clean_name(name)
    assert len(cleaned) <= 200
    assert cleaned == cleaned.strip()
    assert cleaned.isprintable()


@given(st.text(max_size=400))
def test_a_usable_address_can_be_stored(address: str) -> None:
    usable = usable_address(address)
    assert usable is None or (usable.isprintable() and 0 < len(usable) <= 320)


def test_an_address_is_no_name() -> None:
    [one] = sightings([received(named("mia@example.com", "MIA@example.com"))])
    assert one.name == ""


def test_the_persons_own_tier_wins_over_the_organisations() -> None:
    person = Person(tenant_id="acme", person_id=uuid4(), organisation_tier="standard")
    assert person.event().tier == "standard"
    assert Person(tenant_id="acme", person_id=uuid4(), own_tier="gold", organisation_tier="standard").tier == "gold"


def principal(role: Role, person: Person | None = None, tenant_id: str = "acme") -> Principal:
    return Principal(tenant_id, person.person_id if person else uuid4(), role, "x")


AGENT = Person(tenant_id="acme", person_id=uuid4(), role=Role.AGENT)
CUSTOMER = Person(tenant_id="acme", person_id=uuid4())


def test_who_may_act_as_what_is_the_administrators_alone() -> None:
    for field in ("role", "addresses", "active"):
        assert access.needed(principal(Role.MANAGER), AGENT, {field}) is Permission.CREDENTIAL_WRITE
        assert access.needed(principal(Role.ADMIN), AGENT, {field}) is None
    assert access.needed(principal(Role.MANAGER), CUSTOMER, {"addresses"}) is None
    assert access.needed(principal(Role.MANAGER), CUSTOMER, {"role"}) is Permission.CREDENTIAL_WRITE


def test_an_agent_says_that_they_are_available_but_not_how_much_they_take() -> None:
    assert access.needed(principal(Role.AGENT, AGENT), AGENT, {"available", "name"}) is None
    assert access.needed(principal(Role.AGENT, AGENT), AGENT, {"capacity"}) is Permission.TEAM_WRITE
    assert access.needed(principal(Role.AGENT), AGENT, {"available"}) is Permission.TEAM_WRITE


def test_a_customer_changes_nothing_not_even_themselves() -> None:
    for field in ("name", "tier", "available", "role"):
        assert access.needed(principal(Role.CUSTOMER, CUSTOMER), CUSTOMER, {field}) is not None


def test_nobody_sees_people_of_another_tenant() -> None:
    for role in Role:
        assert not access.may_see(principal(role, AGENT, "other"), AGENT)
    assert access.may_see(principal(Role.CUSTOMER, CUSTOMER), CUSTOMER)
    assert not access.may_see(principal(Role.CUSTOMER, CUSTOMER), AGENT)
    assert not access.may_see(principal(Role.SERVICE), AGENT)


def signing(kid: str, age: timedelta, expires_in: timedelta | None = None) -> SigningKey:
    expires_at = None if expires_in is None else NOW + expires_in
    return SigningKey(kid=kid, public_key={}, wrapped_private=b"", created_at=NOW - age, expires_at=expires_at)


def test_a_new_key_signs_only_when_everybody_had_time_to_learn_of_it() -> None:
    former = signing("former", timedelta(days=1), timedelta(minutes=14))
    fresh = signing("fresh", SIGNS_AFTER - timedelta(seconds=1))
    known = signing("known", SIGNS_AFTER)
    assert signer([fresh, former], NOW) is former
    assert signer([known, former], NOW) is known
    assert signer([fresh], NOW) is fresh
    assert signer([signing("gone", timedelta(days=1), timedelta(0))], NOW) is None
    assert signer([], NOW) is None
