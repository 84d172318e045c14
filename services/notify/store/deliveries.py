"""Deliveries: one row per hand-off, from planned to over; notices are what the application shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from services.notify.domain.planning import Planned, State
from shared.db import Database, Record, Tx

_COLUMNS = (
    "id, tenant_id, ticket_id, occasion, cause_id, template, channel, recipient_id, address, message_id, page_id,"
    " urgent, facts, state, reason, answer, external_id, attempts, doubtful, expires_at, correlation, created_at,"
    " changed_at"
)

MAIL, PAGE = "mail", "page"
"""Kinds of tasks; their key is the delivery's id. Pages have workers of their own: no flood stands before them."""
_DAY = timedelta(days=1)
RETRIED = "retried"
"""Reason of a delivery that waits again because a person asked for it, however old it is."""

_INSERT = """
    INSERT INTO delivery (id, tenant_id, ticket_id, occasion, cause_id, template, channel, recipient_id, address,
        message_id, page_id, urgent, facts, state, reason, expires_at, correlation, created_at, changed_at)
    SELECT d.*, $18, $18 FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::uuid[], $6::text[], $7::text[],
        $8::uuid[], $9::text[], $10::uuid[], $11::uuid[], $12::boolean[], $13::jsonb[], $14::text[], $15::text[],
        $16::timestamptz[], $17::text[])
        AS d (id, tenant_id, ticket_id, occasion, cause_id, template, channel, recipient_id, address, message_id,
            page_id, urgent, facts, state, reason, expires_at, correlation)
    ORDER BY d.id
    ON CONFLICT (id) DO NOTHING
    RETURNING id
"""

# A row already `sending` was in an attempt whose answer nobody wrote down: the mail may have gone out.
_CLAIM = f"""
    UPDATE delivery SET state = 'sending', attempts = attempts + 1, doubtful = doubtful + (state = 'sending')::int,
        external_id = coalesce(external_id, $2), changed_at = desk_now()
    WHERE id = $1 AND (state IN ('waiting', 'sending') OR (state = 'failed' AND reason = 'exhausted'))
    RETURNING {_COLUMNS}
"""  # noqa: S608 - our own columns

_FINISH = f"""
    UPDATE delivery SET state = $2, reason = $3, answer = coalesce($4, answer), changed_at = desk_now(),
        facts = CASE WHEN $2 = 'delivered' THEN NULL ELSE facts END,
        address = CASE WHEN $2 = 'delivered' THEN NULL ELSE address END
    WHERE id = $1 AND state IN ('waiting', 'sending')
    RETURNING {_COLUMNS}
"""  # noqa: S608 - our own columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One row."""

    id: UUID
    tenant_id: str
    ticket_id: UUID
    occasion: str
    cause_id: UUID
    template: str
    channel: str
    recipient_id: UUID
    address: str | None
    message_id: UUID | None
    page_id: UUID | None
    urgent: bool
    facts: Mapping[str, Any] | None
    """Gone once delivered."""
    state: State
    reason: str | None
    answer: str | None
    """What the next system said last, without addresses."""
    external_id: str | None
    attempts: int
    doubtful: int
    expires_at: datetime | None
    correlation: str
    created_at: datetime
    changed_at: datetime


async def insert(tx: Tx, planned: Sequence[Planned]) -> set[UUID]:
    """Add deliveries; the ids of those that were not there before. Locks in the order of ids."""
    if not planned:
        return set()
    facts: dict[int, str] = {}
    for one in planned:
        if id(one.fact) not in facts:
            facts[id(one.fact)] = orjson.dumps(one.fact.facts()).decode()
    rows = await tx.fetch(
        _INSERT,
        [one.id for one in planned],
        [one.fact.tenant_id for one in planned],
        [one.fact.ticket_id for one in planned],
        [one.fact.occasion.value for one in planned],
        [one.fact.cause_id for one in planned],
        [one.template for one in planned],
        [one.channel for one in planned],
        [one.recipient_id for one in planned],
        [one.fact.address for one in planned],
        [one.fact.message_id for one in planned],
        [one.fact.page_id for one in planned],
        [one.fact.urgent for one in planned],
        [facts[id(one.fact)] if one.state is State.WAITING and one.channel == "email" else None for one in planned],
        [one.state.value for one in planned],
        [one.reason for one in planned],
        [one.fact.expires_at for one in planned],
        [one.fact.correlation for one in planned],
        tx.instant,
    )
    return {row["id"] for row in rows}


async def known(tx: Tx, ids: Sequence[UUID]) -> set[UUID]:
    """Those of these deliveries that there are already."""
    rows = await tx.fetch("SELECT id FROM delivery WHERE id = ANY ($1::uuid[])", list(ids))
    return {row["id"] for row in rows}


async def claim(tx: Tx, delivery_id: UUID, external_id: str | None = None) -> Delivery | None:
    """Take a delivery in hand: from here on a cancellation comes too late. None when it is over, or cancelled.

    `external_id` is what it will be called outside; the first one given stays.
    """
    row = await tx.fetchrow(_CLAIM, delivery_id, external_id)
    return delivery(row) if row else None


async def postpone(database: Database, delivery_id: UUID, answer: str) -> None:
    """Not in hand any more: it may be cancelled again until the next attempt."""
    await database.execute(
        "UPDATE delivery SET state = 'waiting', answer = $2, changed_at = desk_now()"
        " WHERE id = $1 AND state = 'sending'",
        delivery_id,
        answer,
    )


