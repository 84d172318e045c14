"""Tickets and their clocks as rows. A ticket's row is the lock of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol
from uuid import UUID

import orjson

from services.sla.domain.telling import Kept
from shared.auth.permissions import TicketScope
from shared.contracts.sla import ClockName, ClockState
from shared.contracts.ticket import LedgerEntry, TicketSummary
from shared.db import Record, Tx


class Reader(Protocol):
    """A database or a transaction, as far as reading goes."""

    async def fetch(self, sql: str, *args: object) -> list[Record]:
        """All rows."""

    async def fetchrow(self, sql: str, *args: object) -> Record | None:
        """The first row, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """What is known of one ticket."""

    id: UUID
    tenant_id: str
    partition: int
    version: int = -1
    """-1 until something is stored."""
    cycle: int = 1
    open: bool = True
    requester_zone: str | None = None
    watcher_ids: tuple[UUID, ...] = ()
    summary: TicketSummary | None = None
    ledger: tuple[LedgerEntry, ...] = ()

    def but(self, **values: object) -> Ticket:
        """The same with other values."""
        return replace(self, **values)  # type: ignore[arg-type]  # names and types are checked where they are given


_CLOCK = (
    "ticket_id, name, partition, cycle, state, started_at, target, line, calendar, zone, due_at, warn_at, breached_at,"
    " finished_at, policy_version, warned, told, provisional, quiet"
)
_TICKET = "ticket_id, tenant_id, partition, version, cycle, open, requester_zone, watcher_ids, summary, ledger"

# New tickets get a row before it is locked: two instances that meet the same one at a rebalance wait for each other.
_PLACE = """
    INSERT INTO sla_ticket (ticket_id, tenant_id, partition, version)
    SELECT id, tenant, partition, -1 FROM unnest($1::uuid[], $2::text[], $3::integer[]) AS u (id, tenant, partition)
    ORDER BY id ON CONFLICT DO NOTHING
"""
_SAVE_TICKETS = """
    UPDATE sla_ticket t SET partition = u.partition, version = u.version, cycle = u.cycle, open = u.open,
        number = u.number, requester_id = u.requester_id, requester_zone = u.requester_zone,
        watcher_ids = ARRAY (SELECT jsonb_array_elements_text(u.watchers::jsonb)::uuid),
        summary = u.summary, ledger = u.ledger
    FROM unnest($1::uuid[], $2::integer[], $3::bigint[], $4::integer[], $5::boolean[], $6::text[], $7::uuid[],
        $8::text[], $9::text[], $10::bytea[], $11::bytea[])
        AS u (id, partition, version, cycle, open, number, requester_id, requester_zone, watchers, summary, ledger)
    WHERE t.ticket_id = u.id
"""
_SAVE_CLOCKS = f"""
    INSERT INTO clock ({_CLOCK})
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::integer[], $4::integer[], $5::text[], $6::timestamptz[],
        $7::interval[], $8::integer[], $9::text[], $10::text[], $11::timestamptz[], $12::timestamptz[],
        $13::timestamptz[], $14::timestamptz[], $15::bigint[], $16::boolean[], $17::boolean[], $18::boolean[],
        $19::boolean[])
    ON CONFLICT (ticket_id, name) DO UPDATE SET
        partition = excluded.partition, cycle = excluded.cycle, state = excluded.state,
        started_at = excluded.started_at, target = excluded.target, line = excluded.line,
        calendar = excluded.calendar, zone = excluded.zone, due_at = excluded.due_at, warn_at = excluded.warn_at,
        breached_at = excluded.breached_at, finished_at = excluded.finished_at,
        policy_version = excluded.policy_version, warned = excluded.warned, told = excluded.told,
        provisional = excluded.provisional, quiet = excluded.quiet
"""  # noqa: S608 - constant columns


async def lock(tx: Tx, ticket_ids: Sequence[UUID]) -> dict[UUID, Ticket]:
    """Tickets by id, locked in the order of their ids."""
    rows = await tx.fetch(
        f"SELECT {_TICKET} FROM sla_ticket WHERE ticket_id = ANY ($1::uuid[])"  # noqa: S608 - constant columns
        " ORDER BY ticket_id FOR UPDATE",
        sorted(ticket_ids),
    )
    return {row["ticket_id"]: _ticket(row) for row in rows}


