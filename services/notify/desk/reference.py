"""Reference data kept as rows of our own, where a handler asks for more than one key: roles, our own addresses."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from services.notify.store import people
from shared.contracts.directory import PersonChanged, TenantChanged
from shared.contracts.manifest import PERSON_CHANGED, TENANT_CHANGED
from shared.db import Tx
from shared.envelope import Tombstone
from shared.replica import Change


async def on_reference_changed(tx: Tx, changes: Sequence[Change]) -> None:
    """Keep agents by role, and every tenant's inbound addresses."""
    persons: list[PersonChanged] = []
    tenants: list[TenantChanged] = []
    gone_persons: list[UUID] = []
    gone_tenants: list[str] = []
    for change in changes:
        if isinstance(change, Tombstone):
            if change.topic == PERSON_CHANGED.name:
                gone_persons.append(UUID(change.key))
            elif change.topic == TENANT_CHANGED.name:
                gone_tenants.append(change.key)
        elif isinstance(change.event, PersonChanged):
            persons.append(change.event)
        elif isinstance(change.event, TenantChanged):
            tenants.append(change.event)
    if gone_persons or gone_tenants:
        await people.forget(tx, gone_persons, gone_tenants)
    if persons:
        await people.save_colleagues(tx, persons)
    if tenants:
        await people.save_places(tx, sorted(tenants, key=lambda tenant: tenant.tenant_id))
