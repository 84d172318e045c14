"""Messages as they arrive: `message.received` and `message.quarantined`, owned by ingest."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field

from shared.contracts.event import OPEN, Contract, Event, Instant


class Channel(StrEnum):
    """Where a message came from."""

    EMAIL = "email"
    API = "api"
    WEB = "web"
    CHAT = "chat"
    PHONE = "phone"
    PARTNER = "partner"
    ALERT = "alert"


class Parent(StrEnum):
    """What ingest knows of the message this one answers."""

    NONE = "none"
    """It answers nothing."""
    KNOWN = "known"
    """Its parent is stored by ingest; tickets may not have seen it yet."""
    UNKNOWN = "unknown"
    """It names a parent that never came by us: somebody was added in the middle of a thread."""


class Participant(Contract):
    """A person named in a message, by the address it names them with."""

    person_id: UUID
    """UUIDv5(tenant, normalised address): known before directory has heard of them."""
    address: str
    """An e-mail address, a phone number or a handle, as the channel writes it."""
    name: str | None = None
    """What the message itself calls the person."""


class BlobRef(Contract):
    """Bytes kept in the blob store under `<tenant>/<sha256>`."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0)]
    """Bytes."""
    media_type: str
    """Told by the content, not by what the sender claimed."""


class Attachment(Contract):
    """One file of a message; the name is made safe, the type is told by the content."""

    filename: str
    blob: BlobRef
    inline: bool = False
    """Shown within the text (a picture of an HTML mail)."""
    content_id: str | None = None
    """What the HTML body calls it, without angle brackets."""


class Body(Contract):
    """What was written. Exactly one of `text` and `text_blob` is set; longer than 32 kB goes to the blob store."""

    text: str | None = None
    text_blob: BlobRef | None = None
    """UTF-8."""
    html_blob: BlobRef | None = None
    """Sanitised HTML, where the message had any."""


class Hints(Contract):
    """What the sender or the channel said of the ticket to be; nothing here is trusted for permissions."""

    product: str | None = None
    category: str | None = None
    impact: str | None = None
    urgency: str | None = None
    priority: str | None = None
    """A priority label of the tenant's pack."""
    affected_customers: Annotated[int, Field(ge=0)] | None = None
    language: str | None = None
    """BCP 47: `pt-BR`."""
    environment: str | None = None
    version: str | None = None
    """Of the product."""
    error_code: str | None = None
    tags: tuple[str, ...] = ()


class MessageReceived(Event):
    """A message was accepted and stored: nothing can lose it any more."""

    TYPE: ClassVar[str] = "message.received.v1"
    KEY: ClassVar[str] = "conversation_id"

    message_id: UUID
    """UUIDv5(tenant, what the source calls it), so that the same message twice is one."""
    conversation_id: UUID
    """One per thread: an answer never overtakes what it answers."""
    channel: Annotated[Channel | str, OPEN]
    received_at: Instant
    """Trusted receipt by our own listener, mailbox or API; never a Date header."""
    sender: Participant
    recipients: tuple[Participant, ...] = ()
    """To and Cc, without the addresses of ours that it came to."""
    inbound_address: str | None = None
    """Which of the tenant's own addresses it was sent to, normalised; None for an answer to a signed reply address."""
    subject: str = ""
    body: Body = Body(text="")
    attachments: tuple[Attachment, ...] = ()
    original: BlobRef | None = None
    """The bytes as they came, until retention or erasure."""
    external_id: str | None = None
    """What the channel calls it: an RFC 5322 Message-ID without angle brackets, a chat message's id."""
    parent: Annotated[Parent | str, OPEN] = Parent.NONE
    parent_message_id: UUID | None = None
    """The nearest ancestor stored by ingest, when `parent` is known."""
    token_ticket_id: UUID | None = None
    """The ticket named by a signed token of ours whose signature holds. tickets still checks the participant."""
    ticket_number: str | None = None
    """A ticket number found in the subject, unverified."""
    automatic: bool = False
    """RFC 3834 and its older forms: never starts, stops or resumes a clock."""
    resolves: bool = False
    """The source says that the matter is over: an alert has recovered."""
    spoofed: bool = False
    """Sender authentication failed, where our own mail server said so."""
    hints: Hints = Hints()


class MessageQuarantined(Event):
    """A message was stored but could not be read within the bounds; a person looks, and it can be replayed."""

    TYPE: ClassVar[str] = "message.quarantined.v1"
    KEY: ClassVar[str] = "message_id"

    message_id: UUID
    channel: Annotated[Channel | str, OPEN]
    received_at: Instant
    reason: str
    """`too_large`, `too_deep`, `too_many_parts`, `unreadable`, …"""
    original: BlobRef
