"""Looking at tickets again, as timers: of a tenant whose policy changed, of a requester whose zone did."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from shared.timers import Timer

TENANT = "replay"
PERSON = "moved"
FIRST = UUID(int=0)


def replay_tenant(tenant: str, at: datetime, after: UUID = FIRST) -> Timer:
    """All open tickets of a tenant behind `after`; one that is under way begins anew."""
    return Timer(kind=TENANT, key=tenant, tenant_id=tenant, due_at=at, payload={"after": str(after)})


def replay_person(tenant: str, person: UUID, at: datetime) -> Timer:
    """The open tickets of one requester."""
    return Timer(kind=PERSON, key=str(person), tenant_id=tenant, due_at=at)
