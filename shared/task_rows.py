"""The rows of tasks: adding, leasing, finishing, putting off, parking. Every statement about them is here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson
import uuid_utils

if TYPE_CHECKING:
    from shared.db import Database, Record, Tx


def _new_id() -> UUID:
    return UUID(int=uuid_utils.uuid7().int)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One piece of work. `kind` names what does it, `key` the thing it is about."""

    kind: str
    key: str
    tenant_id: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    """What the work needs, as JSON."""
    due_at: datetime | None = None
    """Not before this instant (UTC); None for at once."""
    id: UUID = field(default_factory=_new_id)
    """Given (a UUIDv5) where the same work may be asked for twice: the second is ignored while the first is there."""
    attempts: int = 0
    """Attempts begun, this one included; nothing to set when adding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leased:
    """A task that is ours until the lease ends."""

    task: Task
    token: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """A task that no attempt is left for; it waits for a person."""

    id: UUID
    kind: str
    key: str
    tenant_id: str
    attempts: int
    parked_at: datetime
    error: str | None


_ADD = """
    INSERT INTO task (id, kind, key, tenant_id, payload, due_at, created_at)
    SELECT a.id, a.kind, a.key, a.tenant_id, a.payload::jsonb, coalesce(a.due_at, desk_now()), desk_now()
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[])
        AS a (id, kind, key, tenant_id, payload, due_at)
    ORDER BY a.id
    ON CONFLICT (id) DO NOTHING
"""

_HASTEN = """
    UPDATE task SET due_at = desk_now()
    WHERE id IN (
        SELECT id FROM task
        WHERE kind = $1 AND key = ANY ($2::text[]) AND attempts = 0 AND parked_at IS NULL AND lease_token IS NULL
            AND due_at > desk_now() AND due_at <= desk_now() + $3::interval
        ORDER BY id FOR UPDATE
    )
"""

_EXPIRE = """
    UPDATE task SET lease_token = NULL, lease_until = NULL
    WHERE id IN (
        SELECT id FROM task WHERE lease_token IS NOT NULL AND lease_until < now() LIMIT 500 FOR UPDATE SKIP LOCKED
    )
    RETURNING id
"""


@cache
def lease_statement(count: int) -> str:
    """Lease up to `count` tasks. Public for the plan test; the limit stands in the text so that the plan is for it."""
    return f"""
        UPDATE task t SET
            lease_token = gen_random_uuid(), lease_until = clock_timestamp() + $2, attempts = t.attempts + 1
        FROM (
            SELECT id FROM task
            WHERE kind = $1 AND due_at <= (SELECT desk_now()) AND parked_at IS NULL AND lease_token IS NULL
            ORDER BY due_at LIMIT {count:d} FOR UPDATE SKIP LOCKED
        ) c
        WHERE t.id = c.id
        RETURNING t.id, t.kind, t.key, t.tenant_id, t.payload, t.due_at, t.attempts, t.lease_token
    """  # noqa: S608 - a whole number


_PEEK = """
    SELECT
        extract(epoch FROM min(first.due_at) - (clock_timestamp() + (SELECT shift FROM clock_offset)))::float8 AS due,
        (SELECT extract(epoch FROM min(lease_until) - clock_timestamp())::float8 FROM task
            WHERE lease_token IS NOT NULL) AS expiry
    FROM unnest($1::text[]) AS k (kind), LATERAL (
        SELECT min(due_at) AS due_at FROM task
        WHERE kind = k.kind AND parked_at IS NULL AND lease_token IS NULL
    ) first
