"""Waiting keys for people: list them, look into one, let it go on, or give an event up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from shared import inbox, outbox, waiting
from shared.contracts import cloudevents
from shared.db import Database, Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedKey:
    """A key that does not go on, with why."""

    key: str
    reason: waiting.Reason
    topic: str
    """Topic of its first event, as the manifest names it."""
    partition: int
    offset: int
    missing: tuple[str, str] | None
    """Kind and id of what it waits for."""
    error: str | None
    """Class and place of the error; never a value."""
    attempts: int
    since: datetime
    events: int
    """Its events in the table, the first included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedEvent:
    """One event of a parked key. `payload` and `headers` are the record as received; treat them as personal data."""

    id: int
    topic: str
    partition: int
    offset: int
    reason: waiting.Reason
    error: str | None
    payload: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


async def keys(
    database: Database, service: str, *, reason: waiting.Reason | None = None, limit: int = 1000
) -> list[ParkedKey]:
    """Keys that wait, longest first; of one reason, if given."""
    rows = await database.fetch(
        'SELECT h.key, h.reason, h.topic, h.partition, h."offset", h.missing_kind, h.missing_id, h.error, h.attempts,'
        " h.since, (SELECT count(*) FROM waiting w WHERE w.group_name = h.group_name AND w.key = h.key) AS events"
        " FROM waiting h WHERE h.group_name = $1 AND ($2::text IS NULL OR h.reason = $2)"
        " AND h.id = (SELECT min(w.id) FROM waiting w WHERE w.group_name = h.group_name AND w.key = h.key)"
        " ORDER BY h.since, h.id LIMIT $3",
        service,
        reason,
        limit,
    )
    return [
        ParkedKey(
            key=row["key"],
            reason=row["reason"],
            topic=row["topic"],
            partition=row["partition"],
            offset=row["offset"],
            missing=None if row["missing_kind"] is None else (row["missing_kind"], row["missing_id"]),
            error=row["error"],
            attempts=row["attempts"],
            since=row["since"],
            events=row["events"],
        )
        for row in rows
    ]


async def events(database: Database, service: str, key: str, *, limit: int = 1000) -> list[ParkedEvent]:
    """The events of one key in the order in which they will be handled; empty when it does not wait."""
    rows = await database.fetch(
        'SELECT id, topic, partition, "offset", reason, error, payload, headers FROM waiting'
        " WHERE group_name = $1 AND key = $2 ORDER BY id LIMIT $3",
        service,
        key,
        limit,
    )
    return [
        ParkedEvent(
            id=row["id"],
            topic=row["topic"],
            partition=row["partition"],
            offset=row["offset"],
            reason=row["reason"],
            error=row["error"],
            payload=row["payload"],
            headers=tuple(outbox.unpack_any(row["headers"])),
        )
        for row in rows
    ]


async def release(database: Database, service: str, key: str) -> bool:
    """Let a key go on from its first event, with fresh attempts; False when it does not wait.

    A running instance picks it up within half a second. What it waits for, if anything, still has to be there.
    """
    async with database.begin() as tx:
        await waiting.lock(tx, service, [key])
        tag = await tx.execute(
            "UPDATE waiting SET due_at = now(), attempts = 0, error = NULL, since = now()"
            " WHERE id = (SELECT min(id) FROM waiting WHERE group_name = $1 AND key = $2)",
            service,
            key,
        )
    return tag.endswith(" 1")


async def discard(database: Database, service: str, key: str, *, whole_key: bool = False) -> int:
    """Give up the first event of a key, or all of them; how many were given up.

    They count as handled from then on, so that a replay does not bring them back. With the first one gone the next
    is tried.
    """
    async with database.begin() as tx:
        await waiting.lock(tx, service, [key])
        rows = await tx.fetch(
            "DELETE FROM waiting WHERE group_name = $1 AND key = $2 AND ($3 OR id ="
            " (SELECT min(id) FROM waiting WHERE group_name = $1 AND key = $2)) RETURNING headers",
            service,
            key,
            whole_key,
        )
        for row in rows:
            await _handled(tx, service, row["headers"])
        await waiting.promote(tx, service, key)
    return len(rows)


async def _handled(tx: Tx, service: str, headers: bytes) -> None:
    try:
        given = cloudevents.read(outbox.unpack_any(headers))
    except cloudevents.HeaderError:
        return  # a tombstone, which no inbox knows
    await inbox.record(tx, service, given.id, given.time.date())
