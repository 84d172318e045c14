"""A batch of facts times the endpoints of their tenants, as rows to be sent: in the transaction of the batch.

A tenant without endpoints costs its share of one indexed read per batch, and nothing is serialised for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from services.notify.domain import webhook_payload as payload
from services.notify.domain.webhook_endpoint import matches
from services.notify.store import webhook_deliveries, webhook_endpoints
from services.notify.store.webhook_deliveries import NewDelivery, NewEvent
from shared.db import Tx
from shared.envelope import Answer, Received


class Fanout:
    """One of notify's tellers."""

    def __init__(self, *, too_old: timedelta) -> None:
        """Facts older than `too_old` are recorded `expired` and not sent (rule 9)."""
        self._too_old = too_old

    async def tell(self, tx: Tx, batch: Sequence[Received[Any]]) -> Sequence[Answer]:
        """Have the facts of a batch sent to every endpoint that wants them; publishes nothing yet."""
        told = [one for one in batch if payload.is_told(one.type)]
        if not told:
            return ()
        subscribers = await webhook_endpoints.subscribers(tx, sorted({one.event.tenant_id for one in told}))
        if not subscribers:
            return ()
        events: list[NewEvent] = []
        deliveries: list[NewDelivery] = []
        for one in told:
            tenant_id = one.event.tenant_id
            internal = payload.is_internal(one.event)
            wanting = [
                each.endpoint_id
                for each in subscribers
                if each.tenant_id == tenant_id
                and (each.include_internal or not internal)
                and matches(each.event_types, one.type)
            ]
            if not wanting:
                continue
            events.append(_event(one))
            expired = tx.instant - one.time > self._too_old
            deliveries += [_delivery(one, endpoint_id, expired=expired) for endpoint_id in wanting]
        await webhook_deliveries.add(tx, events, deliveries)
        return ()


def _event(one: Received[Any]) -> NewEvent:
    return NewEvent(
        tenant_id=one.event.tenant_id,
        event_id=one.id,
        type=one.type,
        ticket_id=getattr(one.event, "ticket_id", None),
        body=payload.body(one.type, one.time, one.event.to_bytes()),
    )


def _delivery(one: Received[Any], endpoint_id: UUID, *, expired: bool) -> NewDelivery:
    return NewDelivery(
        id=payload.delivery_id(endpoint_id, one.id),
        tenant_id=one.event.tenant_id,
        endpoint_id=endpoint_id,
        event_id=one.id,
        type=one.type,
        expired=expired,
    )
