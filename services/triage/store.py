"""Every SQL statement of triage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from services.triage.domain import Count
from shared.db import Record, Tx

_ADD = """
    INSERT INTO triage_count AS c (tenant_id, tickets, newest, newest_at)
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::timestamptz[])
    ON CONFLICT (tenant_id) DO UPDATE SET
        tickets = c.tickets + excluded.tickets,
        newest = CASE WHEN excluded.newest_at >= c.newest_at THEN excluded.newest ELSE c.newest END,
        newest_at = greatest(c.newest_at, excluded.newest_at)
"""

_READ = "SELECT tenant_id, tickets, newest, newest_at FROM triage_count WHERE tenant_id = $1"


class Reader(Protocol):
    """A database or a transaction, as far as reading goes."""

    async def fetchrow(self, sql: str, *args: object) -> Record | None:
        """The first row, or None."""


async def add(tx: Tx, counts: Sequence[Count]) -> None:
    """Add to what was counted before; `counts` in the tenants' order."""
    await tx.execute(
        _ADD,
        [count.tenant_id for count in counts],
        [count.tickets for count in counts],
        [count.newest for count in counts],
        [count.newest_at for count in counts],
    )


async def read(reader: Reader, tenant_id: str) -> Count | None:
    """The count of one tenant, or None when it never had a ticket."""
    row = await reader.fetchrow(_READ, tenant_id)
    return Count(**dict(row)) if row else None
