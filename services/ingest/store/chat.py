"""Chats: sites, sessions, transcripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from shared.db import Database, Record, Tx

CHANNEL = "deskwire_chat"
"""The database notification that tells every instance of a session with news."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLine:
    """One line to be appended to a transcript."""

    session_id: UUID
    tenant_id: str
    message_id: UUID
    ticket_id: UUID
    side: str
    client_id: str | None = None
    text: str | None = None
    text_sha256: str | None = None
    files: tuple[str, ...] = ()
    told: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSession:
    """A session with its first message."""

    session_id: UUID
    tenant_id: str
    person_id: UUID
    address: str | None


async def begin_sessions(tx: Tx, sessions: Sequence[NewSession]) -> None:
    """Make sessions that are new."""
    rows = sorted({one.session_id: one for one in sessions}.values(), key=lambda one: one.session_id.int)
    await tx.execute(
        "INSERT INTO chat_session (session_id, tenant_id, person_id, address, last_seq, acked_seq, seen_at, begun_at)"
        " SELECT w.*, 0, 0, $5, $5 FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[]) AS w"
        " ON CONFLICT DO NOTHING",
        [one.session_id for one in rows],
        [one.tenant_id for one in rows],
        [one.person_id for one in rows],
        [one.address for one in rows],
        tx.instant,
    )


async def lock_sessions(tx: Tx, session_ids: Sequence[UUID]) -> dict[UUID, Record]:
    """Lock sessions in the order of their ids."""
    rows = await tx.fetch(
        "SELECT session_id, tenant_id, person_id, address, last_seq, acked_seq, seen_at FROM chat_session"
        " WHERE session_id = ANY ($1::uuid[]) ORDER BY session_id FOR UPDATE",
        list(session_ids),
    )
    return {row["session_id"]: row for row in rows}


async def append(tx: Tx, lines: Sequence[NewLine], last: Mapping[UUID, int]) -> None:
    """Number lines after the `last` of their locked sessions, and tell every instance at the commit."""
    numbers = dict(last)
    seqs = []
    for line in lines:
        numbers[line.session_id] += 1
        seqs.append(numbers[line.session_id])
    await tx.execute(
        "INSERT INTO chat_line (session_id, seq, tenant_id, message_id, ticket_id, side, client_id, text,"
        " text_sha256, files, at, told_at)"
        " SELECT session_id, seq, tenant_id, message_id, ticket_id, side, client_id, text, text_sha256,"
        " string_to_array(files, E'\\n'), $11::timestamptz, CASE WHEN told THEN $11::timestamptz END"
        " FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::uuid[], $5::uuid[], $6::text[], $7::text[],"
        " $8::text[], $9::bytea[], $10::text[], $12::bool[])"
        " AS w(session_id, seq, tenant_id, message_id, ticket_id, side, client_id, text, text_sha256, files, told)",
        [one.session_id for one in lines],
        seqs,
        [one.tenant_id for one in lines],
        [one.message_id for one in lines],
        [one.ticket_id for one in lines],
        [one.side for one in lines],
        [one.client_id for one in lines],
        [one.text for one in lines],
        [bytes.fromhex(one.text_sha256) if one.text_sha256 else None for one in lines],
        ["\n".join(one.files) for one in lines],
        tx.instant,
        [one.told for one in lines],
    )
    changed = sorted({line.session_id for line in lines})
    await tx.execute(
        "UPDATE chat_session s SET last_seq = w.last FROM unnest($1::uuid[], $2::bigint[]) AS w(session_id, last)"
        " WHERE s.session_id = w.session_id",
        changed,
        [numbers[one] for one in changed],
    )
    await tx.execute("SELECT pg_notify($1, w::text) FROM unnest($2::uuid[]) AS w", CHANNEL, changed)


async def settle_tickets(tx: Tx, joined: Sequence[tuple[str, UUID, UUID]]) -> None:
    """Remember which ticket visitors' messages (tenant, message, ticket) came to: it may have been another one."""
    await tx.execute(
        "UPDATE chat_line l SET ticket_id = w.ticket_id"
        " FROM unnest($1::text[], $2::uuid[], $3::uuid[]) AS w(tenant_id, message_id, ticket_id)"
        " WHERE l.message_id = w.message_id AND l.tenant_id = w.tenant_id AND l.ticket_id <> w.ticket_id",
        [tenant for tenant, _, _ in joined],
        [message for _, message, _ in joined],
        [ticket for _, _, ticket in joined],
    )


