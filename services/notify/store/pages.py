"""Pages: asked for, cancelled, answered; a cancellation may come first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from shared.contracts.escalation import PageCancelled, PageRequested
from shared.db import Database, Record, Tx

_COLUMNS = (
    "id, tenant_id, ticket_id, escalation_id, person_id, number, reason, urgency, requested_at, expires_at,"
    " cancelled_at, answer, answered_at, answered_by"
)

_REQUEST = f"""
    INSERT INTO page AS p (id, tenant_id, ticket_id, escalation_id, person_id, number, reason, urgency, requested_at,
        expires_at)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::text[], $8::text[],
        $9::timestamptz[], $10::timestamptz[]) AS n (id) ORDER BY n.id
    ON CONFLICT (id) DO UPDATE SET
        number = excluded.number, reason = excluded.reason, urgency = excluded.urgency,
        requested_at = coalesce(p.requested_at, excluded.requested_at), expires_at = excluded.expires_at
    RETURNING {_COLUMNS}
"""  # noqa: S608 - our own columns

_CANCEL = """
    INSERT INTO page AS p (id, tenant_id, ticket_id, escalation_id, person_id, cancelled_at)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::uuid[], $5::uuid[], $6::timestamptz[]) AS n (id)
    ORDER BY n.id
    ON CONFLICT (id) DO UPDATE SET cancelled_at = coalesce(p.cancelled_at, excluded.cancelled_at)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One row; without `requested_at` only its cancellation has arrived."""

    id: UUID
    tenant_id: str
    ticket_id: UUID
    escalation_id: UUID
    person_id: UUID
    number: str | None
    reason: str | None
    urgency: str | None
    requested_at: datetime | None
    expires_at: datetime | None
    cancelled_at: datetime | None
    answer: str | None
    answered_at: datetime | None
    answered_by: str | None


async def request(tx: Tx, pages: Sequence[tuple[PageRequested, datetime]]) -> dict[UUID, Page]:
    """Remember pages with the instants they were asked for; as they stand now, locked in the order of ids."""
    newest = {event.page_id: (event, at) for event, at in pages}
    events = [event for event, _ in newest.values()]
    rows = await tx.fetch(
        _REQUEST,
        list(newest),
        [event.tenant_id for event in events],
        [event.ticket_id for event in events],
        [event.escalation_id for event in events],
        [event.person_id for event in events],
        [event.ticket.number for event in events],
        [event.reason for event in events],
        [event.urgency for event in events],
        [at for _, at in newest.values()],
        [event.expires_at for event in events],
    )
    return {row["id"]: _page(row) for row in rows}


async def cancel(tx: Tx, pages: Sequence[tuple[PageCancelled, datetime]]) -> None:
    """Remember that pages are not needed any more; locks in the order of ids."""
    newest = {event.page_id: (event, at) for event, at in pages}
    events = [event for event, _ in newest.values()]
    await tx.execute(
        _CANCEL,
        list(newest),
        [event.tenant_id for event in events],
        [event.ticket_id for event in events],
        [event.escalation_id for event in events],
        [event.person_id for event in events],
        [at for _, at in newest.values()],
    )


async def read(database: Database | Tx, page_id: UUID) -> Page | None:
    """One page that was asked for."""
    row = await database.fetchrow(
        f"SELECT {_COLUMNS} FROM page WHERE id = $1 AND requested_at IS NOT NULL",  # noqa: S608 - our own columns
        page_id,
    )
    return _page(row) if row else None


async def answer(tx: Tx, page_id: UUID, said: str, by: str) -> Page | None:
    """Take the first answer to a page that still stands; None when it had one, or was cancelled."""
    row = await tx.fetchrow(
        "UPDATE page SET answer = $2, answered_by = $3, answered_at = desk_now()"  # noqa: S608 - our own columns
        " WHERE id = $1 AND requested_at IS NOT NULL AND answer IS NULL AND cancelled_at IS NULL"
        f" RETURNING {_COLUMNS}",
        page_id,
        said,
        by,
    )
    return _page(row) if row else None


async def of_person(database: Database, tenant_id: str, person_id: UUID, limit: int = 50) -> list[Page]:
    """A person's newest pages."""
    rows = await database.fetch(
        f"SELECT {_COLUMNS} FROM page WHERE tenant_id = $1 AND person_id = $2"  # noqa: S608 - our own columns
        " AND requested_at IS NOT NULL ORDER BY requested_at DESC LIMIT $3",
        tenant_id,
        person_id,
        limit,
    )
    return [_page(row) for row in rows]


def _page(row: Record) -> Page:
    return Page(**dict(row))
