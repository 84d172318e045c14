"""Sessions of this service whose process fell silent in the middle of a statement: stopped, frozen, cut off.

Such a session is neither idle nor at work, so none of the server's own limits (idle, idle in transaction, statement)
ends it, and it keeps what it holds, the relay's leadership or the locks of a batch, for as long as its process sleeps.
Whoever lives ends it: a session may always be ended by its own role.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

import asyncpg

from shared.db import STATEMENT_TIMEOUT

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

LOOK_EVERY = 2.0
"""Seconds between looks; one costs the server a fraction of a millisecond."""

# Waiting for its client, and not between two statements: it has half of one, or cannot get rid of an answer.
# Found first and ended then: conditions of one WHERE are evaluated in whatever order is cheapest.
_END = """
    WITH silent AS MATERIALIZED (
        SELECT pid, application_name FROM pg_stat_activity
        WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid() AND state = 'active'
            AND wait_event_type = 'Client' AND query_start < clock_timestamp()
                - CASE WHEN application_name LIKE '% relay' THEN $1::interval ELSE $2::interval END
    )
    SELECT application_name, pg_terminate_backend(pid) FROM silent
"""

logger = logging.getLogger(__name__)


async def end(session: Connection, relays: timedelta) -> int:
    """End sessions silent for longer than a statement may take, those of relays after `relays`; how many."""
    found = await session.fetch(_END, relays, STATEMENT_TIMEOUT)
    for row in found:
        logger.warning("ended a session that fell silent", extra={"application": row["application_name"]})
    return len(found)
