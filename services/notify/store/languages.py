"""What triage said tickets are written in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from shared.db import Database, Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketLanguage:
    """What a decision said of one ticket."""

    ticket_id: UUID
    tenant_id: str
    language: str | None
    """BCP 47; None: triage could not tell."""
    at: datetime


async def learn(tx: Tx, found: Sequence[TicketLanguage]) -> None:
    """Remember the first decision on each ticket; later facts name the language themselves."""
    rows = [one for _, one in sorted({one.ticket_id: one for one in reversed(found)}.items())]
    await tx.execute(
        "INSERT INTO ticket_language (ticket_id, tenant_id, language, at)"
        " SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[]) ON CONFLICT DO NOTHING",
        [one.ticket_id for one in rows],
        [one.tenant_id for one in rows],
        [one.language for one in rows],
        [one.at for one in rows],
    )


async def known(source: Database | Tx, ticket_ids: Iterable[UUID]) -> dict[UUID, str | None]:
    """The language of each ticket that was decided on; a ticket that is missing may still be."""
    rows = await source.fetch(
        "SELECT ticket_id, language FROM ticket_language WHERE ticket_id = ANY ($1::uuid[])", list(ticket_ids)
    )
    return {row["ticket_id"]: row["language"] for row in rows}
