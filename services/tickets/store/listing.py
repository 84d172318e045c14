"""Lists of tickets: filters and sorts from a whitelist, pages by key, so that a page costs the same at any size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from services.tickets.domain.ticket import Ticket
from services.tickets.store.rows import SELECTED, to_ticket
from services.tickets.store.tickets import WATCHERS
from shared.auth.permissions import TicketScope
from shared.db import Database, Tx

FILTERS: Mapping[str, str] = {
    "status": "ticket.status = ${n}",
    "category": "ticket.category = ${n}",
    "priority": "ticket.priority = ${n}",
    "assignee": "ticket.assignee_id = ${n}",
    "unassigned": "(ticket.assignee_id IS NULL) = ${n}",
    "queue": "ticket.queue = ${n}",
    "requester": "ticket.requester_id = ${n}",
    "number": "ticket.number = ${n}",
    "updated_since": "ticket.updated_at >= ${n}",
    "tag": "ticket.tags @> ARRAY[${n}::text]",
}
"""Filter → condition; nothing else of a request ever gets into the statement."""


@dataclass(frozen=True, slots=True)
class Sort:
    """One order: its columns, all in the same direction, the id last."""

    columns: tuple[tuple[str, str], ...]
    descending: bool

    def clause(self) -> str:
        """For ORDER BY."""
        direction = " DESC" if self.descending else ""
        return ", ".join(f"ticket.{name}{direction}" for name, _ in self.columns)

    def after(self, first: int) -> str:
        """The condition of being behind a position, whose values are the parameters from `first` on."""
        names = ", ".join(f"ticket.{name}" for name, _ in self.columns)
        values = ", ".join(f"${first + i}::{kind}" for i, (_, kind) in enumerate(self.columns))
        return f"({names}) {'<' if self.descending else '>'} ({values})"

    def position(self, ticket: Ticket) -> list[Any]:
        """The position of a ticket, as JSON values."""
        values = (getattr(ticket, name) for name, _ in self.columns)
        return [v.isoformat() if isinstance(v, datetime) else str(v) if isinstance(v, UUID) else v for v in values]

    def arguments(self, position: Sequence[Any]) -> list[object]:
        """The values of a position for the statement. Raises ValueError when it is none of this order."""
        if len(position) != len(self.columns):
            raise ValueError("a position of another order")
        return [_READ[kind](value) for (_, kind), value in zip(self.columns, position, strict=True)]


_READ: Mapping[str, Any] = {"timestamptz": datetime.fromisoformat, "uuid": UUID, "smallint": int}
_UPDATED = (("updated_at", "timestamptz"), ("id", "uuid"))
_CREATED = (("created_at", "timestamptz"), ("id", "uuid"))
_RANK = (("rank", "smallint"), ("created_at", "timestamptz"), ("id", "uuid"))
SORTS: Mapping[str, Sort] = {
    "-updated_at": Sort(_UPDATED, descending=True),
    "updated_at": Sort(_UPDATED, descending=False),
    "-created_at": Sort(_CREATED, descending=True),
    "created_at": Sort(_CREATED, descending=False),
    "priority": Sort(_RANK, descending=False),
    "-priority": Sort(_RANK, descending=True),
}


async def page(
    database: Database | Tx,
    scope: TicketScope,
    *,
    filters: Mapping[str, object],
    sort: Sort,
    position: Sequence[Any] | None,
    limit: int,
) -> list[Ticket]:
    """At most `limit` tickets behind `position`. Raises ValueError for a position of another order."""
    condition, arguments = scope.sql(1, watchers=WATCHERS)
    conditions = [condition]
    if scope.person_id is not None:
        # The scope's OR alone would read the whole tenant; these two branches have an index each.
        conditions.append(
            "ticket.id IN (SELECT t.id FROM ticket t WHERE t.tenant_id = $1 AND t.requester_id = $2"
            " UNION SELECT w.ticket_id FROM ticket_watcher w WHERE w.tenant_id = $1 AND w.person_id = $2)"
        )
    for name, value in filters.items():
        arguments.append(value)
        conditions.append(FILTERS[name].format(n=len(arguments)))
    if position is not None:
        conditions.append(sort.after(len(arguments) + 1))
        arguments += sort.arguments(position)
    arguments.append(limit)
    rows = await database.fetch(
        f"SELECT {SELECTED} FROM ticket WHERE {' AND '.join(conditions)}"  # noqa: S608 - from the tables above only
        f" ORDER BY {sort.clause()} LIMIT ${len(arguments)}",
        *arguments,
    )
    return [to_ticket(row) for row in rows]


async def export_page(
    database: Database, tenant_id: str, after: UUID | None, since: datetime | None, limit: int
) -> list[Ticket]:
    """Tickets of one tenant by id, from the one behind `after`, changed since `since`."""
    rows = await database.fetch(
        f"SELECT {SELECTED} FROM ticket WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id > $2)"  # noqa: S608 - constant
        " AND ($3::timestamptz IS NULL OR updated_at >= $3) ORDER BY id LIMIT $4",
        tenant_id,
        after,
        since,
        limit,
    )
    return [to_ticket(row) for row in rows]
