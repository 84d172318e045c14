"""Documents and their texts: what arrived, and what of it is to be written to the index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.search.domain.document import MAX_TEXT, NEWEST, TEXTS_BITS, Source, version_of
from services.search.domain.likeness import Report
from services.search.domain.wording import Gist
from shared.db import Database, Record, Tx

_MOST_TEXTS = (1 << TEXTS_BITS) - 1

# A state that is not newer than what is known changes nothing. One that changes nothing of what is indexed only
# raises the revision. Rows are locked in the ids' order, documents before dirty, here and below.
_PUT_STATES = f"""
    WITH given AS (
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::int[], $6::text[], $7::bool[],
            $8::timestamptz[])
            AS g (ticket_id, tenant_id, revision, head, expected, category, merged, updated_at)
        ORDER BY ticket_id
    ), put AS (
        INSERT INTO document AS d (ticket_id, tenant_id, revision, changed, head, category, merged, updated_at)
        SELECT ticket_id, tenant_id, revision, revision, head, category, merged, updated_at FROM given
        ON CONFLICT (ticket_id) DO UPDATE SET
            revision = excluded.revision,
            changed = CASE WHEN d.head = excluded.head THEN d.changed ELSE excluded.revision END,
            head = excluded.head,
            category = excluded.category,
            merged = excluded.merged,
            updated_at = excluded.updated_at
        WHERE d.revision < excluded.revision AND d.deleted_at IS NULL
        RETURNING d.ticket_id, d.tenant_id, d.revision, d.changed, d.texts
    ), missing AS (
        INSERT INTO gap (ticket_id, tenant_id)
        SELECT put.ticket_id, put.tenant_id FROM put JOIN given USING (ticket_id) WHERE put.texts < given.expected
        ORDER BY 1
        ON CONFLICT DO NOTHING
    )
    INSERT INTO dirty AS q (ticket_id, version)
    SELECT ticket_id, (changed << {TEXTS_BITS}) + least(texts, {_MOST_TEXTS}) FROM put WHERE changed = revision
    ORDER BY ticket_id
    ON CONFLICT (ticket_id) DO UPDATE SET version = greatest(q.version, excluded.version)
"""  # noqa: S608 - constants only

# A message known already adds nothing. `opening` columns are those of a ticket's first message, else NULL.
_ADD_MESSAGES = f"""
    WITH added AS (
        INSERT INTO message (ticket_id, message_id, tenant_id, created_at, internal, text)
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[], $5::bool[], $6::text[])
            AS m (ticket_id, message_id, tenant_id, created_at, internal, text)
        WHERE (SELECT d.deleted_at FROM document d WHERE d.ticket_id = m.ticket_id) IS NULL
        ORDER BY 1, 2
        ON CONFLICT DO NOTHING
        RETURNING ticket_id, text IS NOT NULL AS known
    ), counted AS (
        SELECT ticket_id, count(*) FILTER (WHERE known) AS texts FROM added GROUP BY ticket_id
    ), given AS (
        SELECT g.*, coalesce(c.texts, 0)::int AS texts
        FROM unnest($7::uuid[], $8::text[], $9::text[], $10::text[], $11::uuid[], $12::text[], $13::text[],
            $14::timestamptz[])
            AS g (ticket_id, tenant_id, gist, number, requester_id, channel, product, opened_at)
        LEFT JOIN counted c USING (ticket_id)
        ORDER BY g.ticket_id
    ), put AS (
        INSERT INTO document AS d (ticket_id, tenant_id, texts, gist, number, requester_id, channel, product, opened_at)
        SELECT ticket_id, tenant_id, texts, gist, number, requester_id, channel, product, opened_at FROM given
        ON CONFLICT (ticket_id) DO UPDATE SET
            texts = d.texts + excluded.texts,
            gist = coalesce(d.gist, excluded.gist),
            number = coalesce(d.number, excluded.number),
            requester_id = coalesce(d.requester_id, excluded.requester_id),
            channel = coalesce(d.channel, excluded.channel),
            product = coalesce(d.product, excluded.product),
            opened_at = coalesce(d.opened_at, excluded.opened_at)
        WHERE d.deleted_at IS NULL
        RETURNING d.ticket_id, d.revision, d.changed, d.texts
    ), marked AS (
        INSERT INTO dirty AS q (ticket_id, version)
        SELECT ticket_id, (changed << {TEXTS_BITS}) + least(texts, {_MOST_TEXTS}) FROM put WHERE revision > 0
        ORDER BY ticket_id
        ON CONFLICT (ticket_id) DO UPDATE SET version = greatest(q.version, excluded.version)
    )
    SELECT ticket_id FROM put WHERE texts > {NEWEST} AND texts % 20 = 0
