"""What ingest hears of others: whose addresses mail may come to, which mails were sent, what agents answer in chats."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from services.ingest import inbound, suppressing
from services.ingest.chat.transcript import Transcript
from services.ingest.domain import thread_key
from services.ingest.store import messages as store
from services.ingest.store.sent import Sent
from shared.bus import Route
from shared.contracts.directory import TenantChanged
from shared.contracts.manifest import NOTIFICATION_DELIVERED, TENANT_CHANGED, TICKET_MESSAGE_ADDED
from shared.contracts.notification import DeliveryChannel, NotificationDelivered
from shared.contracts.ticket import TicketMessageAdded
from shared.db import Tx
from shared.envelope import Answer, Delete, Emit, Received, Tombstone


async def on_change(tx: Tx, changes: Sequence[Received[Any] | Tombstone]) -> Sequence[Emit | Delete]:
    """Keep the table of inbound addresses in step with the tenants; called by the replica in its transaction."""
    for change in changes:
        if isinstance(change, Tombstone):
            if change.topic == TENANT_CHANGED.name:
                await store.replace_claims(tx, change.key, [])
        elif isinstance(change.event, TenantChanged):
            await store.replace_claims(tx, change.event.tenant_id, inbound.claims(change.event))
    return ()


async def on_notification_delivered(tx: Tx, batch: Sequence[Received[NotificationDelivered]]) -> Sequence[Answer]:
    """Know our own mails by their Message-ID, so that answers without a token, and bounces, find their ticket."""
    mails = [
        Sent(
            key=(event.tenant_id, thread_key("mail", event.external_id)),
            ticket_id=event.ticket_id,
            message_id=event.message_id,
            recipient_id=event.recipient_id,
        )
        for one in batch
        if (event := one.event).channel == DeliveryChannel.EMAIL and event.external_id
    ]
    return await suppressing.delivered(tx, mails) if mails else ()


async def on_message_added(
    transcript: Transcript, tx: Tx, batch: Sequence[Received[TicketMessageAdded]]
) -> Sequence[Answer]:
    """Bring the desk's answers to chat visitors."""
    await transcript.hear(tx, batch)
    return ()


def routes(transcript: Transcript) -> tuple[Route[Any], ...]:
    """Topic → handler; visitors count as gone after the transcript's patience."""
    return (
        Route(NOTIFICATION_DELIVERED, on_notification_delivered),
        Route(TICKET_MESSAGE_ADDED, partial(on_message_added, transcript)),
    )