async def sessions_of(tx: Tx, tickets: Sequence[tuple[str, UUID]]) -> dict[tuple[str, UUID], list[UUID]]:
    """The sessions whose visitors wrote to these tickets."""
    rows = await tx.fetch(
        "SELECT DISTINCT l.tenant_id, l.ticket_id, l.session_id"
        " FROM unnest($1::text[], $2::uuid[]) AS w(tenant_id, ticket_id)"
        " JOIN chat_line l ON l.tenant_id = w.tenant_id AND l.ticket_id = w.ticket_id"
        " ORDER BY l.session_id",
        [tenant for tenant, _ in tickets],
        [ticket for _, ticket in tickets],
    )
    found: dict[tuple[str, UUID], list[UUID]] = {}
    for row in rows:
        found.setdefault((row["tenant_id"], row["ticket_id"]), []).append(row["session_id"])
    return found


async def untold(tx: Tx, session_ids: Sequence[UUID]) -> list[Record]:
    """Answers in locked sessions that the visitor has not acknowledged and nobody else was left to tell."""
    return await tx.fetch(
        "SELECT l.session_id, l.seq, l.message_id, l.ticket_id FROM chat_line l"
        " JOIN chat_session s USING (session_id)"
        " WHERE l.session_id = ANY ($1::uuid[]) AND l.seq > s.acked_seq AND l.side <> 'visitor' AND l.told_at IS NULL"
        " ORDER BY l.session_id, l.seq",
        list(session_ids),
    )


async def mark_told(tx: Tx, lines: Sequence[tuple[UUID, int]]) -> None:
    """Somebody else tells the visitor of these lines."""
    await tx.execute(
        "UPDATE chat_line l SET told_at = $3 FROM unnest($1::uuid[], $2::bigint[]) AS w(session_id, seq)"
        " WHERE l.session_id = w.session_id AND l.seq = w.seq",
        [session for session, _ in lines],
        [seq for _, seq in lines],
        tx.instant,
    )


async def lines(database: Database, tenant_id: str, session_id: UUID, after: int, limit: int) -> list[Record]:
    """The transcript after a number."""
    return await database.fetch(
        "SELECT seq, message_id, side, client_id, text, text_sha256, files, at FROM chat_line"
        " WHERE session_id = $1 AND tenant_id = $2 AND seq > $3 ORDER BY seq LIMIT $4",
        session_id,
        tenant_id,
        after,
        limit,
    )


async def last_seqs(database: Database, session_ids: Sequence[UUID]) -> dict[UUID, int]:
    """How many lines these sessions have."""
    rows = await database.fetch(
        "SELECT session_id, last_seq FROM chat_session WHERE session_id = ANY ($1::uuid[])", list(session_ids)
    )
    return {row["session_id"]: row["last_seq"] for row in rows}


async def seen(database: Database, acked: Mapping[UUID, int]) -> None:
    """The visitors of these sessions are here, and have seen the lines up to a number."""
    ordered = sorted(acked)
    await database.execute(
        "UPDATE chat_session s SET seen_at = greatest(s.seen_at, (SELECT desk_now())),"
        " acked_seq = greatest(s.acked_seq, least(w.acked, s.last_seq))"
        " FROM unnest($1::uuid[], $2::bigint[]) AS w(session_id, acked) WHERE s.session_id = w.session_id",
        ordered,
        [acked[one] for one in ordered],
    )


async def site(database: Database, tenant_id: str) -> Record | None:
    """A tenant's settings."""
    return await database.fetchrow(
        "SELECT tenant_id, version, enabled, key, origins FROM chat_site WHERE tenant_id = $1", tenant_id
    )


async def site_of_key(database: Database, key: str) -> Record | None:
    """The settings that a public key belongs to."""
    return await database.fetchrow("SELECT tenant_id, enabled, origins FROM chat_site WHERE key = $1", key)


async def put_site(
    tx: Tx, tenant_id: str, *, enabled: bool, origins: Sequence[str], key: str, rotate: bool
) -> Record | None:
    """Store a tenant's settings; its key stays unless it is to be another."""
    return await tx.fetchrow(
        "INSERT INTO chat_site AS s (tenant_id, version, enabled, key, origins, changed_at)"
        " VALUES ($1, 1, $2, $3, $4, $5)"
        " ON CONFLICT (tenant_id) DO UPDATE SET version = s.version + 1, enabled = excluded.enabled,"
        " key = CASE WHEN $6 THEN excluded.key ELSE s.key END, origins = excluded.origins,"
        " changed_at = excluded.changed_at"
        " RETURNING tenant_id, version, enabled, key, origins",
        tenant_id,
        enabled,
        key,
        list(origins),
        tx.instant,
        rotate,
    )


async def forget_old(database: Database) -> None:
    """Drop transcripts whose visitor was last here 30 days ago; the ticket has the messages."""
    await database.execute(
        "WITH gone AS (DELETE FROM chat_session WHERE seen_at < (SELECT desk_now()) - interval '30 days'"
        " RETURNING session_id)"
        " DELETE FROM chat_line l USING gone g WHERE l.session_id = g.session_id"
    )
