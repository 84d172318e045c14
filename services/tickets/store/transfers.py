"""Handovers between agents, open and answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.tickets.domain.ticket import Transfer
from services.tickets.domain.work import Work
from shared.contracts.decision import TransferState
from shared.db import Database, Record, Tx

_COLUMNS = "id, ticket_id, state, from_id, to_id, asked_by, note, asked_at, expires_at, changed_at"


@dataclass(frozen=True, slots=True)
class Kept:
    """A handover as it stands."""

    transfer: Transfer
    ticket_id: UUID
    state: str
    changed_at: datetime


async def save(tx: Tx, changes: Sequence[tuple[Work, Transfer, TransferState]]) -> None:
    """Keep handovers as they stand now; their tickets are locked."""
    if not changes:
        return
    latest = {transfer.id: (work, transfer, state) for work, transfer, state in changes}
    await tx.execute(
        f"INSERT INTO transfer (tenant_id, {_COLUMNS})"  # noqa: S608 - constants only
        " SELECT * FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::text[], $5::uuid[], $6::uuid[], $7::text[],"
        " $8::text[], $9::timestamptz[], $10::timestamptz[], $11::timestamptz[])"
        " ON CONFLICT (id) DO UPDATE SET state = excluded.state, changed_at = excluded.changed_at",
        [work.ticket.tenant_id for work, _, _ in latest.values()],
        list(latest),
        [work.ticket.id for work, _, _ in latest.values()],
        [state.value for _, _, state in latest.values()],
        [transfer.from_id for _, transfer, _ in latest.values()],
        [transfer.to_id for _, transfer, _ in latest.values()],
        [transfer.asked_by for _, transfer, _ in latest.values()],
        [transfer.note for _, transfer, _ in latest.values()],
        [transfer.asked_at for _, transfer, _ in latest.values()],
        [transfer.expires_at for _, transfer, _ in latest.values()],
        [work.ticket.updated_at for work, _, _ in latest.values()],
    )


async def find(database: Database | Tx, tenant_id: str, transfer_id: UUID) -> Kept | None:
    """One handover of a tenant."""
    row = await database.fetchrow(
        f"SELECT {_COLUMNS} FROM transfer WHERE tenant_id = $1 AND id = $2",  # noqa: S608 - constants only
        tenant_id,
        transfer_id,
    )
    return None if row is None else _kept(row)


async def of_ticket(database: Database | Tx, tenant_id: str, ticket_id: UUID, limit: int) -> list[Kept]:
    """The newest handovers of a ticket, newest first."""
    rows = await database.fetch(
        f"SELECT {_COLUMNS} FROM transfer WHERE tenant_id = $1 AND ticket_id = $2"  # noqa: S608 - constants only
        " ORDER BY asked_at DESC, id DESC LIMIT $3",
        tenant_id,
        ticket_id,
        limit,
    )
    return [_kept(row) for row in rows]


async def open_for(database: Database | Tx, tenant_id: str, person_id: UUID, limit: int) -> list[Kept]:
    """Handovers that wait for that person's answer, oldest first."""
    rows = await database.fetch(
        f"SELECT {_COLUMNS} FROM transfer WHERE tenant_id = $1 AND to_id = $2"  # noqa: S608 - constants only
        " AND state = 'requested' ORDER BY asked_at, id LIMIT $3",
        tenant_id,
        person_id,
        limit,
    )
    return [_kept(row) for row in rows]


def _kept(row: Record) -> Kept:
    transfer = Transfer(
        id=row["id"],
        from_id=row["from_id"],
        to_id=row["to_id"],
        asked_by=row["asked_by"],
        note=row["note"],
        asked_at=row["asked_at"],
        expires_at=row["expires_at"],
    )
    return Kept(transfer, row["ticket_id"], row["state"], row["changed_at"])
