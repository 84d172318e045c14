"""Organisations in the database, and telling their people of a changed name or tier.

Every person's event carries the organisation's name and tier, so a change concerns all its people. They are told in
slices: one transaction never grows with the number of employees, and a crash between two goes on where it was.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import asyncpg

from services.directory.domain.people import Key
from services.directory.domain.tenancy import Organisation
from shared.db import Record, Tx

NOBODY = UUID(int=0)
"""Before every person: a spread begins here."""

_SELECT = """
SELECT o.tenant_id, o.organisation_id, o.version, o.name, o.tier, o.active,
       ARRAY(SELECT d.domain FROM organisation_domain d
             WHERE d.tenant_id = o.tenant_id AND d.organisation_id = o.organisation_id ORDER BY d.domain) AS domains
FROM organisation o
"""


async def get(tx: Tx, tenant_id: str, organisation_id: UUID, *, lock: bool = False) -> Organisation | None:
    """One organisation of this tenant; with `lock` held until the transaction ends."""
    if lock:
        await tx.execute(
            "SELECT FROM organisation WHERE tenant_id = $1 AND organisation_id = $2 FOR NO KEY UPDATE",
            tenant_id,
            organisation_id,
        )
    row = await tx.fetchrow(f"{_SELECT} WHERE o.tenant_id = $1 AND o.organisation_id = $2", tenant_id, organisation_id)
    return _organisation(row) if row else None


async def of_domain(tx: Tx, tenant_id: str, domain: str) -> Organisation | None:
    """The active organisation to which a mail domain belongs."""
    row = await tx.fetchrow(
        f"{_SELECT} JOIN organisation_domain d ON d.tenant_id = o.tenant_id AND d.organisation_id = o.organisation_id"
        " WHERE d.tenant_id = $1 AND d.domain = $2 AND o.active",
        tenant_id,
        domain,
    )
    return _organisation(row) if row else None


async def page(tx: Tx, tenant_id: str, *, after: UUID | None, limit: int) -> list[Organisation]:
    """Organisations of a tenant by id after `after`."""
    rows = await tx.fetch(
        f"{_SELECT} WHERE o.tenant_id = $1 AND ($2::uuid IS NULL OR o.organisation_id > $2)"
        " ORDER BY o.organisation_id LIMIT $3",
        tenant_id,
        after,
        limit,
    )
    return [_organisation(row) for row in rows]


async def save(tx: Tx, organisation: Organisation, at: datetime) -> str | None:
    """Write an organisation, new or locked, and begin to tell its people; what is taken already, or None.

    `name` when another one has the name, else the domain that belongs to another one.
    """
    key = (organisation.tenant_id, organisation.organisation_id)
    try:
        async with tx.savepoint():
            await tx.execute(
                """INSERT INTO organisation (tenant_id, organisation_id, version, name, tier, active, spread_after,
                                             created_at, updated_at)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)
                ON CONFLICT (tenant_id, organisation_id) DO UPDATE SET version = excluded.version,
                    name = excluded.name, tier = excluded.tier, active = excluded.active,
                    spread_after = excluded.spread_after, updated_at = excluded.updated_at""",
                *key,
                organisation.version,
                organisation.name,
                organisation.tier,
                organisation.active,
                NOBODY,
                at,
            )
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name != "organisation_name":
            raise
        return "name"
    await tx.execute(
        "DELETE FROM organisation_domain WHERE tenant_id = $1 AND organisation_id = $2 AND domain <> ALL($3::text[])",
        *key,
        list(organisation.domains),
    )
    await tx.execute(
        "INSERT INTO organisation_domain (tenant_id, organisation_id, domain)"
        " SELECT $1, $2, g FROM unnest($3::text[]) AS g ORDER BY g ON CONFLICT DO NOTHING",
        *key,
        sorted(organisation.domains),
    )
    taken: str | None = await tx.fetchval(
        "SELECT domain FROM organisation_domain"
        " WHERE tenant_id = $1 AND domain = ANY($3::text[]) AND organisation_id <> $2 ORDER BY domain LIMIT 1",
        *key,
        list(organisation.domains),
    )
    return taken


async def spreading(tx: Tx) -> Organisation | None:
    """An organisation whose people are still to be told, held; None when all know, or another instance is at it."""
    row = await tx.fetchrow(
        "SELECT tenant_id, organisation_id FROM organisation WHERE spread_after IS NOT NULL"
        " ORDER BY tenant_id, organisation_id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED"
    )
    return await get(tx, row["tenant_id"], row["organisation_id"]) if row else None


async def spread(tx: Tx, organisation: Organisation, limit: int, at: datetime) -> list[Key]:
    """Take the next `limit` people along; whom that concerned, in key order. A short answer means all are told.

    Concerned is who belongs to it already, and every customer without an organisation who writes from its domains.
    """
    key = (organisation.tenant_id, organisation.organisation_id)
    rows = await tx.fetch(
        """WITH next AS (
            SELECT p.person_id FROM person p
            WHERE p.tenant_id = $1
              AND p.person_id > (SELECT spread_after FROM organisation WHERE tenant_id = $1 AND organisation_id = $2)
              AND (p.organisation_id = $2 OR (
                  p.organisation_id IS NULL AND p.role = 'customer' AND EXISTS (
                      SELECT FROM person_address a
                      WHERE a.tenant_id = $1 AND a.person_id = p.person_id AND a.domain = ANY($4::text[]))))
            ORDER BY p.person_id LIMIT $3 FOR NO KEY UPDATE)
        UPDATE person p SET organisation_id = $2, version = version + 1, updated_at = $5
        FROM next WHERE p.tenant_id = $1 AND p.person_id = next.person_id
        RETURNING p.person_id""",
        *key,
        limit,
        list(organisation.domains) if organisation.active else [],
        at,
    )
    people = sorted(row["person_id"] for row in rows)
    await tx.execute(
        "UPDATE organisation SET spread_after = $3 WHERE tenant_id = $1 AND organisation_id = $2",
        *key,
        people[-1] if len(people) == limit else None,
    )
    return [(organisation.tenant_id, person) for person in people]


def _organisation(row: Record) -> Organisation:
    return Organisation(
        tenant_id=row["tenant_id"],
        organisation_id=row["organisation_id"],
        version=row["version"],
        name=row["name"],
        tier=row["tier"],
        domains=tuple(row["domains"]),
        active=row["active"],
    )
