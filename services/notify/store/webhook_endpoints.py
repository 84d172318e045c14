"""Every SQL statement about webhook endpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from services.notify.domain.webhook_endpoint import Endpoint, Health
from shared.db import Record, Tx


class Reader(Protocol):
    """A database or a transaction, as far as reading goes."""

    async def fetch(self, sql: str, *args: object) -> list[Record]:
        """All rows."""

    async def fetchrow(self, sql: str, *args: object) -> Record | None:
        """The first row, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriber:
    """An active endpoint as far as choosing goes."""

    tenant_id: str
    endpoint_id: UUID
    event_types: tuple[str, ...]
    include_internal: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """An endpoint's wrapped secrets; the former one only while it is valid."""

    current: bytes
    former: bytes | None


_COLUMNS = """endpoint_id, tenant_id, version, url, description, event_types, include_internal, active,
    disabled_reason, disabled_at, failures, failing_since, held_until, former_until, created_at, updated_at"""

_SUBSCRIBERS = """
    SELECT tenant_id, endpoint_id, event_types, include_internal FROM webhook_endpoint
    WHERE tenant_id = ANY ($1::text[]) AND active AND deleted_at IS NULL
    ORDER BY endpoint_id
"""

_ADD = """
    INSERT INTO webhook_endpoint (
        endpoint_id, tenant_id, url, description, event_types, include_internal, active, disabled_reason, disabled_at,
        secret, created_at, updated_at
    ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11)
"""

_SAVE = """
    UPDATE webhook_endpoint SET
        version = $3, url = $4, description = $5, event_types = $6, include_internal = $7, active = $8,
        disabled_reason = $9, disabled_at = $10, failures = $11, failing_since = $12, held_until = $13, updated_at = $14
    WHERE tenant_id = $1 AND endpoint_id = $2
"""

_ROTATE = """
    UPDATE webhook_endpoint SET
        former_secret = secret, former_until = $4, secret = $3, version = version + 1, updated_at = $5
    WHERE tenant_id = $1 AND endpoint_id = $2 AND deleted_at IS NULL
"""

_DELETE = """
    UPDATE webhook_endpoint SET
        active = false, secret = '', former_secret = NULL, former_until = NULL, deleted_at = $3, updated_at = $3,
        version = version + 1
    WHERE tenant_id = $1 AND endpoint_id = $2 AND deleted_at IS NULL
"""

_SECRETS = """
    SELECT endpoint_id, secret, CASE WHEN former_until > (SELECT desk_now()) THEN former_secret END AS former
    FROM webhook_endpoint WHERE endpoint_id = ANY ($1::uuid[]) AND deleted_at IS NULL
"""

_SAVE_HEALTH = """
    UPDATE webhook_endpoint w SET
        failures = h.failures, failing_since = h.failing_since, held_until = h.held_until,
        active = w.active AND h.disabled IS NULL,
        disabled_reason = coalesce(h.disabled, w.disabled_reason),
        disabled_at = CASE WHEN h.disabled IS NULL THEN w.disabled_at ELSE $6 END,
        version = w.version + (h.disabled IS NOT NULL)::integer,
        updated_at = CASE WHEN h.disabled IS NULL THEN w.updated_at ELSE $6 END
    FROM unnest($1::uuid[], $2::integer[], $3::timestamptz[], $4::timestamptz[], $5::text[])
        AS h (endpoint_id, failures, failing_since, held_until, disabled)
    WHERE w.endpoint_id = h.endpoint_id
"""


async def subscribers(tx: Tx, tenants: Sequence[str]) -> list[Subscriber]:
    """Every active endpoint of these tenants."""
    rows = await tx.fetch(_SUBSCRIBERS, list(tenants))
    return [
        Subscriber(
            tenant_id=row["tenant_id"],
            endpoint_id=row["endpoint_id"],
            event_types=tuple(row["event_types"]),
            include_internal=row["include_internal"],
        )
        for row in rows
    ]


async def lock_tenant(tx: Tx, tenant_id: str) -> None:
    """Let one transaction at a time add an endpoint to a tenant, so that the limit on their number holds."""
    await tx.execute("SELECT pg_advisory_xact_lock(hashtext('deskwire.webhooks'), hashtext($1))", tenant_id)


async def add(tx: Tx, endpoint: Endpoint, secret: bytes) -> None:
    """Keep a new endpoint with its wrapped secret."""
    await tx.execute(
        _ADD,
        endpoint.endpoint_id,
        endpoint.tenant_id,
        endpoint.url,
        endpoint.description,
        list(endpoint.event_types),
        endpoint.include_internal,
        endpoint.active,
        endpoint.disabled_reason,
        endpoint.disabled_at,
        secret,
        endpoint.created_at,
    )


