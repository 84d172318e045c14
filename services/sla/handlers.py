"""What arrives on Kafka: tickets' states and watermarks in one order, policies that change."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from services.sla.desk.keeping import Keeping
from services.sla.desk.replay import replay_person, replay_tenant
from services.sla.domain.policy import SECTIONS
from services.sla.store import clocks, knowledge
from shared import timers
from shared.contracts.directory import PersonChanged, PolicyPublished, TenantChanged
from shared.contracts.ticket import TicketState
from shared.db import Tx
from shared.envelope import Answer, Received, Tombstone, Watermark
from shared.replica import Change

DECIDED_AT_ONCE = 1000
"""Clocks of each kind and partition that one batch decides; more are decided by the next watermark."""


class Handlers:
    """The handlers of one service."""

    def __init__(self, keeping: Keeping) -> None:
        self._keeping = keeping

    async def on_ticket_state(
        self, tx: Tx, batch: Sequence[Received[TicketState] | Tombstone | Watermark]
    ) -> Sequence[Answer]:
        """Take states in; then decide what the watermarks behind them make certain.

        Knowledge is stored with the states it speaks of: what is known never runs ahead of what was handled.
        """
        states = [one for one in batch if isinstance(one, Received)]
        marks: dict[int, datetime] = {}
        for one in batch:
            if isinstance(one, Watermark):
                marks[one.partition] = max(one.until, marks.get(one.partition, one.until))
        gone = [UUID(one.key) for one in batch if isinstance(one, Tombstone)]
        if gone:
            await clocks.forget(tx, gone)
            deleted = {one.key: one.offset for one in batch if isinstance(one, Tombstone)}
            states = [one for one in states if one.offset > deleted.get(one.key, -1)]
        known = await knowledge.advance(tx, marks, sorted({one.partition for one in states}))
        decided = await knowledge.decided(tx, {p: known[p] for p in marks}, DECIDED_AT_ONCE) if marks else []
        return await self._keeping.learn(tx, states, decided)


async def on_reference_changed(tx: Tx, changes: Sequence[Change]) -> None:
    """Another policy, another zone: the open tickets concerned are looked at again, a bounded number at a time."""
    tenants: set[str] = set()
    people: list[PersonChanged] = []
    for change in changes:
        if isinstance(change, Tombstone):
            continue
        event = change.event
        if (isinstance(event, PolicyPublished) and event.section in SECTIONS) or isinstance(event, TenantChanged):
            tenants.add(event.tenant_id)
        elif isinstance(event, PersonChanged):
            people.append(event)
    due = [replay_tenant(tenant, tx.instant) for tenant in sorted(tenants)]
    if people:
        moved = await clocks.moved(tx, [one.person_id for one in people], [one.timezone for one in people])
        due += [replay_person(tenant, person, tx.instant) for tenant, person in moved]
    await timers.arm(tx, due)