async def place(tx: Tx, tickets: Sequence[Ticket]) -> None:
    """Rows for those that have none yet."""
    ordered = sorted(tickets, key=lambda ticket: ticket.id)
    await tx.execute(_PLACE, [t.id for t in ordered], [t.tenant_id for t in ordered], [t.partition for t in ordered])


async def clocks(reader: Reader, ticket_ids: Sequence[UUID]) -> dict[UUID, dict[ClockName, Kept]]:
    """The clocks of tickets by name."""
    found: dict[UUID, dict[ClockName, Kept]] = {}
    sql = f"SELECT {_CLOCK} FROM clock WHERE ticket_id = ANY ($1::uuid[])"  # noqa: S608 - constant columns
    for row in await reader.fetch(sql, list(ticket_ids)):
        kept = _kept(row)
        found.setdefault(row["ticket_id"], {})[kept.name] = kept
    return found


async def save(tx: Tx, tickets: Sequence[Ticket]) -> None:
    """Store what is known of tickets that are locked."""
    if not tickets:
        return
    await tx.execute(
        _SAVE_TICKETS,
        [t.id for t in tickets],
        [t.partition for t in tickets],
        [t.version for t in tickets],
        [t.cycle for t in tickets],
        [t.open for t in tickets],
        [t.summary.number if t.summary else "" for t in tickets],
        [t.summary.requester_id if t.summary else None for t in tickets],
        [t.requester_zone for t in tickets],
        [orjson.dumps(t.watcher_ids).decode() for t in tickets],
        [t.summary.model_dump_json().encode() if t.summary else None for t in tickets],
        [_packed(t.ledger) for t in tickets],
    )


async def save_clocks(tx: Tx, kept: Mapping[UUID, Sequence[Kept]], partitions: Mapping[UUID, int]) -> None:
    """Store clocks of tickets that are locked."""
    rows = [(ticket, one) for ticket, some in kept.items() for one in some]
    if not rows:
        return
    await tx.execute(
        _SAVE_CLOCKS,
        [ticket for ticket, _ in rows],
        [one.name.value for _, one in rows],
        [partitions[ticket] for ticket, _ in rows],
        [one.cycle for _, one in rows],
        [one.state.value for _, one in rows],
        [one.started_at for _, one in rows],
        [one.target for _, one in rows],
        [one.line for _, one in rows],
        [one.calendar for _, one in rows],
        [one.zone for _, one in rows],
        [one.due_at for _, one in rows],
        [one.warn_at for _, one in rows],
        [one.breached_at for _, one in rows],
        [one.finished_at for _, one in rows],
        [one.policy_version for _, one in rows],
        [one.warned for _, one in rows],
        [one.told for _, one in rows],
        [one.provisional for _, one in rows],
        [one.quiet for _, one in rows],
    )


async def drop_clocks(tx: Tx, places: Sequence[tuple[UUID, ClockName]]) -> None:
    """Forget clocks that are none any more."""
    if places:
        await tx.execute(
            "DELETE FROM clock c USING unnest($1::uuid[], $2::text[]) AS u (id, name)"
            " WHERE c.ticket_id = u.id AND c.name = u.name",
            [ticket for ticket, _ in places],
            [name.value for _, name in places],
        )


async def forget(tx: Tx, ticket_ids: Sequence[UUID]) -> None:
    """Delete tickets whose state was deleted, with their clocks."""
    await tx.execute("DELETE FROM sla_ticket WHERE ticket_id = ANY ($1::uuid[])", sorted(ticket_ids))


async def open_after(tx: Tx, tenant: str, after: UUID, limit: int) -> list[UUID]:
    """The next open tickets of a tenant, by id."""
    rows = await tx.fetch(
        "SELECT ticket_id FROM sla_ticket WHERE open AND tenant_id = $1 AND ticket_id > $2 ORDER BY ticket_id LIMIT $3",
        tenant,
        after,
        limit,
    )
    return [row["ticket_id"] for row in rows]


