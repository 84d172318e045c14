"""Every SQL statement about webhook deliveries as people see them: adding, listing, replaying, forgetting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from services.notify.domain.webhook_delivery import DeliveryState
from services.notify.store.webhook_endpoints import Reader
from shared.db import Database, Record, Tx
from shared.due import hint

CHANNEL = "deskwire_webhook"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """What is to be sent."""

    tenant_id: str
    event_id: UUID
    type: str
    ticket_id: UUID | None
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDelivery:
    """To whom."""

    id: UUID
    tenant_id: str
    endpoint_id: UUID
    event_id: UUID
    type: str
    expired: bool = False
    """Recorded, and not sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One delivery as it is shown."""

    id: UUID
    seq: int
    tenant_id: str
    endpoint_id: UUID
    event_id: UUID
    type: str
    state: DeliveryState
    reason: str | None
    attempts: int
    due_at: datetime
    status: int | None
    error: str | None
    milliseconds: float | None
    answer: str | None
    queued_at: datetime
    created_at: datetime
    ended_at: datetime | None


_COLUMNS = """d.id, d.seq, d.tenant_id, d.endpoint_id, d.event_id, d.type, d.state, d.reason, d.attempts, d.due_at,
    d.status, d.error, d.milliseconds, d.answer, d.queued_at, d.created_at, d.ended_at"""

_ADD_EVENTS = """
    INSERT INTO webhook_event (tenant_id, event_id, type, ticket_id, body, created_at)
    SELECT *, $6::timestamptz FROM unnest($1::text[], $2::uuid[], $3::text[], $4::uuid[], $5::bytea[])
    ON CONFLICT DO NOTHING
"""

_ADD = """
    INSERT INTO webhook_delivery (
        id, tenant_id, endpoint_id, event_id, type, state, due_at, queued_at, created_at, ended_at
    )
    SELECT a.id, a.tenant_id, a.endpoint_id, a.event_id, a.type, CASE WHEN a.expired THEN 'expired' ELSE 'pending' END,
        $7::timestamptz, $7, $7, CASE WHEN a.expired THEN $7::timestamptz END
    FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::uuid[], $5::text[], $6::boolean[]) WITH ORDINALITY
        AS a (id, tenant_id, endpoint_id, event_id, type, expired, place)
    ORDER BY a.place
    ON CONFLICT (id) DO NOTHING
"""

# Those of a deleted endpoint cannot be seen: the join, not only the tenant, decides.
_LIST = f"""
    SELECT {_COLUMNS} FROM webhook_delivery d JOIN webhook_endpoint w USING (endpoint_id)
    WHERE d.endpoint_id = $2 AND d.tenant_id = $1 AND w.deleted_at IS NULL
        AND ($3::text IS NULL OR d.state = $3) AND ($4::bigint IS NULL OR d.seq < $4)
    ORDER BY d.seq DESC LIMIT $5
"""  # noqa: S608 - our own columns

_GET = f"""
    SELECT {_COLUMNS} FROM webhook_delivery d JOIN webhook_endpoint w USING (endpoint_id)
    WHERE d.id = $2 AND d.tenant_id = $1 AND w.deleted_at IS NULL
    FOR UPDATE OF d
"""  # noqa: S608 - our own columns

_AGAIN = """
    UPDATE webhook_delivery SET
        state = 'pending', reason = NULL, attempts = 0, due_at = $1::timestamptz, queued_at = $1, ended_at = NULL,
        lease_token = NULL, lease_until = NULL
"""

_REPLAY_FAILED = f"""
    {_AGAIN} WHERE id IN (
        SELECT id FROM webhook_delivery
        WHERE tenant_id = $2 AND endpoint_id = $3 AND state IN ('failed', 'expired') AND ended_at >= $4
        ORDER BY ended_at LIMIT $5 FOR UPDATE SKIP LOCKED
    )
"""  # noqa: S608 - our own statement

_FORGET = """
    DELETE FROM webhook_delivery WHERE id IN (
        SELECT id FROM webhook_delivery
        WHERE created_at < (SELECT desk_now()) - $1::interval AND state <> 'pending'
        ORDER BY created_at LIMIT $2
    )
"""

# Twice as long: a delivery replayed on its last day still has its body.
_FORGET_EVENTS = """
    DELETE FROM webhook_event WHERE (tenant_id, event_id) IN (
        SELECT tenant_id, event_id FROM webhook_event
        WHERE created_at < (SELECT desk_now()) - $1::interval * 2
        ORDER BY created_at LIMIT $2
    )
"""


async def add(tx: Tx, events: Sequence[NewEvent], deliveries: Sequence[NewDelivery]) -> None:
    """Keep events and have them sent after the commit of `tx`, in this order as far as endpoints allow."""
    if not deliveries:
        return
    await tx.execute(
        _ADD_EVENTS,
        [one.tenant_id for one in events],
        [one.event_id for one in events],
        [one.type for one in events],
        [one.ticket_id for one in events],
        [one.body for one in events],
        tx.instant,
    )
    await tx.execute(
        _ADD,
        [one.id for one in deliveries],
        [one.tenant_id for one in deliveries],
        [one.endpoint_id for one in deliveries],
        [one.event_id for one in deliveries],
        [one.type for one in deliveries],
        [one.expired for one in deliveries],
        tx.instant,
    )
    await hint(tx, CHANNEL, 0.0)


async def listing(
    reader: Reader, tenant_id: str, endpoint_id: UUID, *, state: str | None, before: int | None, limit: int
) -> list[Delivery]:
    """Deliveries to an endpoint, newest first, below the position `before`."""
    return [_delivery(row) for row in await reader.fetch(_LIST, tenant_id, endpoint_id, state, before, limit)]


async def lock(tx: Tx, tenant_id: str, delivery_id: UUID) -> Delivery | None:
    """One delivery of a tenant, locked."""
    row = await tx.fetchrow(_GET, tenant_id, delivery_id)
    return None if row is None else _delivery(row)


async def replay(tx: Tx, delivery_id: UUID) -> None:
    """Send a locked delivery again, with ten attempts before it."""
    await tx.execute(f"{_AGAIN} WHERE id = $2", tx.instant, delivery_id)
    await hint(tx, CHANNEL, 0.0)


async def replay_failed(tx: Tx, tenant_id: str, endpoint_id: UUID, since: datetime, limit: int) -> int:
    """Send again up to `limit` of what was given up or had expired since an instant, oldest first; how many."""
    tag = await tx.execute(_REPLAY_FAILED, tx.instant, tenant_id, endpoint_id, since, limit)
    await hint(tx, CHANNEL, 0.0)
    return int(tag.rpartition(" ")[2])


async def forget(database: Database, kept: timedelta, limit: int = 5000) -> int:
    """Delete up to `limit` ended deliveries, and bodies, older than `kept`; how many of both."""
    gone = 0
    for statement in (_FORGET, _FORGET_EVENTS):
        tag = await database.execute(statement, kept, limit)
        gone += int(tag.rpartition(" ")[2])
    return gone


def _delivery(row: Record) -> Delivery:
    return Delivery(**{**dict(row), "state": DeliveryState(row["state"])})
