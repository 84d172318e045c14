"""Which tickets wait to be written to the index, which were refused by it, and of which texts are missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from shared.db import Database, Tx

# A row somebody holds is being marked again right now; one with a higher version was. Both stay. And if another
# index was begun since the targets of this write were read, all stay: that one has not got them.
CLEAR = """
    DELETE FROM dirty USING (
        SELECT q.ticket_id FROM dirty q
        JOIN unnest($1::uuid[], $2::bigint[]) AS w (ticket_id, version) USING (ticket_id)
        WHERE q.version <= w.version
            AND NOT EXISTS (SELECT FROM generation WHERE state <> 'retired' AND number <> ALL ($3::bigint[]))
        ORDER BY q.ticket_id FOR UPDATE OF q SKIP LOCKED
    ) done
    WHERE dirty.ticket_id = done.ticket_id
"""

_REFUSE = """
    INSERT INTO refused (ticket_id, tenant_id, version, reason)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[]) ORDER BY 1
    ON CONFLICT (ticket_id) DO UPDATE SET version = excluded.version, reason = excluded.reason, at = now()
"""

_REPLAY = """
    INSERT INTO dirty (ticket_id, version) SELECT ticket_id, version FROM refused ORDER BY ticket_id
    ON CONFLICT DO NOTHING
"""

_GAPS = """
    SELECT g.ticket_id, g.tenant_id FROM gap g JOIN document d USING (ticket_id)
    WHERE g.since < now() - $1::interval AND d.deleted_at IS NULL
    ORDER BY g.since LIMIT $2
"""

_CLOSE_GAPS = """
    DELETE FROM gap USING document d
    WHERE gap.ticket_id = d.ticket_id AND gap.since < now() - $1::interval AND (d.deleted_at IS NOT NULL OR
        (SELECT count(*) FROM message m WHERE m.ticket_id = d.ticket_id)
            >= coalesce((d.head::jsonb ->> 'message_count')::int, 0))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A document the engine does not take."""

    ticket_id: UUID
    tenant_id: str
    version: int
    reason: str
    """Its kind of error, without content."""
    at: datetime | None = None


async def clear(tx: Tx, written: Sequence[tuple[UUID, int]], generations: Sequence[int]) -> None:
    """These versions are in all of these generations: nothing is left to do for them."""
    await tx.execute(CLEAR, [i for i, _ in written], [v for _, v in written], list(generations))


async def refuse(tx: Tx, documents: Sequence[Refused]) -> None:
    """Put documents aside, with why."""
    await tx.execute(
        _REFUSE,
        [d.ticket_id for d in documents],
        [d.tenant_id for d in documents],
        [d.version for d in documents],
        [d.reason for d in documents],
    )


async def accepted(tx: Tx, ticket_ids: Sequence[UUID]) -> None:
    """These are in the index after all."""
    await tx.execute("DELETE FROM refused WHERE ticket_id = ANY ($1::uuid[])", list(ticket_ids))


async def replay(tx: Tx) -> int:
    """Have every refused document tried again; how many there are."""
    await tx.execute(_REPLAY)
    found: int = await tx.fetchval("SELECT count(*) FROM refused")
    return found


async def refusals(database: Database, tenant_id: str, limit: int) -> list[Refused]:
    """The newest refusals of a tenant."""
    rows = await database.fetch(
        "SELECT ticket_id, tenant_id, version, reason, at FROM refused WHERE tenant_id = $1 ORDER BY at DESC LIMIT $2",
        tenant_id,
        limit,
    )
    return [Refused(**dict(row)) for row in rows]


async def waiting(database: Database) -> tuple[int, float, int]:
    """How many tickets wait (counted up to 100,000), for how many seconds the oldest has, how many are refused."""
    row = await database.fetchrow(
        "SELECT (SELECT count(*) FROM (SELECT FROM dirty LIMIT 100000) d) AS dirty,"
        " coalesce((SELECT extract(epoch FROM now() - min(since)) FROM dirty), 0)::float8 AS age,"
        " (SELECT count(*) FROM refused) AS refused"
    )
    return (0, 0.0, 0) if row is None else (row["dirty"], row["age"], row["refused"])


async def gaps(database: Database, older_than: timedelta, limit: int) -> dict[str, list[UUID]]:
    """Tickets by tenant whose texts have been missing for so long."""
    await database.execute(_CLOSE_GAPS, older_than)
    found: dict[str, list[UUID]] = {}
    for row in await database.fetch(_GAPS, older_than, limit):
        found.setdefault(row["tenant_id"], []).append(row["ticket_id"])
    return found


async def postpone_gaps(tx: Tx, ticket_ids: Sequence[UUID]) -> None:
    """The export had no more of them either, for now."""
    await tx.execute("UPDATE gap SET since = now() WHERE ticket_id = ANY ($1::uuid[])", list(ticket_ids))