async def get(reader: Reader, tenant_id: str, endpoint_id: UUID, *, lock: bool = False) -> Endpoint | None:
    """One endpoint of a tenant; None for one that is not there, or is somebody else's."""
    row = await reader.fetchrow(
        f"SELECT {_COLUMNS} FROM webhook_endpoint"  # noqa: S608 - our own columns
        f" WHERE tenant_id = $1 AND endpoint_id = $2 AND deleted_at IS NULL{' FOR UPDATE' if lock else ''}",
        tenant_id,
        endpoint_id,
    )
    return None if row is None else _endpoint(row)


async def of_tenant(reader: Reader, tenant_id: str) -> list[Endpoint]:
    """All endpoints of a tenant, oldest first; there are never many."""
    rows = await reader.fetch(
        f"SELECT {_COLUMNS} FROM webhook_endpoint"  # noqa: S608 - our own columns
        " WHERE tenant_id = $1 AND deleted_at IS NULL ORDER BY created_at, endpoint_id",
        tenant_id,
    )
    return [_endpoint(row) for row in rows]


async def save(tx: Tx, endpoint: Endpoint) -> None:
    """Write a changed endpoint, whose row the caller has locked."""
    await tx.execute(
        _SAVE,
        endpoint.tenant_id,
        endpoint.endpoint_id,
        endpoint.version,
        endpoint.url,
        endpoint.description,
        list(endpoint.event_types),
        endpoint.include_internal,
        endpoint.active,
        endpoint.disabled_reason,
        endpoint.disabled_at,
        endpoint.health.failures,
        endpoint.health.failing_since,
        endpoint.health.held_until,
        endpoint.updated_at,
    )


async def rotate(tx: Tx, tenant_id: str, endpoint_id: UUID, secret: bytes, former_until: datetime) -> bool:
    """Sign with a new wrapped secret, and with the one before until then; False where there is no such endpoint."""
    tag = await tx.execute(_ROTATE, tenant_id, endpoint_id, secret, former_until, tx.instant)
    return tag == "UPDATE 1"


async def delete(tx: Tx, tenant_id: str, endpoint_id: UUID) -> bool:
    """Forget an endpoint and its secrets; False where there is none."""
    tag = await tx.execute(_DELETE, tenant_id, endpoint_id, tx.instant)
    return tag == "UPDATE 1"


async def secrets(reader: Reader, endpoint_ids: Sequence[UUID]) -> dict[UUID, Secrets]:
    """The wrapped secrets that sign for these endpoints now."""
    rows = await reader.fetch(_SECRETS, list(endpoint_ids))
    return {row["endpoint_id"]: Secrets(current=row["secret"], former=row["former"]) for row in rows}


async def failing(tx: Tx, endpoint_ids: Sequence[UUID]) -> list[UUID]:
    """Which of these have failures written, or are held."""
    if not endpoint_ids:
        return []
    rows = await tx.fetch(
        "SELECT endpoint_id FROM webhook_endpoint"
        " WHERE endpoint_id = ANY ($1::uuid[]) AND (failures > 0 OR held_until IS NOT NULL)",
        list(endpoint_ids),
    )
    return [row["endpoint_id"] for row in rows]


async def lock(tx: Tx, endpoint_ids: Sequence[UUID]) -> dict[UUID, Endpoint]:
    """These endpoints, locked in key order."""
    if not endpoint_ids:
        return {}
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM webhook_endpoint"  # noqa: S608 - our own columns
        " WHERE endpoint_id = ANY ($1::uuid[]) AND deleted_at IS NULL ORDER BY endpoint_id FOR NO KEY UPDATE",
        sorted(endpoint_ids),
    )
    return {row["endpoint_id"]: _endpoint(row) for row in rows}


async def save_health(tx: Tx, healths: Mapping[UUID, Health], disabled: Mapping[UUID, str]) -> None:
    """Write how locked endpoints have been answering; those in `disabled` are switched off for that reason."""
    ids = sorted(healths)
    await tx.execute(
        _SAVE_HEALTH,
        ids,
        [healths[one].failures for one in ids],
        [healths[one].failing_since for one in ids],
        [healths[one].held_until for one in ids],
        [disabled.get(one) for one in ids],
        tx.instant,
    )


def _endpoint(row: Record) -> Endpoint:
    return Endpoint(
        tenant_id=row["tenant_id"],
        endpoint_id=row["endpoint_id"],
        version=row["version"],
        url=row["url"],
        description=row["description"],
        event_types=tuple(row["event_types"]),
        include_internal=row["include_internal"],
        active=row["active"],
        disabled_reason=row["disabled_reason"],
        disabled_at=row["disabled_at"],
        health=Health(failures=row["failures"], failing_since=row["failing_since"], held_until=row["held_until"]),
        former_until=row["former_until"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
