"""What administrators are told of their endpoints, in the app."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid5

import orjson

from services.notify.domain.stream import Entry
from services.notify.domain.webhook_endpoint import DisabledReason, Endpoint
from services.notify.store import stream
from shared.auth import Permission
from shared.db import Tx

DISABLED = "webhook.disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchedOff:
    """An endpoint that we switched off."""

    endpoint: Endpoint
    reason: DisabledReason


async def switched_off(tx: Tx, off: Sequence[SwitchedOff]) -> None:
    """Show those who keep webhooks that some of theirs were switched off, and why."""
    await stream.add(
        tx,
        [
            Entry(
                tenant_id=one.endpoint.tenant_id,
                event_id=uuid5(one.endpoint.endpoint_id, f"disabled:{one.endpoint.version}"),
                type=DISABLED,
                time=tx.instant,
                permission=Permission.WEBHOOK_WRITE.value,
                data=orjson.dumps({"endpoint_id": str(one.endpoint.endpoint_id), "reason": one.reason.value}),
            )
            for one in off
        ],
    )
