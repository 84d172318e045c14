"""Every SQL statement about the in-app stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from services.notify.domain.stream import Entry, Position
from shared.db import Database, Record, Tx
from shared.due import hint

CHANNEL = "deskwire_stream"
LISTENED = timedelta(hours=24)
"""How long after the last listener what happens in a tenant is still recorded."""

_LISTENED_TO = """
    SELECT tenant_id FROM stream_listener
    WHERE tenant_id = ANY ($1::text[]) AND listened_at > (SELECT desk_now()) - $2::interval
"""

_ADD = """
    INSERT INTO stream_event (tenant_id, event_id, type, time, ticket_id, permission, people, data, public, recorded_at)
    SELECT a.tenant_id, a.event_id, a.type, a.time, a.ticket_id, a.permission,
        string_to_array(a.people, ',')::uuid[], a.data, a.public, $10
    FROM unnest($1::text[], $2::uuid[], $3::text[], $4::timestamptz[], $5::uuid[], $6::text[], $7::text[],
        $8::bytea[], $9::bytea[]) WITH ORDINALITY
        AS a (tenant_id, event_id, type, time, ticket_id, permission, people, data, public, place)
    ORDER BY a.place
"""

_HORIZON = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
"""The oldest transaction still running anywhere in the cluster: whatever is older is complete."""

# The outer join keeps one row, which tells the horizon, where nothing is new.
_READ = f"""
    WITH horizon AS (SELECT {_HORIZON} AS xid)
    SELECT h.xid AS horizon, s.* FROM horizon h LEFT JOIN LATERAL (
        SELECT tenant_id, xid, id, event_id, type, time, ticket_id, permission, people, data, public
        FROM stream_event
        WHERE tenant_id = ANY ($1::text[]) AND (xid, id) > ($2, $3) AND xid < h.xid
        ORDER BY xid, id LIMIT $4
    ) s ON true
    ORDER BY s.xid, s.id
"""  # noqa: S608 - our own expression

_LISTEN = """
    INSERT INTO stream_listener AS l (tenant_id, listened_at) VALUES ($1, (SELECT desk_now()))
    ON CONFLICT (tenant_id) DO UPDATE SET
        listened_at = excluded.listened_at,
        complete_xid = CASE WHEN l.listened_at > excluded.listened_at - $2::interval
            THEN l.complete_xid ELSE excluded.complete_xid END,
        complete_id = CASE WHEN l.listened_at > excluded.listened_at - $2::interval THEN l.complete_id ELSE 0 END
    RETURNING complete_xid, complete_id
"""

_KEEP = """
    UPDATE stream_listener SET listened_at = (SELECT desk_now())
    WHERE tenant_id = ANY ($1::text[]) AND listened_at > (SELECT desk_now()) - $2::interval
"""

# In the order of positions, so that what is left is complete from a position on.
_PRUNE = """
    WITH oldest AS (
        SELECT xid, id, recorded_at FROM stream_event WHERE tenant_id = $1 ORDER BY xid, id LIMIT $4
    ), bound AS (
        SELECT xid, id FROM stream_event WHERE tenant_id = $1 ORDER BY xid DESC, id DESC OFFSET $3 LIMIT 1
    ), gone AS (
        DELETE FROM stream_event s USING oldest o
        WHERE s.tenant_id = $1 AND s.xid = o.xid AND s.id = o.id AND (
            o.recorded_at < (SELECT desk_now()) - $2::interval
            OR (o.xid, o.id) <= (SELECT b.xid, b.id FROM bound b)
        )
        RETURNING s.xid, s.id
    ), last AS (
        SELECT xid, id FROM gone ORDER BY xid DESC, id DESC LIMIT 1
    ), told AS (
        UPDATE stream_listener l SET complete_xid = last.xid, complete_id = last.id FROM last
        WHERE l.tenant_id = $1 AND (l.complete_xid, l.complete_id) < (last.xid, last.id)
    )
    SELECT count(*) FROM gone
