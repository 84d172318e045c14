"""What ingest, which holds the visitors' connections, tells of a chat."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from shared.contracts.event import Event, Instant


class ChatReplyMissed(Event):
    """An answer did not reach its visitor, who has left: it goes by mail instead."""

    TYPE: ClassVar[str] = "chat.reply_missed.v1"
    KEY: ClassVar[str] = "ticket_id"

    ticket_id: UUID
    message_id: UUID
    """The answer (`ticket.message_added`)."""
    person_id: UUID
    """The visitor; their address is in `person.changed` or was never given."""
    address: str | None = None
    """An e-mail address, if the visitor gave one."""
    left_at: Instant
