"""What a visitor holds instead of an account: a signed, expiring note of who they said they are. Pure.

It needs no row: a thousand sessions nobody writes in cost nothing.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass
from uuid import UUID

import orjson

from shared.auth import derive

PURPOSE = "chat-session"
PREFIX = "dwv_"
MAX_LENGTH = 2_048


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """One chat of one visitor. Name and address are what they claim."""

    session_id: UUID
    tenant_id: str
    expires_at: int
    """Seconds since 1970."""
    name: str = ""
    address: str = ""
    """An e-mail address, or empty."""
    language: str = ""
    """BCP 47, or empty."""


def key_of(master: bytes) -> bytes:
    """The key that tokens are signed with."""
    return derive(master, PURPOSE)


def make(key: bytes, visitor: Visitor) -> str:
    """The token of a visitor."""
    body = orjson.dumps(
        [
            str(visitor.session_id),
            visitor.tenant_id,
            visitor.expires_at,
            visitor.name,
            visitor.address,
            visitor.language,
        ]
    )
    return f"{PREFIX}{_encoded(body)}.{_encoded(hmac.digest(key, body, 'sha256'))}"


def verify(key: bytes, token: str, now: float) -> Visitor | None:
    """The visitor, if we made the token and it has not expired; None for any other text."""
    if not token.startswith(PREFIX) or len(token) > MAX_LENGTH or not token.isascii():
        return None
    first, _, second = token[len(PREFIX) :].partition(".")
    try:
        body, signature = _decoded(first), _decoded(second)
    except (binascii.Error, ValueError):
        return None
    if not hmac.compare_digest(signature, hmac.digest(key, body, "sha256")):
        return None
    session_id, tenant_id, expires_at, name, address, language = orjson.loads(body)
    if expires_at <= now:
        return None
    return Visitor(
        session_id=UUID(session_id),
        tenant_id=tenant_id,
        expires_at=expires_at,
        name=name,
        address=address,
        language=language,
    )


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
