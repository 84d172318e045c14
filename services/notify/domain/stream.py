"""The in-app stream: who sees what, where a reader stands, how it is written (Server-Sent Events).

The desk sees facts as they are on their topics. A customer sees their own tickets, and of those only what was said and
done in public: the text of public messages and the state, without who works on it and what is decided about it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from typing_extensions import override

from shared.contracts.cloudevents import text_time
from shared.contracts.event import Event
from shared.contracts.ticket import TicketCreated, TicketMessage, TicketMessageAdded, TicketStatusChanged, TicketSummary

READ = "ticket.read"
NOTE = "ticket.note"
"""Permissions, by their names, that facts and internal notes are shown to."""

_CURSOR = re.compile(r"(\d{1,19})-(\d{1,19})")
_LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where a reader stands: after the row `id` of transaction `xid`."""

    xid: int
    id: int = 0

    @override
    def __str__(self) -> str:
        return f"{self.xid}-{self.id}"


def position(text: str) -> Position | None:
    """The position in a Last-Event-ID, or None for what is none of ours."""
    match = _CURSOR.fullmatch(text.strip())
    if match is None:
        return None
    found = Position(int(match[1]), int(match[2]))
    return found if max(found.xid, found.id) <= _LARGEST else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that happened, before it has a position."""

    tenant_id: str
    event_id: UUID
    type: str
    time: datetime
    ticket_id: UUID | None = None
    permission: str | None = None
    """Whoever has it sees `data`."""
    people: tuple[UUID, ...] = ()
    """They see `public`."""
    data: bytes | None = None
    public: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """Somebody who listens."""

    permissions: frozenset[str]
    person_id: UUID | None

    def sees(self, entry: Entry) -> bytes | None:
        """What of an entry they see, as JSON; None for nothing."""
        if entry.permission is not None and entry.permission in self.permissions:
            return entry.data
        if self.person_id is not None and self.person_id in entry.people:
            return entry.public
        return None


def entry_of(event: Event, *, event_id: UUID, event_type: str, time: datetime, internal: bool) -> Entry:
    """The entry of a fact; `internal` facts are shown to those who read notes."""
    shown = None if internal else public_part(event)
    ticket = getattr(event, "ticket", None)
    people: tuple[UUID, ...] = ()
    if shown is not None and isinstance(ticket, TicketSummary):
        people = tuple(dict.fromkeys((ticket.requester_id, *ticket.watcher_ids)))
    return Entry(
        tenant_id=event.tenant_id,
        event_id=event_id,
        type=event_type,
        time=time,
        ticket_id=getattr(event, "ticket_id", None),
        permission=NOTE if internal else READ,
        people=people,
        data=event.to_bytes(),
        public=None if shown is None else orjson.dumps(shown),
    )


NOTICE = "notification.notice"
"""The type under which a person's own notices are on the stream."""


def notice_of(
    *,
    tenant_id: str,
    notice_id: UUID,
    person_id: UUID,
    ticket_id: UUID | None,
    at: datetime,
    shown: Mapping[str, Any],
) -> Entry:
    """The entry of a notice, which only its person sees."""
    return Entry(
        tenant_id=tenant_id,
        event_id=notice_id,
        type=NOTICE,
        time=at,
        ticket_id=ticket_id,
        people=(person_id,),
        public=orjson.dumps(shown),
    )


def public_part(event: Event) -> Mapping[str, Any] | None:
    """What a requester or watcher may know of a fact; None for nothing."""
    if isinstance(event, TicketCreated | TicketMessageAdded):
        return {"ticket_id": event.ticket_id, "ticket": _ticket(event.ticket), "message": _message(event.message)}
    if isinstance(event, TicketStatusChanged):
        return {
            "ticket_id": event.ticket_id,
            "ticket": _ticket(event.ticket),
            "previous": event.previous,
            "current": event.current,
        }
    return None


def _ticket(ticket: TicketSummary) -> dict[str, Any]:
    return {
        "ticket_id": ticket.ticket_id,
        "number": ticket.number,
        "subject": ticket.subject,
        "status": ticket.status,
        "category": ticket.category,
        "created_at": ticket.created_at,
        "updated_at": ticket.updated_at,
    }


def _message(message: TicketMessage) -> dict[str, Any]:
    return {
        "message_id": message.message_id,
        "author_kind": message.author_kind,
        "body": {"text": message.body.text},
        "attachments": [{"name": one.filename} for one in message.attachments],
        "created_at": message.created_at,
    }


def frame(place: Position, entry: Entry, shown: bytes) -> bytes:
    """One event as it is sent; `id` is what the browser gives back as Last-Event-ID."""
    head = orjson.dumps({"id": str(entry.event_id), "type": entry.type, "timestamp": text_time(entry.time)})
    return b'id: %b\nevent: %b\ndata: %b,"data":%b}\n\n' % (
        str(place).encode(),
        entry.type.encode(),
        head[:-1],
        shown,
    )


def control(name: str, data: Mapping[str, Any], place: Position | None = None) -> bytes:
    """An event about the stream itself: `ready`, `reset`, `reconnect`."""
    identity = b"" if place is None else b"id: %b\n" % str(place).encode()
    return b"%bevent: %b\ndata: %b\n\n" % (identity, name.encode(), orjson.dumps(data))


def heartbeat(place: Position) -> bytes:
    """A sign of life, which also moves what the browser would give back: without data it is no event."""
    return b": still here\nid: %b\n\n" % str(place).encode()
