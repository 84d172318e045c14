"""Merges: where a chain of them ends, and what taking one back needs."""

from __future__ import annotations

from uuid import UUID

from services.tickets.domain.merging import Merge
from shared.db import Database, Tx


async def end_of(tx: Tx, tenant_id: str, ticket_id: UUID) -> UUID | None:
    """The ticket that goes on for that one, itself if it is not merged; without a lock."""
    found: UUID | None = await tx.fetchval(
        "WITH RECURSIVE chain AS ("
        " SELECT id, merged_into, 1 AS length FROM ticket WHERE tenant_id = $1 AND id = $2"
        " UNION ALL SELECT t.id, t.merged_into, length + 1 FROM chain c"
        " JOIN ticket t ON t.id = c.merged_into AND t.tenant_id = $1 WHERE length < 1000)"
        " SELECT id FROM chain WHERE merged_into IS NULL",
        tenant_id,
        ticket_id,
    )
    return found


async def save(tx: Tx, tenant_id: str, merge: Merge) -> None:
    """Keep a merge in place of the ticket's earlier one."""
    await tx.execute(
        "INSERT INTO merge (ticket_id, tenant_id, into_id, at, watcher_ids) VALUES ($1, $2, $3, $4, $5)"
        " ON CONFLICT (ticket_id) DO UPDATE SET into_id = excluded.into_id, at = excluded.at,"
        " watcher_ids = excluded.watcher_ids",
        merge.ticket_id,
        tenant_id,
        merge.into_id,
        merge.at,
        list(merge.watcher_ids),
    )


async def find(database: Database | Tx, tenant_id: str, ticket_id: UUID) -> Merge | None:
    """The ticket's newest merge."""
    row = await database.fetchrow(
        "SELECT ticket_id, into_id, at, watcher_ids FROM merge WHERE tenant_id = $1 AND ticket_id = $2",
        tenant_id,
        ticket_id,
    )
    if row is None:
        return None
    return Merge(
        ticket_id=row["ticket_id"], into_id=row["into_id"], at=row["at"], watcher_ids=tuple(row["watcher_ids"])
    )
