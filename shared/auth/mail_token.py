"""The token in `reply+<token>@domain` that leads an answer by mail to its ticket.

It is a ticket's id and a truncated HMAC over tenant and ticket, in lower-case base32, since mail servers may change
the case of a local part. It proves that we wrote to somebody about this ticket, not who answers: tickets checks the
participant.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from uuid import UUID

from shared.auth.keys import derive

PURPOSE = "mail-token"
LOCAL_PART = "reply+"
_SIGNATURE = 10
"""Bytes: 80 bits, checked online only, one try per mail."""
_LENGTH = 42


def key_of(master: bytes) -> bytes:
    """The key tokens are signed with; held by notify and ingest only."""
    return derive(master, PURPOSE)


def make(key: bytes, tenant_id: str, ticket_id: UUID) -> str:
    """The token for one ticket: 42 characters of a-z and 2-7."""
    raw = ticket_id.bytes + _sign(key, tenant_id, ticket_id)
    return base64.b32encode(raw).rstrip(b"=").decode().lower()


def address(key: bytes, tenant_id: str, ticket_id: UUID, domain: str) -> str:
    """The address to put into Reply-To."""
    return f"{LOCAL_PART}{make(key, tenant_id, ticket_id)}@{domain}"


def verify(key: bytes, tenant_id: str, token: str) -> UUID | None:
    """The ticket a token names, if we made it for this tenant; None for any other text, in constant time."""
    if len(token) != _LENGTH or not token.isascii():
        return None
    try:
        raw = base64.b32decode(token.upper() + "=" * (-_LENGTH % 8))
    except (binascii.Error, ValueError):
        return None
    ticket_id = UUID(bytes=raw[:16])
    return ticket_id if hmac.compare_digest(raw[16:], _sign(key, tenant_id, ticket_id)) else None


def in_address(address: str) -> str | None:
    """The token in an address of ours, not verified; None when it has none."""
    local = address.rpartition("@")[0]
    return local[len(LOCAL_PART) :] if local.casefold().startswith(LOCAL_PART) else None


def _sign(key: bytes, tenant_id: str, ticket_id: UUID) -> bytes:
    return hmac.digest(key, tenant_id.encode() + b"\0" + ticket_id.bytes, "sha256")[:_SIGNATURE]