async def open_of(tx: Tx, requesters: Sequence[UUID], limit: int) -> list[UUID]:
    """Open tickets of requesters."""
    rows = await tx.fetch(
        "SELECT ticket_id FROM sla_ticket WHERE open AND requester_id = ANY ($1::uuid[]) ORDER BY ticket_id LIMIT $2",
        list(requesters),
        limit,
    )
    return [row["ticket_id"] for row in rows]


async def moved(tx: Tx, requesters: Sequence[UUID], zones: Sequence[str | None]) -> list[tuple[str, UUID]]:
    """Tenant and id of those who have open tickets computed with another zone."""
    rows = await tx.fetch(
        "SELECT DISTINCT t.tenant_id, t.requester_id FROM unnest($1::uuid[], $2::text[]) AS p (id, zone)"
        " JOIN sla_ticket t ON t.requester_id = p.id AND t.open AND t.requester_zone IS DISTINCT FROM p.zone",
        list(requesters),
        list(zones),
    )
    return [(row["tenant_id"], row["requester_id"]) for row in rows]


async def visible(reader: Reader, scope: TicketScope, reference: UUID | str) -> Ticket | None:
    """A ticket by id or number, if its clocks may be seen in that scope."""
    column = "number" if isinstance(reference, str) else "ticket_id"
    row = await reader.fetchrow(
        f"SELECT {_TICKET}, requester_id FROM sla_ticket"  # noqa: S608 - constant columns
        f" WHERE tenant_id = $1 AND {column} = $2 AND version >= 0",
        scope.tenant_id,
        reference,
    )
    if row is None:
        return None
    watches = scope.person_id is not None and scope.person_id in row["watcher_ids"]
    return _ticket(row) if watches or scope.sees(row["tenant_id"], row["requester_id"]) else None


async def digest(reader: Reader) -> str:
    """A fingerprint of what is true of all open tickets, whatever was told on the way there."""
    row = await reader.fetchrow(
        "SELECT md5(coalesce(string_agg(concat_ws(' ', t.ticket_id, t.version, t.cycle, c.name, c.cycle, c.state,"
        " c.started_at, c.target, c.line, c.calendar, c.zone, c.due_at, c.breached_at, c.finished_at), E'\\n'"
        " ORDER BY t.ticket_id, c.name), '')) AS digest"
        " FROM sla_ticket t LEFT JOIN clock c USING (ticket_id) WHERE t.open"
    )
    return str(row["digest"]) if row is not None else ""


def _packed(ledger: Sequence[LedgerEntry]) -> bytes:
    return orjson.dumps([[one.number, one.at, one.kind, one.value] for one in ledger])


def _ticket(row: Record) -> Ticket:
    ledger = orjson.loads(row["ledger"]) if row["ledger"] is not None else ()
    summary = row["summary"]
    return Ticket(
        id=row["ticket_id"],
        tenant_id=row["tenant_id"],
        partition=row["partition"],
        version=row["version"],
        cycle=row["cycle"],
        open=row["open"],
        requester_zone=row["requester_zone"],
        watcher_ids=tuple(row["watcher_ids"]),
        summary=TicketSummary.model_validate_json(summary) if summary is not None else None,
        ledger=tuple(LedgerEntry(number=n, at=at, kind=kind, value=value) for n, at, kind, value in ledger),
    )


def _kept(row: Record) -> Kept:
    return Kept(
        name=ClockName(row["name"]),
        cycle=row["cycle"],
        state=ClockState(row["state"]),
        started_at=row["started_at"],
        target=row["target"],
        line=row["line"],
        calendar=row["calendar"],
        zone=row["zone"],
        due_at=row["due_at"],
        warn_at=row["warn_at"],
        breached_at=row["breached_at"],
        finished_at=row["finished_at"],
        policy_version=row["policy_version"],
        warned=row["warned"],
        told=row["told"],
        provisional=row["provisional"],
        quiet=row["quiet"],
    )
