"""Teams in the database."""

# ruff: noqa: S608 - what is put into statements are constants of this module; every value is a parameter

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

import asyncpg

from services.directory.domain.tenancy import Team
from shared.db import Record, Tx

_COLUMNS = "tenant_id, team_id, version, name, queues, tier, lead_id, active"


async def get(tx: Tx, tenant_id: str, team_id: UUID, *, lock: bool = False) -> Team | None:
    """One team of this tenant; with `lock` held until the transaction ends."""
    row = await tx.fetchrow(
        f"SELECT {_COLUMNS} FROM team WHERE tenant_id = $1 AND team_id = $2{' FOR NO KEY UPDATE' if lock else ''}",
        tenant_id,
        team_id,
    )
    return _team(row) if row else None


async def named(tx: Tx, tenant_id: str, name: str) -> Team | None:
    """The team of that name."""
    row = await tx.fetchrow(f"SELECT {_COLUMNS} FROM team WHERE tenant_id = $1 AND name = $2", tenant_id, name)
    return _team(row) if row else None


async def page(tx: Tx, tenant_id: str, *, after: UUID | None, limit: int) -> list[Team]:
    """Teams of a tenant by id after `after`."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM team WHERE tenant_id = $1 AND ($2::uuid IS NULL OR team_id > $2)"
        " ORDER BY team_id LIMIT $3",
        tenant_id,
        after,
        limit,
    )
    return [_team(row) for row in rows]


async def missing(tx: Tx, tenant_id: str, team_ids: Collection[UUID]) -> list[UUID]:
    """Those of the ids that are no team of this tenant."""
    rows = await tx.fetch(
        "SELECT team_id FROM team WHERE tenant_id = $1 AND team_id = ANY($2::uuid[]) ORDER BY team_id FOR KEY SHARE",
        tenant_id,
        list(team_ids),
    )
    known = {row["team_id"] for row in rows}
    return [team_id for team_id in team_ids if team_id not in known]


async def save(tx: Tx, team: Team, at: datetime) -> bool:
    """Write a team, new or locked; False when another team of the tenant has the name."""
    try:
        async with tx.savepoint():
            await tx.execute(
                f"""INSERT INTO team ({_COLUMNS}, created_at, updated_at)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)
                ON CONFLICT (tenant_id, team_id) DO UPDATE SET version = excluded.version, name = excluded.name,
                    queues = excluded.queues, tier = excluded.tier, lead_id = excluded.lead_id,
                    active = excluded.active, updated_at = excluded.updated_at""",
                team.tenant_id,
                team.team_id,
                team.version,
                team.name,
                list(team.queues),
                team.tier,
                team.lead_id,
                team.active,
                at,
            )
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name != "team_name":
            raise
        return False
    return True


def _team(row: Record) -> Team:
    return Team(
        tenant_id=row["tenant_id"],
        team_id=row["team_id"],
        version=row["version"],
        name=row["name"],
        queues=tuple(row["queues"]),
        tier=row["tier"],
        lead_id=row["lead_id"],
        active=row["active"],
    )
