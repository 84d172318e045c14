"""What escalation knows, without a database or a broker."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One ticket that was created."""

    tenant_id: str
    number: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """The tickets of one tenant."""

    tenant_id: str
    tickets: int
    newest: str
    """Number of the ticket created last."""
    newest_at: datetime


def tally(seen: Iterable[Seen]) -> list[Count]:
    """One count per tenant, in the tenants' order, so that rows are always locked in the same one."""
    counts: dict[str, Count] = {}
    for one in sorted(seen, key=lambda ticket: (ticket.tenant_id, ticket.at)):
        before = counts.get(one.tenant_id)
        counts[one.tenant_id] = Count(
            tenant_id=one.tenant_id,
            tickets=1 if before is None else before.tickets + 1,
            newest=one.number,
            newest_at=one.at,
        )
    return list(counts.values())
