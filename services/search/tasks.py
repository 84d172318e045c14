"""Texts that are in the blob store: read outside any transaction, bounded, added to their message."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID, uuid5

from services.search.domain.document import MAX_MESSAGE, clean
from services.search.settings import Settings
from services.search.store import documents
from shared.blobs import BlobMissingError, Blobs
from shared.db import Tx
from shared.envelope import Delete, Emit
from shared.tasks import GiveUpError, Task, TaskKind

TEXT = "text"
_SCHEDULE = tuple(timedelta(seconds=seconds) for seconds in (1, 5, 30, 120, 600, 1800))


def text_task(tenant_id: str, ticket_id: UUID, message_id: UUID, sha256: str) -> Task:
    """Have the text of a message read."""
    return Task(
        kind=TEXT,
        key=str(ticket_id),
        tenant_id=tenant_id,
        payload={"message_id": str(message_id), "sha256": sha256},
        id=uuid5(message_id, "text"),
    )


def text_kind(settings: Settings) -> TaskKind[str]:
    """How texts are read. One that cannot be had for an hour is left out of the index, and its task is parked."""
    blobs = Blobs.of(settings) if settings.blobs_url else None

    async def work(task: Task) -> str:
        if blobs is None:
            raise GiveUpError("BLOBS_URL is not set")
        data = bytearray()
        try:
            async for chunk in blobs.stream(task.tenant_id, task.payload["sha256"]):
                data += chunk
                if len(data) >= 4 * MAX_MESSAGE:
                    break
        except BlobMissingError as error:
            raise GiveUpError("there is no such blob") from error
        return clean(bytes(data[: 4 * MAX_MESSAGE]).decode("utf-8", "ignore"))

    async def finish(tx: Tx, task: Task, text: str) -> Sequence[Emit | Delete]:
        await documents.set_text(tx, UUID(task.key), UUID(task.payload["message_id"]), text)
        return ()

    async def exhausted(tx: Tx, task: Task, reason: str) -> Sequence[Emit | Delete]:
        del reason
        await documents.set_text(tx, UUID(task.key), UUID(task.payload["message_id"]), "")
        return ()

    return TaskKind(
        name=TEXT, timeout=timedelta(seconds=30), schedule=_SCHEDULE, work=work, finish=finish, exhausted=exhausted
    )
