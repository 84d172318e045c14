"""The rows of timers: arming, claiming, firing, putting off. Every statement about them is here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from shared.db import Database, Record, Tx

LOCK_CLASS = 0x74696D65  # "time": the first half of our advisory locks' keys
LOOK_FURTHER = 4
"""How many times a batch is looked at for timers nobody else has: the first ones may all be another instance's."""

Place = tuple[str, str]
"""Kind and key of a timer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timer:
    """One instant of one thing: `kind` names the handler, `key` the thing. There is one per (kind, key)."""

    kind: str
    key: str
    tenant_id: str
    due_at: datetime
    """UTC, by the database's clock; in the past fires at once."""
    payload: Mapping[str, Any] = field(default_factory=dict)
    """What the handler will need, as JSON; better little, since the handler looks at its own rows."""
    attempts: int = 0
    """How often its handler has failed; nothing to set when arming."""

    def __post_init__(self) -> None:
        """Refuse an instant without a zone."""
        if self.due_at.tzinfo is None:
            raise ValueError("due_at: an instant needs a zone")


@dataclass(frozen=True, slots=True)
class Claim:
    """A due timer that no other instance fires while this transaction lasts."""

    timer: Timer
    id: int
    """Drawn anew whenever the timer is armed or moved."""

    @property
    def place(self) -> Place:
        """Kind and key."""
        return self.timer.kind, self.timer.key


_ARM = """
    INSERT INTO timer (kind, key, tenant_id, due_at, run_at, payload, armed_at)
    SELECT a.kind, a.key, a.tenant_id, a.due_at, a.due_at, a.payload::jsonb, desk_now()
    FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::text[])
        AS a (kind, key, tenant_id, due_at, payload)
    ON CONFLICT (kind, key) DO UPDATE SET
        id = nextval('timer_id'), tenant_id = excluded.tenant_id, due_at = excluded.due_at, run_at = excluded.run_at,
        payload = excluded.payload, attempts = 0, last_error = NULL, armed_at = excluded.armed_at
    WHERE timer.due_at <> excluded.due_at OR timer.payload <> excluded.payload
"""

_CANCEL = "DELETE FROM timer WHERE kind = $1 AND key = ANY ($2::text[])"


@cache
def claim_statement(count: int, *, strangers: bool = False) -> str:
    """Claim up to `count` timers. Public for the plan test.

    Three things keep it on the index of instants. `desk_now()` is an index condition; a filter would visit every
    timer. The limits stand in the text; a plan for any limit whatever is made for a tenth of the table, and sorts it.
    Kinds are told apart outside; the planner, before it has statistics, takes one kind for a few rows, and sorts a
    million. Only where timers of kinds that no handler here knows fill the front (`strangers`), it is done inside.
    """
    inside = "AND kind = ANY ($1::text[])" if strangers else ""
    return f"""
        WITH due AS MATERIALIZED (
            SELECT kind, key, id, tenant_id, due_at, payload, attempts FROM timer
            WHERE run_at <= (SELECT desk_now()) {inside}
            ORDER BY run_at LIMIT {count * LOOK_FURTHER:d}
        )
        SELECT * FROM due
        WHERE kind = ANY ($1::text[]) AND pg_try_advisory_xact_lock($2, (id % 2147483647)::integer) LIMIT {count:d}
    """  # noqa: S608 - two whole numbers and a constant


# A statement of its own, after the locks: it sees what whoever held them before us has committed.
_READ = """
    SELECT t.kind, t.key, t.id, t.tenant_id, t.due_at, t.payload, t.attempts
    FROM unnest($1::text[], $2::text[], $3::bigint[]) AS c (kind, key, id)
    JOIN timer t ON t.kind = c.kind AND t.key = c.key AND t.id = c.id
    WHERE t.run_at <= (SELECT desk_now())
"""

_RECLAIM = """
    SELECT kind, key, id FROM unnest($1::text[], $2::text[], $3::bigint[]) AS c (kind, key, id)
    WHERE pg_try_advisory_xact_lock($4, (id % 2147483647)::integer)
"""

_FIRED = """
    WITH gone AS (
        DELETE FROM timer t USING unnest($1::text[], $2::text[], $3::bigint[]) AS c (kind, key, id)
        WHERE t.kind = c.kind AND t.key = c.key AND t.id = c.id
        RETURNING t.id
    ), now AS MATERIALIZED (
        SELECT clock_timestamp() + shift AS instant FROM clock_offset
    ), told AS (
        INSERT INTO timer_ledger (slot, kind, key, due_at, fired_at, attempts)
        SELECT timer_ledger_slot(now.instant), f.kind, f.key, f.due_at, now.instant, f.attempts
        FROM now, unnest($1::text[], $2::text[], $4::timestamptz[], $5::integer[]) AS f (kind, key, due_at, attempts)
    )
    SELECT (SELECT array_agg(id) FROM gone) AS gone, (SELECT instant FROM now) AS fired_at
"""

