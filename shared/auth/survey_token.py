"""The token in `/v1/surveys/<token>`: who may say how one ticket's cycle was, without logging in.

It carries tenant, ticket, cycle and person with a truncated HMAC over them, so that whoever holds the link needs no
other proof and tickets needs no row for it. It does not expire by itself: the satisfaction section of the tenant's
pack says for how long an answer counts.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass
from uuid import UUID

from shared.auth.keys import derive

PURPOSE = "survey-token"
MAX_LENGTH = 160
"""Characters of the longest token there can be, rounded up."""
_SIGNATURE = 16
"""Bytes: 128 bits, since a link may be tried offline for ever."""
_CYCLE = 4
_FIXED = 16 + _CYCLE + 16


@dataclass(frozen=True, slots=True)
class Survey:
    """What one link asks: how was this cycle of this ticket for this person?"""

    tenant_id: str
    ticket_id: UUID
    cycle: int
    person_id: UUID


def key_of(master: bytes) -> bytes:
    """The key tokens are signed with; held by notify, which writes links, and tickets, which answers them."""
    return derive(master, PURPOSE)


def make(key: bytes, tenant_id: str, ticket_id: UUID, cycle: int, person_id: UUID) -> str:
    """The token of one link: at most `MAX_LENGTH` characters of the URL-safe base64 alphabet, without padding."""
    said = ticket_id.bytes + cycle.to_bytes(_CYCLE, "big") + person_id.bytes + tenant_id.encode()
    return base64.urlsafe_b64encode(_sign(key, said) + said).rstrip(b"=").decode()


def verify(key: bytes, token: str) -> Survey | None:
    """What a token of ours says; None for any other text, in constant time."""
    if len(token) > MAX_LENGTH or not token.isascii() or "=" in token:
        return None
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    signature, said = raw[:_SIGNATURE], raw[_SIGNATURE:]
    if len(said) <= _FIXED or not hmac.compare_digest(signature, _sign(key, said)):
        return None
    return Survey(
        tenant_id=said[_FIXED:].decode(),
        ticket_id=UUID(bytes=said[:16]),
        cycle=int.from_bytes(said[16 : 16 + _CYCLE], "big"),
        person_id=UUID(bytes=said[16 + _CYCLE : _FIXED]),
    )


def _sign(key: bytes, said: bytes) -> bytes:
    return hmac.digest(key, said, "sha256")[:_SIGNATURE]
