"""Facts as entries of the in-app stream, in the transaction of their batch; nothing for tenants nobody listens to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from services.notify.domain import webhook_payload as payload
from services.notify.domain.stream import entry_of
from services.notify.store import stream
from shared.db import Tx
from shared.envelope import Answer, Received

TOO_OLD = timedelta(hours=1)
"""What happened longer ago is no news: a service that was away does not play the past to those who watch."""


async def record(tx: Tx, batch: Sequence[Received[Any]]) -> Sequence[Answer]:
    """One of notify's tellers."""
    told = [one for one in batch if payload.is_told(one.type) and tx.instant - one.time <= TOO_OLD]
    if not told:
        return ()
    tenants = await stream.listened_to(tx, sorted({one.event.tenant_id for one in told}))
    await stream.add(
        tx,
        [
            entry_of(
                one.event,
                event_id=one.id,
                event_type=one.type,
                time=one.time,
                internal=payload.is_internal(one.event),
            )
            for one in told
            if one.event.tenant_id in tenants
        ],
    )
    return ()