"""


async def insert(tx: Tx, tasks: Sequence[Task]) -> None:
    """Add tasks; those whose id is there already are left as they are."""
    await tx.execute(
        _ADD,
        [task.id for task in tasks],
        [task.kind for task in tasks],
        [task.key for task in tasks],
        [task.tenant_id for task in tasks],
        [orjson.dumps(task.payload).decode() for task in tasks],
        [task.due_at for task in tasks],
    )


async def delete(tx: Tx, kind: str, keys: Sequence[str]) -> None:
    """Take tasks away by what they are about; the result of one being worked on will be dropped."""
    await tx.execute("DELETE FROM task WHERE kind = $1 AND key = ANY ($2::text[])", kind, list(keys))


async def hasten(tx: Tx, kind: str, keys: Sequence[str], within: timedelta) -> int:
    """Make tasks due that would be anyway `within` that time and were not tried yet; how many there were."""
    tag = await tx.execute(_HASTEN, kind, list(keys), within)
    return int(tag.rpartition(" ")[2])


async def expire(database: Database) -> list[UUID]:
    """End leases whose holder did not report in time; those tasks."""
    return [row["id"] for row in await database.fetch(_EXPIRE)]


async def lease(database: Database, kind: str, count: int, length: timedelta) -> list[Leased]:
    """Take up to `count` due tasks of a kind for `length`; counts as an attempt, so that a crash counts too."""
    rows = await database.fetch(lease_statement(count), kind, length)
    return [Leased(task=_task(row), token=row["lease_token"]) for row in rows]


async def peek(database: Database, kinds: Sequence[str]) -> tuple[float | None, float | None]:
    """Seconds until a task of these kinds is due, and until a lease ends; None where there is none."""
    row = await database.fetchrow(_PEEK, list(kinds))
    return (None, None) if row is None else (row["due"], row["expiry"])


async def finish(tx: Tx, leased: Leased) -> bool:
    """Take a finished task away; False when the lease is not ours any more."""
    tag = await tx.execute("DELETE FROM task WHERE id = $1 AND lease_token = $2", leased.task.id, leased.token)
    return tag == "DELETE 1"


async def postpone(tx: Tx, leased: Leased, delay: timedelta, error: str, *, counted: bool = True) -> bool:
    """Try again after `delay`; False when the lease is not ours any more. `counted`: it was an attempt."""
    tag = await tx.execute(
        "UPDATE task SET lease_token = NULL, lease_until = NULL, due_at = desk_now() + $3, last_error = $4,"
        " attempts = attempts - $5 WHERE id = $1 AND lease_token = $2",
        leased.task.id,
        leased.token,
        delay,
        error,
        0 if counted else 1,
    )
    return tag == "UPDATE 1"


async def give_back(database: Database, leased: Leased) -> None:
    """Return a task that was not worked on to its end, as if it had not been taken."""
    await database.execute(
        "UPDATE task SET lease_token = NULL, lease_until = NULL, attempts = attempts - 1"
        " WHERE id = $1 AND lease_token = $2",
        leased.task.id,
        leased.token,
    )


async def park(tx: Tx, leased: Leased, error: str) -> bool:
    """Put a task aside for a person; False when the lease is not ours any more."""
    tag = await tx.execute(
        "UPDATE task SET lease_token = NULL, lease_until = NULL, parked_at = desk_now(), last_error = $3"
        " WHERE id = $1 AND lease_token = $2",
        leased.task.id,
        leased.token,
        error,
    )
    return tag == "UPDATE 1"


async def parked(database: Database, limit: int = 100) -> list[Parked]:
    """Tasks put aside, oldest first."""
    rows = await database.fetch(
        "SELECT id, kind, key, tenant_id, attempts, parked_at, last_error AS error FROM task"
        " WHERE parked_at IS NOT NULL ORDER BY parked_at LIMIT $1",
        limit,
    )
    return [Parked(**dict(row)) for row in rows]


async def count_parked(database: Database) -> int:
    """How many tasks are put aside."""
    found: int = await database.fetchval("SELECT count(*) FROM task WHERE parked_at IS NOT NULL")
    return found


async def release(tx: Tx, ids: Sequence[UUID]) -> int:
    """Have parked tasks tried again from the first attempt; how many."""
    tag = await tx.execute(
        "UPDATE task SET parked_at = NULL, attempts = 0, due_at = desk_now() WHERE id = ANY ($1::uuid[])"
        " AND parked_at IS NOT NULL",
        list(ids),
    )
    return int(tag.rpartition(" ")[2])


async def discard(tx: Tx, ids: Sequence[UUID]) -> int:
    """Delete parked tasks; how many."""
    tag = await tx.execute("DELETE FROM task WHERE id = ANY ($1::uuid[]) AND parked_at IS NOT NULL", list(ids))
    return int(tag.rpartition(" ")[2])


def _task(row: Record) -> Task:
    return Task(
        id=row["id"],
        kind=row["kind"],
        key=row["key"],
        tenant_id=row["tenant_id"],
        payload=orjson.loads(row["payload"]),
        due_at=row["due_at"],
        attempts=row["attempts"],
    )
