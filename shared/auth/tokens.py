"""Signed tokens: short-lived JWTs that every service verifies without asking anyone.

One algorithm, `Ed25519` (RFC 9864; its older name `EdDSA` leaves the curve open and joserfc warns of it). The header
may say `alg`, `kid` and `typ` and nothing else: a key is only ever found by `kid` among what directory published,
never taken from the token (CVE-2026-27962), and an extension we do not know is refused with its token.

A token is worth no more than the API key it was given for: it carries that key's id (`cid`), and `Authenticator` looks
the key up at every use, so that a revocation ends the key's tokens with it.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from shared.auth.credentials import Credentials
from shared.auth.principal import Principal
from shared.contracts.directory import CredentialKind, Role

ALGORITHM = "Ed25519"
ISSUER = "deskwire"
AUDIENCE = "deskwire"
MAX_TTL = timedelta(minutes=10)
LEEWAY = timedelta(seconds=5)
"""How far the clocks of two of our machines may differ."""
MAX_LENGTH = 4096

_KID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_API_KEY_ID = re.compile(r"[0-9a-f]{64}")
_TENANT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_ALLOWED_HEADERS = frozenset({"alg", "kid", "typ"})


class Unauthenticated(Exception):  # noqa: N818 - named for what the caller is
    """The caller proved nothing; `reason` is for our log and never tells an attacker which check failed."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What a token says, its signature and lifetime proven; whether its API key still counts is another question."""

    principal: Principal
    api_key_id: str
    """The API key it was given for."""


def new_signing_key() -> dict[str, Any]:
    """A new private signing key as a JWK with its `kid` (the RFC 7638 thumbprint of its public half)."""
    key = OKPKey.generate_key("Ed25519", private=True, auto_kid=True)
    return {**key.as_dict(private=True), "alg": ALGORITHM, "use": "sig"}


def public_part(private_jwk: dict[str, Any]) -> dict[str, Any]:
    """The JWK that may be published: the same key without its private part."""
    allowed = ("kty", "crv", "x", "kid", "alg", "use")
    return {name: private_jwk[name] for name in allowed if name in private_jwk}


def issue(private_jwk: dict[str, Any], principal: Principal, now: datetime, ttl: timedelta = MAX_TTL) -> str:
    """A token that proves `principal`, who showed an API key, until `now + ttl`, at most ten minutes.

    Raises ValueError for a longer one, a naive instant, a principal without a person or proven by anything but an API
    key, or a signing key without a `kid`.
    """
    if not timedelta(0) < ttl <= MAX_TTL:
        msg = f"a token lives at most {MAX_TTL}"
        raise ValueError(msg)
    if now.tzinfo is None:
        msg = "an instant needs a zone"
        raise ValueError(msg)
    if principal.person_id is None:
        msg = "a token names a person"
        raise ValueError(msg)
    if not _API_KEY_ID.fullmatch(principal.credential_id):
        msg = "a token is given for an API key"
        raise ValueError(msg)
    kid = private_jwk.get("kid")
    if not isinstance(kid, str) or not _KID.fullmatch(kid):
        msg = "a signing key needs a kid of letters, digits, hyphens and underscores"
        raise ValueError(msg)
    issued = int(now.timestamp())
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(principal.person_id),
        "tenant": principal.tenant_id,
        "role": str(principal.role),
        "cid": principal.credential_id,
        "iat": issued,
        "exp": issued + int(ttl.total_seconds()),
    }
    key = OKPKey.import_key(private_jwk)
    return jwt.encode({"alg": ALGORITHM, "kid": kid}, claims, key, algorithms=[ALGORITHM])


async def verify(credentials: Credentials, token: str, now: float) -> Token:
    """What the token says. Raises Unauthenticated for any token we did not sign for ourselves and for now."""
    kid = _key_id(token)
    credential = await credentials.get(kid)
    if (
        credential is None
        or credential.kind != CredentialKind.SIGNING_KEY
        or not isinstance(credential.public_key, dict)
    ):
        raise Unauthenticated("unknown signing key")
    if credential.expires_at is not None and credential.expires_at.timestamp() <= now:
        raise Unauthenticated("signing key out of use")
    jwk = credential.public_key
    if jwk.get("kty") != "OKP" or jwk.get("crv") != "Ed25519" or "d" in jwk:
        raise Unauthenticated("not an Ed25519 public key")
    try:
        key = OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": jwk["x"]})  # type: ignore[dict-item]
        claims = jwt.decode(token, key, algorithms=[ALGORITHM]).claims
    except (JoseError, ValueError, KeyError, TypeError) as error:
        raise Unauthenticated("bad signature") from error
    return Token(principal=_principal(claims, kid, now), api_key_id=_api_key_id(claims))


def _key_id(token: str) -> str:
    """The `kid` of a token whose header says nothing but what we write ourselves."""
    if len(token) > MAX_LENGTH or token.count(".") != 2:
        raise Unauthenticated("not a token")
    try:
        segment = token.split(".", 1)[0]
        header = orjson.loads(base64.b64decode(segment + "=" * (-len(segment) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError) as error:
        raise Unauthenticated("unreadable header") from error
    if not isinstance(header, dict) or not header.keys() <= _ALLOWED_HEADERS:
        raise Unauthenticated("header parameter not allowed")
    if header.get("alg") != ALGORITHM:
        raise Unauthenticated("algorithm not allowed")
    if header.get("typ", "JWT") != "JWT":
        raise Unauthenticated("not a JWT")
    kid = header.get("kid")
    if not isinstance(kid, str) or not _KID.fullmatch(kid):
        raise Unauthenticated("no usable kid")
    return kid


def _principal(claims: dict[str, Any], kid: str, now: float) -> Principal:
    if claims.get("iss") != ISSUER or claims.get("aud") != AUDIENCE:
        raise Unauthenticated("issued by or for somebody else")
    issued, expires = claims.get("iat"), claims.get("exp")
    if type(issued) is not int or type(expires) is not int:
        raise Unauthenticated("no lifetime")
    leeway = LEEWAY.total_seconds()
    if expires <= now - leeway:
        raise Unauthenticated("expired")
    if issued > now + leeway:
        raise Unauthenticated("issued in the future")
    if not 0 < expires - issued <= MAX_TTL.total_seconds():
        raise Unauthenticated("lives too long")
    not_before = claims.get("nbf")
    if not_before is not None and (type(not_before) is not int or not_before > now + leeway):
        raise Unauthenticated("not valid yet")
    tenant = claims.get("tenant")
    if not isinstance(tenant, str) or not _TENANT.fullmatch(tenant):
        raise Unauthenticated("no tenant")
    try:
        return Principal(tenant, UUID(claims.get("sub")), Role(str(claims.get("role"))), kid)
    except (ValueError, TypeError, AttributeError) as error:
        raise Unauthenticated("no person or role") from error


def _api_key_id(claims: dict[str, Any]) -> str:
    found = claims.get("cid")
    if not isinstance(found, str) or not _API_KEY_ID.fullmatch(found):
        raise Unauthenticated("given for no API key")
    return found
