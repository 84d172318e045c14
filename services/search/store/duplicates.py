"""Fingerprints of the last minutes, and tickets that the index is still to be asked about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from services.search.domain.likeness import Report
from services.search.store.documents import to_report
from shared.db import Database, Tx

PER_KEY = 3
"""Candidates looked at under one key, the oldest: in a storm everybody is compared with its beginning."""

# Lateral joins with a limit, so that the price of one ticket grows neither with the storm it is part of nor with the
# number of tickets there are.
CANDIDATES = f"""
    SELECT f.new_id, d.ticket_id, d.tenant_id, d.number, d.gist, d.requester_id, d.opened_at, d.channel, d.product
    FROM (
        SELECT DISTINCT n.ticket_id AS new_id, k.ticket_id
        FROM unnest($1::uuid[], $2::bigint[], $3::timestamptz[]) AS n (ticket_id, key, at)
        CROSS JOIN LATERAL (
            SELECT k.ticket_id FROM duplicate_key k
            WHERE k.key = n.key AND k.at > n.at - $4::interval AND (k.at, k.ticket_id) < (n.at, n.ticket_id)
            ORDER BY k.at, k.ticket_id LIMIT {PER_KEY}
        ) k
    ) f CROSS JOIN LATERAL (
        SELECT * FROM document
        WHERE ticket_id = f.ticket_id AND gist IS NOT NULL AND deleted_at IS NULL AND NOT merged OFFSET 0
    ) d
"""  # noqa: S608 - constants only

# Newest first: when there are more than can be asked about, those asked are asked early, and the rest grows too old.
_CLAIM = """
    UPDATE duplicate_check c SET due_at = now() + $2::interval FROM (
        SELECT ticket_id FROM duplicate_check WHERE due_at <= now() ORDER BY due_at DESC LIMIT $1
        FOR UPDATE SKIP LOCKED
    ) d WHERE c.ticket_id = d.ticket_id
    RETURNING c.ticket_id, c.version, c.found, c.asked_at
"""

_LEASE = timedelta(seconds=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A ticket the index is to be asked about."""

    ticket_id: UUID
    version: int
    found: frozenset[UUID]
    asked_at: datetime


async def add_keys(tx: Tx, rows: Sequence[tuple[int, datetime, UUID]]) -> None:
    """Keys of new tickets: `(key, at, ticket_id)`."""
    if rows:
        await tx.copy("duplicate_key", ("key", "at", "ticket_id"), rows)


async def candidates(tx: Tx, rows: Sequence[tuple[int, datetime, UUID]], window: timedelta) -> dict[UUID, list[Report]]:
    """For each new ticket the older ones that share a key with it."""
    if not rows:
        return {}
    found: dict[UUID, list[Report]] = {}
    for row in await tx.fetch(
        CANDIDATES, [i for _, _, i in rows], [k for k, _, _ in rows], [at for _, at, _ in rows], window
    ):
        found.setdefault(row["new_id"], []).append(to_report(row))
    return found


async def ask(tx: Tx, rows: Sequence[tuple[UUID, int, Sequence[UUID]]], delay: timedelta) -> None:
    """Have the index asked about tickets: `(ticket_id, version, candidates published already)`."""
    if rows:
        await tx.execute(
            "INSERT INTO duplicate_check (ticket_id, version, found, due_at)"
            " SELECT ticket_id, version, found::uuid[], clock_timestamp() + $4::interval"
            " FROM unnest($1::uuid[], $2::bigint[], $3::text[]) AS c (ticket_id, version, found)"
            " ORDER BY ticket_id ON CONFLICT DO NOTHING",
            [i for i, _, _ in rows],
            [version for _, version, _ in rows],
            ["{" + ",".join(map(str, found)) + "}" for _, _, found in rows],
            delay,
        )


async def claim(database: Database, limit: int) -> list[Check]:
    """Tickets to ask about now; asked again after some seconds unless `finish`ed."""
    rows = await database.fetch(_CLAIM, limit, _LEASE)
    return [
        Check(
            ticket_id=row["ticket_id"],
            version=row["version"],
            found=frozenset(row["found"]),
            asked_at=row["asked_at"],
        )
        for row in rows
    ]


async def finish(tx: Tx, ticket_ids: Sequence[UUID]) -> set[UUID]:
    """These were asked about; those nobody else has finished."""
    rows = await tx.fetch(
        "DELETE FROM duplicate_check WHERE ticket_id = ANY ($1::uuid[]) RETURNING ticket_id", sorted(ticket_ids)
    )
    return {row["ticket_id"] for row in rows}


async def expire(database: Database, patience: timedelta) -> int:
    """Leave out what waited too long; how many."""
    rows = await database.fetch(
        "DELETE FROM duplicate_check WHERE asked_at < now() - $1::interval RETURNING 1", patience
    )
    return len(rows)


async def age_out(database: Database, keep: timedelta) -> None:
    """Forget fingerprints older than `keep` before the newest the desk's clock allows."""
    await database.execute("DELETE FROM duplicate_key WHERE at < (SELECT desk_now()) - $1::interval", keep)
