"""Who gets what, exactly within capacity: agents are locked, their load counted under the lock, then tickets given.

Order of locks, the same in every transaction: tickets, then agents, once. Nothing here waits for a ticket when it
has agents; the backlog is taken with SKIP LOCKED.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from services.tickets.desk.saving import fill_timer
from services.tickets.domain import assignment, audit, hands
from services.tickets.domain.assignment import DESK, Agent, Choice, Waiting
from services.tickets.domain.policy import Pack
from services.tickets.domain.work import Work
from services.tickets.store import agents, tickets
from services.tickets.store.agents import Locked, Serving
from shared import timers
from shared.contracts.pack import Strategy
from shared.db import Tx


async def settle(tx: Tx, works: Sequence[Work], packs: Mapping[str, Pack], draw: audit.Draw) -> None:
    """After a batch's inputs: give tickets to agents, check owners whose tickets came back, follow changed queues.

    A queue that has a backlog is served in its own order by its timer, so that nobody jumps it.
    """
    back = [w for w in works if _came_back(w)]
    fresh = [w for w in works if _wants_owner(w, packs)]
    moved = [w for w in works if _left_its_queue(w, packs)]
    if not (back or fresh or moved):
        return
    queues = sorted({(w.ticket.tenant_id, w.ticket.queue) for w in (*back, *fresh, *moved)})
    serving = await agents.serving(tx, queues)
    room = [s for s in serving if s.load < _capacity(s.capacity, packs[s.tenant_id])]
    if room:
        jumped = await agents.backlog(tx, sorted({(s.tenant_id, s.queue) for s in room}))
        await timers.arm(tx, [fill_timer(tx, *queue) for queue in sorted(jumped)])
        room = [s for s in room if (s.tenant_id, s.queue) not in jumped]
    elif not (back or moved):
        return
    owners = {w.ticket.assignee_id for w in back if w.ticket.assignee_id}
    ours = await _lock(tx, room, owners)
    requeued = [w for w in back if not _keeps(w, ours, packs)]
    for work in requeued:
        assignment.apply(work, packs[work.ticket.tenant_id].machine, None, "requeued", work.act(DESK, draw))
    homes = {(s.tenant_id, s.queue, s.person_id) for s in serving}
    moved = [w for w in moved if (w.ticket.tenant_id, w.ticket.queue, w.ticket.assignee_id) not in homes]
    _give(tx, [*fresh, *requeued], ours, packs, reason="least_loaded", draw=draw)
    gone = {w.ticket.id for w in _give(tx, moved, ours, packs, reason="queue_changed", draw=draw)}
    for work in moved:
        if work.ticket.id not in gone:
            assignment.apply(work, packs[work.ticket.tenant_id].machine, None, "queue_changed", work.act(DESK, draw))


def _came_back(work: Work) -> bool:
    before = work.stored
    return before is not None and not before.active and work.ticket.active and work.ticket.assignee_id is not None


def _wants_owner(work: Work, packs: Mapping[str, Pack]) -> bool:
    """Whether it is new, or was held until now, and rules give it out."""
    ticket, before = work.ticket, work.stored
    if ticket.held or not ticket.active or ticket.assignee_id is not None:
        return False
    return (before is None or before.held) and _by_rule(work, packs)


def _left_its_queue(work: Work, packs: Mapping[str, Pack]) -> bool:
    """Whether a decision moved it from the queue for which a rule had found its owner."""
    ticket, before = work.ticket, work.stored
    if before is None or before.queue == ticket.queue or not ticket.active or ticket.assignee_id is None:
        return False
    chosen = {hands.ASSIGNEE, "queue"} & ticket.set_by.keys()
    return before.assignee_id == ticket.assignee_id and not chosen and _by_rule(work, packs)


def _by_rule(work: Work, packs: Mapping[str, Pack]) -> bool:
    return packs[work.ticket.tenant_id].assignment.strategy is Strategy.LEAST_LOADED


def _keeps(work: Work, room: _Room, packs: Mapping[str, Pack]) -> bool:
    """Whether the owner of a reopened ticket has room for it; then it counts from now on."""
    owner = work.ticket.assignee_id
    one = room.locked.get(owner) if owner else None
    if owner is None or one is None:
        return False
    if room.loads[owner] >= _capacity(one.capacity, packs[work.ticket.tenant_id]):
        return False
    room.loads[owner] += 1
    return True


@dataclass(frozen=True, slots=True)
class _Room:
    """Agents that are locked, with their load counted, and the queues they serve."""

    serving: Sequence[Serving]
    locked: Mapping[UUID, Locked]
    loads: dict[UUID, int]


async def _lock(tx: Tx, serving: Sequence[Serving], others: Iterable[UUID] = ()) -> _Room:
    locked = await agents.lock(tx, {s.person_id for s in serving} | set(others))
    return _Room(serving, locked, {person: one.load for person, one in locked.items()})


def _give(
    tx: Tx, works: Sequence[Work], room: _Room, packs: Mapping[str, Pack], *, reason: str, draw: audit.Draw
) -> list[Work]:
    """Distribute over locked agents, tenant by tenant; the works that got an owner, each of them an input.

    Whoever owns a ticket already does not get it again.
    """
    given: list[Work] = []
    for tenant in sorted({w.ticket.tenant_id for w in works}):
        pack = packs[tenant]
        mine = {w.ticket.id: w for w in works if w.ticket.tenant_id == tenant}
        waiting = [
            Waiting(
                ticket_id=w.ticket.id,
                queue=w.ticket.queue,
                rank=w.ticket.rank,
                since=w.ticket.created_at,
                avoid=w.ticket.assignee_id,
            )
            for w in mine.values()
        ]
        for ticket_id, choice in assignment.distribute(waiting, _agents(room, tenant, pack)).items():
            work, minutes = mine[ticket_id], pack.assignment.untouched_minutes
            work.begin_once(tx.instant)
            act = work.act(DESK, draw)
            assignment.apply(work, pack.machine, choice, reason, act, untouched_minutes=minutes)
            room.loads[choice.person_id] = choice.load
            given.append(mine[ticket_id])
    return given


def _agents(room: _Room, tenant: str, pack: Pack) -> list[Agent]:
    found: dict[UUID, Agent] = {}
    for one in room.serving:
        state = room.locked.get(one.person_id)
        if one.tenant_id != tenant or state is None or not state.available:
            continue
        agent = found.get(one.person_id) or Agent(
            person_id=one.person_id,
            queues=frozenset(),
            capacity=_capacity(state.capacity, pack),
            load=room.loads[one.person_id],
        )
        found[one.person_id] = replace(
            agent, queues=agent.queues | {one.queue}, team_of=(*agent.team_of, (one.queue, one.team_id))
        )
    return list(found.values())


def _capacity(own: int, pack: Pack) -> int:
    return own or pack.assignment.default_capacity


async def fill(tx: Tx, tenant: str, queues: Sequence[str], pack: Pack, draw: audit.Draw) -> list[Work]:
    """Give out a backlog, most urgent and oldest first, as far as there is room; the tickets that got an owner."""
    if pack.assignment.strategy is not Strategy.LEAST_LOADED:
        return []
    serving = await agents.serving(tx, [(tenant, queue) for queue in queues])
    room = [s for s in serving if s.load < _capacity(s.capacity, pack)]
    if not room:
        return []
    ours = await _lock(tx, room)
    free = sum(max(0, _capacity(one.capacity, pack) - one.load) for one in ours.locked.values())
    if not free:
        return []
    works = [Work.on(ticket) for ticket in await tickets.lock_waiting(tx, tenant, queues, min(free, 500))]
    return _give(tx, works, ours, {tenant: pack}, reason="least_loaded", draw=draw)


async def elsewhere(tx: Tx, works: Sequence[Work], packs: Mapping[str, Pack], draw: audit.Draw) -> list[Work]:
    """Give tickets whose owners left them untouched to somebody else with room; those that moved."""
    serving = await agents.serving(tx, sorted({(w.ticket.tenant_id, w.ticket.queue) for w in works}))
    room = [s for s in serving if s.load < _capacity(s.capacity, packs[s.tenant_id])]
    ours = await _lock(tx, room)
    return _give(tx, works, ours, packs, reason="untouched", draw=draw)


async def room_for(tx: Tx, tenant: str, person_id: UUID, pack: Pack, queue: str) -> tuple[Choice | None, Locked | None]:
    """Lock one agent for an assignment by hand: the choice if there is room, and what was found."""
    locked = (await agents.lock(tx, [person_id])).get(person_id)
    if locked is None or locked.tenant_id != tenant:
        return None, None
    capacity = _capacity(locked.capacity, pack)
    if locked.load >= capacity:
        return None, replace(locked, capacity=capacity)
    team_id = await agents.team_of(tx, tenant, person_id, queue)
    return Choice(person_id=person_id, team_id=team_id, load=locked.load + 1, capacity=capacity), locked
