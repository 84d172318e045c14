"""Every SQL statement of ingest. Each names the tenant; lists travel as arrays, one statement for a whole batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.ingest.domain import Draft, Placement, opened_ticket, receipt
from services.ingest.inbound import Claim
from services.ingest.placement import Index, Key, Known
from shared.contracts.message import BlobRef
from shared.db import Database, Record, Tx


class ThreadMovedError(Exception):
    """Another transaction wrote one of our thread keys meanwhile: the same batch again."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A message that is there already."""

    conversation_id: UUID
    ticket_id: UUID | None
    fingerprint: bytes


_INSERT_MESSAGES = """
INSERT INTO message (
    message_id, tenant_id, conversation_id, ticket_id, channel, person_id, submitter, external_id, fingerprint,
    parent, parent_message_id, automatic, payload, original_sha256, original_size, original_type, accounts, received_at
)
SELECT message_id, tenant_id, conversation_id, ticket_id, channel, person_id, submitter, external_id, fingerprint,
       parent, parent_message_id, automatic, payload, original_sha256, original_size, original_type,
       string_to_array(accounts, E'\\n'), received_at
FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::uuid[], $5::text[], $6::uuid[], $7::text[], $8::text[], $9::bytea[],
            $10::text[], $11::uuid[], $12::bool[], $13::bytea[], $14::bytea[], $15::bigint[], $16::text[], $17::text[],
            $18::timestamptz[])
     AS w(message_id, tenant_id, conversation_id, ticket_id, channel, person_id, submitter, external_id, fingerprint,
          parent, parent_message_id, automatic, payload, original_sha256, original_size, original_type, accounts,
          received_at)
ON CONFLICT (message_id) DO NOTHING
RETURNING message_id
"""


async def read_index(tx: Tx, keys: Sequence[Key], ids: Sequence[tuple[str, UUID]]) -> Index:
    """What is known under these thread keys and these ids of messages, conversations or tickets."""
    index = Index()
    if keys:
        rows = await tx.fetch(
            "SELECT t.tenant_id, t.key, t.message_id, t.conversation_id, t.ticket_id"
            " FROM unnest($1::text[], $2::bytea[]) AS w(tenant_id, key)"
            " JOIN thread t ON t.tenant_id = w.tenant_id AND t.key = w.key",
            [tenant for tenant, _ in keys],
            [key for _, key in keys],
        )
        index.keys = {
            (r["tenant_id"], r["key"]): Known(r["message_id"], r["conversation_id"], r["ticket_id"]) for r in rows
        }
    if ids:
        rows = await tx.fetch(
            "SELECT w.tenant_id, w.id, m.message_id, m.conversation_id"
            " FROM unnest($1::text[], $2::uuid[]) AS w(tenant_id, id)"
            " JOIN message m ON m.tenant_id = w.tenant_id AND m.message_id = w.id"
            " UNION ALL SELECT w.tenant_id, w.id, m.message_id, m.conversation_id"
            " FROM unnest($1::text[], $2::uuid[]) AS w(tenant_id, id)"
            " JOIN message m ON m.tenant_id = w.tenant_id AND m.ticket_id = w.id AND m.ticket_id IS NOT NULL",
            [tenant for tenant, _ in ids],
            [one for _, one in ids],
        )
        index.ids = {(r["tenant_id"], r["id"]): Known(r["message_id"], r["conversation_id"]) for r in rows}
    return index


async def known_keys(database: Database, tenant_id: str, keys: Sequence[bytes]) -> set[bytes]:
    """Which of these thread keys of a tenant are known."""
    rows = await database.fetch(
        "SELECT key FROM thread WHERE tenant_id = $1 AND key = ANY ($2::bytea[])", tenant_id, list(keys)
    )
    return {row["key"] for row in rows}


async def write_index(tx: Tx, index: Index) -> None:
    """Store what a batch added. Raises ThreadMovedError when another transaction was there first."""
    if index.added:
        added = sorted(index.added.items())
        rows = await tx.fetch(
            "INSERT INTO thread (tenant_id, key, message_id, conversation_id, seen_at)"
            " SELECT w.*, $5 FROM unnest($1::text[], $2::bytea[], $3::uuid[], $4::uuid[])"
            " AS w(tenant_id, key, message_id, conversation_id)"
            " ON CONFLICT DO NOTHING RETURNING 1",
            [tenant for (tenant, _), _ in added],
            [key for (_, key), _ in added],
            [known.message_id for _, known in added],
            [known.conversation_id for _, known in added],
            tx.instant,
        )
        if len(rows) != len(added):
            raise ThreadMovedError
    if index.filled:
        filled = sorted(index.filled.items())
        rows = await tx.fetch(
            "UPDATE thread t SET message_id = w.message_id, conversation_id = w.conversation_id"
            " FROM unnest($1::text[], $2::bytea[], $3::uuid[], $4::uuid[], $5::uuid[])"
            " AS w(tenant_id, key, message_id, conversation_id, before)"
            " WHERE t.tenant_id = w.tenant_id AND t.key = w.key AND t.message_id IS NULL"
            " AND t.conversation_id = w.before RETURNING 1",
            [tenant for (tenant, _), _ in filled],
            [key for (_, key), _ in filled],
            [known.message_id for _, (known, _) in filled],
            [known.conversation_id for _, (known, _) in filled],
            [before for _, (_, before) in filled],
        )
        if len(rows) != len(filled):
            raise ThreadMovedError
    if index.moved:
        moved = sorted(index.moved.items())
        rows = await tx.fetch(
            "UPDATE thread t SET message_id = w.message_id"
            " FROM unnest($1::text[], $2::bytea[], $3::uuid[], $4::uuid[]) AS w(tenant_id, key, message_id, before)"
            " WHERE t.tenant_id = w.tenant_id AND t.key = w.key AND t.message_id = w.before RETURNING 1",
            [tenant for (tenant, _), _ in moved],
            [key for (_, key), _ in moved],
            [known.message_id for _, (known, _) in moved],
            [before for _, (_, before) in moved],
        )
        if len(rows) != len(moved):
            raise ThreadMovedError


