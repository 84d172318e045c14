"""What mails call a ticket's messages, and answers in chats that may be missed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from shared.db import Database, Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One mail of a ticket's conversation."""

    ticket_id: UUID
    tenant_id: str
    external_id: str
    recipient_id: UUID | None
    """Whom we sent it to; None: we received it."""
    at: datetime


async def add(tx: Tx, entries: Sequence[Entry]) -> None:
    """Remember mails; those known already stay as they are."""
    found = sorted({(one.ticket_id, one.external_id): one for one in entries}.items())
    if not found:
        return
    rows = [one for _, one in found]
    await tx.execute(
        "INSERT INTO thread_entry (ticket_id, external_id, tenant_id, received, recipient_id, at)"
        " SELECT n.ticket_id, n.external_id, n.tenant_id, n.recipient_id IS NULL, n.recipient_id, n.at"
        " FROM unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::timestamptz[])"
        " AS n (ticket_id, external_id, tenant_id, recipient_id, at) ON CONFLICT DO NOTHING",
        [one.ticket_id for one in rows],
        [one.external_id for one in rows],
        [one.tenant_id for one in rows],
        [one.recipient_id for one in rows],
        [one.at for one in rows],
    )


async def known_to(
    database: Database, tenant_id: str, recipient_id: UUID, ticket_id: UUID, limit: int = 20
) -> list[Entry]:
    """The mails of a ticket that we received or this recipient got: the first and the newest, oldest first.

    A mail that refers to one its reader never got hangs in the air in their mail program.
    """
    rows = await database.fetch(
        "WITH known AS (SELECT ticket_id, tenant_id, external_id, recipient_id, at FROM thread_entry"
        " WHERE tenant_id = $1 AND ticket_id = $2 AND (received OR recipient_id = $3))"
        " (SELECT * FROM known ORDER BY at LIMIT 1) UNION (SELECT * FROM known ORDER BY at DESC LIMIT $4)"
        " ORDER BY at, external_id",
        tenant_id,
        ticket_id,
        recipient_id,
        limit,
    )
    return [Entry(**dict(row)) for row in rows]


_REPLY = """
    INSERT INTO chat_reply AS r (message_id, tenant_id, facts, missed, at)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::jsonb[], $4::jsonb[], $5::timestamptz[]) AS n (message_id)
    ORDER BY n.message_id
    ON CONFLICT (message_id) DO UPDATE SET
        facts = coalesce(r.facts, excluded.facts), missed = coalesce(r.missed, excluded.missed)
    RETURNING message_id, tenant_id, facts, missed
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatReply:
    """An answer in a chat, or that one was missed, or both."""

    message_id: UUID
    tenant_id: str
    facts: Mapping[str, Any] | None = None
    missed: Mapping[str, Any] | None = None


async def chat_replies(tx: Tx, replies: Sequence[ChatReply]) -> list[ChatReply]:
    """Put together what two topics say of answers, in either order; those of which both is known by now.

    The row's lock makes one of two transactions see what the other said.
    """
    merged: dict[UUID, ChatReply] = {}
    for one in replies:
        before = merged.get(one.message_id, one)
        merged[one.message_id] = ChatReply(
            message_id=one.message_id,
            tenant_id=one.tenant_id,
            facts=before.facts or one.facts,
            missed=before.missed or one.missed,
        )
    rows = await tx.fetch(
        _REPLY,
        list(merged),
        [one.tenant_id for one in merged.values()],
        [_json(one.facts) for one in merged.values()],
        [_json(one.missed) for one in merged.values()],
        [tx.instant for _ in merged],
    )
    return [
        ChatReply(
            message_id=row["message_id"],
            tenant_id=row["tenant_id"],
            facts=orjson.loads(row["facts"]),
            missed=orjson.loads(row["missed"]),
        )
        for row in rows
        if row["facts"] is not None and row["missed"] is not None
    ]


def _json(value: Mapping[str, Any] | None) -> str | None:
    return orjson.dumps(value).decode() if value is not None else None
