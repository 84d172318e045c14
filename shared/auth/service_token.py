"""Tokens by which one service of ours asks another for one thing of one tenant, for a minute.

Signed with a key derived from the master key, which every service has and nobody else; nothing is stored and nothing
can be asked for beyond the purpose in the token. A role would have given more: to whom, for how long, for everything.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import Final

from shared.auth.keys import derive

PREFIX: Final = "dws_"
TICKETS_EXPORT: Final = "tickets.export"
"""Read a tenant's bulk export; made by search."""
LIFETIME: Final = 60
"""Seconds a token is good for; the request may take longer once it has begun."""
_SKEW: Final = 30
"""Seconds by which two machines' clocks may differ."""
_SIGNATURE: Final = 32


def key_of(master: bytes) -> bytes:
    """The key these tokens are signed with."""
    return derive(master, "service-token")


def make(key: bytes, purpose: str, tenant_id: str, *, now: float) -> str:
    """A token for one purpose and tenant; `now` is real time in seconds since 1970."""
    said = f"{purpose}\n{tenant_id}\n{int(now) + LIFETIME}".encode()
    return PREFIX + base64.urlsafe_b64encode(_sign(key, said) + said).rstrip(b"=").decode()


def verify(key: bytes, purpose: str, token: str, *, now: float) -> str | None:
    """The tenant a token is good for, if it is ours, for this purpose, and not over; None for anything else."""
    if not token.startswith(PREFIX) or len(token) > 400:
        return None
    text = token[len(PREFIX) :]
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    signature, said = raw[:_SIGNATURE], raw[_SIGNATURE:]
    if not hmac.compare_digest(signature, _sign(key, said)):
        return None
    asked, tenant_id, until = said.decode().split("\n")
    if asked != purpose or not now - _SKEW <= int(until) <= now + LIFETIME + _SKEW:
        return None
    return tenant_id


def _sign(key: bytes, said: bytes) -> bytes:
    return hmac.digest(key, said, "sha256")
