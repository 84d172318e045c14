"""What is known of tickets: locked, inserted and updated, a whole batch per statement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol
from uuid import UUID

from services.escalation.domain.ticket import KnownTicket
from shared.contracts.ticket import TicketSummary
from shared.db import Record, Tx

_COLUMNS = (
    "ticket_id, tenant_id, partition, state_version, summary, cycle, duplicates, merged, responded_at, acted_at,"
    " watch_at, watched"
)

_UNNEST = """
    unnest($1::uuid[], $2::text[], $3::smallint[], $4::bigint[], $5::text[], $6::int[], $7::smallint[], $8::bool[],
           $9::timestamptz[], $10::timestamptz[], $11::timestamptz[], $12::text[])
        AS n (ticket_id, tenant_id, partition, state_version, summary, cycle, duplicates, merged, responded_at,
              acted_at, watch_at, watched)
"""

# In key order: two transactions that insert the same new tickets wait for each other instead of deadlocking.
_INSERT = f"""
    INSERT INTO ticket ({_COLUMNS})
    SELECT n.ticket_id, n.tenant_id, n.partition, n.state_version, n.summary::jsonb, n.cycle, n.duplicates, n.merged,
           n.responded_at, n.acted_at, n.watch_at, n.watched
    FROM {_UNNEST}
    ON CONFLICT DO NOTHING RETURNING ticket_id
"""  # noqa: S608 - constants only

_LOCK = f"""
    SELECT {_COLUMNS} FROM ticket WHERE ticket_id = ANY ($1::uuid[]) ORDER BY ticket_id FOR NO KEY UPDATE
"""  # noqa: S608 - constants only

_UPDATE = f"""
    UPDATE ticket t SET partition = n.partition, state_version = n.state_version, summary = n.summary::jsonb,
        cycle = n.cycle, duplicates = n.duplicates, merged = n.merged, responded_at = n.responded_at,
        acted_at = n.acted_at, watch_at = n.watch_at, watched = n.watched
    FROM {_UNNEST} WHERE t.ticket_id = n.ticket_id
"""  # noqa: S608 - constants only


class Reader(Protocol):
    """A database or a transaction, as far as reading one row goes."""

    async def fetchrow(self, sql: str, *args: object) -> Record | None:
        """The first row, or None."""


async def insert(tx: Tx, tickets: Iterable[KnownTicket]) -> set[UUID]:
    """Add tickets that are not there; which were added. Another transaction's insertion is waited for."""
    ordered = sorted(tickets, key=lambda one: one.ticket_id)
    if not ordered:
        return set()
    return {row["ticket_id"] for row in await tx.fetch(_INSERT, *_arrays(ordered))}


async def lock(tx: Tx, ticket_ids: Iterable[UUID]) -> dict[UUID, KnownTicket]:
    """The tickets that are known, ours until the transaction ends."""
    wanted = list(ticket_ids)
    if not wanted:
        return {}
    return {row["ticket_id"]: _known(row) for row in await tx.fetch(_LOCK, wanted)}


async def update(tx: Tx, tickets: Iterable[KnownTicket]) -> None:
    """Write tickets that are locked."""
    ordered = list(tickets)
    if ordered:
        await tx.execute(_UPDATE, *_arrays(ordered))


async def delete(tx: Tx, ticket_ids: Sequence[UUID]) -> None:
    """Forget tickets."""
    await tx.execute("DELETE FROM ticket WHERE ticket_id = ANY ($1::uuid[])", list(ticket_ids))


async def find(reader: Reader, tenant_id: str, ticket_id: UUID) -> KnownTicket | None:
    """One ticket of a tenant."""
    row = await reader.fetchrow(
        f"SELECT {_COLUMNS} FROM ticket WHERE tenant_id = $1 AND ticket_id = $2",  # noqa: S608 - constants only
        tenant_id,
        ticket_id,
    )
    return None if row is None else _known(row)


async def withdraw(tx: Tx, keys: Mapping[tuple[UUID, str], str]) -> None:
    """Remember that these breaches (ticket, `<clock>:<cycle>`) of these tenants were none."""
    ordered = sorted(keys)
    await tx.execute(
        "INSERT INTO withdrawal (ticket_id, clock_key, tenant_id, at)"
        " SELECT n.*, desk_now() FROM unnest($1::uuid[], $2::text[], $3::text[]) AS n ON CONFLICT DO NOTHING",
        [ticket for ticket, _ in ordered],
        [key for _, key in ordered],
        [keys[one] for one in ordered],
    )


async def withdrawn(tx: Tx, keys: Iterable[tuple[UUID, str]]) -> set[tuple[UUID, str]]:
    """Which of these breaches were none."""
    wanted = list(keys)
    rows = await tx.fetch(
        "SELECT w.ticket_id, w.clock_key FROM unnest($1::uuid[], $2::text[]) AS n (ticket_id, clock_key)"
        " JOIN withdrawal w USING (ticket_id, clock_key)",
        [ticket for ticket, _ in wanted],
        [key for _, key in wanted],
    )
    return {(row["ticket_id"], row["clock_key"]) for row in rows}


def _arrays(tickets: Sequence[KnownTicket]) -> list[list[object]]:
    return [
        [one.ticket_id for one in tickets],
        [one.tenant_id for one in tickets],
        [one.partition for one in tickets],
        [one.state_version for one in tickets],
        [one.summary.model_dump_json(exclude_none=True) for one in tickets],
        [one.cycle for one in tickets],
        [one.duplicates for one in tickets],
        [one.merged for one in tickets],
        [one.responded_at for one in tickets],
        [one.acted_at for one in tickets],
        [one.watch_at for one in tickets],
        [one.watched for one in tickets],
    ]


def _known(row: Record) -> KnownTicket:
    values = dict(row)
    values["summary"] = TicketSummary.model_validate_json(values["summary"])
    return KnownTicket(**values)
