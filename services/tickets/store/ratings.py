"""Answers to surveys; the comments are personal data and live only here, in the audit's values and on the topic."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from services.tickets.domain.rating import Rating
from services.tickets.domain.ticket import Ticket
from shared.db import Database, Record, Tx

_COLUMNS = "cycle, person_id, score, comment, rated_at"


async def of_ticket(database: Database | Tx, ticket: Ticket, person_id: UUID | None = None) -> list[Rating]:
    """The answers about one ticket, by cycle; one person's own with `person_id`."""
    rows = await database.fetch(
        f"SELECT {_COLUMNS} FROM rating WHERE tenant_id = $1 AND ticket_id = $2"  # noqa: S608 - constants only
        " AND ($3::uuid IS NULL OR person_id = $3) ORDER BY cycle, rated_at, person_id",
        ticket.tenant_id,
        ticket.id,
        person_id,
    )
    return [_rating(row) for row in rows]


async def one(tx: Database | Tx, ticket: Ticket, cycle: int, person_id: UUID) -> Rating | None:
    """One person's answer about one cycle."""
    row = await tx.fetchrow(
        f"SELECT {_COLUMNS} FROM rating"  # noqa: S608 - constants only
        " WHERE tenant_id = $1 AND ticket_id = $2 AND cycle = $3 AND person_id = $4",
        ticket.tenant_id,
        ticket.id,
        cycle,
        person_id,
    )
    return None if row is None else _rating(row)


async def save(tx: Tx, ticket: Ticket, rating: Rating, at: datetime) -> None:
    """Keep an answer, in place of the same person's earlier one; the ticket is locked."""
    await tx.execute(
        "INSERT INTO rating (ticket_id, cycle, person_id, tenant_id, score, comment, rated_at, changed_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (ticket_id, cycle, person_id)"
        " DO UPDATE SET score = excluded.score, comment = excluded.comment, changed_at = excluded.changed_at",
        ticket.id,
        rating.cycle,
        rating.person_id,
        ticket.tenant_id,
        rating.score,
        rating.comment,
        rating.rated_at,
        at,
    )


def _rating(row: Record) -> Rating:
    return Rating(
        cycle=row["cycle"],
        person_id=row["person_id"],
        score=row["score"],
        comment=row["comment"],
        rated_at=row["rated_at"],
    )