"""

_TENANTS = """
    WITH RECURSIVE t AS (
        (SELECT tenant_id FROM stream_event ORDER BY tenant_id LIMIT 1)
        UNION ALL
        SELECT (SELECT tenant_id FROM stream_event WHERE tenant_id > t.tenant_id ORDER BY tenant_id LIMIT 1)
        FROM t WHERE t.tenant_id IS NOT NULL
    )
    SELECT tenant_id FROM t WHERE tenant_id IS NOT NULL
"""

# A database restored into another cluster has rows of transactions that cluster has not had yet: they would never
# become readable, and what is recorded from now on would come before them.
_FORGET_FUTURE = """
    WITH future AS (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS xid), gone AS (
        DELETE FROM stream_event WHERE xid > (SELECT xid FROM future)
    )
    DELETE FROM stream_listener WHERE complete_xid > (SELECT xid FROM future)
"""


@dataclass(frozen=True, slots=True)
class Placed:
    """An entry and where it stands."""

    position: Position
    entry: Entry


async def listened_to(tx: Tx, tenants: Sequence[str]) -> set[str]:
    """Which of these tenants somebody listens to, or has within the last day."""
    return {row["tenant_id"] for row in await tx.fetch(_LISTENED_TO, list(tenants), LISTENED)}


async def add(tx: Tx, entries: Sequence[Entry]) -> None:
    """Record what happened, for whoever listens after the commit of `tx`."""
    if not entries:
        return
    await tx.execute(
        _ADD,
        [one.tenant_id for one in entries],
        [one.event_id for one in entries],
        [one.type for one in entries],
        [one.time for one in entries],
        [one.ticket_id for one in entries],
        [one.permission for one in entries],
        [",".join(map(str, one.people)) for one in entries],
        [one.data for one in entries],
        [one.public for one in entries],
        tx.instant,
    )
    await hint(tx, CHANNEL, 0.0)


async def read(
    database: Database, tenants: Sequence[str], after: Position, limit: int
) -> tuple[list[Placed], Position]:
    """Up to `limit` entries of these tenants after a position, in order, and the position then reached.

    The second is beyond the last entry when there was nothing more: whatever comes later is after it.
    """
    rows = await database.fetch(_READ, list(tenants), after.xid, after.id, limit)
    found = [Placed(Position(row["xid"], row["id"]), _entry(row)) for row in rows if row["xid"] is not None]
    if len(found) == limit:
        return found, found[-1].position
    return found, max(after, Position(rows[0]["horizon"]))


async def horizon(database: Database) -> Position:
    """The present: whatever has committed before everything still running is before it."""
    return Position(await database.fetchval(f"SELECT {_HORIZON}"))


async def listen(database: Database, tenant_id: str) -> Position:
    """Have what happens in a tenant recorded from now on; the position after which the record is complete."""
    async with database.begin() as tx:
        row = await tx.fetchrow(_LISTEN, tenant_id, LISTENED)
    if row is None:
        raise RuntimeError("an upsert always answers its row")
    return Position(row["complete_xid"], row["complete_id"])


async def keep(database: Database, tenants: Sequence[str]) -> None:
    """Somebody still listens to these tenants."""
    await database.execute(_KEEP, list(tenants), LISTENED)


async def prune(database: Database, kept: timedelta, most: int, limit: int = 5000) -> int:
    """Delete what is older than `kept`, and beyond the newest `most` of each tenant, up to `limit` each; how many."""
    gone = 0
    for row in await database.fetch(_TENANTS):
        gone += await database.fetchval(_PRUNE, row["tenant_id"], kept, most, limit)
    return gone


async def forget_future(database: Database) -> None:
    """Delete what another cluster's transactions left in a restored database."""
    await database.execute(_FORGET_FUTURE)


def _entry(row: Record) -> Entry:
    return Entry(
        tenant_id=row["tenant_id"],
        event_id=row["event_id"],
        type=row["type"],
        time=row["time"],
        ticket_id=row["ticket_id"],
        permission=row["permission"],
        people=tuple(row["people"]),
        data=row["data"],
        public=row["public"],
    )