async def insert_messages(tx: Tx, rows: Sequence[tuple[Draft, Placement]]) -> set[UUID]:
    """Store messages; the ids of those that were not there. Give them in the order of their ids."""
    originals = [draft.original if draft.payload is None else None for draft, _ in rows]
    done = await tx.fetch(
        _INSERT_MESSAGES,
        [draft.message_id for draft, _ in rows],
        [draft.tenant_id for draft, _ in rows],
        [placement.conversation_id for _, placement in rows],
        [opened_ticket(draft, placement) for draft, placement in rows],
        [draft.channel.value for draft, _ in rows],
        [draft.sender.person_id for draft, _ in rows],
        [draft.submitter for draft, _ in rows],
        [draft.external_id for draft, _ in rows],
        [draft.fingerprint for draft, _ in rows],
        [placement.parent.value for _, placement in rows],
        [placement.parent_message_id for _, placement in rows],
        [draft.automatic for draft, _ in rows],
        [draft.payload for draft, _ in rows],
        [bytes.fromhex(original.sha256) if original else None for original in originals],
        [original.size if original else None for original in originals],
        [original.media_type if original else None for original in originals],
        ["\n".join(draft.accounts) for draft, _ in rows],
        [receipt(draft, tx.instant) for draft, _ in rows],
    )
    return {row["message_id"] for row in done}


async def stored(tx: Tx, drafts: Iterable[Draft]) -> dict[UUID, Stored]:
    """What is stored under the ids of these drafts."""
    wanted = list(drafts)
    rows = await tx.fetch(
        "SELECT m.message_id, m.conversation_id, m.ticket_id, m.fingerprint"
        " FROM unnest($1::text[], $2::uuid[]) AS w(tenant_id, message_id)"
        " JOIN message m ON m.message_id = w.message_id AND m.tenant_id = w.tenant_id",
        [draft.tenant_id for draft in wanted],
        [draft.message_id for draft in wanted],
    )
    return {r["message_id"]: Stored(r["conversation_id"], r["ticket_id"], r["fingerprint"]) for r in rows}


async def add_account(tx: Tx, tenant_id: str, message_id: UUID, accounts: Sequence[str]) -> None:
    """Remember that a message came to further addresses of ours."""
    await tx.execute(
        "UPDATE message SET accounts = (SELECT array_agg(DISTINCT a) FROM unnest(accounts || $3::text[]) a)"
        " WHERE message_id = $2 AND tenant_id = $1 AND NOT accounts @> $3::text[]",
        tenant_id,
        message_id,
        list(accounts),
    )


async def insert_blobs(tx: Tx, drafts: Iterable[Draft]) -> None:
    """Remember which blobs each message needs."""
    rows = sorted({(d.tenant_id, d.message_id, bytes.fromhex(sha)) for d in drafts for sha in _blobs(d)})
    if rows:
        await tx.execute(
            "INSERT INTO message_blob (tenant_id, message_id, sha256)"
            " SELECT * FROM unnest($1::text[], $2::uuid[], $3::bytea[]) ON CONFLICT DO NOTHING",
            *(list(column) for column in zip(*rows, strict=True)),
        )


def _blobs(draft: Draft) -> Iterable[str]:
    found = [draft.original, draft.body.text_blob, draft.body.html_blob, *(a.blob for a in draft.attachments)]
    return [blob.sha256 for blob in found if blob is not None]


async def insert_quarantined(tx: Tx, drafts: Iterable[Draft]) -> None:
    """Put unreadable messages where a person finds them."""
    rows = [d for d in drafts if d.quarantine is not None]
    if rows:
        await tx.execute(
            "INSERT INTO quarantine (message_id, tenant_id, channel, reason, quarantined_at)"
            " SELECT w.*, $5 FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[]) AS w ON CONFLICT DO NOTHING",
            [d.message_id for d in rows],
            [d.tenant_id for d in rows],
            [d.channel.value for d in rows],
            [d.quarantine for d in rows],
            tx.instant,
        )


