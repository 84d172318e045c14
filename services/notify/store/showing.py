"""Notices where people find them: kept until read, and shown at once to whoever listens."""

from __future__ import annotations

from collections.abc import Sequence

from services.notify.domain.stream import notice_of
from services.notify.store import notices, stream
from services.notify.store.notices import Notice
from shared.db import Tx


async def show(tx: Tx, new: Sequence[Notice]) -> None:
    """Keep new notices, and put them on the stream of tenants somebody listens to."""
    if not new:
        return
    await notices.insert(tx, new)
    tenants = await stream.listened_to(tx, sorted({one.tenant_id for one in new}))
    await stream.add(
        tx,
        [
            notice_of(
                tenant_id=one.tenant_id,
                notice_id=one.id,
                person_id=one.person_id,
                ticket_id=one.ticket_id,
                at=one.created_at,
                shown={
                    "id": str(one.id),
                    "ticket_id": None if one.ticket_id is None else str(one.ticket_id),
                    "template": one.template,
                    "title": one.title,
                    "body": one.body,
                    "urgent": one.urgent,
                },
            )
            for one in new
            if one.tenant_id in tenants
        ],
    )
