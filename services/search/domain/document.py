"""One document per ticket: what its newest state and all its messages say, under a version that only those decide.

The version is `revision × 2¹⁷ + texts known`. Both only rise, and both belong to the content, so a document written
late, twice or by two processes never takes the place of a newer one, whichever way its parts arrived.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from shared.contracts.ticket import TicketState

TEXTS_BITS = 17
"""Up to 131,071 messages are told apart; 46 bits are left for revisions, which restores raise by 2⁴⁰."""
MAX_MESSAGE = 32_768
"""Characters kept of one message."""
MAX_TEXT = 65_536
"""Characters indexed of one side's conversation, the newest first."""
NEWEST = 100
"""Messages indexed of one ticket, the newest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A ticket's row with its conversation, as the indexer reads it."""

    ticket_id: UUID
    tenant_id: str
    version: int
    revision: int
    head: str | None
    """JSON of `head_of`; None when the ticket was deleted."""
    gist: str
    public_text: str
    internal_text: str


def version_of(changed: int, texts: int) -> int:
    """The external version of a document: of the revision that last changed it, with so many texts."""
    return (changed << TEXTS_BITS) + min(texts, (1 << TEXTS_BITS) - 1)


def head_of(state: TicketState) -> str:
    """What is kept of a state: all but ledger, references and what others say, which are not searched."""
    return state.__pydantic_serializer__.to_json(
        state, include={"ticket", "fields", "watcher_ids", "merged_into", "message_count"}, exclude_none=True
    ).decode()


def clean(text: str) -> str:
    """A message's text as it is kept: bounded, and without NUL, which PostgreSQL refuses."""
    return text[:MAX_MESSAGE].replace("\0", " ")


def body_of(source: Source) -> dict[str, Any]:
    """The document of a ticket that exists."""
    head: Mapping[str, Any] = orjson.loads(source.head or "{}")
    ticket = head["ticket"]
    fields = head.get("fields", {})
    number: str = ticket["number"]
    document = {
        "tenant_id": source.tenant_id,
        "ticket_id": str(source.ticket_id),
        "number": number,
        "number_tail": tail(number),
        "version": ticket["version"],
        "revision": source.revision,
        "subject": ticket["subject"],
        "public_text": source.public_text[:MAX_TEXT],
        "internal_text": source.internal_text[:MAX_TEXT],
        "gist": source.gist,
        "status": ticket["status"],
        "category": ticket["category"],
        "about": _word(fields.get("category")),
        "about_sub": _word(fields.get("subcategory")),
        "priority": ticket["priority"]["label"],
        "rank": ticket["priority"]["rank"],
        "watcher_ids": head.get("watcher_ids", []),
        "merged": "merged_into" in head,
        "merged_into": head.get("merged_into"),
        "messages": head.get("message_count", 0),
        "tags": [tag.casefold() for tag in ticket.get("tags", ())],
        "created_at": ticket["created_at"],
        "updated_at": ticket["updated_at"],
        "requester_id": ticket["requester_id"],
        "queue": ticket["queue"],
        "channel": ticket["channel"],
    }
    for name in ("impact", "urgency", "assignee_id", "team_id", "organisation_id", "language", "product", "tier"):
        document[name] = ticket.get(name)
    return {name: value for name, value in document.items() if value not in (None, "", [])}


def tail(number: str) -> str | None:
    """The counting end of a ticket's number, as people say it: `INC-2026-000123` is `123`."""
    digits = number.rpartition("-")[2].lstrip("0")
    return digits if digits.isascii() and digits.isdigit() else None


def _word(value: object) -> str | None:
    return value[:512] if isinstance(value, str) and value else None
