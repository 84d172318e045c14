"""Keys that may not go on: parked ones (poison, loops) and those for which something has not arrived.

Both are rows of one table. The row of a key with the lowest id is its head; only heads carry a due instant and are
tried. Everything here is the rare path: a batch that meets no waiting key pays one empty index probe.

Two races are closed here, both argued where they are closed:
the consumer appends while the drain takes the last row away (`append`), and the missing thing is stored while an
event is being put away because of it (`wake` and `barrier`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import asyncpg

from shared.db import Database, Tx

Reason = Literal["not_yet", "poison", "hops", "behind"]

ALARM_AFTER = timedelta(minutes=5)
"""A key that waits longer is told to people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One event to be put away, as it came from the topic."""

    key: str
    topic: str
    """The manifest's name."""
    partition: int
    offset: int
    record_ms: int
    """The record's own timestamp in milliseconds: tells offsets of a topic made anew from old ones."""
    payload: bytes | None
    headers: bytes
    """As `outbox.pack_any` writes them."""
    reason: Reason
    missing_kind: str | None = None
    missing_id: str | None = None
    error: str | None = None
    attempts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The first event of a waiting key, with its row."""

    id: int
    key: str
    topic: str
    partition: int
    offset: int
    record_ms: int
    payload: bytes | None
    headers: bytes
    reason: Reason
    missing_kind: str | None
    missing_id: str | None
    error: str | None
    attempts: int
    since: datetime
    due_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What a process brings along with its code, which no event could bring: others may wait for just that."""

    types: Sequence[str]
    topics: Sequence[str]

    def lacks(self, kind: str, identity: str) -> bool:
        """Whether only another release can go on: trying again would keep the key from it."""
        return (kind == "type" and identity not in self.types) or (kind == "topic" and identity not in self.topics)


_DUE = """(due_at <= now() OR (due_at IS NULL AND reason = 'not_yet' AND (
    (missing_kind = 'type' AND missing_id = ANY ($2::text[]))
    OR (missing_kind = 'topic' AND missing_id = ANY ($3::text[])))))"""
"""Whether a head may be tried now; $2 and $3 are the types and the topics of our release."""

_COLUMNS = (
    'id, key, topic, partition, "offset", record_ms, payload, headers, reason, missing_kind, missing_id, error,'
    " attempts, since, due_at"
)


def _head(row: asyncpg.Record) -> Head:
    return Head(**dict(row))


async def lock(tx: Tx, group: str, keys: Sequence[str]) -> None:
    """Take the locks of sorted `keys` until the transaction ends: nobody else adds to them or takes away."""
    await tx.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended(k, 1)) FROM unnest($1::text[]) AS k",
        [f"{group}\x1f{key}" for key in keys],
    )


async def append(tx: Tx, group: str, events: Sequence[Waiting]) -> list[Waiting]:
    """Put `events` away in their order; those that became the head of their key, with their own reason.

    Call it before the handler of the batch. An event of a key that already waits goes `behind`, whatever its reason:
    it is looked at when its turn comes. Already put away (a redelivery): nothing happens.
    """
    heads: list[Waiting] = []
    # The drain of a key holds this lock while it takes rows away. Having it, we see either a row of the key, and go
    # behind it, or none, and become its head with a due instant: an event can not be left without anyone to try it.
    # Sorted, so that two instances never wait for each other; and the drain only ever *tries* the lock.
    keys = sorted({event.key for event in events})
    await lock(tx, group, keys)
    found = await tx.fetch(
        "SELECT DISTINCT key FROM waiting WHERE group_name = $1 AND key = ANY ($2::text[])", group, keys
    )
    known = {row["key"] for row in found}
    rows: list[tuple[object, ...]] = []
    for event in events:
        head = event.key not in known
        if head:
            known.add(event.key)
            heads.append(event)
        rows.append(
            (
                group,
                event.key,
                event.topic,
                event.partition,
                event.offset,
                event.record_ms,
                event.payload,
                event.headers,
                event.reason if head else "behind",
                event.missing_kind if head else None,
                event.missing_id if head else None,
                event.error if head else None,
                event.attempts if head else 0,
                # What is parked waits for a person; anything else is tried once as soon as its row can be seen.
                head and event.reason in {"not_yet", "behind"},
            )
        )
    columns = [list(column) for column in zip(*rows, strict=True)]
    await tx.execute(
        'INSERT INTO waiting (group_name, key, topic, partition, "offset", record_ms, payload, headers, reason,'
        " missing_kind, missing_id, error, attempts, due_at)"
        " SELECT g, k, t, p, o, m, v, h, r, mk, mi, e, a, CASE WHEN d THEN now() END"
        " FROM unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::bigint[], $6::bigint[], $7::bytea[],"
        " $8::bytea[], $9::text[], $10::text[], $11::text[], $12::text[], $13::int[], $14::bool[])"
        " AS u (g, k, t, p, o, m, v, h, r, mk, mi, e, a, d)"
        " ON CONFLICT DO NOTHING",
        *columns,
    )
    return heads


