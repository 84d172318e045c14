"""Tickets whose published state lacks what others have said of them since. Written under the ticket's row lock only."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from shared.db import Tx


async def mark(tx: Tx, ticket_ids: Sequence[UUID]) -> None:
    """Remember tickets that are to be published again; those marked already keep their place."""
    if ticket_ids:
        await tx.execute(
            "INSERT INTO untold (ticket_id, since) SELECT t.id, $2 FROM unnest($1::uuid[]) AS t (id)"
            " ON CONFLICT DO NOTHING",
            list(ticket_ids),
            tx.instant,
        )


async def clear(tx: Tx, ticket_ids: Sequence[UUID]) -> None:
    """Forget tickets that this transaction publishes."""
    if ticket_ids:
        await tx.execute("DELETE FROM untold WHERE ticket_id = ANY ($1::uuid[])", list(ticket_ids))


async def longest(tx: Tx, limit: int) -> list[UUID]:
    """Tickets that have waited longest to be published again."""
    rows = await tx.fetch("SELECT ticket_id FROM untold ORDER BY since, ticket_id LIMIT $1", limit)
    return [row["ticket_id"] for row in rows]