async def finish(
    tx: Tx, delivery_id: UUID, state: State, reason: str | None = None, answer: str | None = None
) -> Delivery | None:
    """End a delivery; None when it had ended before. What it was made of goes with success."""
    row = await tx.fetchrow(_FINISH, delivery_id, state.value, reason, answer)
    return delivery(row) if row else None


async def cancel_pages(tx: Tx, page_ids: Sequence[UUID]) -> list[UUID]:
    """End what carries these pages and is not in hand yet; those deliveries."""
    rows = await tx.fetch(
        "UPDATE delivery SET state = 'cancelled', reason = 'cancelled', facts = NULL, changed_at = desk_now()"
        " WHERE id IN (SELECT id FROM delivery WHERE page_id = ANY ($1::uuid[]) AND state = 'waiting'"
        " ORDER BY id FOR UPDATE) RETURNING id",
        list(page_ids),
    )
    return [row["id"] for row in rows]


async def waiting_answers(tx: Tx, tickets: Iterable[tuple[str, UUID]], templates: Iterable[str]) -> list[UUID]:
    """Mails in one of these templates that wait to be handed over, of tickets given with their tenant."""
    wanted = list(tickets)
    rows = await tx.fetch(
        "SELECT d.id FROM unnest($1::text[], $2::uuid[]) AS w (tenant_id, ticket_id)"
        " JOIN delivery d ON d.tenant_id = w.tenant_id AND d.ticket_id = w.ticket_id"
        " WHERE d.state = 'waiting' AND d.channel = 'email' AND d.template = ANY ($3::text[])",
        [tenant for tenant, _ in wanted],
        [ticket for _, ticket in wanted],
        list(templates),
    )
    return [row["id"] for row in rows]


async def read(source: Database | Tx, delivery_id: UUID) -> Delivery | None:
    """One delivery by its id."""
    row = await source.fetchrow(f"SELECT {_COLUMNS} FROM delivery WHERE id = $1", delivery_id)  # noqa: S608 - ours
    return delivery(row) if row else None


async def lock(tx: Tx, tenant_id: str, delivery_id: UUID) -> Delivery | None:
    """One delivery of a tenant, locked."""
    row = await tx.fetchrow(
        f"SELECT {_COLUMNS} FROM delivery WHERE tenant_id = $1 AND id = $2 FOR UPDATE",  # noqa: S608 - ours
        tenant_id,
        delivery_id,
    )
    return delivery(row) if row else None


async def revive(tx: Tx, delivery_id: UUID) -> None:
    """Have a failed delivery wait again; the row is locked."""
    await tx.execute(
        "UPDATE delivery SET state = 'waiting', reason = $2, changed_at = desk_now() WHERE id = $1",
        delivery_id,
        RETRIED,
    )


async def page(
    database: Database,
    tenant_id: str,
    *,
    recipient_id: UUID | None,
    ticket_id: UUID | None,
    state: State | None,
    channel: str | None,
    template: str | None,
    before: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Delivery]:
    """A tenant's deliveries, newest first; `recipient_id` narrows them to one person's."""
    conditions, arguments = ["tenant_id = $1"], [tenant_id]
    given: list[tuple[str, object]] = [
        ("recipient_id", recipient_id),
        ("ticket_id", ticket_id),
        ("state", state.value if state else None),
        ("channel", channel),
        ("template", template),
    ]
    values: list[object] = [*arguments]
    for column, value in given:
        if value is not None:
            values.append(value)
            conditions.append(f"{column} = ${len(values)}")
    if before is not None:
        values += before
        conditions.append(f"(created_at, id) < (${len(values) - 1}, ${len(values)})")
    values.append(limit)
    rows = await database.fetch(
        f"SELECT {_COLUMNS} FROM delivery WHERE {' AND '.join(conditions)}"  # noqa: S608 - our own columns
        f" ORDER BY created_at DESC, id DESC LIMIT ${len(values)}",
        *values,
    )
    return [delivery(row) for row in rows]


async def purge(database: Database, older_than: timedelta, limit: int = 5000) -> int:
    """Delete rows of long ago in every table that grows, some at a time; how many."""
    count = 0
    for table, column, age in (
        ("delivery", "created_at", older_than),
        ("notice", "created_at", older_than),
        ("thread_entry", "at", older_than),
        # A visitor who left is told of within minutes; until then the answer's text lies here.
        ("chat_reply", "at", min(older_than, 7 * _DAY)),
        ("ticket_language", "at", min(older_than, 7 * _DAY)),
    ):
        tag = await database.execute(
            f"DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table}"  # noqa: S608 - our own names
            f" WHERE {column} < desk_now() - $1::interval ORDER BY {column} LIMIT $2))",
            age,
            limit,
        )
        count += int(tag.rpartition(" ")[2])
    # Who was not answered by a machine for a day is as good as never.
    await database.execute(
        "DELETE FROM courtesy WHERE coalesce(sent[cardinality(sent)] < desk_now() - $1::interval, true)", _DAY
    )
    return count


async def count_waiting(database: Database) -> int:
    """How many wait to be handed off."""
    found: int = await database.fetchval("SELECT count(*) FROM task WHERE kind IN ('mail', 'page')")
    return found


def delivery(row: Record) -> Delivery:
    """A row as a value."""
    values = dict(row)
    values["facts"] = orjson.loads(row["facts"]) if row["facts"] is not None else None
    values["state"] = State(row["state"])
    return Delivery(**values)
