"""Tickets: found, locked and stored, a whole batch per statement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

from services.tickets.domain.ticket import Ticket
from services.tickets.domain.work import Work
from services.tickets.store.rows import (
    COLUMNS,
    IMMUTABLE,
    NAMES,
    SELECTED,
    array,
    derived_columns,
    to_row,
    to_ticket,
)
from shared.auth.permissions import TicketScope
from shared.db import Database, Tx

WATCHERS = "ticket_watcher"


class LostUpdateError(Exception):
    """Rows changed under a lock that should have held them: nothing of this transaction may be kept."""

    def __init__(self, expected: int, found: int) -> None:
        super().__init__(f"{expected} tickets were to be updated, {found} still had their version")


async def lock(tx: Tx, ticket_ids: Iterable[UUID]) -> dict[UUID, Ticket]:
    """Lock tickets in the order of their ids; those that exist."""
    wanted = list(ticket_ids)
    if not wanted:
        return {}
    rows = await tx.fetch(
        f"SELECT {SELECTED} FROM ticket WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE",  # noqa: S608 - constants only
        wanted,
    )
    return {row["id"]: to_ticket(row) for row in rows}


async def glance(tx: Tx, ticket_ids: Sequence[UUID]) -> dict[UUID, Ticket]:
    """Tickets as they are just now, without a lock; those that exist."""
    rows = await tx.fetch(f"SELECT {SELECTED} FROM ticket WHERE id = ANY ($1::uuid[])", list(ticket_ids))  # noqa: S608 - constants only
    return {row["id"]: to_ticket(row) for row in rows}


async def lock_waiting(tx: Tx, tenant_id: str, queues: Sequence[str], limit: int) -> list[Ticket]:
    """The most urgent unassigned tickets of each queue, locked; those that others hold just now are left out.

    So are those for which triage is waited for.

    Never waits, so it may follow other locks.
    """
    rows = await tx.fetch(
        f"""
        SELECT {SELECTED} FROM ticket WHERE id IN (
            SELECT backlog.id FROM unnest($2::text[]) AS wanted (queue) CROSS JOIN LATERAL (
                SELECT t.id FROM ticket t
                WHERE t.tenant_id = $1 AND t.queue = wanted.queue AND t.active AND t.assignee_id IS NULL
                AND (t.held_until IS NULL OR t.held_until <= $4)
                ORDER BY t.rank, t.created_at, t.id LIMIT $3
            ) backlog
        ) AND ticket.active AND ticket.assignee_id IS NULL
        ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
        """,  # noqa: S608 - constants only
        tenant_id,
        list(queues),
        limit,
        tx.instant,
    )
    return [to_ticket(row) for row in rows]


async def insert(tx: Tx, works: Sequence[Work]) -> None:
    """New tickets, with their watchers."""
    if not works:
        return
    await tx.copy("ticket", NAMES, [to_row(work.ticket) for work in works])
    watchers = [(w.ticket.id, person, w.ticket.tenant_id) for w in works for person in w.ticket.watcher_ids]
    if watchers:
        await tx.copy(WATCHERS, ("ticket_id", "person_id", "tenant_id"), watchers)


_MUTABLE = [(i, name, kind) for i, (name, kind) in enumerate(COLUMNS) if name not in IMMUTABLE]
_DECIDE_ACTIVE = frozenset({"category", "merged_into"})


async def update(tx: Tx, works: Sequence[Work]) -> None:
    """Tickets that were there, each only if it still has the version it was read with.

    Writes the columns in which any of them differs: most changes touch a dozen of more than fifty. Raises
    LostUpdateError when a ticket has another version, which under the row lock never happens.
    """
    if not works:
        return
    differing = _differing(works)
    columns = [one for one in _MUTABLE if one[1] in differing]
    rows = [to_row(work.ticket) for work in works]
    values: list[list[Any]] = [
        [array(row[i]) if kind.endswith("[]") else row[i] for row in rows]  # type: ignore[arg-type]
        for i, _, kind in columns
    ]
    statement = _update_statement(tuple((name, kind) for _, name, kind in columns))
    tag = await tx.execute(
        statement, [w.ticket.id for w in works], [w.stored.version if w.stored else 0 for w in works], *values
    )
    if (found := int(tag.split()[-1])) != len(works):
        raise LostUpdateError(len(works), found)


def _differing(works: Sequence[Work]) -> set[str]:
    """Columns with a new value. A ticket's copy shares what it does not change, so that identity tells."""
    names = {"version"}
    for work in works:
        before = {} if work.stored is None else work.stored.__dict__
        names.update(name for name, value in work.ticket.__dict__.items() if before.get(name) is not value)
    if not _DECIDE_ACTIVE.isdisjoint(names):
        names.add("active")
    return names


@lru_cache(maxsize=512)
def _update_statement(columns: tuple[tuple[str, str], ...]) -> str:
    # Arrays of unequal length cannot pass unnest as they are; their literals can, and are cast row by row.
    sets = ", ".join(
        f"{name} = changed.{name}::{kind}" if kind.endswith("[]") else f"{name} = changed.{name}"
        for name, kind in columns
    )
    given = ", ".join(
        f"${n}::{'text' if kind.endswith('[]') else kind}[]" for n, (_, kind) in enumerate(columns, start=3)
    )
    names = ", ".join(name for name, _ in columns)
    return (
        f"UPDATE ticket SET {sets} FROM unnest($1::uuid[], $2::bigint[], {given})"  # noqa: S608 - our own column names
        f" AS changed (id, stored_version, {names})"
        " WHERE ticket.id = changed.id AND ticket.version = changed.stored_version"
    )


