"""The indexes behind the alias: which is live, which is being filled, how far its walk has come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from shared.db import Database, Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One index."""

    number: int
    fingerprint: str
    state: str
    """`filling`, `live`, `retired`."""
    after: UUID | None
    walked: bool
    """Whether the walk over all documents is over."""
    written: int
    """Documents the walk has written."""
    started_at: datetime
    live_at: datetime | None


async def all_of(database: Database | Tx) -> list[Generation]:
    """Every index that is there or to be deleted, the oldest first."""
    rows = await database.fetch(
        "SELECT number, fingerprint, state, after, walked, written, started_at, live_at FROM generation ORDER BY number"
    )
    return [Generation(**dict(row)) for row in rows]


async def begin(tx: Tx, fingerprint: str, *, live: bool, above: int = 0) -> int | None:
    """Begin another index, at once live where there is none yet; its number, or None while one is being filled.

    `above` is the highest number the engine has, also from a database before this one. Two that begin at once: the
    unique index lets one through, the other finds it there.
    """
    number: int | None = await tx.fetchval(
        "INSERT INTO generation (number, fingerprint, state, live_at)"
        " SELECT greatest(coalesce(max(number), 0), $3) + 1, $1, $2, CASE WHEN $2 = 'live' THEN now() END"
        " FROM generation"
        " ON CONFLICT DO NOTHING RETURNING number",
        fingerprint,
        "live" if live else "filling",
        above,
    )
    return number


async def walked(tx: Tx, number: int, after: UUID | None, count: int, *, done: bool) -> None:
    """The walk has come so far."""
    await tx.execute(
        "UPDATE generation SET after = coalesce($2, after), written = written + $3, walked = $4 WHERE number = $1",
        number,
        after,
        count,
        done,
    )


async def promote(tx: Tx, number: int) -> None:
    """This one is searched now; the one before is to be deleted."""
    await tx.execute("UPDATE generation SET state = 'retired' WHERE state = 'live' AND number <> $1", number)
    await tx.execute("UPDATE generation SET state = 'live', live_at = now() WHERE number = $1", number)


async def lost(tx: Tx, number: int) -> None:
    """Its index is not there any more."""
    await tx.execute("UPDATE generation SET state = 'retired' WHERE number = $1", number)


async def forget(tx: Tx, number: int) -> None:
    """Its index is deleted. The last row stays, so that no number is given twice."""
    await tx.execute(
        "DELETE FROM generation WHERE number = $1 AND state = 'retired'"
        " AND number < (SELECT max(number) FROM generation)",
        number,
    )
