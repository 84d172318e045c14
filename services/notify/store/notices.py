"""What people find in the application."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from shared.db import Database, Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One line for one person; its id is the delivery's."""

    id: UUID
    tenant_id: str
    person_id: UUID
    ticket_id: UUID | None
    """None for one that is about no ticket."""
    template: str
    title: str
    body: str
    urgent: bool
    created_at: datetime
    read_at: datetime | None = None


async def insert(tx: Tx, notices: Sequence[Notice]) -> None:
    """Add notices; their deliveries are new, so they are."""
    if notices:
        await tx.execute(
            "INSERT INTO notice (id, tenant_id, person_id, ticket_id, template, title, body, urgent, created_at)"
            " SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::text[],"
            " $8::boolean[], $9::timestamptz[]) ON CONFLICT (id) DO NOTHING",
            [one.id for one in notices],
            [one.tenant_id for one in notices],
            [one.person_id for one in notices],
            [one.ticket_id for one in notices],
            [one.template for one in notices],
            [one.title for one in notices],
            [one.body for one in notices],
            [one.urgent for one in notices],
            [one.created_at for one in notices],
        )


async def page(
    database: Database,
    tenant_id: str,
    person_id: UUID,
    *,
    unread: bool,
    before: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Notice]:
    """A person's notices, newest first."""
    rows = await database.fetch(
        "SELECT id, tenant_id, person_id, ticket_id, template, title, body, urgent, created_at, read_at FROM notice"
        " WHERE tenant_id = $1 AND person_id = $2 AND ($3::boolean IS FALSE OR read_at IS NULL)"
        " AND ($4::timestamptz IS NULL OR (created_at, id) < ($4, $5::uuid))"
        " ORDER BY created_at DESC, id DESC LIMIT $6",
        tenant_id,
        person_id,
        unread,
        before[0] if before else None,
        before[1] if before else None,
        limit,
    )
    return [Notice(**dict(row)) for row in rows]


async def mark_read(database: Database, tenant_id: str, person_id: UUID, ids: Sequence[UUID] | None) -> int:
    """Remember that a person has seen these (or all); how many were new to them."""
    tag = await database.execute(
        "UPDATE notice SET read_at = desk_now() WHERE tenant_id = $1 AND person_id = $2 AND read_at IS NULL"
        " AND ($3::uuid[] IS NULL OR id = ANY ($3))",
        tenant_id,
        person_id,
        list(ids) if ids is not None else None,
    )
    return int(tag.rpartition(" ")[2])
