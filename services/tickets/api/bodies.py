"""Texts written through the API: short ones in the message, long ones in the blob store."""

from __future__ import annotations

from services.tickets.api.desk import Desk
from shared.contracts.message import Body
from shared.problem import Problem

INLINE_BYTES = 32_768
"""Longer texts travel as blob references (architecture rule 4)."""


async def body_of(desk: Desk, tenant: str, text: str) -> Body:
    """The body of a text; call it before any transaction, since it may write a blob."""
    data = text.encode()
    if len(data) <= INLINE_BYTES:
        return Body(text=text)
    if desk.blobs is None:
        raise Problem(
            413, "body-too-large", "Body too large", f"At most {INLINE_BYTES} bytes while no blob store is configured."
        )
    return Body(text_blob=await desk.blobs(tenant, data))
