"""Every SQL statement about working on webhook deliveries: who has some due, leasing them in batches, their results.

The first two follow one partial index (`webhook_delivery_due`), so that what they cost depends on what is due and not
on what has piled up before an endpoint that is down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from services.notify.domain.webhook_delivery import Answer, FailureReason, Verdict
from shared.db import Database, Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """An endpoint with deliveries nobody is working on."""

    endpoint_id: UUID
    tenant_id: str
    due_in: float
    """Seconds until the first of them is due and the endpoint is not held any more; 0 or less: now."""
    version: int
    url: str
    active: bool
    failures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Leased:
    """A delivery that is ours until its lease ends."""

    id: UUID
    tenant_id: str
    endpoint_id: UUID
    event_id: UUID
    type: str
    ticket_id: UUID | None
    body: bytes | None
    """None when it has been forgotten meanwhile."""
    attempts: int
    """Begun, this one included."""
    queued_at: datetime
    token: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What an attempt met."""

    leased: Leased
    answer: Answer
    ended: float
    """When (monotonic seconds)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenUp:
    """A delivery no attempt is left for."""

    id: UUID
    tenant_id: str
    event_id: UUID
    type: str
    ticket_id: UUID | None
    attempts: int


_HEADS = """
    WITH RECURSIVE head AS (
        (
            SELECT endpoint_id, due_at FROM webhook_delivery WHERE state = 'pending' AND lease_token IS NULL
            ORDER BY endpoint_id, due_at LIMIT 1
        )
        UNION ALL
        SELECT n.endpoint_id, n.due_at FROM head, LATERAL (
            SELECT endpoint_id, due_at FROM webhook_delivery
            WHERE state = 'pending' AND lease_token IS NULL AND endpoint_id > head.endpoint_id
            ORDER BY endpoint_id, due_at LIMIT 1
        ) n
    )
    SELECT
        w.endpoint_id, w.tenant_id, w.version, w.url, w.active, w.failures,
        extract(epoch FROM greatest(h.due_at, CASE WHEN w.active THEN w.held_until END)
            - (clock_timestamp() + (SELECT shift FROM clock_offset)))::float8 AS due_in
    FROM head h JOIN webhook_endpoint w USING (endpoint_id)
"""

_LEASE = """
    UPDATE webhook_delivery d SET
        lease_token = gen_random_uuid(), lease_until = clock_timestamp() + $3, attempts = d.attempts + 1
    FROM (
        SELECT c.id FROM unnest($1::uuid[], $2::integer[]) AS r (endpoint_id, room), LATERAL (
            SELECT id FROM webhook_delivery
            WHERE endpoint_id = r.endpoint_id AND state = 'pending' AND lease_token IS NULL
                AND due_at <= (SELECT desk_now())
            ORDER BY due_at, seq LIMIT r.room FOR UPDATE SKIP LOCKED
        ) c
    ) chosen
    WHERE d.id = chosen.id
    RETURNING d.id, d.seq, d.tenant_id, d.endpoint_id, d.event_id, d.type, d.attempts, d.queued_at, d.lease_token,
        d.due_at
"""

_LEASE_WITH_BODIES = f"""
    WITH leased AS ({_LEASE})
    SELECT l.*, e.ticket_id, e.body FROM leased l
    LEFT JOIN webhook_event e ON e.tenant_id = l.tenant_id AND e.event_id = l.event_id
    ORDER BY l.endpoint_id, l.due_at, l.seq
"""  # noqa: S608 - our own statement

_SETTLE = """
    UPDATE webhook_delivery d SET
        state = r.state, reason = r.reason, due_at = coalesce(r.due_at, d.due_at), status = r.status, error = r.error,
        milliseconds = r.milliseconds, answer = r.answer, lease_token = NULL, lease_until = NULL,
        ended_at = CASE WHEN r.state = 'pending' THEN NULL ELSE $10::timestamptz END
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::timestamptz[], $6::integer[], $7::text[],
        $8::real[], $9::text[]) AS r (id, token, state, reason, due_at, status, error, milliseconds, answer)
    WHERE d.id = r.id AND d.lease_token = r.token
    RETURNING d.id
