"""Changed tickets into the database, a whole batch in few statements, and the newest state of each onto its topic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from services.tickets.domain import snapshot
from services.tickets.domain.ticket import Work
from services.tickets.store import audit, messages, tickets
from shared import timers
from shared.contracts.ticket import TicketState
from shared.db import Tx
from shared.envelope import Emit, Received

Cause = Received[Any] | None
FILL = "fill"
"""Kind of the timer that gives out a queue's backlog; its key is `<tenant>/<queue>`."""


async def save(
    tx: Tx, works: Sequence[Work], emit: Callable[[Work, TicketState], Emit] = lambda _, state: Emit(state)
) -> list[Emit]:
    """Store every changed ticket and answer one `ticket.state` for each; `emit` names its cause.

    The tickets are locked already. Call it once per transaction, when everything about them is decided.
    """
    changed = [work for work in works if work.changed]
    new = [work for work in changed if work.stored is None]
    old = [work for work in changed if work.stored is not None]
    older = await messages.newest_references(tx, [w.ticket.id for w in old], snapshot.MAX_REFERENCES)
    states = {work.ticket.id: snapshot.publish(work, older.get(work.ticket.id, ())) for work in changed}
    await tickets.insert(tx, new)
    await tickets.update(tx, old)
    for work in old:
        if work.stored is not None and work.stored.watcher_ids != work.ticket.watcher_ids:
            await tickets.replace_watchers(tx, work.ticket)
    await messages.insert(tx, changed)
    await audit.insert(tx, changed)
    await _timers(tx, changed)
    return [emit(work, states[work.ticket.id]) for work in changed]


async def _timers(tx: Tx, works: Sequence[Work]) -> None:
    """Arm and cancel what the tickets asked for; wake the queues in which somebody has room now."""
    armed = [
        timers.Timer(
            kind=kind,
            key=str(work.ticket.id),
            tenant_id=work.ticket.tenant_id,
            due_at=timer.due_at,
            payload=timer.payload,
        )
        for work in works
        for kind, timer in work.arm.items()
    ]
    queues: set[tuple[str, str]] = set()
    for work in works:
        if work.frees_an_agent or work.joins_a_backlog:
            queues.add((work.ticket.tenant_id, work.ticket.queue))
    armed += [fill_timer(tx, tenant, queue) for tenant, queue in sorted(queues)]
    if armed:
        await timers.arm(tx, armed)
    cancelled: dict[str, list[str]] = {}
    for work in works:
        for kind in work.cancel:
            cancelled.setdefault(kind, []).append(str(work.ticket.id))
    for kind in sorted(cancelled):
        await timers.cancel(tx, kind, sorted(cancelled[kind]))


def fill_timer(tx: Tx, tenant_id: str, queue: str) -> timers.Timer:
    """Have the backlog of a queue given out right after the commit."""
    return timers.Timer(kind=FILL, key=f"{tenant_id}/{queue}", tenant_id=tenant_id, due_at=tx.instant)
