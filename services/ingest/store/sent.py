"""Mails of ours in the thread index, and reports about mails that are not known as ours yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from services.ingest.placement import Key
from shared.db import Database, Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A mail of ours that was handed off."""

    key: Key
    ticket_id: UUID
    message_id: UUID | None
    """The ticket's message that it carries."""
    recipient_id: UUID | None


@dataclass(frozen=True, slots=True)
class Early:
    """A report that came before the event that tells of its mail."""

    recipient_id: UUID
    tenant_id: str
    reason: str
    status: str


async def remember(tx: Tx, sent: Sequence[Sent]) -> None:
    """Enter mails of ours, each in the conversation of its ticket; those known already stay as they are.

    An answer that was faster has left a place under the same key: it becomes ours, and later answers find the ticket.
    """
    rows = sorted({one.key: one for one in sent}.values(), key=lambda one: one.key)
    await tx.execute(
        "INSERT INTO thread AS t (tenant_id, key, message_id, conversation_id, ticket_id, recipient_id, seen_at)"
        " SELECT w.tenant_id, w.key, coalesce(w.message_id, m.message_id), coalesce(m.conversation_id, w.ticket_id),"
        " w.ticket_id, w.recipient_id, $6"
        " FROM unnest($1::text[], $2::bytea[], $3::uuid[], $4::uuid[], $5::uuid[]) WITH ORDINALITY"
        " AS w(tenant_id, key, ticket_id, message_id, recipient_id, nr)"
        " LEFT JOIN message m ON m.tenant_id = w.tenant_id AND m.ticket_id = w.ticket_id AND m.ticket_id IS NOT NULL"
        " ORDER BY w.nr"
        " ON CONFLICT (tenant_id, key) DO UPDATE SET message_id = excluded.message_id,"
        " conversation_id = excluded.conversation_id, ticket_id = excluded.ticket_id,"
        " recipient_id = excluded.recipient_id WHERE t.message_id IS NULL AND t.ticket_id IS NULL",
        [one.key[0] for one in rows],
        [one.key[1] for one in rows],
        [one.ticket_id for one in rows],
        [one.message_id for one in rows],
        [one.recipient_id for one in rows],
        tx.instant,
    )


async def recipients(tx: Tx, keys: Sequence[Key]) -> dict[Key, UUID]:
    """To whom the mails of ours under these keys went; other keys are left out."""
    rows = await tx.fetch(
        "SELECT t.tenant_id, t.key, t.recipient_id FROM unnest($1::text[], $2::bytea[]) AS w(tenant_id, key)"
        " JOIN thread t ON t.tenant_id = w.tenant_id AND t.key = w.key"
        " WHERE t.ticket_id IS NOT NULL AND t.recipient_id IS NOT NULL",
        [tenant for tenant, _ in keys],
        [key for _, key in keys],
    )
    return {(row["tenant_id"], row["key"]): row["recipient_id"] for row in rows}


async def written_to(tx: Tx, wanted: Sequence[tuple[str, UUID, UUID]]) -> set[tuple[str, UUID, UUID]]:
    """Which of these people (tenant, ticket, person) we have written to about that ticket."""
    rows = await tx.fetch(
        "SELECT DISTINCT w.tenant_id, w.ticket_id, w.person_id"
        " FROM unnest($1::text[], $2::uuid[], $3::uuid[]) AS w(tenant_id, ticket_id, person_id)"
        " JOIN thread t ON t.tenant_id = w.tenant_id AND t.ticket_id = w.ticket_id AND t.recipient_id = w.person_id"
        " WHERE t.ticket_id IS NOT NULL",
        [tenant for tenant, _, _ in wanted],
        [ticket for _, ticket, _ in wanted],
        [person for _, _, person in wanted],
    )
    return {(row["tenant_id"], row["ticket_id"], row["person_id"]) for row in rows}


async def put_early(tx: Tx, reports: Sequence[tuple[Key, str, str]]) -> None:
    """Keep reports (key, reason, status) until their mail turns out to be ours, or a day has gone."""
    rows = sorted({key: (reason, status) for key, reason, status in reports}.items())
    await tx.execute(
        "INSERT INTO early_report (tenant_id, key, reason, status, reported_at)"
        " SELECT w.*, $5 FROM unnest($1::text[], $2::bytea[], $3::text[], $4::text[]) AS w ON CONFLICT DO NOTHING",
        [tenant for (tenant, _), _ in rows],
        [key for (_, key), _ in rows],
        [reason for _, (reason, _) in rows],
        [status for _, (_, status) in rows],
        tx.instant,
    )


async def take_early(tx: Tx, keys: Sequence[Key]) -> list[Early]:
    """Reports about these mails, of which is known now to whom they went."""
    rows = await tx.fetch(
        "DELETE FROM early_report r USING unnest($1::text[], $2::bytea[]) AS w(tenant_id, key), thread t"
        " WHERE r.tenant_id = w.tenant_id AND r.key = w.key AND t.tenant_id = w.tenant_id AND t.key = w.key"
        " AND t.ticket_id IS NOT NULL AND t.recipient_id IS NOT NULL"
        " RETURNING t.recipient_id, r.tenant_id, r.reason, r.status",
        [tenant for tenant, _ in keys],
        [key for _, key in keys],
    )
    return [Early(row["recipient_id"], row["tenant_id"], row["reason"], row["status"]) for row in rows]


async def forget_early(database: Database) -> None:
    """Drop reports about mails that turned out to be nobody's."""
    await database.execute("DELETE FROM early_report WHERE reported_at < (SELECT desk_now()) - interval '1 day'")
