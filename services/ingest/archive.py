"""Bytes of a message into the blob store, before any row names them; what no row names is swept later."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from services.ingest.domain import INLINE_TEXT, MAX_ATTACHMENTS
from services.ingest.mail.body import File
from services.ingest.spool import pieces
from shared.contracts.message import Attachment, BlobRef, Body


class Blobs(Protocol):
    """What ingest asks of `shared.blobs`."""

    async def put(
        self, tenant_id: str, data: bytes | AsyncIterator[bytes], media_type: str = ..., *, limit: int | None = None
    ) -> BlobRef:
        """Store bytes; done when they are safe."""
        ...

    async def get(self, tenant_id: str, sha256: str) -> bytes:
        """The bytes. Raises KeyError when there are none."""
        ...

    def stream(self, tenant_id: str, sha256: str) -> AsyncIterator[bytes]:
        """The bytes in pieces. Raises KeyError before the first when there are none."""
        ...


class Archive:
    """Stores what a message consists of and answers with what the event carries."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def original(self, tenant_id: str, data: bytes | AsyncIterator[bytes], media_type: str) -> BlobRef:
        """The bytes as they came."""
        return await self._blobs.put(tenant_id, data, media_type)

    async def body(self, tenant_id: str, text: str, html: str | None) -> Body:
        """The body: short text in the event, longer text and HTML as blobs."""
        encoded = text.encode()
        page = await self._blobs.put(tenant_id, html.encode(), "text/html; charset=utf-8") if html else None
        if len(encoded) <= INLINE_TEXT:
            return Body(text=text, html_blob=page)
        blob = await self._blobs.put(tenant_id, encoded, "text/plain; charset=utf-8")
        return Body(text_blob=blob, html_blob=page)

    async def attachments(self, tenant_id: str, files: Sequence[File]) -> tuple[Attachment, ...]:
        """The first MAX_ATTACHMENTS files, in their order."""
        return tuple(
            [
                Attachment(
                    filename=file.name,
                    blob=await self._blobs.put(tenant_id, _content(file), file.media_type),
                    inline=file.inline,
                    content_id=file.content_id,
                )
                for file in files[:MAX_ATTACHMENTS]
            ]
        )


def _content(file: File) -> bytes | AsyncIterator[bytes]:
    return file.data if file.path is None else pieces(file.path)