_POSTPONE = """
    UPDATE timer SET attempts = attempts + 1, run_at = desk_now() + $4, last_error = $5
    WHERE kind = $1 AND key = $2 AND id = $3
"""

_PEEK = """
    SELECT extract(epoch FROM min(run_at) - (clock_timestamp() + (SELECT shift FROM clock_offset)))::float8
    FROM timer WHERE kind = ANY ($1::text[])
"""


async def insert(tx: Tx, timers: Sequence[Timer]) -> None:
    """Arm or move timers, one per place."""
    # In key order, so that two transactions that arm the same timers wait for each other instead of deadlocking.
    ordered = sorted(timers, key=lambda timer: (timer.kind, timer.key))
    await tx.execute(
        _ARM,
        [timer.kind for timer in ordered],
        [timer.key for timer in ordered],
        [timer.tenant_id for timer in ordered],
        [timer.due_at for timer in ordered],
        [orjson.dumps(timer.payload).decode() for timer in ordered],
    )


async def delete(tx: Tx, kind: str, keys: Sequence[str]) -> None:
    """Disarm timers."""
    await tx.execute(_CANCEL, kind, list(keys))


async def claim(
    tx: Tx, kinds: Sequence[str], count: int, *, careful: bool = False, strangers: bool = False
) -> list[Claim]:
    """Up to `count` due timers of these kinds that nobody else is firing.

    With `careful` they are read once more after they were locked: without it another instance may have fired one
    between the look and the lock, which `settle` finds out, at the price of a firing for nothing.
    """
    rows = await tx.fetch(claim_statement(count, strangers=strangers), list(kinds), LOCK_CLASS)
    claims = [_claim(row) for row in rows]
    return await _read(tx, claims) if careful and claims else _sorted(claims)


async def claim_again(tx: Tx, claims: Sequence[Claim]) -> list[Claim]:
    """Those of `claims` that are due as they were and that nobody else is firing."""
    rows = await tx.fetch(_RECLAIM, *_columns(claims), LOCK_CLASS)
    free = {row["id"] for row in rows}
    return await _read(tx, [claim for claim in claims if claim.id in free])


async def _read(tx: Tx, claims: Sequence[Claim]) -> list[Claim]:
    return _sorted([_claim(row) for row in await tx.fetch(_READ, *_columns(claims))])


def _sorted(claims: list[Claim]) -> list[Claim]:
    return sorted(claims, key=lambda claim: claim.place)


async def settle(tx: Tx, fired: Sequence[Claim]) -> tuple[set[int], datetime]:
    """Delete what fired and enter it in the ledger; the ids that were still there, and the instant (desk time)."""
    row = await tx.fetchrow(
        _FIRED,
        *_columns(fired),
        [claim.timer.due_at for claim in fired],
        [claim.timer.attempts for claim in fired],
    )
    if row is None:
        raise AssertionError("an aggregate has one row")
    return set(row["gone"] or ()), row["fired_at"]


async def postpone(database: Database, claim: Claim, delay: timedelta, error: str) -> None:
    """Try a timer again after `delay`, unless it was cancelled or moved meanwhile."""
    await database.execute(_POSTPONE, *claim.place, claim.id, delay, error)


async def peek(database: Database, kinds: Sequence[str]) -> float | None:
    """Seconds until the next instant of these kinds; negative when it has passed, None when nothing is armed."""
    seconds: float | None = await database.fetchval(_PEEK, list(kinds))
    return seconds


async def count_failing(database: Database) -> int:
    """How many timers are put off after a failure."""
    found: int = await database.fetchval("SELECT count(*) FROM timer WHERE attempts > 0")
    return found


async def prune(database: Database) -> bool:
    """Let the oldest day of the ledger go; whether there was one."""
    pruned: bool = await database.fetchval("SELECT timer_ledger_prune()")
    return pruned


def _columns(claims: Sequence[Claim]) -> tuple[list[str], list[str], list[int]]:
    return (
        [claim.timer.kind for claim in claims],
        [claim.timer.key for claim in claims],
        [claim.id for claim in claims],
    )


def _claim(row: Record) -> Claim:
    timer = Timer(
        kind=row["kind"],
        key=row["key"],
        tenant_id=row["tenant_id"],
        due_at=row["due_at"],
        payload=orjson.loads(row["payload"]),
        attempts=row["attempts"],
    )
    return Claim(timer, row["id"])
