"""Each fact once: which ids of a batch are new to this group, and which of its keys may not go on.

Both questions are one statement, so that a batch costs one round trip before its handler.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from shared.db import Database, Tx

_ACCEPT = """
    WITH held AS MATERIALIZED (
        SELECT DISTINCT w.key FROM waiting w WHERE w.group_name = $1 AND w.key = ANY ($2::text[])
    ), fresh AS (
        INSERT INTO inbox (group_name, ce_id, event_day)
        SELECT $1, g.ce_id, g.day FROM unnest($3::uuid[], $4::date[], $5::text[]) AS g (ce_id, day, key)
        WHERE NOT EXISTS (SELECT FROM held h WHERE h.key = g.key)
        ON CONFLICT DO NOTHING
        RETURNING ce_id
    )
    SELECT (SELECT array_agg(key) FROM held) AS held,
           CASE WHEN count(*) < cardinality($3::uuid[]) THEN coalesce(array_agg(ce_id), '{}') END AS fresh
    FROM fresh
"""

_RECORD = "INSERT INTO inbox (group_name, ce_id, event_day) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING 1"


@dataclass(slots=True)
class Accepted:
    """What became of a batch."""

    held: frozenset[str]
    """Keys with events waiting: theirs were not entered, and go behind those."""
    fresh: frozenset[UUID] | None
    """Ids entered now; None when all of them were new, which is the common case."""


_NONE: frozenset[str] = frozenset()


async def accept(
    tx: Tx, group: str, *, keys: Sequence[str], ids: Sequence[UUID], days: Sequence[date], id_keys: Sequence[str]
) -> Accepted:
    """Enter `ids` (distinct) unless known or their key is held.

    `keys` are all keys of the batch, also those of compacted topics, which have no ids here. `days` and `id_keys` go
    with `ids`; a dead letter has an empty key, which is never held. A concurrent transaction with the same id is
    waited for: it commits, and the id is known, or rolls back, and it is ours.
    """
    row = await tx.fetchrow(_ACCEPT, group, keys, ids, days, id_keys)
    if row is None:
        raise AssertionError("an aggregate has one row")
    held: list[str] | None = row["held"]
    fresh: list[UUID] | None = row["fresh"]
    return Accepted(frozenset(held) if held else _NONE, None if fresh is None else frozenset(fresh))


async def record(tx: Tx, group: str, identity: UUID, day: date) -> bool:
    """Enter one id; False when it was known."""
    return await tx.fetchval(_RECORD, group, identity, day) is not None


async def maintain(database: Database, keep_days: int) -> tuple[int, int]:
    """Make the weeks ahead, drop those older than `keep_days`; how many were made and dropped."""
    row = await database.fetchrow("SELECT made, dropped FROM inbox_maintain($1)", keep_days)
    if row is None:
        raise AssertionError("inbox_maintain answers one row")
    return row["made"], row["dropped"]
