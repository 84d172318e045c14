"""Blocks of ticket numbers."""

from __future__ import annotations

from collections.abc import Mapping

from shared.db import Database


async def reserve(database: Database, wanted: Mapping[tuple[str, int], int]) -> dict[tuple[str, int], int]:
    """Take so many numbers per (tenant, year), in a transaction of its own; the first number of each block.

    Like a sequence it is never rolled back: numbers are unique, and gaps are allowed.
    """
    ordered = sorted(wanted)
    rows = await database.fetch(
        """
        INSERT INTO number_block (tenant_id, year, next)
        SELECT tenant_id, year, 1 + size FROM unnest($1::text[], $2::int[], $3::bigint[]) AS w (tenant_id, year, size)
        ORDER BY tenant_id, year
        ON CONFLICT (tenant_id, year) DO UPDATE SET next = number_block.next + excluded.next - 1
        RETURNING tenant_id, year, next
        """,
        [tenant for tenant, _ in ordered],
        [year for _, year in ordered],
        [wanted[place] for place in ordered],
    )
    return {(row["tenant_id"], row["year"]): row["next"] - wanted[row["tenant_id"], row["year"]] for row in rows}
