"""Changed tickets into the database, a whole batch in few statements, and the newest state of each onto its topic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from services.tickets.domain import snapshot
from services.tickets.domain.work import Work
from services.tickets.store import audit, messages, tickets, transfers, untold
from shared import timers
from shared.contracts.ticket import TicketState
from shared.db import Tx
from shared.envelope import Emit, Received

Cause = Received[Any] | None
FILL = "fill"
"""Kind of the timer that gives out a queue's backlog; its payload names the queue."""
TELL = "tell"
"""Kind of the timer that publishes what others have said of tickets."""


async def save(
    tx: Tx, works: Sequence[Work], emit: Callable[[Work, TicketState], Emit] = lambda _, state: Emit(state)
) -> list[Emit]:
    """Store every changed ticket and answer one `ticket.state` for each; `emit` names its cause.

    Of a ticket of which others only said something the state follows within a second, with whatever else they say
    until then (ADR 0020). The tickets are locked already. Call it once per transaction, when everything about them is
    decided.
    """
    changed = [work for work in works if work.changed]
    told = [work for work in changed if work.told and not work.only_said]
    new = [work for work in changed if work.stored is None]
    old = [work for work in changed if work.stored is not None]
    states = await _states(tx, told)
    await tickets.insert(tx, new)
    await tickets.update(tx, [work for work in old if work.whole])
    await tickets.update_derived(tx, [work for work in old if not work.whole])
    for work in old:
        if work.stored is not None and work.stored.watcher_ids != work.ticket.watcher_ids:
            await tickets.replace_watchers(tx, work.ticket)
    await messages.insert(tx, changed)
    await transfers.save(tx, [(work, *one) for work in changed for one in work.transfers])
    await audit.insert(tx, changed)
    await untold.clear(tx, [work.ticket.id for work in told if work.stored is not None])
    await untold.mark(tx, [work.ticket.id for work in old if work.only_said])
    await _timers(tx, changed)
    return [emit(work, states[work.ticket.id]) for work in told]


async def tell_untold(tx: Tx, limit: int) -> tuple[list[Emit], bool]:
    """Publish tickets of which others have said something; whether there may be more of them."""
    marked = await untold.longest(tx, limit)
    works = [Work.on(ticket) for ticket in (await tickets.lock(tx, marked)).values()]
    states = await _states(tx, works)
    await tickets.update_derived(tx, works)
    await untold.clear(tx, marked)
    return [Emit(state) for state in states.values()], len(marked) == limit


async def _states(tx: Tx, works: Sequence[Work]) -> dict[UUID, TicketState]:
    """The next revision of each ticket, as it is published."""
    known = [work.ticket.id for work in works if work.stored is not None]
    older = await messages.newest_references(tx, known, snapshot.MAX_REFERENCES)
    return {work.ticket.id: snapshot.publish(work, older.get(work.ticket.id, ())) for work in works}


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
        if work.joins_a_backlog:
            queues.add((work.ticket.tenant_id, work.ticket.queue))
        if work.stored is not None and work.frees_an_agent:
            # Also the queue it left: whoever had it serves that one.
            queues |= {(work.ticket.tenant_id, queue) for queue in (work.ticket.queue, work.stored.queue)}
    armed += [fill_timer(tx, tenant, queue) for tenant, queue in sorted(queues)]
    held = {
        (work.ticket.tenant_id, work.ticket.queue, _whole_second(work.ticket.held_until))
        for work in works
        if work.stored is None and work.ticket.held_until is not None
    }
    armed += [_held_timer(*one) for one in sorted(held)]
    if any(work.only_said for work in works):
        armed.append(tell_timer(_whole_second(tx.instant)))
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
    return timers.Timer(
        kind=FILL, key=f"{tenant_id}/{queue}", tenant_id=tenant_id, due_at=tx.instant, payload={"queue": queue}
    )


def tell_timer(second: datetime) -> timers.Timer:
    """Have what others say of tickets published; one look for everything said within that second."""
    return timers.Timer(kind=TELL, key=str(int(second.timestamp())), tenant_id="", due_at=second)


def _held_timer(tenant_id: str, queue: str, second: datetime) -> timers.Timer:
    """Have a queue looked at once triage has had its time; one look for all tickets of that second."""
    key = f"{tenant_id}/{queue}@{int(second.timestamp())}"
    return timers.Timer(kind=FILL, key=key, tenant_id=tenant_id, due_at=second, payload={"queue": queue})


def _whole_second(at: datetime) -> datetime:
    return at.replace(microsecond=0) + timedelta(seconds=1 if at.microsecond else 0)