async def wake(tx: Tx, kind: str, ids: Iterable[str]) -> int:
    """The missing things `(kind, id)` are stored by `tx`: let what waits for them go on after the commit.

    Call it in the transaction that stores them; how many keys were woken. The drain notices within a tenth of a
    second.
    """
    wanted = sorted(set(ids))
    if not wanted:
        return 0
    # First the lock, then, in a statement of its own, the look: an event that this look does not see was committed
    # after the lock was taken, and its first try waits at `barrier` for us. Shared: wakers never wait for each other.
    await tx.execute("SELECT pg_advisory_xact_lock_shared(hashtextextended($1, 2))", kind)
    tag = await tx.execute(
        "UPDATE waiting SET due_at = now() WHERE missing_kind = $1 AND missing_id = ANY ($2::text[])"
        " AND reason = 'not_yet'",
        kind,
        wanted,
    )
    return int(tag.rpartition(" ")[2])


async def barrier(database: Database, kind: str) -> None:
    """Wait for every transaction that is storing things of this kind right now.

    Called before the first try of an event, after its row was committed: whoever did not see that row has committed
    when this returns, so the handler sees what they stored; everyone later sees the row.
    """
    async with database.begin() as tx:
        await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 2))", kind)


async def due_keys(database: Database, group: str, release: Release, limit: int = 100) -> list[tuple[str, str | None]]:
    """Keys whose head may be tried now, with the kind it waits for if it was never tried."""
    rows = await database.fetch(
        "SELECT key, CASE WHEN reason = 'not_yet' AND attempts = 0 THEN missing_kind END AS kind FROM waiting"  # noqa: S608 - constants
        f" WHERE group_name = $1 AND {_DUE} ORDER BY due_at, id LIMIT $4",
        group,
        release.types,
        release.topics,
        limit,
    )
    return [(row["key"], row["kind"]) for row in rows]


async def claim(tx: Tx, group: str, release: Release, key: str) -> Head | None:
    """The head of a key if it is due and nobody else is at it; its key is ours until the transaction ends."""
    if not await tx.fetchval("SELECT pg_try_advisory_xact_lock(hashtextextended($1, 1))", f"{group}\x1f{key}"):
        return None
    row = await tx.fetchrow(
        f"SELECT {_COLUMNS}, {_DUE} AS due FROM waiting"  # noqa: S608 - constants
        " WHERE group_name = $1 AND key = $4 ORDER BY id LIMIT 1 FOR UPDATE",
        group,
        release.types,
        release.topics,
        key,
    )
    if row is None or not row["due"]:
        return None
    values = dict(row)
    values.pop("due")
    return Head(**values)


async def finish(tx: Tx, group: str, head: Head) -> bool:
    """The head is handled: take it away and let the next event of its key be tried; False when it was the last."""
    await tx.execute("DELETE FROM waiting WHERE id = $1", head.id)
    return await promote(tx, group, head.key)


async def promote(tx: Tx, group: str, key: str) -> bool:
    """Make the first row of a key due unless it has a reason of its own; False when there is none."""
    row = await tx.fetchval(
        "UPDATE waiting SET due_at = now(), since = CASE WHEN reason = 'behind' THEN now() ELSE since END"
        " WHERE id = (SELECT min(id) FROM waiting WHERE group_name = $1 AND key = $2)"
        " AND reason IN ('behind', 'not_yet') RETURNING 1",
        group,
        key,
    )
    return row is not None


async def postpone(
    tx: Tx,
    head: Head,
    *,
    reason: Reason,
    delay: timedelta | None,
    missing: tuple[str, str] | None = None,
    error: str | None = None,
    attempts: int,
) -> None:
    """The head could not go on: why, and when it is tried again (None: when a person or another release says so)."""
    kind, identity = missing if missing is not None else (None, None)
    await tx.execute(
        "UPDATE waiting SET reason = $2, missing_kind = $3, missing_id = $4, error = $5, attempts = $6,"
        " due_at = now() + $7::interval WHERE id = $1",
        head.id,
        reason,
        kind,
        identity,
        error,
        attempts,
        delay,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How many keys wait for one reason, and since when the oldest does."""

    reason: Reason
    keys: int
    oldest: float
    """Seconds."""
    alarming: int
    """Keys that wait for more than five minutes."""


async def standing(database: Database, group: str) -> list[Standing]:
    """The state of the table by reason of each key's head."""
    rows = await database.fetch(
        "SELECT reason, count(*) AS keys, extract(epoch FROM max(now() - since))::float8 AS oldest,"
        " count(*) FILTER (WHERE now() - since > $2) AS alarming"
        " FROM waiting WHERE group_name = $1 AND (reason <> 'behind' OR due_at IS NOT NULL) GROUP BY reason",
        group,
        ALARM_AFTER,
    )
    return [
        Standing(reason=row["reason"], keys=row["keys"], oldest=row["oldest"] or 0.0, alarming=row["alarming"])
        for row in rows
    ]


async def overdue(database: Database, group: str, limit: int = 20) -> list[Head]:
    """Heads that wait for more than five minutes, oldest first."""
    rows = await database.fetch(
        f"SELECT {_COLUMNS} FROM waiting WHERE group_name = $1 AND reason <> 'behind'"  # noqa: S608 - constant columns
        " AND now() - since > $2 ORDER BY since LIMIT $3",
        group,
        ALARM_AFTER,
        limit,
    )
    return [_head(row) for row in rows]
