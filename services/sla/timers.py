"""What sla does when an instant has come: tickets replayed, breaches told although tickets' word has not arrived."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from uuid import UUID

from prometheus_client import Gauge

from services.sla.desk import replay
from services.sla.desk.keeping import Keeping
from services.sla.store import clocks, knowledge
from shared import timers
from shared.db import Database, Tx
from shared.envelope import Emit
from shared.metrics import Metrics
from shared.timers import Handler, Timer

SWEEP = "overdue"
_SWEEP_KEY = "all"
AT_ONCE = 500
"""Tickets looked at in one transaction."""
MOST_OF_A_PERSON = 1000


class Fired:
    """The handlers of due timers."""

    def __init__(self, keeping: Keeping, metrics: Metrics, *, grace: timedelta, sweep: timedelta) -> None:
        self._knowledge_age = Gauge(
            "deskwire_sla_knowledge_age_seconds",
            "How far behind the desk's clock the partition is of which least is known; beyond the grace, breaches are"
            " told provisionally.",
            ["service"],
            registry=metrics.registry,
        ).labels(metrics.service)
        self._keeping = keeping
        self._grace = grace
        self._sweep = sweep

    def handlers(self) -> Mapping[str, Handler]:
        """By kind of timer."""
        return {replay.TENANT: self.on_replay, replay.PERSON: self.on_moved, SWEEP: self.on_sweep}

    async def start(self, database: Database) -> None:
        """Arm the sweep, a grace from now: after an absence what was missed is heard first, and only then judged.

        Else every answer given meanwhile would be called a breach, and somebody paged for it, until it is read.
        """
        async with database.begin() as tx:
            await timers.arm(tx, [self._next(tx, max(self._grace, self._sweep))])

    @staticmethod
    def _next(tx: Tx, after: timedelta) -> Timer:
        return Timer(kind=SWEEP, key=_SWEEP_KEY, tenant_id="", due_at=tx.instant + after)

    async def on_replay(self, tx: Tx, due: Sequence[Timer]) -> Sequence[Emit]:
        """Look at the next tickets of tenants whose policy changed; the rest follows in transactions of its own."""
        share = max(AT_ONCE // len(due), 20)
        ids: list[UUID] = []
        more: list[Timer] = []
        for timer in due:
            page = await clocks.open_after(tx, timer.key, UUID(str(timer.payload.get("after", replay.FIRST))), share)
            ids += page
            if len(page) == share:
                more.append(replay.replay_tenant(timer.key, tx.instant, page[-1]))
        emits = await self._keeping.look(tx, ids)
        await timers.arm(tx, more)
        return emits

    async def on_moved(self, tx: Tx, due: Sequence[Timer]) -> Sequence[Emit]:
        """Look at the tickets of requesters whose zone changed."""
        return await self._keeping.look(
            tx, await clocks.open_of(tx, [UUID(timer.key) for timer in due], MOST_OF_A_PERSON)
        )

    async def on_sweep(self, tx: Tx, due: Sequence[Timer]) -> Sequence[Emit]:
        """Tell breaches that have waited for knowledge for longer than the grace, provisionally."""
        del due
        ids = await knowledge.overdue(tx, self._grace, AT_ONCE)
        emits = await self._keeping.look(tx, ids)
        # What could not be decided (a policy that went away) must not keep this loop busy.
        more = len(ids) >= AT_ONCE and len(emits) > 0
        await timers.arm(tx, [self._next(tx, timedelta() if more else self._sweep)])
        if (age := await knowledge.age(tx)) is not None:
            self._knowledge_age.set(age)
        return emits
