"""What ingest keeps of other services' reference data: whose addresses mail may come to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.ingest import inbound, store
from shared.contracts.directory import TenantChanged
from shared.contracts.manifest import TENANT_CHANGED
from shared.db import Tx
from shared.envelope import Delete, Emit, Received, Tombstone


async def on_change(tx: Tx, changes: Sequence[Received[Any] | Tombstone]) -> Sequence[Emit | Delete]:
    """Keep the table of inbound addresses in step with the tenants; called by the replica in its transaction."""
    for change in changes:
        if isinstance(change, Tombstone):
            if change.topic == TENANT_CHANGED.name:
                await store.replace_claims(tx, change.key, [])
        elif isinstance(change.event, TenantChanged):
            await store.replace_claims(tx, change.event.tenant_id, inbound.claims(change.event))
    return ()
