"""One batch of reference events into the database: what is newer, who is told, how far was read, all or nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import structlog

from shared import crash, inbox, outbox, replica_store, waiting
from shared.bus import dead
from shared.bus.decode import Item, Kind, malformed
from shared.due import is_away
from shared.envelope import Delete, Emit, Received, Tombstone
from shared.explain import explain

if TYPE_CHECKING:
    from shared.db import Database, Tx
    from shared.metrics import Metrics
    from shared.replica_store import Cache, Place
    from shared.timers import RelayLike

ALONE = 3
"""A change that `on_change` refuses so often alone becomes a dead letter."""

Change = Received[Any] | Tombstone
OnChange = Callable[["Tx", Sequence[Change]], Awaitable["Sequence[Emit | Delete] | None"]]
"""Told of what was stored, newest per key, in the same transaction; answers what to publish, if anything.

May be told of the same change again. For services that keep their own tables of reference data.
"""

logger = structlog.get_logger(__name__)


class Writer:
    """Writes batches of one service's replica."""

    def __init__(
        self,
        service: str,
        database: Database,
        kinds: Mapping[str, str],
        cache: Cache,
        *,
        metrics: Metrics,
        relay: RelayLike | None,
        on_change: OnChange | None,
    ) -> None:
        """`kinds` is what handlers wait for a topic's keys as, by the topic's name."""
        self._service = service
        self._database = database
        self._kinds = kinds
        self._cache = cache
        self._metrics = metrics
        self._relay = relay
        self._on_change = on_change

    async def write(self, items: Sequence[Item], offsets: Mapping[Place, int]) -> None:
        """One batch and the offsets after it.

        A change that `on_change` refuses is found by halving and becomes a dead letter, the others are stored. Raises
        what says that the database is away: then nothing is lost, and the same batch is to be written again.
        """
        if not offsets:
            return
        try:
            await self._transaction(items, offsets)
        except Exception as error:
            if is_away(error) or not items:
                raise
            await self._halve(items, error, 1)
            await self._transaction([], offsets)

    async def _halve(self, items: Sequence[Item], error: Exception, attempt: int) -> None:
        if len(items) > 1:
            middle = len(items) // 2
            parts = [items[:middle], items[middle:]]
        elif attempt < ALONE:
            parts = [items]
        else:
            item = items[0]
            told = explain(error)
            logger.error("reference data refused", topic=item.route.name, key=item.key, reason=told)
            await self._transaction([malformed(item.record, item.route, item.position, "poison", told)], {})
            return
        for part in parts:
            try:
                await self._transaction(part, {})
            except Exception as inner:
                if is_away(inner):
                    raise
                await self._halve(part, inner, attempt + 1 if len(part) == len(items) else 1)

    async def _transaction(self, items: Sequence[Item], offsets: Mapping[Place, int]) -> None:
        """Store what is newer, tell the service, wake who waited, remember the offsets."""
        places = set(offsets) | {(item.route.name, item.record.partition) for item in items}
        async with self._database.begin() as tx:
            known = await replica_store.lock_offsets(tx, list(places))
            fresh = [item for item in items if item.record.offset >= known[item.route.name, item.record.partition]]
            letters = [item for item in fresh if item.kind is Kind.MALFORMED]
            rows = replica_store.newest(
                [replica_store.row_of(item) for item in fresh if item.kind is not Kind.MALFORMED]
            )
            applied = await replica_store.store(tx, rows)
            told = [row.item.value for row in applied if isinstance(row.item.value, (Received, Tombstone))]
            published = await self._tell(tx, told)
            published = await self._bury(tx, letters) or published
            for name, kind in self._kinds.items():
                await waiting.wake(tx, kind, [row.item.key for row in applied if row.item.route.name == name])
            forward = {place: offset for place, offset in offsets.items() if offset > known[place]}
            if forward:
                await replica_store.set_offsets(tx, forward)
            crash.point("replica.before_commit")
        crash.point("replica.after_commit")
        for row in applied:
            self._cache.drop(row.item.route.name, row.item.key)
        if published and self._relay is not None:
            self._relay.wake()
        for item in fresh:
            self._metrics.events(item.route.name, "dead" if item.kind is Kind.MALFORMED else "handled").inc()

    async def _tell(self, tx: Tx, changes: Sequence[Change]) -> bool:
        if not changes or self._on_change is None:
            return False
        answers = await self._on_change(tx, changes)
        if answers:
            await outbox.add(tx, answers)
        return bool(answers)

    async def _bury(self, tx: Tx, letters: Sequence[Item]) -> bool:
        """Put what is malformed on the dead-letter topic, once however often it is read."""
        service = self._service
        rows = []
        for item in letters:
            if item.inbox_id is None or item.inbox_day is None:
                continue
            if await inbox.record(tx, service, item.inbox_id, item.inbox_day):
                rows.append(dead.row(item, service, item.inbox_id))
                self._metrics.dead_letters(item.route.name, item.reason).inc()
                logger.error("dead letter", topic=item.route.name, reason=item.reason, error=item.error)
        if rows:
            await outbox.insert(tx, rows)
        return bool(rows)
