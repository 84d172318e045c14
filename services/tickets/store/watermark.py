"""What the watermark of `ticket.state` is made of; read in the relay's own session, outside any transaction."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncpg

    Connection = asyncpg.Connection[asyncpg.Record]

# Only this database's: another service's slow query must not hold up every breach. Sessions of other roles are not
# shown to us, and none of them writes a ledger.
_OLDEST = """
    SELECT least($1, min(a.xact_start)) + (SELECT shift FROM clock_offset)
    FROM pg_stat_activity a
    WHERE a.datname = current_database() AND a.backend_xid IS NOT NULL AND a.pid <> pg_backend_pid()
"""


async def oldest(session: Connection) -> datetime:
    """An instant (desk time) such that every transaction with an earlier one has ended, or will never commit.

    The clock first, then the look: whoever has no id at the look draws it, and with it its instant, later (ADR 0015).
    """
    now = await session.fetchval("SELECT clock_timestamp()")
    found: datetime = await session.fetchval(_OLDEST, now)
    return found


async def newest_row(session: Connection) -> int | None:
    """The highest id in the outbox; None when it is empty. A row committed before this is not above it."""
    found: int | None = await session.fetchval("SELECT max(id) FROM outbox")
    return found


async def is_out(session: Connection, last: int, topic: str) -> bool:
    """Whether no row of `topic` up to that id is left."""
    waiting: bool = await session.fetchval(
        "SELECT EXISTS (SELECT FROM outbox WHERE id <= $1 AND topic = $2)", last, topic
    )
    return not waiting
