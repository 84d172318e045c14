"""Mailboxes: their settings, cursors and leases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from shared.db import Database, Record, Tx

LEASE = timedelta(minutes=3)
"""How long an instance has a mailbox; renewed with every batch that it stores."""
LEEWAY = timedelta(minutes=5)
"""How far a server's clock may be behind ours before a new mail counts as an old one. Its times are whole seconds
(RFC 9051, INTERNALDATE), so that even an exact clock seems behind."""

SETTINGS = (
    "active",
    "host",
    "port",
    "tls",
    "username",
    "password",
    "address",
    "folder",
    "interval_seconds",
    "begin_with",
    "after_import",
    "move_to",
)
PLACE = ("host", "port", "username", "folder")
"""What makes it another mailbox, whose cursor is another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """How far a mailbox is read."""

    uidvalidity: int
    last_uid: int
    not_before: datetime | None
    """Mails received before were there before us and are left alone; None: none are."""
    anew_to: int = 0
    """Up to this number mails may be such ones: they were there when the server numbered them anew."""

    def skips(self, uid: int, received_at: datetime) -> bool:
        """Whether a mail is left alone."""
        return uid <= self.anew_to and self.not_before is not None and received_at < self.not_before - LEEWAY


class LeaseLostError(Exception):
    """Another instance has the mailbox now, or it was changed or deleted: nothing of this batch is stored."""


class TakenError(Exception):
    """The tenant has this mailbox already."""


async def insert(tx: Tx, tenant_id: str, mailbox_id: UUID, values: Mapping[str, Any]) -> Record:
    """Make a mailbox, due at once. Raises TakenError."""
    try:
        row = await tx.fetchrow(
            f"INSERT INTO mailbox (mailbox_id, tenant_id, version, next_at, {', '.join(SETTINGS)})"  # noqa: S608 - constant
            f" VALUES ($1, $2, 1, $3, {', '.join(f'${n + 4}' for n in range(len(SETTINGS)))}) RETURNING *",
            mailbox_id,
            tenant_id,
            tx.instant,
            *(values[name] for name in SETTINGS),
        )
    except asyncpg.UniqueViolationError as error:
        raise TakenError from error
    if row is None:
        raise AssertionError("an insert returns its row")
    return row


async def lock(tx: Tx, tenant_id: str, mailbox_id: UUID) -> Record | None:
    """One mailbox, locked."""
    return await tx.fetchrow(
        "SELECT * FROM mailbox WHERE tenant_id = $1 AND mailbox_id = $2 FOR UPDATE", tenant_id, mailbox_id
    )


async def update(tx: Tx, row: Record, values: Mapping[str, Any]) -> Record:
    """Change a locked mailbox: tried again at once, from the beginning if it is another place. Raises TakenError."""
    elsewhere = any(values[name] != row[name] for name in PLACE)
    try:
        changed = await tx.fetchrow(
            "UPDATE mailbox SET version = version + 1, lease_token = NULL, lease_until = NULL, next_at = $2,"  # noqa: S608 - constant
            " failures = 0, uidvalidity = CASE WHEN $3 THEN NULL ELSE uidvalidity END,"
            " last_uid = CASE WHEN $3 THEN 0 ELSE last_uid END,"
            " not_before = CASE WHEN $3 THEN NULL ELSE not_before END,"
            " anew_to = CASE WHEN $3 THEN 0 ELSE anew_to END,"
            f" {', '.join(f'{name} = ${n + 4}' for n, name in enumerate(SETTINGS))}"
            " WHERE mailbox_id = $1 RETURNING *",
            row["mailbox_id"],
            tx.instant,
            elsewhere,
            *(values[name] for name in SETTINGS),
        )
    except asyncpg.UniqueViolationError as error:
        raise TakenError from error
    if changed is None:
        raise AssertionError("the row is locked")
    return changed


async def delete(tx: Tx, tenant_id: str, mailbox_id: UUID) -> bool:
    """Forget a mailbox; its messages stay."""
    row = await tx.fetchrow(
        "DELETE FROM mailbox WHERE tenant_id = $1 AND mailbox_id = $2 RETURNING 1", tenant_id, mailbox_id
    )
    return row is not None


async def find(database: Database, tenant_id: str, mailbox_id: UUID) -> Record | None:
    """One mailbox."""
    return await database.fetchrow(
        "SELECT * FROM mailbox WHERE tenant_id = $1 AND mailbox_id = $2", tenant_id, mailbox_id
    )


async def of_tenant(database: Database, tenant_id: str) -> list[Record]:
    """Every mailbox of a tenant, at most 1,000."""
    return await database.fetch(
        "SELECT * FROM mailbox WHERE tenant_id = $1 ORDER BY host, username, folder LIMIT 1000", tenant_id
    )


async def claim(database: Database, token: UUID, most: int) -> list[Record]:
    """Take mailboxes that are due and nobody has."""
    return await database.fetch(
        "UPDATE mailbox SET lease_token = $1, lease_until = clock_timestamp() + $3"
        " WHERE mailbox_id IN (SELECT mailbox_id FROM mailbox WHERE active AND next_at <= (SELECT desk_now())"
        " AND (lease_until IS NULL OR lease_until < clock_timestamp())"
        " ORDER BY next_at LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING *",
        token,
        most,
        LEASE,
    )


async def advance(
    tx: Tx,
    mailbox_id: UUID,
    token: UUID,
    cursor: Cursor,
    *,
    stored: int,
) -> None:
    """Move the cursor with what is stored in the same transaction. Raises LeaseLostError."""
    row = await tx.fetchrow(
        "UPDATE mailbox SET uidvalidity = $3, last_uid = $4, not_before = $5, anew_to = $6, imported = imported + $7,"
        " lease_until = clock_timestamp() + $8 WHERE mailbox_id = $1 AND lease_token = $2 RETURNING 1",
        mailbox_id,
        token,
        cursor.uidvalidity,
        cursor.last_uid,
        cursor.not_before,
        cursor.anew_to,
        stored,
        LEASE,
    )
    if row is None:
        raise LeaseLostError(mailbox_id)


async def succeeded(database: Database, mailbox_id: UUID, token: UUID) -> None:
    """All is read; due again after its interval."""
    await database.execute(
        "UPDATE mailbox SET succeeded_at = (SELECT desk_now()), failures = 0, problem = NULL, detail = NULL,"
        " next_at = (SELECT desk_now()) + interval_seconds * interval '1 second', lease_token = NULL,"
        " lease_until = NULL WHERE mailbox_id = $1 AND lease_token = $2",
        mailbox_id,
        token,
    )


async def failed(
    database: Database, mailbox_id: UUID, token: UUID, *, problem: str, detail: str, pause: timedelta
) -> None:
    """It could not be read, and why; due again after a pause."""
    await database.execute(
        "UPDATE mailbox SET failed_at = (SELECT desk_now()), failures = failures + 1, problem = $3, detail = $4,"
        " next_at = (SELECT desk_now()) + $5, lease_token = NULL, lease_until = NULL"
        " WHERE mailbox_id = $1 AND lease_token = $2",
        mailbox_id,
        token,
        problem,
        detail,
        pause,
    )


async def released(database: Database, mailbox_id: UUID, token: UUID) -> None:
    """Not finished for a reason of ours: whoever comes next goes on."""
    await database.execute(
        "UPDATE mailbox SET lease_token = NULL, lease_until = NULL WHERE mailbox_id = $1 AND lease_token = $2",
        mailbox_id,
        token,
    )
