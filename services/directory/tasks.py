"""What directory does by itself: telling large organisations' people of a change, forgetting keys past their time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from services.directory.commands import credentials, tenancy
from services.directory.store import organisations
from shared.db import Database, is_connection_failure, is_retryable
from shared.service import Loop

EVERY = 5.0
"""Seconds between looks. An expired key is refused by its date everywhere; this only clears it away."""
KEYS = 500

logger = logging.getLogger(__name__)


def upkeep(database: Database, wake: Callable[[], None]) -> Loop:
    """The loop of this service's own work; any number of instances share it by row locks."""

    async def run() -> None:
        while True:
            try:
                await once(database, wake)
            except Exception as error:
                if not (is_connection_failure(error) or is_retryable(error)):
                    raise
                logger.warning("upkeep put off", extra={"reason": str(error)})
            await asyncio.sleep(EVERY)

    return Loop(name="upkeep", run=run)


async def once(database: Database, wake: Callable[[], None]) -> None:
    """Do what there is to do now, one bounded transaction after the other."""
    told = await _spread(database)
    while told:
        wake()
        told = await _spread(database)
    async with database.begin() as tx:
        gone = await credentials.forget_expired(tx, datetime.now(UTC), KEYS)
    if gone:
        wake()


async def _spread(database: Database) -> bool:
    async with database.begin() as tx:
        organisation = await organisations.spreading(tx)
        if organisation is None:
            return False
        await tenancy.spread(tx, organisation)
        return True