"""  # noqa: S608 - constants only

# Beyond the newest ones a text is not indexed: its row stays, so that it is known as seen, its words go.
_FORGET = f"""
    UPDATE message SET text = '' FROM (
        SELECT ticket_id, message_id, row_number() OVER (
            PARTITION BY ticket_id ORDER BY created_at DESC, message_id DESC
        ) AS place FROM message WHERE ticket_id = ANY ($1::uuid[])
    ) old
    WHERE old.place > {NEWEST} AND message.ticket_id = old.ticket_id AND message.message_id = old.message_id
        AND message.text <> ''
"""  # noqa: S608 - constants only

_SET_TEXT = f"""
    WITH known AS (
        UPDATE message SET text = $3 WHERE ticket_id = $1 AND message_id = $2 AND text IS NULL RETURNING ticket_id
    ), put AS (
        UPDATE document d SET texts = d.texts + 1 FROM known
        WHERE d.ticket_id = known.ticket_id AND d.deleted_at IS NULL
        RETURNING d.ticket_id, d.revision, d.changed, d.texts
    )
    INSERT INTO dirty AS q (ticket_id, version)
    SELECT ticket_id, (changed << {TEXTS_BITS}) + least(texts, {_MOST_TEXTS}) FROM put WHERE revision > 0
    ON CONFLICT (ticket_id) DO UPDATE SET version = greatest(q.version, excluded.version)
"""  # noqa: S608 - constants only

# A deleted ticket keeps an empty row, so that what is late of it does not bring it back.
_DELETE = f"""
    WITH gone AS (
        UPDATE document d SET revision = d.revision + 1, changed = d.revision + 1, head = NULL, gist = NULL,
            number = NULL, requester_id = NULL, channel = NULL, product = NULL, opened_at = NULL, texts = 0,
            deleted_at = $2
        FROM (SELECT ticket_id FROM document WHERE ticket_id = ANY ($1::uuid[]) ORDER BY ticket_id FOR UPDATE) l
        WHERE d.ticket_id = l.ticket_id AND d.deleted_at IS NULL
        RETURNING d.ticket_id, d.changed
    ), texts AS (
        DELETE FROM message USING gone WHERE message.ticket_id = gone.ticket_id
    )
    INSERT INTO dirty AS q (ticket_id, version) SELECT ticket_id, changed << {TEXTS_BITS} FROM gone ORDER BY 1
    ON CONFLICT (ticket_id) DO UPDATE SET version = greatest(q.version, excluded.version)
"""  # noqa: S608 - constants only

_CONVERSATION = f"""
    LEFT JOIN LATERAL (
        SELECT left(string_agg(text, E'\\n\\n' ORDER BY created_at DESC, message_id DESC)
                FILTER (WHERE NOT internal AND text <> ''), {MAX_TEXT}) AS public_text,
            left(string_agg(text, E'\\n\\n' ORDER BY created_at DESC, message_id DESC)
                FILTER (WHERE internal AND text <> ''), {MAX_TEXT}) AS internal_text
        FROM (
            SELECT text, internal, created_at, message_id FROM message
            WHERE message.ticket_id = d.ticket_id ORDER BY created_at DESC, message_id DESC LIMIT {NEWEST}
        ) newest
    ) m ON true
"""  # noqa: S608 - constants only
_SOURCE = (
    "SELECT d.ticket_id, d.tenant_id, d.revision, d.changed, d.texts, d.head, d.gist, m.public_text, m.internal_text"
)

# OFFSET 0 keeps the planner from reading a whole table of documents for a batch of them, whatever it believes.
DIRTY = f"""
    {_SOURCE} FROM (SELECT ticket_id, since FROM dirty ORDER BY since LIMIT $1) q
    CROSS JOIN LATERAL (SELECT * FROM document WHERE document.ticket_id = q.ticket_id OFFSET 0) d
    {_CONVERSATION} ORDER BY q.since
"""  # noqa: S608 - constants only
_WALK = f"""
    {_SOURCE} FROM (
        SELECT * FROM document WHERE revision > 0 AND deleted_at IS NULL AND ($1::uuid IS NULL OR ticket_id > $1)
        ORDER BY ticket_id LIMIT $2
    ) d {_CONVERSATION} ORDER BY d.ticket_id
