"""What managers and administrators are told of their endpoints, in the application."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid5

from services.notify.domain.webhook_endpoint import DisabledReason, Endpoint
from services.notify.store import people, showing
from services.notify.store.notices import Notice
from shared.contracts.directory import Role
from shared.db import Tx
from shared.egress.rules import target_of

TEMPLATE = "webhook_disabled"
_KEEPERS = (Role.MANAGER, Role.ADMIN)
_WHY = {
    DisabledReason.GONE: "It answered 410 Gone.",
    DisabledReason.FAILING: "It has done nothing but fail for days.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchedOff:
    """An endpoint that we switched off."""

    endpoint: Endpoint
    reason: DisabledReason


async def switched_off(tx: Tx, off: Sequence[SwitchedOff]) -> None:
    """Tell those who keep webhooks that some of theirs were switched off, and why."""
    if not off:
        return
    wanted = [(one.endpoint.tenant_id, role.value) for one in off for role in _KEEPERS]
    keepers = await people.with_roles(tx, wanted)
    await showing.show(
        tx,
        [
            Notice(
                id=uuid5(one.endpoint.endpoint_id, f"disabled:{one.endpoint.version}:{person_id}"),
                tenant_id=one.endpoint.tenant_id,
                person_id=person_id,
                ticket_id=None,
                template=TEMPLATE,
                title=f"The webhook to {target_of(one.endpoint.url).host} was switched off",
                body=f"{_WHY.get(one.reason, '')} What waited for it was given up and can be replayed.".strip(),
                urgent=False,
                created_at=tx.instant,
            )
            for one in off
            for role in _KEEPERS
            for person_id in keepers.get((one.endpoint.tenant_id, role.value), ())
        ],
    )
