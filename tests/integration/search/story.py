"""Tickets as tickets tells of them: facts and states of one life, in the order of the test's choosing."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from shared.contracts.message import BlobRef, Body
from shared.contracts.ticket import (
    Actor,
    MessageRef,
    PriorityLevel,
    TicketCreated,
    TicketMessage,
    TicketMessageAdded,
    TicketState,
    TicketSummary,
)

NOW = datetime(2026, 11, 3, 9, 0, tzinfo=UTC)


@dataclass
class Own:
    """What is this test's own."""

    tenant: str = "acme"


OWN = Own()


@dataclass
class Ticket:
    """A ticket as tickets would tell of it."""

    subject: str = "Printer on fire"
    text: str = "It burns."
    tenant: str = field(default_factory=lambda: OWN.tenant)
    id: UUID = field(default_factory=uuid4)
    number: str = ""
    requester: UUID = field(default_factory=uuid4)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    revision: int = 1
    changes: dict[str, Any] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)
    watchers: tuple[UUID, ...] = ()
    merged_into: UUID | None = None
    messages: list[TicketMessage] = field(default_factory=list)
    automatic: bool = False
    blob: BlobRef | None = None

    def __post_init__(self) -> None:
        self.number = self.number or f"INC-2026-{secrets.randbelow(10**6):06}"
        if not self.messages:
            self.messages.append(self._message(self.text, "public", blob=self.blob))

    def _message(self, text: str, visibility: str, *, blob: BlobRef | None = None) -> TicketMessage:
        return TicketMessage(
            message_id=uuid4(),
            author_kind="requester" if visibility == "public" else "agent",
            visibility=visibility,
            channel="email",
            body=Body(text_blob=blob) if blob else Body(text=text),
            automatic=self.automatic,
            created_at=self.at + timedelta(seconds=len(self.messages)),
        )

    @property
    def summary(self) -> TicketSummary:
        given: dict[str, Any] = {
            "ticket_id": self.id,
            "number": self.number,
            "version": self.revision,
            "subject": self.subject,
            "status": "new",
            "category": "new",
            "priority": PriorityLevel(rank=3, label="P3"),
            "requester_id": self.requester,
            "queue": "tier1",
            "channel": "email",
            "created_at": self.at,
            "updated_at": self.at + timedelta(seconds=self.revision),
        }
        return TicketSummary.model_validate(given | self.changes)

    def created(self) -> TicketCreated:
        return TicketCreated(
            tenant_id=self.tenant,
            ticket_id=self.id,
            ticket=self.summary,
            actor=Actor(kind="service", id="tickets"),
            message=self.messages[0],
        )

    def message(self, text: str, visibility: str = "public") -> TicketMessageAdded:
        self.messages.append(self._message(text, visibility))
        self.revision += 1
        return TicketMessageAdded(
            tenant_id=self.tenant,
            ticket_id=self.id,
            ticket=self.summary,
            actor=Actor(kind="service", id="tickets"),
            message=self.messages[-1],
        )

    def change(self, **changes: Any) -> TicketState:
        self.revision += 1
        self.changes |= changes
        return self.state()

    def state(self) -> TicketState:
        return TicketState(
            tenant_id=self.tenant,
            ticket_id=self.id,
            version=self.revision,
            revision=self.revision,
            ticket=self.summary,
            fields=self.fields,
            messages=tuple(
                MessageRef(
                    message_id=m.message_id,
                    author_kind=m.author_kind,
                    visibility=m.visibility,
                    created_at=m.created_at,
                )
                for m in self.messages
            ),
            message_count=len(self.messages),
            watcher_ids=self.watchers,
            merged_into=self.merged_into,
        )
