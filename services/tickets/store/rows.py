"""Tickets as rows: the columns in one order, and both directions."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from services.tickets.domain.ticket import Ticket, Transfer
from shared.contracts.ticket import LedgerEntry, Link, SealedCycle
from shared.db import Record

COLUMNS: tuple[tuple[str, str], ...] = (
    ("id", "uuid"),
    ("tenant_id", "text"),
    ("number", "text"),
    ("version", "bigint"),
    ("revision", "bigint"),
    ("subject", "text"),
    ("status", "text"),
    ("category", "text"),
    ("rank", "smallint"),
    ("priority", "text"),
    ("requester_id", "uuid"),
    ("organisation_id", "uuid"),
    ("assignee_id", "uuid"),
    ("team_id", "uuid"),
    ("queue", "text"),
    ("channel", "text"),
    ("inbound_address", "text"),
    ("language", "text"),
    ("product", "text"),
    ("tier", "text"),
    ("tags", "text[]"),
    ("impact", "text"),
    ("urgency", "text"),
    ("eta_at", "timestamptz"),
    ("fields", "jsonb"),
    ("created_at", "timestamptz"),
    ("updated_at", "timestamptz"),
    ("status_since", "timestamptz"),
    ("assigned_at", "timestamptz"),
    ("cycle", "integer"),
    ("cycle_opened_at", "timestamptz"),
    ("responded_at", "timestamptz"),
    ("solved_at", "timestamptz"),
    ("opened", "boolean"),
    ("answered", "boolean"),
    ("ledger", "jsonb"),
    ("ledger_count", "integer"),
    ("cycle_entries", "integer"),
    ("sealed", "jsonb"),
    ("message_count", "integer"),
    ("watcher_ids", "uuid[]"),
    ("participant_ids", "uuid[]"),
    ("follows_id", "uuid"),
    ("awaited_parent_id", "uuid"),
    ("merged_into", "uuid"),
    ("merged_at", "timestamptz"),
    ("links", "jsonb"),
    ("dismissed_ids", "uuid[]"),
    ("transfer", "jsonb"),
    ("held_until", "timestamptz"),
    ("set_by", "jsonb"),
    ("decided", "jsonb"),
    ("derived", "jsonb"),
    ("heard", "jsonb"),
    ("audit_count", "integer"),
    ("audit_head", "bytea"),
    ("active", "boolean"),
)
NAMES = tuple(name for name, _ in COLUMNS)
IMMUTABLE = frozenset({"id", "tenant_id", "number", "requester_id", "channel", "inbound_address", "created_at"})
"""Columns that no update touches."""
SELECTED = ", ".join(f"ticket.{name}" for name in NAMES if name != "active")

_OBJECTS = ("fields", "set_by", "decided", "derived", "heard")
"""Columns with a JSON object, most of them empty."""
_EMPTY_OBJECT, _EMPTY_LIST = "{}", "[]"


def to_row(ticket: Ticket) -> tuple[object, ...]:
    """The values of one row, in the order of `NAMES`."""
    return (
        ticket.id,
        ticket.tenant_id,
        ticket.number,
        ticket.version,
        ticket.revision,
        ticket.subject,
        ticket.status,
        ticket.category,
        ticket.rank,
        ticket.priority,
        ticket.requester_id,
        ticket.organisation_id,
        ticket.assignee_id,
        ticket.team_id,
        ticket.queue,
        ticket.channel,
        ticket.inbound_address,
        ticket.language,
        ticket.product,
        ticket.tier,
        ticket.tags,
        ticket.impact,
        ticket.urgency,
        ticket.eta_at,
        to_json(ticket.fields) if ticket.fields else _EMPTY_OBJECT,
        ticket.created_at,
        ticket.updated_at,
        ticket.status_since,
        ticket.assigned_at,
        ticket.cycle,
        ticket.cycle_opened_at,
        ticket.responded_at,
        ticket.solved_at,
        ticket.opened,
        ticket.answered,
        to_json([(entry.number, entry.at, entry.kind, entry.value) for entry in ticket.ledger]),
        ticket.ledger_count,
        ticket.cycle_entries,
        to_json([seal.model_dump(mode="json") for seal in ticket.sealed]) if ticket.sealed else _EMPTY_LIST,
        ticket.message_count,
        ticket.watcher_ids,
        ticket.participant_ids,
        ticket.follows_id,
        ticket.awaited_parent_id,
        ticket.merged_into,
        ticket.merged_at,
        _links(ticket.links) if ticket.links else _EMPTY_LIST,
        ticket.dismissed_ids,
        None if ticket.transfer is None else to_json(asdict(ticket.transfer)),
        ticket.held_until,
        to_json(ticket.set_by) if ticket.set_by else _EMPTY_OBJECT,
        to_json(ticket.decided) if ticket.decided else _EMPTY_OBJECT,
        *derived_columns(ticket),
        ticket.audit_count,
        ticket.audit_head,
        ticket.active,
    )


def derived_columns(ticket: Ticket) -> tuple[str, str]:
    """The values of `derived` and `heard`."""
    return (
        to_json(ticket.derived) if ticket.derived else _EMPTY_OBJECT,
        to_json(ticket.heard) if ticket.heard else _EMPTY_OBJECT,
    )


def _links(links: tuple[Link, ...]) -> str:
    return to_json([(link.kind, link.ticket_id, link.number, link.suggested, link.score) for link in links])


def to_ticket(row: Record) -> Ticket:
    """The ticket of a row with the columns of `SELECTED`."""
    values: dict[str, Any] = {name: row[name] for name in NAMES if name != "active"}
    values["tags"] = tuple(row["tags"])
    values["watcher_ids"] = tuple(row["watcher_ids"])
    values["participant_ids"] = tuple(row["participant_ids"])
    values["dismissed_ids"] = tuple(row["dismissed_ids"])
    for name in _OBJECTS:
        text = row[name]
        values[name] = {} if text == _EMPTY_OBJECT else from_json(text)
    if row["transfer"] is not None:
        values["transfer"] = _transfer(from_json(row["transfer"]))
    values["links"] = tuple(
        Link(kind=kind, ticket_id=UUID(other), number=number, suggested=suggested, score=score)
        for kind, other, number, suggested, score in from_json(row["links"])
    )
    values["ledger"] = tuple(
        LedgerEntry(number=number, at=datetime.fromisoformat(at), kind=kind, value=value)
        for number, at, kind, value in from_json(row["ledger"])
    )
    values["sealed"] = tuple(SealedCycle.model_validate(seal) for seal in from_json(row["sealed"]))
    return Ticket(**values)


def _transfer(kept: dict[str, Any]) -> Transfer:
    return Transfer(
        id=UUID(kept["id"]),
        from_id=UUID(kept["from_id"]) if kept["from_id"] else None,
        to_id=UUID(kept["to_id"]),
        asked_by=kept["asked_by"],
        note=kept["note"],
        asked_at=datetime.fromisoformat(kept["asked_at"]),
        expires_at=datetime.fromisoformat(kept["expires_at"]),
    )


def to_json(value: object) -> str:
    """JSON text for a jsonb column."""
    return orjson.dumps(value, default=_plain, option=orjson.OPT_NON_STR_KEYS).decode()


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return dict(value)
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"not JSON: {type(value).__name__}")


def from_json(text: str) -> Any:
    """The value of a jsonb column, which the driver hands over as text."""
    return orjson.loads(text)


def array(values: tuple[object, ...]) -> str:
    """An array literal, for statements that carry one array per row through unnest."""
    if not values:
        return "{}"
    return "{" + ",".join('"' + str(v).replace("\\", "\\\\").replace('"', '\\"') + '"' for v in values) + "}"
