"""On-call schedules and their overrides."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from services.escalation.domain.rotation import Override, Schedule
from shared.db import Database, Record, Tx

_COLUMNS = "tenant_id, name, version, timezone, starts_on, weekday, handover, members, shift_days"
_OVERRIDE = "override_id, starts_at, ends_at, person_id, made_at"


async def find(reader: Database | Tx, tenant_id: str, name: str, *, lock: bool = False) -> Schedule | None:
    """One schedule; with `lock` it is ours until the transaction ends."""
    locking = "FOR UPDATE" if lock else ""
    row = await reader.fetchrow(
        f"SELECT {_COLUMNS} FROM schedule WHERE tenant_id = $1 AND name = $2 {locking}",  # noqa: S608 - constants only
        tenant_id,
        name,
    )
    return None if row is None else _schedule(row)


async def insert(tx: Tx, schedule: Schedule) -> bool:
    """Add a schedule; False when one of that name is there."""
    done = await tx.execute(
        f"INSERT INTO schedule ({_COLUMNS}, changed_at)"  # noqa: S608 - constants only
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, desk_now()) ON CONFLICT DO NOTHING",
        *_values(schedule),
    )
    return done == "INSERT 0 1"


async def update(tx: Tx, schedule: Schedule) -> None:
    """Write a schedule that is locked."""
    await tx.execute(
        "UPDATE schedule SET version = $3, timezone = $4, starts_on = $5, weekday = $6, handover = $7, members = $8,"
        " shift_days = $9, changed_at = desk_now() WHERE tenant_id = $1 AND name = $2",
        *_values(schedule),
    )


async def delete(tx: Tx, tenant_id: str, name: str) -> None:
    """Remove a schedule with its overrides."""
    await tx.execute("DELETE FROM schedule WHERE tenant_id = $1 AND name = $2", tenant_id, name)


async def of_tenants(reader: Database | Tx, tenants: Iterable[str]) -> list[Schedule]:
    """Every schedule of these tenants, by name."""
    rows = await reader.fetch(
        f"SELECT {_COLUMNS} FROM schedule WHERE tenant_id = ANY ($1::text[]) ORDER BY name",  # noqa: S608 - constants
        list(tenants),
    )
    return [_schedule(row) for row in rows]


async def overrides(
    reader: Database | Tx, tenants: Iterable[str], starts_at: datetime, ends_at: datetime
) -> dict[tuple[str, str], list[Override]]:
    """Overrides that touch a period, by (tenant, schedule), the earliest first."""
    rows = await reader.fetch(
        f"SELECT tenant_id, schedule, {_OVERRIDE} FROM schedule_override"  # noqa: S608 - constants only
        " WHERE tenant_id = ANY ($1::text[]) AND ends_at > $2 AND starts_at <= $3 ORDER BY starts_at, override_id",
        list(tenants),
        starts_at,
        ends_at,
    )
    found: dict[tuple[str, str], list[Override]] = {}
    for row in rows:
        found.setdefault((row["tenant_id"], row["schedule"]), []).append(_override(row))
    return found


async def add_override(tx: Tx, schedule: Schedule, one: Override, made_by: UUID | None) -> None:
    """Store an override of a schedule that is locked."""
    await tx.execute(
        f"INSERT INTO schedule_override ({_OVERRIDE}, tenant_id, schedule, made_by)"  # noqa: S608 - constants only
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        one.override_id,
        one.starts_at,
        one.ends_at,
        one.person_id,
        one.made_at,
        schedule.tenant_id,
        schedule.name,
        made_by,
    )


async def remove_override(tx: Tx, tenant_id: str, schedule: str, override_id: UUID) -> bool:
    """Take an override back; whether there was one."""
    done = await tx.execute(
        "DELETE FROM schedule_override WHERE tenant_id = $1 AND schedule = $2 AND override_id = $3",
        tenant_id,
        schedule,
        override_id,
    )
    return done == "DELETE 1"


def _values(schedule: Schedule) -> tuple[object, ...]:
    return (
        schedule.tenant_id,
        schedule.name,
        schedule.version,
        schedule.timezone,
        schedule.starts_on,
        schedule.weekday,
        schedule.handover,
        list(schedule.members),
        schedule.shift_days,
    )


def _schedule(row: Record) -> Schedule:
    return Schedule(**{**dict(row), "members": tuple(row["members"])})


def _override(row: Record) -> Override:
    return Override(**{name: row[name] for name in ("override_id", "starts_at", "ends_at", "person_id", "made_at")})
