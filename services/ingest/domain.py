"""What a message is before it is stored, and the event it becomes. Pure: instants, ids and keys are arguments."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from services.ingest.mail.report import Report
from shared.contracts import ids
from shared.contracts.message import (
    Attachment,
    BlobRef,
    Body,
    Channel,
    Hints,
    MessageQuarantined,
    MessageReceived,
    Parent,
    Participant,
)

INLINE_TEXT = 32_768
"""Bytes of text carried by the event; longer texts are blobs."""
LARGEST = 250_000
"""Bytes of an event; its topic takes 262,144."""
FEW = 60
"""People and files that fit whatever their names."""
MAX_ATTACHMENTS = 200
"""Named in the event; further ones stay in the original, and the text says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatTurn:
    """Where in which chat a message stands."""

    session_id: UUID
    client_id: str
    """What the visitor's client calls it."""
    address: str | None = None
    """The e-mail address that the visitor gave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One message as a channel hands it over: everything but its place in a conversation and the instant."""

    tenant_id: str
    message_id: UUID
    channel: Channel
    sender: Participant
    fingerprint: bytes
    """Equal for two deliveries of the same content; another one under the same id is a conflict."""
    submitter: str = ""
    recipients: tuple[Participant, ...] = ()
    """Whom it names beside us."""
    inbound_address: str | None = None
    """Which of our addresses it was sent to."""
    subject: str = ""
    body: Body = field(default_factory=lambda: Body(text=""))
    attachments: tuple[Attachment, ...] = ()
    original: BlobRef | None = None
    payload: bytes | None = None
    """The original itself where it is small enough to be kept in the row."""
    external_id: str | None = None
    keys: tuple[bytes, ...] = ()
    """Thread keys under which others may answer this message."""
    answers: tuple[bytes, ...] = ()
    """Thread keys of what it answers, the nearest first."""
    answers_ids: tuple[UUID, ...] = ()
    """The same by ids of ours: messages, conversations, tickets."""
    series: bytes | None = None
    """Thread key under which the newest message of a series stands (an alert, a chat): each answers the one before."""
    token_ticket_id: UUID | None = None
    ticket_number: str | None = None
    received_at: datetime | None = None
    """Trusted receipt before the transaction (IMAP's INTERNALDATE); None for the transaction's own instant."""
    automatic: bool = False
    resolves: bool = False
    report: Report | None = None
    """What a mail server says of a mail that may be ours."""
    spoofed: bool = False
    hints: Hints = field(default_factory=Hints)
    accounts: tuple[str, ...] = ()
    """Addresses of ours that it came to."""
    chat: ChatTurn | None = None
    quarantine: str | None = None
    correlation: str | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a message stands among others."""

    conversation_id: UUID
    parent: Parent
    parent_message_id: UUID | None = None
    answered_ticket_id: UUID | None = None
    """The ticket of the mail of ours that it answers, where ingest has no message of that ticket."""


class Status(StrEnum):
    """What became of a message handed over."""

    ACCEPTED = "accepted"
    """Stored now."""
    DUPLICATE = "duplicate"
    """The same message was stored before; the ids are that one's."""
    CONFLICT = "conflict"
    """The same id was used before for another content; nothing was stored."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer for one draft, given after the commit."""

    status: Status
    message_id: UUID
    conversation_id: UUID
    ticket_id: UUID | None
    """The ticket that the message opens; None when it answers one that we know and tickets decides."""


def thread_key(kind: str, value: str) -> bytes:
    """The index key of what a source calls a message: 16 bytes of SHA-256; the tenant is the index's other half."""
    return hashlib.sha256(f"{kind}:{value}".encode("utf-8", "replace")).digest()[:16]


def participant(tenant_id: str, address: str, name: str = "") -> Participant:
    """A person by the address a message names them with."""
    return Participant(person_id=ids.person_id(tenant_id, address), address=address, name=name or None)


def receipt(draft: Draft, instant: datetime) -> datetime:
    """When it was received: what the channel vouches for, never later than now."""
    return instant if draft.received_at is None else min(draft.received_at, instant)


def opened_ticket(draft: Draft, placement: Placement) -> UUID | None:
    """The ticket it opens, unless it answers something known: then tickets decides."""
    return None if placement.parent == Parent.KNOWN else ids.ticket_id(draft.tenant_id, draft.message_id)


def received(draft: Draft, placement: Placement, instant: datetime) -> MessageReceived:
    """The fact that it was stored; fits the topic however many people and files the message names."""
    event = _received(draft, placement, instant)
    for keep in (100, 50, 20):
        if len(draft.recipients) + len(draft.attachments) < FEW or len(event.to_bytes()) <= LARGEST:
            break
        # Everything is in the original; here the first ones are kept, people by address alone.
        shown = tuple(one.model_copy(update={"name": None}) for one in draft.recipients[:keep])
        shorter = replace(draft, recipients=shown, attachments=draft.attachments[:keep])
        event = _received(shorter, placement, instant)
    return event


def _received(draft: Draft, placement: Placement, instant: datetime) -> MessageReceived:
    return MessageReceived(
        tenant_id=draft.tenant_id,
        message_id=draft.message_id,
        conversation_id=placement.conversation_id,
        channel=draft.channel,
        received_at=receipt(draft, instant),
        sender=draft.sender,
        recipients=draft.recipients,
        inbound_address=draft.inbound_address,
        subject=draft.subject,
        body=draft.body,
        attachments=draft.attachments,
        original=draft.original,
        external_id=draft.external_id,
        parent=placement.parent,
        parent_message_id=placement.parent_message_id,
        # Only who got that mail can name its Message-ID, as with a token; tickets checks the participant for both.
        token_ticket_id=draft.token_ticket_id or placement.answered_ticket_id,
        ticket_number=draft.ticket_number,
        automatic=draft.automatic,
        resolves=draft.resolves,
        spoofed=draft.spoofed,
        hints=draft.hints,
    )


def quarantined(draft: Draft, instant: datetime) -> MessageQuarantined | None:
    """The fact that it could not be read, if so."""
    if draft.quarantine is None or draft.original is None:
        return None
    return MessageQuarantined(
        tenant_id=draft.tenant_id,
        message_id=draft.message_id,
        channel=draft.channel,
        received_at=receipt(draft, instant),
        reason=draft.quarantine,
        original=draft.original,
    )
