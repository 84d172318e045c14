"""API keys at the door."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from shared.auth import Authenticator, FixedCredentials, Principal, ReplicaCredentials, Unauthenticated, new_api_key
from shared.contracts.directory import CredentialChanged, CredentialKind, Role

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ANN = UUID("0190a0b0-0000-7000-8000-00000000000a")
KEY, KEY_ID = new_api_key(lambda size: b"k" * size)


def credential(
    *, kind: str = CredentialKind.API_KEY, role: str | None = Role.AGENT, expires_at: datetime | None = None
) -> CredentialChanged:
    return CredentialChanged(
        tenant_id="acme",
        credential_id=KEY_ID,
        kind=kind,
        version=1,
        person_id=ANN,
        role=role,
        expires_at=expires_at,
    )


def authenticate(header: str | None, known: CredentialChanged | None = None) -> Principal:
    authenticator = Authenticator(FixedCredentials(known or credential()), now=NOW.timestamp)
    return asyncio.run(authenticator.authenticate(header))


@pytest.mark.parametrize("header", [f"Bearer {KEY}", f"bearer {KEY}", f"BEARER  {KEY}", f"Bearer {KEY} "])
def test_a_known_key_gives_its_tenant_person_and_role(header: str) -> None:
    assert authenticate(header) == Principal("acme", ANN, Role.AGENT, KEY_ID)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        KEY,
        f"Basic {KEY}",
        f"Bearer {KEY}x",
        f"Bearer {KEY[:-1]}",
        f"Bearer {KEY}, Bearer {KEY}",
        "Bearer",
        "Bearer ",
        "Bearer dwk_",
        "Bearer dwk_" + "ä" * 43,
        f"Bearer {KEY_ID}",
        "Bearer " + new_api_key()[0],
    ],
)
def test_anything_else_is_nobody(header: str | None) -> None:
    with pytest.raises(Unauthenticated):
        authenticate(header)


def test_a_key_past_its_date_is_nobody() -> None:
    assert authenticate(f"Bearer {KEY}", credential(expires_at=NOW + timedelta(seconds=1))).person_id == ANN
    with pytest.raises(Unauthenticated, match="expired"):
        authenticate(f"Bearer {KEY}", credential(expires_at=NOW))


@pytest.mark.parametrize("kind", [CredentialKind.SIGNING_KEY, "passkey"])
def test_a_credential_of_another_kind_is_no_api_key(kind: str) -> None:
    with pytest.raises(Unauthenticated):
        authenticate(f"Bearer {KEY}", credential(kind=kind))


@pytest.mark.parametrize("role", [None, "superuser", ""])
def test_a_role_this_release_does_not_know_may_do_nothing(role: str | None) -> None:
    with pytest.raises(Unauthenticated, match="role"):
        authenticate(f"Bearer {KEY}", credential(role=role))


def test_a_key_without_a_person_is_counted_as_itself_and_one_with_as_that_person() -> None:
    assert Principal("acme", None, Role.SERVICE, "key-1").account == "acme/key-1"
    assert Principal("acme", ANN, Role.AGENT, "key-1").account == Principal("acme", ANN, Role.AGENT, "key-2").account


def test_credentials_come_from_the_replica_by_their_id() -> None:
    asked: list[tuple[type, object]] = []

    class Replica:
        async def get(self, cls: type[CredentialChanged], key: object, /) -> CredentialChanged | None:
            asked.append((cls, key))
            return credential() if key == KEY_ID else None

    credentials = ReplicaCredentials(Replica())
    assert asyncio.run(credentials.get(KEY_ID)) == credential()
    assert asyncio.run(credentials.get("other")) is None
    assert asked == [(CredentialChanged, KEY_ID), (CredentialChanged, "other")]
