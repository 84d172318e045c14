"""How far sla knows what tickets knows, and which clocks that decides.

Rows of knowledge are locked before tickets, in order of partition; only the bus writes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from shared.db import Tx

GROUP = "sla"
"""Whose waiting keys make a ticket uncertain."""

_ADVANCE = """
    INSERT INTO knowledge AS k (partition, until)
    SELECT * FROM unnest($1::integer[], $2::timestamptz[]) ORDER BY 1
    ON CONFLICT (partition) DO UPDATE SET until = excluded.until WHERE excluded.until > k.until
"""

# Tickets with a waiting event are left out before the limit: they cannot be decided and must not stand in the way.
_CERTAIN = "NOT EXISTS (SELECT FROM waiting w WHERE w.group_name = $3 AND w.key = c.ticket_id::text)"

_DECIDED = f"""
    SELECT DISTINCT found.ticket_id
    FROM unnest($1::integer[], $2::timestamptz[]) AS k (partition, until)
    CROSS JOIN LATERAL (
        (SELECT c.ticket_id FROM clock c WHERE c.partition = k.partition AND c.state = 'running'
            AND c.due_at < k.until AND {_CERTAIN} ORDER BY c.due_at LIMIT $4)
        UNION ALL
        (SELECT c.ticket_id FROM clock c WHERE c.partition = k.partition AND c.state = 'running' AND NOT c.warned
            AND c.warn_at < k.until AND c.due_at >= k.until AND {_CERTAIN} ORDER BY c.warn_at LIMIT $4)
        UNION ALL
        (SELECT c.ticket_id FROM clock c WHERE c.partition = k.partition AND c.provisional
            AND c.breached_at < k.until AND {_CERTAIN} ORDER BY c.breached_at LIMIT $4)
    ) AS found
"""  # noqa: S608 - constant parts

# Provisionally told clocks are not running any more; quiet ones wait for knowledge however long.
_OVERDUE = """
    SELECT DISTINCT found.ticket_id
    FROM knowledge k CROSS JOIN LATERAL (
        (SELECT c.ticket_id FROM clock c WHERE c.partition = k.partition AND c.state = 'running'
            AND c.due_at <= (SELECT desk_now()) - $1::interval AND NOT c.quiet AND NOT c.told
            ORDER BY c.due_at LIMIT $2)
        UNION ALL
        (SELECT c.ticket_id FROM clock c WHERE c.partition = k.partition AND c.state = 'running' AND NOT c.warned
            AND c.warn_at <= (SELECT desk_now()) - $1::interval AND c.due_at > (SELECT desk_now())
            ORDER BY c.warn_at LIMIT $2)
    ) AS found
"""


async def advance(tx: Tx, marks: Mapping[int, datetime], seen: Sequence[int]) -> dict[int, datetime]:
    """Remember watermarks, and partitions met without one; what is known of every partition then."""
    floor = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
    told = {**dict.fromkeys(seen, floor), **marks}
    if told:
        await tx.execute(_ADVANCE, list(told), list(told.values()))
    return await read(tx)


async def read(tx: Tx) -> dict[int, datetime]:
    """The instant (UTC) before which everything is known, by partition."""
    return {row["partition"]: row["until"] for row in await tx.fetch("SELECT partition, until FROM knowledge")}


async def age(tx: Tx) -> float | None:
    """Seconds by which the least known partition is behind; None before any is known."""
    seconds: float | None = await tx.fetchval(
        "SELECT extract(epoch FROM (SELECT desk_now()) - min(until))::float8 FROM knowledge"
    )
    return seconds


async def decided(tx: Tx, marks: Mapping[int, datetime], limit: int) -> list[UUID]:
    """Tickets of which these watermarks decide something: a breach, a warning, a provisional breach."""
    rows = await tx.fetch(_DECIDED, list(marks), list(marks.values()), GROUP, limit)
    return [row["ticket_id"] for row in rows]


async def overdue(tx: Tx, grace: timedelta, limit: int) -> list[UUID]:
    """Tickets with a due instant or a warning that nothing has decided within the grace."""
    return [row["ticket_id"] for row in await tx.fetch(_OVERDUE, grace, limit)]


async def uncertain(tx: Tx, ticket_ids: Sequence[UUID]) -> set[UUID]:
    """Those with a parked or waiting event: what is known of them is not all there is."""
    rows = await tx.fetch(
        "SELECT DISTINCT key FROM waiting WHERE group_name = $1 AND key = ANY ($2::text[])",
        GROUP,
        [str(one) for one in ticket_ids],
    )
    return {UUID(row["key"]) for row in rows}
