"""Escalations and their pages: loaded and stored, a whole batch per statement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

import orjson

from services.escalation.domain.escalation import Escalation, Page, PageState, State
from shared.contracts.pack import EscalationPath
from shared.db import Record, Tx

_TYPES: Mapping[str, str] = {
    "id": "uuid",
    "tenant_id": "text",
    "ticket_id": "uuid",
    "version": "bigint",
    "state": "text",
    "path": "text",
    "plan": "text",
    "rank": "smallint",
    "level": "smallint",
    "cause": "text",
    "cause_key": "text",
    "cause_id": "uuid",
    "cause_at": "timestamptz",
    "started_at": "timestamptz",
    "base_at": "timestamptz",
    "page_minutes": "double precision",
    "step": "smallint",
    "lap": "smallint",
    "again": "integer",
    "alternative": "smallint",
    "paged_at": "timestamptz",
    "next_at": "timestamptz",
    "acknowledged_by": "uuid",
    "ended_at": "timestamptz",
    "ended_reason": "text",
    "history": "text",
}
_FIXED = frozenset(
    {"id", "tenant_id", "ticket_id", "path", "plan", "rank", "cause", "cause_key", "cause_id", "cause_at", "started_at"}
)
_JSON = ("plan", "history")
_NAMES = tuple(_TYPES)
_COLUMNS = ", ".join(_NAMES)
_PAGE_TYPES: Mapping[str, str] = {
    "page_id": "uuid",
    "tenant_id": "text",
    "escalation_id": "uuid",
    "ticket_id": "uuid",
    "person_id": "uuid",
    "via": "text",
    "step": "smallint",
    "lap": "smallint",
    "responsible": "bool",
    "urgency": "text",
    "state": "text",
    "requested_at": "timestamptz",
    "expires_at": "timestamptz",
    "settled_at": "timestamptz",
}
_PAGE_COLUMNS = ", ".join(_PAGE_TYPES)


def _unnest(types: Mapping[str, str]) -> str:
    parameters = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(types.values(), start=1))
    return f"unnest({parameters}) AS n ({', '.join(types)})"


_SAVE = f"""
    INSERT INTO escalation ({_COLUMNS})
    SELECT {", ".join(f"n.{name}::jsonb" if name in _JSON else f"n.{name}" for name in _NAMES)} FROM {_unnest(_TYPES)}
    ON CONFLICT (id) DO UPDATE SET
        {", ".join(f"{name} = excluded.{name}" for name in _NAMES if name not in _FIXED)}
"""  # noqa: S608 - constants only
_SAVE_PAGES = f"""
    INSERT INTO page ({_PAGE_COLUMNS}) SELECT {_PAGE_COLUMNS} FROM {_unnest(_PAGE_TYPES)}
    ON CONFLICT (page_id) DO UPDATE SET state = excluded.state, settled_at = excluded.settled_at
"""  # noqa: S608 - constants only
_OPEN = f"""
    SELECT {_COLUMNS} FROM escalation WHERE ticket_id = ANY ($1::uuid[]) AND state = 'running' ORDER BY started_at, id
