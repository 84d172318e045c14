"""Signed tokens against everything a stranger may try (bad input B13)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from joserfc import jwt
from joserfc.jwk import OctKey, OKPKey, RSAKey

from shared.auth import (
    Authenticator,
    FixedCredentials,
    Principal,
    Unauthenticated,
    issue,
    new_api_key,
    new_signing_key,
    public_part,
)
from shared.contracts.directory import CredentialChanged, CredentialKind, Role

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ANN = UUID("0190a0b0-0000-7000-8000-00000000000a")
KEY = new_signing_key()
KID = str(KEY["kid"])
API_KEY_ID = "0123456789abcdef" * 4
SHOWN = Principal("acme", ANN, Role.AGENT, API_KEY_ID)
"""Who asks for a token, by showing an API key."""
PRINCIPAL = Principal("acme", ANN, Role.AGENT, KID)
"""Whom the token proves."""


def credential(public_key: Any = None, **changes: Any) -> CredentialChanged:
    values: dict[str, Any] = {
        "tenant_id": "deskwire",
        "credential_id": KID,
        "kind": CredentialKind.SIGNING_KEY,
        "version": 1,
        "public_key": public_part(KEY) if public_key is None else public_key,
    }
    return CredentialChanged(**(values | changes))


def api_key(**changes: Any) -> CredentialChanged:
    values: dict[str, Any] = {
        "tenant_id": "acme",
        "credential_id": API_KEY_ID,
        "kind": CredentialKind.API_KEY,
        "version": 1,
        "person_id": ANN,
        "role": Role.AGENT,
    }
    return CredentialChanged(**(values | changes))


def authenticate(token: str, *known: CredentialChanged, now: datetime = NOW) -> Principal:
    credentials = FixedCredentials(api_key(), *(known or (credential(),)))
    authenticator = Authenticator(credentials, now=now.timestamp)
    return asyncio.run(authenticator.authenticate(f"Bearer {token}"))


def b64(data: bytes | dict[str, Any]) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def claims(**changes: Any) -> dict[str, Any]:
    issued = int(NOW.timestamp())
    values: dict[str, Any] = {
        "iss": "deskwire",
        "aud": "deskwire",
        "sub": str(ANN),
        "tenant": "acme",
        "role": "agent",
        "cid": API_KEY_ID,
        "iat": issued,
        "exp": issued + 600,
    }
    values |= changes
    return {name: value for name, value in values.items() if value is not None}


def sign(header: dict[str, Any], payload: dict[str, Any] | bytes, key: dict[str, Any] = KEY) -> str:
    """A token signed with the true algorithm, whatever its header says."""
    private = Ed25519PrivateKey.from_private_bytes(base64.urlsafe_b64decode(key["d"] + "="))
    signed = f"{b64(header)}.{b64(payload)}"
    return f"{signed}.{b64(private.sign(signed.encode()))}"


HEADER = {"alg": "Ed25519", "kid": KID, "typ": "JWT"}


def test_a_token_proves_whom_it_was_issued_to() -> None:
    assert authenticate(issue(KEY, SHOWN, NOW)) == PRINCIPAL


def test_a_token_signed_by_hand_is_accepted_so_that_the_refusals_below_mean_something() -> None:
    assert authenticate(sign(HEADER, claims())) == PRINCIPAL


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", None])
def test_no_algorithm_is_refused(name: str | None) -> None:
    token = f"{b64({'alg': name, 'kid': KID})}.{b64(claims())}."
    with pytest.raises(Unauthenticated, match="algorithm"):
        authenticate(token)


@pytest.mark.parametrize("secret", ["x", "jwk", "raw"])
@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_a_public_key_used_as_a_shared_secret_is_refused(algorithm: str, secret: str) -> None:
    public = OKPKey.import_key(public_part(KEY))
    material = {
        "x": str(KEY["x"]).encode(),
        "jwk": json.dumps(public_part(KEY)).encode(),
        "raw": public.as_pem(private=False),
    }[secret]
    signed = f"{b64({'alg': algorithm, 'kid': KID})}.{b64(claims())}"
    digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}[algorithm]
    with pytest.raises(Unauthenticated, match="algorithm"):
        authenticate(f"{signed}.{b64(hmac.new(material, signed.encode(), digest).digest())}")


def test_an_rsa_signature_is_refused() -> None:
    key = RSAKey.import_key(generate_private_key(65537, 2048))
    token = jwt.encode({"alg": "RS256", "kid": KID}, claims(), key, algorithms=["RS256"])
    with pytest.raises(Unauthenticated, match="algorithm"):
        authenticate(token, credential(key.as_dict(private=False)))


def test_a_stored_key_of_another_kind_verifies_nothing() -> None:
    secret = OctKey.generate_key(256)
    for stored in (secret.as_dict(private=True), {"kty": "RSA", "n": "x", "e": "AQAB"}, {}, "text", 5, KEY):
        with pytest.raises(Unauthenticated):
            authenticate(sign(HEADER, claims()), credential(stored))


@pytest.mark.parametrize(
    "extra",
    [
        {"jwk": public_part(new_signing_key())},
        {"jku": "https://evil.example/jwks.json"},
        {"x5u": "https://evil.example/cert.pem"},
        {"x5c": ["MIIB"]},
        {"x5t": "abc"},
        {"crit": ["exp"], "exp": 1},
        {"crit": []},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
        {"cty": "JWT"},
        {"zip": "DEF"},
        {"enc": "A256GCM"},
        {"unheard": "of"},
    ],
    ids="+".join,
)
def test_a_header_that_says_more_than_ours_do_is_refused_though_well_signed(extra: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated, match="header parameter"):
        authenticate(sign(HEADER | extra, claims()))


def test_a_token_signed_with_the_key_it_brings_along_is_refused() -> None:
    theirs = new_signing_key()
    with pytest.raises(Unauthenticated):
        authenticate(sign(HEADER | {"jwk": public_part(theirs)}, claims(), theirs))
    with pytest.raises(Unauthenticated, match="signature"):
        authenticate(sign(HEADER, claims(), theirs))


@pytest.mark.parametrize(
    "kid",
    [
        "../../etc/passwd",
        "/dev/null",
        "a' OR '1'='1",
        "a\0b",
        "",
        " ",
        "a" * 65,
        None,
        5,
        ["a"],
        {"a": 1},
        "file:///x",
        "ä",
        KID + "\n",
    ],
)
def test_a_kid_that_is_no_plain_name_is_refused(kid: object) -> None:
    with pytest.raises(Unauthenticated, match="kid"):
        authenticate(sign(HEADER | {"kid": kid}, claims()))


def test_a_kid_that_nobody_published_is_refused() -> None:
    with pytest.raises(Unauthenticated, match="unknown signing key"):
        authenticate(sign(HEADER | {"kid": "somebody-else"}, claims()))


def test_a_token_cannot_use_an_api_key_as_its_signing_key() -> None:
    _, own_id = new_api_key()
    own = credential(credential_id=own_id, kind=CredentialKind.API_KEY, public_key=public_part(KEY))
    with pytest.raises(Unauthenticated, match="unknown signing key"):
        authenticate(sign(HEADER | {"kid": own_id}, claims()), own)


def test_a_revoked_signing_key_verifies_nothing_more() -> None:
    credentials = FixedCredentials(credential(), api_key())
    authenticator = Authenticator(credentials, now=NOW.timestamp)
    token = issue(KEY, SHOWN, NOW)
    assert asyncio.run(authenticator.authenticate(f"Bearer {token}")) == PRINCIPAL
    credentials.revoke(KID)
    with pytest.raises(Unauthenticated):
        asyncio.run(authenticator.authenticate(f"Bearer {token}"))


def test_a_new_signing_key_verifies_beside_the_old_one() -> None:
    fresh = new_signing_key()
    both = (credential(), credential(public_part(fresh), credential_id=fresh["kid"]))
    assert authenticate(issue(KEY, SHOWN, NOW), *both).credential_id == KID
    assert authenticate(issue(fresh, SHOWN, NOW), *both).credential_id == fresh["kid"]


def test_a_signing_key_past_its_date_verifies_nothing() -> None:
    token = issue(KEY, SHOWN, NOW)
    assert authenticate(token, credential(expires_at=NOW + timedelta(seconds=1))) == PRINCIPAL
    with pytest.raises(Unauthenticated, match="out of use"):
        authenticate(token, credential(expires_at=NOW))


def test_a_token_ends_with_the_api_key_it_was_given_for() -> None:
    credentials = FixedCredentials(credential(), api_key())
    authenticator = Authenticator(credentials, now=NOW.timestamp)
    token = issue(KEY, SHOWN, NOW)
    assert asyncio.run(authenticator.authenticate(f"Bearer {token}")) == PRINCIPAL
    credentials.revoke(API_KEY_ID)
    with pytest.raises(Unauthenticated, match="unknown API key"):
        asyncio.run(authenticator.authenticate(f"Bearer {token}"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"role": Role.ADMIN}, "something else"),
        ({"role": Role.CUSTOMER}, "something else"),
        ({"tenant_id": "other"}, "something else"),
        ({"person_id": UUID(int=1)}, "something else"),
        ({"person_id": None}, "something else"),
        ({"role": "superuser"}, "not known"),
        ({"role": None}, "not known"),
        ({"expires_at": NOW}, "expired"),
        ({"kind": CredentialKind.SIGNING_KEY}, "unknown API key"),
    ],
)
def test_a_token_is_worth_what_its_api_key_proves_now(changes: dict[str, Any], reason: str) -> None:
    token = issue(KEY, SHOWN, NOW)
    with pytest.raises(Unauthenticated, match=reason):
        authenticate(token, credential(), api_key(**changes))


ISSUED = int(NOW.timestamp())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"aud": "other"}, "somebody else"),
        ({"aud": None}, "somebody else"),
        ({"aud": ["deskwire", "other"]}, "somebody else"),
        ({"iss": "other"}, "somebody else"),
        ({"iss": None}, "somebody else"),
        ({"exp": ISSUED - 6, "iat": ISSUED - 60}, "expired"),
        ({"exp": None}, "lifetime"),
        ({"iat": None}, "lifetime"),
        ({"exp": "9999999999"}, "lifetime"),
        ({"exp": True}, "lifetime"),
        ({"exp": 1e12}, "lifetime"),
        ({"iat": ISSUED + 6, "exp": ISSUED + 60}, "future"),
        ({"exp": ISSUED + 601}, "too long"),
        ({"exp": ISSUED + 10**9}, "too long"),
        ({"iat": ISSUED + 3, "exp": ISSUED + 2}, "too long"),
        ({"nbf": ISSUED + 60}, "not valid yet"),
        ({"nbf": "x"}, "not valid yet"),
        ({"tenant": None}, "tenant"),
        ({"tenant": "Acme"}, "tenant"),
        ({"tenant": "a b"}, "tenant"),
        ({"tenant": 5}, "tenant"),
        ({"sub": None}, "person"),
        ({"sub": "ann"}, "person"),
        ({"sub": 5}, "person"),
        ({"role": None}, "person or role"),
        ({"role": "root"}, "person or role"),
        ({"role": ["admin"]}, "person or role"),
        ({"role": "admin"}, "something else"),
        ({"tenant": "other"}, "something else"),
        ({"cid": None}, "no API key"),
        ({"cid": ""}, "no API key"),
        ({"cid": 5}, "no API key"),
        ({"cid": KID}, "no API key"),
        ({"cid": [API_KEY_ID]}, "no API key"),
        ({"cid": API_KEY_ID + "\n"}, "no API key"),
        ({"cid": "f" * 64}, "unknown API key"),
    ],
)
def test_wrong_claims_are_refused_though_well_signed(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unauthenticated, match=reason):
        authenticate(sign(HEADER, claims(**changes)))


def test_clocks_may_differ_by_five_seconds() -> None:
    assert authenticate(issue(KEY, SHOWN, NOW), now=NOW - timedelta(seconds=5)) == PRINCIPAL
    assert authenticate(issue(KEY, SHOWN, NOW), now=NOW + timedelta(seconds=604)) == PRINCIPAL
    with pytest.raises(Unauthenticated):
        authenticate(issue(KEY, SHOWN, NOW), now=NOW + timedelta(seconds=605))


@pytest.mark.parametrize("payload", [b"[]", b"null", b"{", b"\xff", b'"text"', b""])
def test_a_payload_that_is_no_object_is_refused(payload: bytes) -> None:
    with pytest.raises(Unauthenticated):
        authenticate(sign(HEADER, payload))


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a",
        "a.b",
        "a.b.c",
        "a.b.c.d.e",
        "..",
        "=.=.=",
        b64(b"[]") + ".a.b",
        b64(b"\xff") + ".a.b",
        b64({}) + ".a.b",
        "ä.ö.ü",
        "x" * 5000,
        b64(b'{"alg":"Ed25519","alg":"none"}') + ".a.b",
    ],
)
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(Unauthenticated):
        authenticate(token)


def test_a_token_changed_in_any_character_is_refused() -> None:
    token = issue(KEY, SHOWN, NOW)
    for position in range(0, len(token) - 1, 7):
        changed = "A" if token[position] != "A" else "B"
        if token[position] == ".":
            continue
        with pytest.raises(Unauthenticated):
            authenticate(token[:position] + changed + token[position + 1 :])


@pytest.mark.parametrize(
    ("principal", "ttl"),
    [
        (SHOWN, timedelta(minutes=10, seconds=1)),
        (SHOWN, timedelta(0)),
        (SHOWN, timedelta(seconds=-1)),
        (Principal("acme", None, Role.SERVICE, API_KEY_ID), timedelta(minutes=1)),
        (PRINCIPAL, timedelta(minutes=1)),
    ],
)
def test_no_token_is_issued_for_longer_or_for_nobody(principal: Principal, ttl: timedelta) -> None:
    with pytest.raises(ValueError, match="token"):
        issue(KEY, principal, NOW, ttl)


def test_the_published_key_has_no_private_part() -> None:
    assert "d" in KEY
    assert set(public_part(KEY)) == {"kty", "crv", "x", "kid", "alg", "use"}
