"""Texts written through the API."""

from __future__ import annotations

from shared.contracts.message import Body
from shared.problem import invalid

INLINE_BYTES = 32_768
"""Longer texts travel as blob references (architecture rule 4), and only ingest stores blobs."""


def body_of(text: str) -> Body:
    """The body of a text. Raises 422 for one that is too long to travel in an event."""
    size = len(text.encode())
    if size > INLINE_BYTES:
        raise invalid(["text"], f"{size} bytes, at most {INLINE_BYTES}; attach it to a message to ingest instead")
    return Body(text=text)
