"""Texts too long for their event are fetched from the blob store, outside any transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from services.triage.desk.triaging import READ_TEXT, Trace, Triaging
from services.triage.domain.text import MAX_CHARS
from shared.db import Tx
from shared.envelope import Emit
from shared.tasks import Task, TaskKind

MAX_BYTES = MAX_CHARS * 4
"""What is read of a text at most: no character of UTF-8 is longer than four bytes."""


class Blobs(Protocol):
    """What triage asks of `shared.blobs`."""

    def stream(self, tenant_id: str, sha256: str) -> AsyncIterator[bytes]:
        """The bytes in pieces. Raises KeyError before the first when there are none."""
        ...


class Texts:
    """Fetches texts and has their tickets decided again."""

    def __init__(self, blobs: Blobs, triaging: Triaging) -> None:
        self._blobs = blobs
        self._triaging = triaging

    def kind(self) -> TaskKind[str]:
        """How it is done: half a day of patience with the store, then a person is told."""
        return TaskKind(
            name=READ_TEXT,
            timeout=timedelta(seconds=35),
            schedule=[timedelta(seconds=s) for s in (1, 5, 30, 120, 600, 3600, 14_400, 28_800)],
            work=self._fetch,
            finish=self._decide,
        )

    async def _fetch(self, task: Task) -> str:
        """The beginning of the text."""
        kept = b""
        stream = self._blobs.stream(task.tenant_id, str(task.payload["sha256"]))
        async for piece in stream:
            kept += piece[: MAX_BYTES - len(kept)]
            if len(kept) >= MAX_BYTES:
                break
        return kept.decode("utf-8", "ignore")[:MAX_CHARS]

    async def _decide(self, tx: Tx, task: Task, text: str) -> Sequence[Emit]:
        return await self._triaging.text_read(
            tx,
            UUID(task.key),
            task.tenant_id,
            text,
            f"text:{task.payload['message_id']}",
            only_raise=bool(task.payload["only_raise"]),
            trace=Trace(task.payload.get("correlation"), task.payload.get("traceparent")),
        )
