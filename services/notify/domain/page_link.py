"""The token in the link of a page: whoever holds it may answer that page, and nothing else.

A page's id and a truncated HMAC over it. It comes in a mail to the paged person, so it says who answers.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from uuid import UUID

from shared.auth.keys import derive

PURPOSE = "page-link"
_SIGNATURE = 16
_LENGTH = 43


def key_of(master: bytes) -> bytes:
    """The key that links are signed with; held by notify only."""
    return derive(master, PURPOSE)


def make(key: bytes, page_id: UUID) -> str:
    """The token of one page: 43 URL-safe characters."""
    return base64.urlsafe_b64encode(page_id.bytes + _sign(key, page_id)).rstrip(b"=").decode()


def verify(key: bytes, token: str) -> UUID | None:
    """The page a token is for, if we made it; None for any other text, in constant time."""
    if len(token) != _LENGTH or not token.isascii():
        return None
    try:
        raw = base64.b64decode(token + "=", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    page_id = UUID(bytes=raw[:16])
    # The last character holds two bits that mean nothing: one page has one token.
    if not hmac.compare_digest(make(key, page_id).encode(), token.encode()):
        return None
    return page_id


def _sign(key: bytes, page_id: UUID) -> bytes:
    return hmac.digest(key, b"page\0" + page_id.bytes, "sha256")[:_SIGNATURE]
