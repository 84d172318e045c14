"""Tenants in the database."""

# ruff: noqa: S608 - what is put into statements are constants of this module; every value is a parameter

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from services.directory.domain.tenancy import Tenant
from shared.db import Record, Tx

_COLUMNS = "tenant_id, version, name, active, timezone, languages, mail_domains, inbound_addresses, operator"


async def known(tx: Tx, tenant_ids: Collection[str]) -> set[str]:
    """Those of the ids that are tenants."""
    rows = await tx.fetch("SELECT tenant_id FROM tenant WHERE tenant_id = ANY($1::text[])", list(tenant_ids))
    return {row["tenant_id"] for row in rows}


async def get(tx: Tx, tenant_id: str) -> Tenant | None:
    """One tenant."""
    row = await tx.fetchrow(f"SELECT {_COLUMNS} FROM tenant WHERE tenant_id = $1", tenant_id)
    return _tenant(row) if row else None


async def lock(tx: Tx, tenant_id: str) -> Tenant | None:
    """One tenant, held until the transaction ends; people may still be added to it meanwhile."""
    row = await tx.fetchrow(f"SELECT {_COLUMNS} FROM tenant WHERE tenant_id = $1 FOR NO KEY UPDATE", tenant_id)
    return _tenant(row) if row else None


async def page(tx: Tx, *, only: str | None, after: str | None, limit: int) -> list[Tenant]:
    """Tenants by id after `after`: all of them for the operator, or one alone."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM tenant WHERE ($1::text IS NULL OR tenant_id = $1)"
        " AND ($2::text IS NULL OR tenant_id > $2) ORDER BY tenant_id LIMIT $3",
        only,
        after,
        limit,
    )
    return [_tenant(row) for row in rows]


async def has_operator(tx: Tx) -> bool:
    """Whether some tenant runs the installation already."""
    return bool(await tx.fetchval("SELECT EXISTS (SELECT FROM tenant WHERE operator)"))


async def claimed(tx: Tx, tenant: Tenant) -> bool:
    """Whether another tenant has one of this one's inbound addresses or mail domains; held until the end.

    Mail finds its tenant by them, so one tenant's must never reach another. Claims are judged one at a time.
    """
    await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended('deskwire-inbound', 0))")
    domains = [address.rpartition("@")[2] for address in tenant.inbound_addresses]
    return bool(
        await tx.fetchval(
            """SELECT EXISTS (SELECT FROM tenant t WHERE t.tenant_id <> $1 AND (
                t.inbound_addresses && $2::text[] OR t.mail_domains && $3::text[] OR t.mail_domains && $4::text[]
                OR EXISTS (SELECT FROM unnest(t.inbound_addresses) AS a
                           WHERE reverse(split_part(reverse(a), '@', 1)) = ANY($3::text[]))))""",
            tenant.tenant_id,
            list(tenant.inbound_addresses),
            list(tenant.mail_domains),
            domains,
        )
    )


async def add(tx: Tx, tenant: Tenant, at: datetime) -> bool:
    """Make a tenant; False when the id is taken."""
    return bool(
        await tx.fetchval(
            f"INSERT INTO tenant ({_COLUMNS}, created_at, updated_at)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10) ON CONFLICT DO NOTHING RETURNING true",
            tenant.tenant_id,
            tenant.version,
            tenant.name,
            tenant.active,
            tenant.timezone,
            list(tenant.languages),
            list(tenant.mail_domains),
            list(tenant.inbound_addresses),
            tenant.operator,
            at,
        )
    )


async def save(tx: Tx, tenant: Tenant, at: datetime) -> None:
    """Write a locked tenant; who runs the installation does not change."""
    await tx.execute(
        "UPDATE tenant SET version = $2, name = $3, active = $4, timezone = $5, languages = $6, mail_domains = $7,"
        " inbound_addresses = $8, updated_at = $9 WHERE tenant_id = $1",
        tenant.tenant_id,
        tenant.version,
        tenant.name,
        tenant.active,
        tenant.timezone,
        list(tenant.languages),
        list(tenant.mail_domains),
        list(tenant.inbound_addresses),
        at,
    )


def _tenant(row: Record) -> Tenant:
    return Tenant(
        tenant_id=row["tenant_id"],
        version=row["version"],
        name=row["name"],
        active=row["active"],
        timezone=row["timezone"],
        languages=tuple(row["languages"]),
        mail_domains=tuple(row["mail_domains"]),
        inbound_addresses=tuple(row["inbound_addresses"]),
        operator=row["operator"],
    )
