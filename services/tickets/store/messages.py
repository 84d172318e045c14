"""Messages of the conversation and ledger entries that left their ticket's row."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from services.tickets.domain.work import Work
from services.tickets.store.rows import from_json, to_json
from shared.contracts.message import Attachment, Body
from shared.contracts.ticket import LedgerEntry, MessageRef, TicketMessage
from shared.db import Database, Record, Tx

_COLUMNS = (
    "message_id",
    "tenant_id",
    "ticket_id",
    "position",
    "author_kind",
    "author_id",
    "visibility",
    "channel",
    "body",
    "attachments",
    "automatic",
    "external_id",
    "created_at",
)
_SELECTED = ", ".join(f"message.{name}" for name in _COLUMNS)


async def insert(tx: Tx, works: Sequence[Work]) -> None:
    """Every new message of a batch, and archived ledger entries where there are any."""
    rows = []
    for work in works:
        first = work.ticket.message_count - len(work.messages) + 1
        rows += [_row(work, message, first + i) for i, message in enumerate(work.messages)]
    if rows:
        await tx.copy("message", _COLUMNS, rows)
    archived = [
        (w.ticket.id, entry.number, w.ticket.tenant_id, entry.at, str(entry.kind), entry.value)
        for w in works
        for entry in w.archived
    ]
    if archived:
        await tx.copy("ledger_archive", ("ticket_id", "number", "tenant_id", "at", "kind", "value"), archived)


def _row(work: Work, message: TicketMessage, position: int) -> tuple[object, ...]:
    return (
        message.message_id,
        work.ticket.tenant_id,
        work.ticket.id,
        position,
        message.author_kind,
        message.author_id,
        message.visibility,
        message.channel,
        message.body.model_dump_json(exclude_none=True),
        to_json([a.model_dump(mode="json", exclude_none=True) for a in message.attachments])
        if message.attachments
        else "[]",
        message.automatic,
        message.external_id,
        message.created_at,
    )


def to_message(row: Record) -> TicketMessage:
    """The message of a row."""
    return TicketMessage(
        message_id=row["message_id"],
        author_kind=row["author_kind"],
        author_id=row["author_id"],
        visibility=row["visibility"],
        channel=row["channel"],
        body=Body.model_validate_json(row["body"]),
        attachments=tuple(Attachment.model_validate(value) for value in from_json(row["attachments"])),
        automatic=row["automatic"],
        external_id=row["external_id"],
        created_at=row["created_at"],
    )


async def newest_references(tx: Tx, ticket_ids: Sequence[UUID], limit: int) -> dict[UUID, list[MessageRef]]:
    """The newest `limit` references of each ticket, oldest first."""
    if not ticket_ids:
        return {}
    rows = await tx.fetch(
        """
        SELECT wanted.id AS ticket_id, m.message_id, m.author_kind, m.visibility, m.created_at
        FROM unnest($1::uuid[]) AS wanted (id) CROSS JOIN LATERAL (
            SELECT * FROM message WHERE message.ticket_id = wanted.id ORDER BY position DESC LIMIT $2
        ) m ORDER BY wanted.id, m.position
        """,
        list(ticket_ids),
        limit,
    )
    found: dict[UUID, list[MessageRef]] = {}
    for row in rows:
        found.setdefault(row["ticket_id"], []).append(
            MessageRef(
                message_id=row["message_id"],
                author_kind=row["author_kind"],
                visibility=row["visibility"],
                created_at=row["created_at"],
            )
        )
    return found


async def page(
    database: Database | Tx, tenant_id: str, ticket_id: UUID, *, after: int, limit: int, internal: bool
) -> list[tuple[int, TicketMessage]]:
    """Messages of one ticket in order, from the position after `after`; without internal notes unless `internal`."""
    rows = await database.fetch(
        f"SELECT {_SELECTED} FROM message WHERE tenant_id = $1 AND ticket_id = $2 AND position > $3"  # noqa: S608 - constants only
        " AND ($5 OR visibility = 'public') ORDER BY position LIMIT $4",
        tenant_id,
        ticket_id,
        after,
        limit,
        internal,
    )
    return [(row["position"], to_message(row)) for row in rows]


async def one(database: Database | Tx, tenant_id: str, message_id: UUID) -> TicketMessage | None:
    """One message."""
    row = await database.fetchrow(
        f"SELECT {_SELECTED} FROM message WHERE tenant_id = $1 AND message_id = $2",  # noqa: S608 - constants only
        tenant_id,
        message_id,
    )
    return None if row is None else to_message(row)


async def archived(
    database: Database | Tx, tenant_id: str, ticket_ids: Sequence[UUID]
) -> dict[UUID, list[LedgerEntry]]:
    """Ledger entries that are no longer in their tickets' rows, in order."""
    rows = await database.fetch(
        "SELECT ticket_id, number, at, kind, value FROM ledger_archive WHERE tenant_id = $1"
        " AND ticket_id = ANY ($2::uuid[]) ORDER BY ticket_id, number",
        tenant_id,
        list(ticket_ids),
    )
    found: dict[UUID, list[LedgerEntry]] = {}
    for row in rows:
        found.setdefault(row["ticket_id"], []).append(
            LedgerEntry(number=row["number"], at=row["at"], kind=row["kind"], value=row["value"])
        )
    return found
