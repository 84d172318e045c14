"""Deliveries to people and to other systems, and addresses not to be written to.

notify owns the deliveries; ingest, which reads the bounces, owns the suppressions.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar
from uuid import UUID

from shared.contracts.event import OPEN, Event, Instant


class DeliveryChannel(StrEnum):
    """The way out."""

    EMAIL = "email"
    WEBHOOK = "webhook"
    APP = "app"
    """The in-app stream."""
    CHAT = "chat"


class NotificationEvent(Event):
    """A fact about one delivery concerning one ticket."""

    KEY: ClassVar[str] = "ticket_id"

    ticket_id: UUID
    delivery_id: UUID
    """UUIDv5(cause, template, recipient, channel): one hand-off per delivery."""
    channel: Annotated[DeliveryChannel | str, OPEN]
    template: str
    """`acknowledgement`, `reply`, `resolution`, `page`, …; for a webhook the event's type."""
    recipient_id: UUID | None = None
    """A person; None for a webhook endpoint."""
    cause_id: UUID | None = None
    """The CloudEvents id of what it tells."""
    page_id: UUID | None = None
    """The page it carries, if any."""
    message_id: UUID | None = None
    """The ticket's message it carries, if any."""
    attempts: int


class NotificationDelivered(NotificationEvent):
    """Handed off: the next system has accepted it."""

    TYPE: ClassVar[str] = "notification.delivered.v1"

    external_id: str | None = None
    """What the channel calls it: for mail the Message-ID without angle brackets, recorded before it was sent."""
    provider_id: str | None = None
    """What the provider answered."""
    delivered_at: Instant


class NotificationFailed(NotificationEvent):
    """Given up: every attempt failed, or there was no way to send it."""

    TYPE: ClassVar[str] = "notification.failed.v1"

    reason: str
    """`suppressed`, `refused`, `exhausted`, `expired`, `no_address`, …"""
    detail: str | None = None
    """The last answer, without addresses."""
    failed_at: Instant


class SuppressionReason(StrEnum):
    """Why an address is not written to."""

    BOUNCED = "bounced"
    COMPLAINED = "complained"
    LOOPING = "looping"
    MANUAL = "manual"


class SuppressionChanged(Event):
    """An address is not to be written to; a tombstone lifts it."""

    TYPE: ClassVar[str] = "suppression.changed.v1"
    KEY: ClassVar[str] = "suppression_key"

    suppression_key: str
    """`<tenant>/<person id>`: a person's id is made of the address."""
    person_id: UUID
    version: int
    """Rises with every change; readers keep the highest."""
    reason: Annotated[SuppressionReason | str, OPEN]
    detail: str | None = None
    """The status code of a bounce (RFC 3463), never an address."""
    since: Instant
    until: Instant | None = None
    """None for ever."""
