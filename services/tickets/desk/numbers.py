"""Ticket numbers from blocks held in memory: unique across processes, no row that every new ticket waits for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from services.tickets.store import numbers
from shared.db import Database

SMALLEST, LARGEST = 10, 1000
"""Numbers per block; the first is small, so that a quiet tenant's numbers are dense, each next one twice as large."""


_AT_HAND = 8
"""More than requests can be at work at once, so that none has to reserve inside its transaction."""


@dataclass(slots=True)
class _Block:
    next: int
    end: int
    size: int

    @property
    def left(self) -> int:
        return self.end - self.next


class Numbers:
    """The blocks of one process. A number taken by a transaction that is rolled back is a gap."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._blocks: dict[tuple[str, int], list[_Block]] = {}

    async def ensure(self, tenants: Iterable[str], year: int) -> None:
        """Have as many numbers at hand as `tenants` names each tenant; call it before locks are taken.

        Reserves in its own short transaction, so that no transaction waits for another one's number.
        """
        short: dict[tuple[str, int], int] = {}
        for tenant, count in Counter(tenants).items():
            place = (tenant, year)
            blocks = self._blocks.setdefault(place, [])
            missing = count - sum(block.left for block in blocks)
            if missing > 0:
                size = min(2 * blocks[-1].size, LARGEST) if blocks else SMALLEST
                short[place] = max(size, missing)
        if not short:
            return
        for place, first in (await numbers.reserve(self._database, short)).items():
            size = short[place]
            blocks = [block for block in self._blocks[place] if block.left]
            self._blocks[place] = [*blocks, _Block(first, first + size, min(size, LARGEST))]

    async def ensure_this_year(self, tenant: str) -> None:
        """Have numbers at hand for tickets about to be opened, by the database's clock."""
        year: int = await self._database.fetchval("SELECT extract(year FROM desk_now() AT TIME ZONE 'UTC')::int")
        await self.ensure([tenant] * _AT_HAND, year)

    def take(self, tenant: str, year: int) -> int:
        """The next number. Raises LookupError when `ensure` was not called for it."""
        for block in self._blocks.get((tenant, year), ()):
            if block.left:
                block.next += 1
                return block.next - 1
        raise LookupError(f"no number at hand for {tenant}/{year}")