async def update_derived(tx: Tx, works: Sequence[Work]) -> None:
    """Tickets of which only was said or remembered something: the few columns that may differ.

    Raises LostUpdateError as `update` does.
    """
    if not works:
        return
    columns = [derived_columns(work.ticket) for work in works]
    tag = await tx.execute(
        "UPDATE ticket SET revision = changed.revision, derived = changed.derived, heard = changed.heard,"
        " held_until = changed.held_until"
        " FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::jsonb[], $5::jsonb[], $6::timestamptz[])"
        " AS changed (id, version, revision, derived, heard, held_until)"
        " WHERE ticket.id = changed.id AND ticket.version = changed.version",
        [work.ticket.id for work in works],
        [work.ticket.version for work in works],
        [work.ticket.revision for work in works],
        [derived for derived, _ in columns],
        [heard for _, heard in columns],
        [work.ticket.held_until for work in works],
    )
    if (found := int(tag.split()[-1])) != len(works):
        raise LostUpdateError(len(works), found)


async def replace_watchers(tx: Tx, ticket: Ticket) -> None:
    """Make the rows of `ticket_watcher` those of the ticket."""
    await tx.execute("DELETE FROM ticket_watcher WHERE tenant_id = $1 AND ticket_id = $2", ticket.tenant_id, ticket.id)
    rows = [(ticket.id, person, ticket.tenant_id) for person in ticket.watcher_ids]
    await tx.copy(WATCHERS, ("ticket_id", "person_id", "tenant_id"), rows)


async def find(
    database: Database | Tx, scope: TicketScope, reference: UUID | str, *, lock: bool = False
) -> Ticket | None:
    """A ticket by its id or number, if the scope shows it; with `lock` its row is ours until the transaction ends."""
    condition, arguments = scope.sql(2, watchers=WATCHERS)
    column = "id" if isinstance(reference, UUID) else "number"
    locking = "FOR NO KEY UPDATE OF ticket" if lock else ""
    row = await database.fetchrow(
        f"SELECT {SELECTED} FROM ticket WHERE ticket.{column} = $1 AND {condition} {locking}",  # noqa: S608 - constants
        reference,
        *arguments,
    )
    return None if row is None else to_ticket(row)


@dataclass(frozen=True, slots=True)
class Located:
    """Where the evidence of a batch leads."""

    of_message: dict[UUID, UUID]
    """Message → ticket, for parents and for the batch's own messages (handled before)."""
    of_number: dict[tuple[str, str], UUID]
    awaiting: dict[UUID, tuple[UUID, ...]]
    """Message → tickets that were opened while waiting for it."""
    overdue: frozenset[UUID]
    """Parents that somebody has waited for longer than allowed."""


_LOCATE = """
    SELECT 'message' AS what, message_id AS ref, NULL AS tenant_id, NULL AS number, ticket_id
    FROM message WHERE message_id = ANY ($1::uuid[])
    UNION ALL
    SELECT 'awaiting', awaited_parent_id, NULL, NULL, id
    FROM ticket WHERE awaited_parent_id = ANY ($2::uuid[])
"""
_BY_NUMBER = """
    UNION ALL
    SELECT 'number', NULL, t.tenant_id, t.number, t.id
    FROM unnest($3::text[], $4::text[]) AS asked (tenant_id, number)
    JOIN ticket t ON t.tenant_id = asked.tenant_id AND t.number = asked.number
"""
_OVERDUE = """
    SELECT DISTINCT missing_id FROM waiting
    WHERE missing_kind = 'parent' AND missing_id = ANY ($1::text[]) AND since <= (SELECT desk_now()) - $2::interval
"""


async def locate(
    tx: Tx,
    message_ids: Sequence[UUID],
    parent_ids: Sequence[UUID],
    numbers: Sequence[tuple[str, str]],
    patience: timedelta,
) -> Located:
    """Look up all evidence of a batch: one statement, a second one only when a parent is not here.

    `patience` is how long a parent is waited for.
    """
    wanted = list({*message_ids, *parent_ids})
    own = list(message_ids)
    if numbers:
        rows = await tx.fetch(_LOCATE + _BY_NUMBER, wanted, own, [t for t, _ in numbers], [n for _, n in numbers])
    else:
        rows = await tx.fetch(_LOCATE, wanted, own)
    of_message: dict[UUID, UUID] = {}
    of_number: dict[tuple[str, str], UUID] = {}
    awaiting: dict[UUID, tuple[UUID, ...]] = {}
    for row in rows:
        match row["what"]:
            case "message":
                of_message[row["ref"]] = row["ticket_id"]
            case "number":
                of_number[row["tenant_id"], row["number"]] = row["ticket_id"]
            case _:
                awaiting[row["ref"]] = (*awaiting.get(row["ref"], ()), row["ticket_id"])
    batch = set(message_ids)
    absent = [parent for parent in parent_ids if parent not in of_message and parent not in batch]
    overdue: frozenset[UUID] = frozenset()
    if absent:
        late = await tx.fetch(_OVERDUE, [str(parent) for parent in absent], patience)
        overdue = frozenset(UUID(row["missing_id"]) for row in late)
    return Located(of_message, of_number, awaiting, overdue)


async def overdue_parents(tx: Tx, patience: timedelta, limit: int) -> list[str]:
    """Parents that answers have waited for longer than `patience`: their message ids, as the waiting rows have them."""
    rows = await tx.fetch(
        "SELECT DISTINCT missing_id FROM waiting WHERE missing_kind = 'parent' AND reason = 'not_yet'"
        " AND (due_at IS NULL OR due_at > now()) AND since <= (SELECT desk_now()) - $1::interval LIMIT $2",
        patience,
        limit,
    )
    return [row["missing_id"] for row in rows]
