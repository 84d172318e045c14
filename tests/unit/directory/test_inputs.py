"""Request bodies of directory, judged before anything is written."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from services.directory.domain import access
from services.directory.domain.inputs import (
    NewApiKey,
    NewPerson,
    NewTenant,
    OrganisationIn,
    PersonChanges,
    TeamIn,
    TokenWanted,
)
from shared.auth import Permission
from shared.contracts.directory import Role

ANN = "0190a0b0-0000-7000-8000-00000000000a"


def person(**changes: Any) -> NewPerson:
    return NewPerson.model_validate({"name": "Ann", "addresses": ["ann@x.example"], **changes})


def refused(model: type[Any], **values: Any) -> list[str]:
    """The messages of a body that is refused."""
    with pytest.raises(ValidationError) as error:
        model.model_validate(values)
    return [one["msg"] for one in error.value.errors()]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "UTC", "Asia/Tokyo"])
def test_a_zone_of_the_tz_database_is_taken(zone: str) -> None:
    assert person(timezone=zone).timezone == zone


@pytest.mark.parametrize("zone", ["Europe/Atlantis", "CEST+2", "", "../etc/passwd", "europe/berlin"])
def test_any_other_zone_is_refused(zone: str) -> None:
    assert "IANA" in refused(NewPerson, name="Ann", addresses=["a@x.example"], timezone=zone)[0]


def test_addresses_are_normalised_and_each_is_kept_once() -> None:
    assert person(addresses=["Ann@X.example", "ann@x.example", "b@x.example"]).addresses == (
        "ann@x.example",
        "b@x.example",
    )


@pytest.mark.parametrize("address", ["ann smith@x.example", "\x00", "  "])
def test_what_is_no_address_is_refused(address: str) -> None:
    assert refused(NewPerson, name="Ann", addresses=[address])


@pytest.mark.parametrize(
    ("given", "kept"),
    [("Example.COM", "example.com"), ("@example.com", "example.com"), (" mail.example.com ", "mail.example.com")],
)
def test_a_mail_domain_is_kept_in_one_spelling(given: str, kept: str) -> None:
    assert OrganisationIn(name="Acme", domains=(given,)).domains == (kept,)


@pytest.mark.parametrize(
    "domain",
    ["localhost", "a..example", "-a.example", "a-.example", "a_b.example", "x@y", "a b.example", "a" * 64 + ".example"],
)
def test_what_is_no_mail_domain_is_refused(domain: str) -> None:
    assert "mail domain" in refused(OrganisationIn, name="Acme", domains=[domain])[0]


def test_a_label_may_have_63_characters() -> None:
    assert OrganisationIn(name="Acme", domains=("a" * 63 + ".example",)).domains


@pytest.mark.parametrize("name", ["\u200b", " \n ", "\x07"])
def test_a_name_has_visible_characters(name: str) -> None:
    assert refused(NewPerson, name=name, addresses=["a@x.example"])


def test_no_tenant_is_called_like_the_installation() -> None:
    assert "installation" in refused(NewTenant, tenant_id="deskwire", name="D")[0]
    assert NewTenant(tenant_id="deskwire-2", name="D").languages == ("en",)


def test_skills_are_sorted_and_each_is_named_once() -> None:
    given = [{"name": "sql", "level": 2}, {"name": "api", "level": 1}]
    assert [skill.name for skill in person(skills=given).skills] == ["api", "sql"]
    told = refused(NewPerson, name="Ann", addresses=["a@x.example"], skills=[*given, {"name": " sql", "level": 1}])
    assert "each skill once" in told[0]


def test_teams_are_sorted_without_repeats() -> None:
    other = "0190a0b0-0000-7000-8000-000000000009"
    assert [str(team) for team in person(team_ids=[ANN, other, ANN]).team_ids] == [other, ANN]


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (NewPerson, {"name": "Ann", "addresses": ["a@x.example"], "superuser": True}),
        (PersonChanges, {"version": 5}),
        (TeamIn, {"name": "T", "tier": 5}),
        (TeamIn, {"name": "T", "queues": ["Billing!"]}),
        (NewPerson, {"name": "Ann", "addresses": []}),
        (NewPerson, {"name": "Ann", "addresses": ["a@x.example"], "capacity": -1}),
        (TokenWanted, {"ttl_seconds": 601}),
        (TokenWanted, {"ttl_seconds": 29}),
        (NewApiKey, {"person_id": ANN, "name": "k", "expires_at": "2030-01-01T00:00:00"}),
    ],
)
def test_bodies_have_their_bounds_and_nothing_unknown(model: type[Any], values: dict[str, Any]) -> None:
    assert refused(model, **values)


def test_making_somebody_who_may_do_more_than_ask_is_for_administrators() -> None:
    assert access.needed_to_add(Role.CUSTOMER) is Permission.DIRECTORY_WRITE
    assert {access.needed_to_add(role) for role in Role if role is not Role.CUSTOMER} == {Permission.CREDENTIAL_WRITE}