async def message(database: Database, tenant_id: str, message_id: UUID) -> Record | None:
    """One message of the tenant with its quarantine, if any."""
    return await database.fetchrow(
        "SELECT m.message_id, m.conversation_id, m.ticket_id, m.channel, m.person_id, m.submitter, m.external_id,"
        " m.accounts, m.parent, m.parent_message_id, m.automatic, m.received_at, m.payload, m.original_sha256,"
        " m.original_size, m.original_type, q.reason, q.replayed_as, q.replayed_at"
        " FROM message m LEFT JOIN quarantine q ON q.message_id = m.message_id AND q.tenant_id = m.tenant_id"
        " WHERE m.tenant_id = $1 AND m.message_id = $2",
        tenant_id,
        message_id,
    )


async def open_quarantine(
    database: Database, tenant_id: str, after: tuple[datetime, UUID] | None, limit: int
) -> list[Record]:
    """Messages waiting for a person, the oldest first."""
    columns = (
        "SELECT q.message_id, q.channel, q.reason, q.quarantined_at, m.original_size"
        " FROM quarantine q JOIN message m ON m.message_id = q.message_id AND m.tenant_id = q.tenant_id"
        " WHERE q.tenant_id = $1 AND q.replayed_at IS NULL"
    )
    order = " ORDER BY q.quarantined_at, q.message_id LIMIT $2"
    if after is None:
        return await database.fetch(columns + order, tenant_id, limit)
    return await database.fetch(
        columns + " AND (q.quarantined_at, q.message_id) > ($3, $4)" + order, tenant_id, limit, *after
    )


async def mark_replayed(database: Database, tenant_id: str, message_id: UUID, replayed_as: UUID) -> None:
    """Take a message out of quarantine; the message it was read as."""
    await database.execute(
        "UPDATE quarantine SET replayed_at = (SELECT desk_now()), replayed_as = $3"
        " WHERE tenant_id = $1 AND message_id = $2 AND replayed_at IS NULL",
        tenant_id,
        message_id,
        replayed_as,
    )


async def insert_upload(
    database: Database, tenant_id: str, account: str, upload_id: UUID, *, filename: str, blob: BlobRef
) -> None:
    """Remember a file sent ahead."""
    await database.execute(
        "INSERT INTO upload (upload_id, tenant_id, account, filename, sha256, size, media_type, uploaded_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, (SELECT desk_now()))",
        upload_id,
        tenant_id,
        account,
        filename,
        bytes.fromhex(blob.sha256),
        blob.size,
        blob.media_type,
    )


async def referenced(database: Database, tenant_id: str, hashes: Sequence[str]) -> set[str]:
    """Which of these blobs of a tenant some message or upload needs."""
    wanted = [bytes.fromhex(one) for one in hashes]
    rows = await database.fetch(
        "SELECT sha256 FROM message_blob WHERE tenant_id = $1 AND sha256 = ANY ($2::bytea[])"
        " UNION SELECT sha256 FROM upload WHERE tenant_id = $1 AND sha256 = ANY ($2::bytea[])",
        tenant_id,
        wanted,
    )
    return {row["sha256"].hex() for row in rows}


async def forget_uploads(database: Database) -> None:
    """Drop uploads that no message may name any more."""
    await database.execute("DELETE FROM upload WHERE uploaded_at < (SELECT desk_now()) - interval '2 days'")


async def uploads(database: Database, tenant_id: str, account: str, upload_ids: Sequence[UUID]) -> dict[UUID, Record]:
    """Files that this account sent ahead, by id."""
    rows = await database.fetch(
        "SELECT upload_id, filename, sha256, size, media_type FROM upload"
        " WHERE tenant_id = $1 AND account = $2 AND upload_id = ANY($3::uuid[])"
        " AND uploaded_at > (SELECT desk_now()) - interval '1 day'",
        tenant_id,
        account,
        list(upload_ids),
    )
    return {row["upload_id"]: row for row in rows}


async def replace_claims(tx: Tx, tenant_id: str, claims: Sequence[Claim]) -> None:
    """A tenant's addresses and domains as they are now; those that stay keep their age."""
    places = [claim.place for claim in claims]
    await tx.execute("DELETE FROM inbound WHERE tenant_id = $1 AND place <> ALL ($2::text[])", tenant_id, places)
    await tx.execute(
        "INSERT INTO inbound (place, tenant_id, catch_all, claimed_at)"
        " SELECT w.place, $1, w.catch_all, $4 FROM unnest($2::text[], $3::bool[]) AS w(place, catch_all)"
        " ON CONFLICT (place, tenant_id) DO UPDATE SET catch_all = excluded.catch_all",
        tenant_id,
        places,
        [claim.catch_all for claim in claims],
        tx.instant,
    )


async def claims(database: Database, places: Sequence[str]) -> dict[str, list[Claim]]:
    """Who claims these addresses and domains, the oldest claim first."""
    rows = await database.fetch(
        "SELECT place, tenant_id, catch_all FROM inbound WHERE place = ANY ($1::text[])"
        " ORDER BY claimed_at, tenant_id LIMIT 10000",
        list(places),
    )
    found: dict[str, list[Claim]] = {}
    for row in rows:
        found.setdefault(row["place"], []).append(Claim(row["place"], row["tenant_id"], row["catch_all"]))
    return found