"""

_GIVE_BACK = """
    UPDATE webhook_delivery d SET lease_token = NULL, lease_until = NULL, attempts = d.attempts - 1
    FROM unnest($1::uuid[], $2::uuid[]) AS r (id, token)
    WHERE d.id = r.id AND d.lease_token = r.token
"""

_EXPIRE = """
    UPDATE webhook_delivery SET lease_token = NULL, lease_until = NULL
    WHERE id IN (
        SELECT id FROM webhook_delivery WHERE lease_token IS NOT NULL AND lease_until < now()
        LIMIT 500 FOR UPDATE SKIP LOCKED
    )
    RETURNING id
"""

_GIVE_UP = """
    WITH gone AS (
        UPDATE webhook_delivery SET state = 'failed', reason = $2, ended_at = $3
        WHERE id IN (
            SELECT id FROM webhook_delivery
            WHERE endpoint_id = ANY ($1::uuid[]) AND state = 'pending' AND lease_token IS NULL
            ORDER BY endpoint_id, due_at, seq LIMIT $4 FOR UPDATE SKIP LOCKED
        )
        RETURNING id, tenant_id, event_id, type, attempts
    )
    SELECT g.*, e.ticket_id FROM gone g
    LEFT JOIN webhook_event e ON e.tenant_id = g.tenant_id AND e.event_id = g.event_id
"""


async def heads(database: Database) -> list[Head]:
    """Every endpoint with work nobody is at: one index probe each, however much has piled up."""
    return [Head(**dict(row)) for row in await database.fetch(_HEADS)]


async def lease(database: Database, rooms: Mapping[UUID, int], length: timedelta) -> list[Leased]:
    """Take up to so many due deliveries of each endpoint for `length`, in their order; counts as an attempt each."""
    rows = await database.fetch(_LEASE_WITH_BODIES, list(rooms), list(rooms.values()), length)
    return [
        Leased(
            id=row["id"],
            tenant_id=row["tenant_id"],
            endpoint_id=row["endpoint_id"],
            event_id=row["event_id"],
            type=row["type"],
            ticket_id=row["ticket_id"],
            body=row["body"],
            attempts=row["attempts"],
            queued_at=row["queued_at"],
            token=row["lease_token"],
        )
        for row in rows
    ]


async def settle(tx: Tx, results: Sequence[tuple[Result, Verdict]]) -> set[UUID]:
    """Write results whose lease is still ours; which those were."""
    ordered = sorted(results, key=lambda one: one[0].leased.id)
    rows = await tx.fetch(
        _SETTLE,
        [one.leased.id for one, _ in ordered],
        [one.leased.token for one, _ in ordered],
        [verdict.state.value for _, verdict in ordered],
        [verdict.reason and verdict.reason.value for _, verdict in ordered],
        [verdict.due_at for _, verdict in ordered],
        [one.answer.status for one, _ in ordered],
        [one.answer.error for one, _ in ordered],
        [one.answer.milliseconds for one, _ in ordered],
        [one.answer.text for one, _ in ordered],
        tx.instant,
    )
    return {row["id"] for row in rows}


async def give_back(database: Database, leased: Sequence[Leased]) -> None:
    """Return deliveries no attempt was made of, as if they had not been taken."""
    await database.execute(_GIVE_BACK, [one.id for one in leased], [one.token for one in leased])


async def expire(database: Database) -> int:
    """End leases whose holder did not report in time: what it sent may be sent once more; how many."""
    return len(await database.fetch(_EXPIRE))


async def give_up(tx: Tx, endpoint_ids: Sequence[UUID], reason: FailureReason, limit: int) -> list[GivenUp]:
    """Give up what waits for endpoints that are switched off."""
    rows = await tx.fetch(_GIVE_UP, list(endpoint_ids), reason.value, tx.instant, limit)
    return [GivenUp(**dict(row)) for row in rows]
