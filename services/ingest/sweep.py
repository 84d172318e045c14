"""Blobs that no row names: stored, and then the transaction never came."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

from services.ingest.store import chat, sent
from services.ingest.store import messages as store
from shared.db import Database, is_connection_failure
from shared.service import Loop

if TYPE_CHECKING:
    from shared.blobs import Referenced

EVERY = 3_600.0
"""Seconds between two sweeps; the first is one interval after the start."""

logger = logging.getLogger(__name__)


class Sweepable(Protocol):
    """What this asks of `shared.blobs`."""

    async def sweep(self, referenced: Referenced) -> int:
        """Delete what is old and not referenced; how many."""
        ...


async def once(database: Database, blobs: Sweepable) -> int:
    """One sweep; how many blobs went."""
    await store.forget_uploads(database)
    await sent.forget_early(database)
    await chat.forget_old(database)
    return await blobs.sweep(partial(_referenced, database))


async def _referenced(database: Database, tenant_id: str, hashes: Sequence[str]) -> set[str]:
    return await store.referenced(database, tenant_id, hashes)


def loop(database: Database, blobs: Sweepable) -> Loop:
    """The service's loop that sweeps every hour; engines that are away are waited for."""

    async def run() -> None:
        while True:
            await asyncio.sleep(EVERY)
            try:
                gone = await once(database, blobs)
                logger.info("orphaned blobs deleted", extra={"count": gone})
            except Exception as error:
                if not (is_connection_failure(error) or isinstance(error, OSError)):
                    raise
                logger.warning("orphaned blobs not swept yet", exc_info=error)

    return Loop(name="sweep", run=run)
