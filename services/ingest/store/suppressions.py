"""Addresses not to be written to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from shared.db import Database, Record, Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """One person who is not to be written to."""

    tenant_id: str
    person_id: UUID
    reason: str
    detail: str | None = None
    address: str | None = None
    until: datetime | None = None
    """None for ever."""


_COLUMNS = "tenant_id, person_id, address, version, reason, detail, since, until"


async def put(tx: Tx, wanted: Sequence[Suppression]) -> list[Record]:
    """Store what says more than is stored; the rows that changed.

    One that lasts as long or longer stays as it is: a bounce does not shorten what somebody decided.
    """
    rows = sorted({(one.tenant_id, one.person_id.int): one for one in wanted}.items())
    ordered = [one for _, one in rows]
    return await tx.fetch(
        "INSERT INTO suppression AS s (tenant_id, person_id, address, version, reason, detail, since, until)"
        " SELECT w.tenant_id, w.person_id, w.address, 1, w.reason, w.detail, $7, w.until"
        " FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::timestamptz[]) WITH ORDINALITY"
        " AS w(tenant_id, person_id, address, reason, detail, until, nr) ORDER BY w.nr"
        " ON CONFLICT (tenant_id, person_id) DO UPDATE SET version = s.version + 1, reason = excluded.reason,"
        " detail = excluded.detail, since = excluded.since, until = excluded.until, lifted_at = NULL,"
        " address = coalesce(excluded.address, s.address)"
        " WHERE s.lifted_at IS NOT NULL OR excluded.until > s.until OR (excluded.until IS NULL AND s.until IS NOT NULL)"
        " RETURNING tenant_id, person_id, version, reason, detail, since, until",
        [one.tenant_id for one in ordered],
        [one.person_id for one in ordered],
        [one.address for one in ordered],
        [one.reason for one in ordered],
        [one.detail for one in ordered],
        [one.until for one in ordered],
        tx.instant,
    )


async def lift(tx: Tx, tenant_id: str, person_id: UUID) -> bool:
    """Allow writing again; False when there is nothing to lift."""
    row = await tx.fetchrow(
        "UPDATE suppression SET lifted_at = $3, version = version + 1"
        " WHERE tenant_id = $1 AND person_id = $2 AND lifted_at IS NULL RETURNING 1",
        tenant_id,
        person_id,
        tx.instant,
    )
    return row is not None


async def find(database: Database, tenant_id: str, person_id: UUID) -> Record | None:
    """One that is not lifted, also when it has run out."""
    return await database.fetchrow(
        f"SELECT {_COLUMNS} FROM suppression WHERE tenant_id = $1 AND person_id = $2 AND lifted_at IS NULL",  # noqa: S608 - constant
        tenant_id,
        person_id,
    )


async def page(database: Database, tenant_id: str, after: tuple[datetime, UUID] | None, limit: int) -> list[Record]:
    """Those in force, the oldest first."""
    columns = (
        f"SELECT {_COLUMNS} FROM suppression WHERE tenant_id = $1 AND lifted_at IS NULL"  # noqa: S608 - constant
        " AND (until IS NULL OR until > (SELECT desk_now()))"
    )
    order = " ORDER BY since, person_id LIMIT $2"
    if after is None:
        return await database.fetch(columns + order, tenant_id, limit)
    return await database.fetch(columns + " AND (since, person_id) > ($3, $4)" + order, tenant_id, limit, *after)