"""  # noqa: S608 - constants only
_ONE = f"""
    {_SOURCE} FROM document d {_CONVERSATION}
    WHERE d.ticket_id = $1 AND d.tenant_id = $2 AND d.revision > 0 AND d.deleted_at IS NULL
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The newest state of a ticket, as it is kept."""

    ticket_id: UUID
    tenant_id: str
    revision: int
    head: str
    message_count: int
    category: str
    merged: bool
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message; `text` is None while its blob has not been read."""

    ticket_id: UUID
    message_id: UUID
    tenant_id: str
    created_at: datetime
    internal: bool
    text: str | None


async def put_states(tx: Tx, states: Sequence[State]) -> None:
    """Keep what is newer than what is known; each ticket at most once."""
    if not states:
        return
    await tx.execute(
        _PUT_STATES,
        [s.ticket_id for s in states],
        [s.tenant_id for s in states],
        [s.revision for s in states],
        [s.head for s in states],
        [s.message_count for s in states],
        [s.category for s in states],
        [s.merged for s in states],
        [s.updated_at for s in states],
    )


async def add_messages(tx: Tx, messages: Sequence[Message], openings: Sequence[Report] = ()) -> None:
    """Keep messages that are not known yet; `openings` are the tickets that some of them open."""
    if not messages:
        return
    opened = {report.ticket_id: report for report in openings}
    tickets = {message.ticket_id: message.tenant_id for message in messages}
    known = [opened.get(ticket_id) for ticket_id in tickets]
    rows = await tx.fetch(
        _ADD_MESSAGES,
        [m.ticket_id for m in messages],
        [m.message_id for m in messages],
        [m.tenant_id for m in messages],
        [m.created_at for m in messages],
        [m.internal for m in messages],
        [m.text for m in messages],
        list(tickets),
        list(tickets.values()),
        [r and r.gist.text() for r in known],
        [r and r.number for r in known],
        [r and r.requester_id for r in known],
        [r and r.channel for r in known],
        [r and r.product for r in known],
        [r and r.opened_at for r in known],
    )
    if rows:
        await tx.execute(_FORGET, [row["ticket_id"] for row in rows])


async def set_text(tx: Tx, ticket_id: UUID, message_id: UUID, text: str) -> None:
    """The text of a message whose blob was read."""
    await tx.execute(_SET_TEXT, ticket_id, message_id, text)


async def delete(tx: Tx, ticket_ids: Sequence[UUID]) -> None:
    """Forget tickets that are no more."""
    await tx.execute(_DELETE, sorted(ticket_ids), tx.instant)


async def dirty(database: Database, limit: int) -> list[Source]:
    """Tickets to be written, those waiting longest first."""
    return [_source(row) for row in await database.fetch(DIRTY, limit)]


async def walk(database: Database, after: UUID | None, limit: int) -> list[Source]:
    """All tickets there are, by id, behind `after`."""
    return [_source(row) for row in await database.fetch(_WALK, after, limit)]


async def one(database: Database, tenant_id: str, ticket_id: UUID) -> Source | None:
    """One ticket of a tenant that is there."""
    row = await database.fetchrow(_ONE, ticket_id, tenant_id)
    return None if row is None else _source(row)


async def reports(database: Database | Tx, ticket_ids: Sequence[UUID]) -> dict[UUID, Report]:
    """What is compared of tickets whose first message is known."""
    rows = await database.fetch(
        "SELECT ticket_id, tenant_id, number, gist, requester_id, opened_at, channel, product FROM document"
        " WHERE ticket_id = ANY ($1::uuid[]) AND gist IS NOT NULL AND deleted_at IS NULL",
        list(ticket_ids),
    )
    return {row["ticket_id"]: to_report(row) for row in rows}


def to_report(row: Record) -> Report:
    """The report of a row of `document`."""
    return Report(
        ticket_id=row["ticket_id"],
        tenant_id=row["tenant_id"],
        number=row["number"],
        gist=Gist.of_text(row["gist"]),
        requester_id=row["requester_id"],
        opened_at=row["opened_at"],
        channel=row["channel"],
        product=row["product"],
    )


def _source(row: Record) -> Source:
    return Source(
        ticket_id=row["ticket_id"],
        tenant_id=row["tenant_id"],
        version=version_of(row["changed"], row["texts"]),
        revision=row["revision"],
        head=row["head"],
        gist=row["gist"] or "",
        public_text=row["public_text"] or "",
        internal_text=row["internal_text"] or "",
    )
