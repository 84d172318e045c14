"""Which outbox rows go out next: oldest first, or tenants in turn, each at its pace."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import asyncpg

from shared.ahead import Ahead
from shared.publish import OutboxRow

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

BATCH = 1000
"""Rows per round, at most."""
BATCH_BYTES = 4 * 1024 * 1024
"""What a round may hold in memory, roughly: rows per round follow the size of those of the round before."""
HELD = 0.05
"""Seconds until the next look while rows are held back."""
FULL_SCAN = 1.0
"""Seconds between looks from the very first row. The others start a little below the last row sent (see `_low`)."""
WINDOW = 5000
"""Ids below the last one sent that are looked at every time: ids are drawn in another order than committed."""

_SELECT = """
    SELECT id, topic, key, payload, headers, created_at FROM outbox
    WHERE id > $1 AND topic <> ALL ($2::text[]) ORDER BY id LIMIT $3
"""
# Every tenant with something to send, its oldest rows up to a quota: a flood leaves in the same slices as a trickle.
_SELECT_FAIR = """
    WITH RECURSIVE tenants AS (
        (SELECT tenant FROM outbox ORDER BY tenant LIMIT 1)
        UNION ALL
        SELECT (SELECT o.tenant FROM outbox o WHERE o.tenant > t.tenant ORDER BY o.tenant LIMIT 1)
        FROM tenants t WHERE t.tenant IS NOT NULL
    )
    SELECT r.*, t.tenant FROM tenants t LEFT JOIN unnest($3::text[], $4::int[]) AS p (tenant, quota) USING (tenant)
    CROSS JOIN LATERAL (
        SELECT id, topic, key, payload, headers, created_at FROM outbox o
        WHERE o.tenant = t.tenant AND o.topic <> ALL ($1::text[]) ORDER BY o.id LIMIT least(p.quota, $2)
    ) r WHERE t.tenant IS NOT NULL
"""


class Backlog:
    """What one relay reads; remembers where it was, as a hint."""

    def __init__(self, *, fair: bool, tenant_rate: int | None, ahead: Ahead | None = None) -> None:
        self._fair = fair
        self._ahead = ahead
        self._counted: set[int] = set()
        """Ids of the rows last read that are of the topic held back."""
        self._pace = Pace(tenant_rate) if tenant_rate is not None else None
        self._limit = 200
        self._last_id = 0
        self._full_at = 0.0
        self._tenants = 1

    def elected(self) -> None:
        """Somebody else published until now: begin from the first row."""
        self._full_at = 0.0

    def published(self, ids: Sequence[int]) -> None:
        """These rows are out and deleted."""
        self._last_id = max(self._last_id, *ids)
        if self._ahead is not None:
            self._ahead.released(len(self._counted.intersection(ids)))

    def rest(self, longest: float) -> float:
        """How long to wait when there was nothing to send; shorter while a tenant is held back."""
        if self._ahead is not None and self._ahead.room() == 0:
            # It is woken when there is room; this is for when nobody can tell any more.
            longest = min(longest, HELD)
        return longest if self._pace is None else self._pace.rest(longest)

    async def read(self, session: Connection, *, passed_over: Sequence[str], paced: bool) -> list[OutboxRow]:
        """The rows of one round, in the order in which a key's have to go out."""
        missing = list(passed_over)
        room = None if self._ahead is None else self._ahead.room()
        if self._ahead is not None and room == 0:
            missing.append(self._ahead.topic)
            room = None
        limit = self._limit if room is None else min(self._limit, room)
        rows = await (
            self._read_fair(session, missing, limit, paced=paced) if self._fair else self._read(session, missing, limit)
        )
        if self._ahead is not None:
            self._counted = {row.id for row in rows if row.topic == self._ahead.topic}
        if rows:
            held = sum(len(row.payload) for row in rows if row.payload is not None)
            self._limit = max(10, min(self._limit * 2, BATCH, BATCH_BYTES * len(rows) // max(held, 1)))
        return rows

    async def _read(self, session: Connection, missing: list[str], limit: int) -> list[OutboxRow]:
        found = await session.fetch(_SELECT, self._low(), missing, limit)
        return [OutboxRow(*row) for row in found]

    async def _read_fair(self, session: Connection, missing: list[str], limit: int, *, paced: bool) -> list[OutboxRow]:
        least = 20 if limit == self._limit else 1
        quota = max(limit // max(self._tenants, 1), least)
        held = self._pace.quotas() if self._pace is not None and paced else {}
        found = await session.fetch(_SELECT_FAIR, missing, quota, list(held), list(held.values()))
        taken = Counter(row["tenant"] for row in found)
        self._tenants = len(taken)
        if self._pace is not None:
            self._pace.took(taken)
        return [OutboxRow(*row[:6]) for row in found]

    def _low(self) -> int:
        """Where to begin: a hint that saves walking over rows just deleted and not yet vacuumed.

        Only a hint, because ids are drawn before their transaction commits: every second the look is from the start.
        """
        now = time.monotonic()
        if now - self._full_at >= FULL_SCAN:
            self._full_at = now
            return 0
        return max(0, self._last_id - WINDOW)


class Pace:
    """How many events of each tenant may go out now: `rate` a second, a second's worth at once."""

    def __init__(self, rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._spent: dict[str, float] = {}
        self._at = clock()

    def quotas(self) -> dict[str, int]:
        """What is left for tenants that sent lately; the others may send a second's worth."""
        now = self._clock()
        back = (now - self._at) * self._rate
        self._at = now
        self._spent = {tenant: spent - back for tenant, spent in self._spent.items() if spent > back}
        return {tenant: max(0, int(self._rate - spent)) for tenant, spent in self._spent.items()}

    def took(self, sent: Mapping[str, int]) -> None:
        """These many of each tenant went out."""
        for tenant, count in sent.items():
            self._spent[tenant] = self._spent.get(tenant, 0.0) + count

    def rest(self, longest: float) -> float:
        """Seconds after which a tenant that has used up its share may go on."""
        return min(longest, 0.02) if any(spent >= self._rate - 1 for spent in self._spent.values()) else longest