"""  # noqa: S608 - constants only


class Reader(Protocol):
    """A database or a transaction, as far as reading goes."""

    async def fetch(self, sql: str, *args: object) -> list[Record]:
        """All rows."""


async def running(tx: Tx, ticket_ids: Iterable[UUID]) -> dict[UUID, list[Escalation]]:
    """The running escalations of tickets whose rows are locked, with their pages, by ticket."""
    rows = await tx.fetch(_OPEN, list(ticket_ids))
    found: dict[UUID, list[Escalation]] = {}
    for one in await _with_pages(tx, [_escalation(row) for row in rows]):
        found.setdefault(one.ticket_id, []).append(one)
    return found


async def by_id(reader: Reader, tenant_id: str, escalation_id: UUID) -> Escalation | None:
    """One escalation of a tenant, whatever its state, with its pages."""
    rows = await reader.fetch(
        f"SELECT {_COLUMNS} FROM escalation WHERE tenant_id = $1 AND id = $2",  # noqa: S608 - constants only
        tenant_id,
        escalation_id,
    )
    found = await _with_pages(reader, [_escalation(row) for row in rows])
    return found[0] if found else None


async def ids(tx: Tx, ticket_ids: Iterable[UUID]) -> dict[UUID, frozenset[UUID]]:
    """Every escalation that these tickets have ever had, by ticket."""
    rows = await tx.fetch(
        "SELECT ticket_id, array_agg(id) AS ids FROM escalation WHERE ticket_id = ANY ($1::uuid[]) GROUP BY ticket_id",
        list(ticket_ids),
    )
    return {row["ticket_id"]: frozenset(row["ids"]) for row in rows}


async def tickets_of(tx: Tx, escalation_ids: Iterable[UUID]) -> dict[UUID, UUID]:
    """Escalation → its ticket."""
    rows = await tx.fetch("SELECT id, ticket_id FROM escalation WHERE id = ANY ($1::uuid[])", list(escalation_ids))
    return {row["id"]: row["ticket_id"] for row in rows}


async def page(
    reader: Reader,
    tenant_id: str,
    *,
    ticket_id: UUID | None,
    state: str | None,
    before: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Escalation]:
    """At most `limit` escalations of a tenant, the newest first, from behind the position `before`; without pages."""
    conditions, arguments = ["tenant_id = $1"], [tenant_id, limit]
    for name, value in (("ticket_id", ticket_id), ("state", state)):
        if value is not None:
            arguments.append(value)
            conditions.append(f"{name} = ${len(arguments)}")
    if before is not None:
        arguments += before
        conditions.append(f"(started_at, id) < (${len(arguments) - 1}::timestamptz, ${len(arguments)}::uuid)")
    rows = await reader.fetch(
        f"SELECT {_COLUMNS} FROM escalation WHERE {' AND '.join(conditions)}"  # noqa: S608 - constants only
        " ORDER BY started_at DESC, id DESC LIMIT $2",
        *arguments,
    )
    return [_escalation(row) for row in rows]


async def save(tx: Tx, escalations: Iterable[Escalation]) -> None:
    """Store changed escalations and pages of tickets whose rows are locked."""
    # What ended first: another one of the same path may have started in the same transaction.
    changed = sorted((one for one in escalations if one.changed), key=lambda one: (one.running, one.id))
    if not changed:
        return
    for one in changed:
        one.version += 1
    values = [_row(one) for one in changed]
    await tx.execute(_SAVE, *([row[name] for row in values] for name in _NAMES))
    pages = sorted(
        ((one, page) for one in changed for page in one.pages.values() if page.changed), key=lambda p: p[1].page_id
    )
    if pages:
        rows = [_page_row(one, page) for one, page in pages]
        await tx.execute(_SAVE_PAGES, *([row[name] for row in rows] for name in _PAGE_TYPES))


async def _with_pages(reader: Reader, found: Sequence[Escalation]) -> Sequence[Escalation]:
    if not found:
        return found
    by = {one.id: one for one in found}
    rows = await reader.fetch(
        f"SELECT {_PAGE_COLUMNS} FROM page WHERE escalation_id = ANY ($1::uuid[])"  # noqa: S608 - constants only
        " ORDER BY requested_at, page_id",
        list(by),
    )
    for row in rows:
        by[row["escalation_id"]].pages[row["page_id"]] = Page(
            page_id=row["page_id"],
            person_id=row["person_id"],
            via=row["via"],
            step=row["step"],
            lap=row["lap"],
            responsible=row["responsible"],
            urgency=row["urgency"],
            requested_at=row["requested_at"],
            expires_at=row["expires_at"],
            state=PageState(row["state"]),
            settled_at=row["settled_at"],
        )
    return found


def _row(one: Escalation) -> dict[str, object]:
    values: dict[str, object] = {name: getattr(one, name) for name in _NAMES if name not in (*_JSON, "path", "state")}
    return {
        **values,
        "state": one.state.value,
        "path": one.plan.name,
        "plan": one.plan.model_dump_json(),
        "history": orjson.dumps(one.history).decode(),
    }


def _page_row(one: Escalation, page: Page) -> dict[str, object]:
    return {
        "page_id": page.page_id,
        "tenant_id": one.tenant_id,
        "escalation_id": one.id,
        "ticket_id": one.ticket_id,
        "person_id": page.person_id,
        "via": page.via,
        "step": page.step,
        "lap": page.lap,
        "responsible": page.responsible,
        "urgency": str(page.urgency),
        "state": page.state.value,
        "requested_at": page.requested_at,
        "expires_at": page.expires_at,
        "settled_at": page.settled_at,
    }


def _escalation(row: Record) -> Escalation:
    values = dict(row)
    del values["path"]
    values["plan"] = EscalationPath.model_validate_json(values["plan"])
    values["state"] = State(values["state"])
    values["history"] = orjson.loads(values["history"])
    return Escalation(**values, stored=True)
