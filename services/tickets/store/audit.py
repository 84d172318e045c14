"""The audit chain and its erasable values."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from services.tickets.domain.audit import Commitments, Entry, Opening, Openings
from services.tickets.domain.work import Work
from services.tickets.store.rows import from_json, to_json
from shared.db import Database, Tx

_COLUMNS = (
    "ticket_id",
    "number",
    "tenant_id",
    "previous",
    "hash",
    "at",
    "actor_kind",
    "actor_id",
    "actor_role",
    "action",
    "commitments",
)


async def insert(tx: Tx, works: Sequence[Work]) -> None:
    """Every new entry of a batch, and its values."""
    entries = []
    values = []
    for work in works:
        for recorded in work.records:
            entry = recorded.entry
            entries.append(
                (
                    entry.ticket_id,
                    entry.number,
                    entry.tenant_id,
                    entry.previous,
                    entry.hash,
                    entry.at,
                    entry.actor_kind,
                    entry.actor_id,
                    entry.actor_role,
                    entry.action,
                    to_json(entry.commitments),
                )
            )
            openings = {
                name: [None if o is None else (o.salt, o.value) for o in pair]
                for name, pair in recorded.openings.items()
            }
            values.append((entry.ticket_id, entry.number, entry.tenant_id, to_json(openings)))
    if entries:
        await tx.copy("audit", _COLUMNS, entries)
        await tx.copy("audit_value", ("ticket_id", "number", "tenant_id", "openings"), values)


async def chain(
    database: Database | Tx, tenant_id: str, ticket_id: UUID, *, after: int = 0, limit: int | None = None
) -> list[tuple[Entry, Openings]]:
    """Entries in order with what still opens them."""
    rows = await database.fetch(
        f"SELECT {', '.join('a.' + name for name in _COLUMNS)}, v.openings FROM audit a"  # noqa: S608 - constants only
        " LEFT JOIN audit_value v ON v.ticket_id = a.ticket_id AND v.number = a.number AND v.tenant_id = a.tenant_id"
        " WHERE a.tenant_id = $1 AND a.ticket_id = $2 AND a.number > $3 ORDER BY a.number LIMIT $4",
        tenant_id,
        ticket_id,
        after,
        limit,
    )
    return [
        (
            Entry(**{name: row[name] for name in _COLUMNS[:-1]}, commitments=_commitments(row["commitments"])),
            {} if row["openings"] is None else _openings(row["openings"]),
        )
        for row in rows
    ]


def _commitments(text: str) -> Commitments:
    return {name: (old, new) for name, (old, new) in from_json(text).items()}


def _openings(text: str) -> Openings:
    return {
        name: (None if old is None else Opening(*old), None if new is None else Opening(*new))
        for name, (old, new) in from_json(text).items()
        if (old, new) != (None, None)
    }
