"""What tickets does when an instant has come: queues given out, untouched tickets moved, timed transitions, the sweep.

Each handler locks its rows and then looks whether the instant still means something.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from uuid import UUID

from services.tickets.desk import assigning
from services.tickets.desk.intake import PARENT
from services.tickets.desk.known import Known
from services.tickets.desk.saving import FILL, TELL, fill_timer, save, tell_timer, tell_untold
from services.tickets.domain import assignment, audit, transfer, workflow
from services.tickets.domain.assignment import DESK, UNTOUCHED_TIMER
from services.tickets.domain.policy import Pack
from services.tickets.domain.transfer import TRANSFER_TIMER
from services.tickets.domain.work import Work
from services.tickets.domain.workflow import TRANSITION_TIMER
from services.tickets.store import agents, tickets
from shared import timers, waiting
from shared.contracts.decision import TransferState
from shared.db import Database, Tx
from shared.envelope import Emit
from shared.timers import Handler, Timer

SWEEP = "sweep"
"""Kind of the one timer that arms itself again: what is lost between two transactions is found here."""
_SWEEP_KEY = "all"
_SWEEP_LIMIT = 500
_TELL_LIMIT = 1000


class Fired:
    """The handlers of due timers."""

    def __init__(self, known: Known, draw: audit.Draw, *, sweep: timedelta, parent_patience: timedelta) -> None:
        self._known = known
        self._draw = draw
        self._sweep = sweep
        self._patience = parent_patience

    def handlers(self) -> Mapping[str, Handler]:
        """By kind of timer."""
        return {
            FILL: self.on_fill,
            UNTOUCHED_TIMER: self.on_untouched,
            TRANSITION_TIMER: self.on_transition,
            TRANSFER_TIMER: self.on_transfer,
            TELL: self.on_tell,
            SWEEP: self.on_sweep,
        }

    async def start(self, database: Database) -> None:
        """Arm the sweep, if it is not armed yet."""
        async with database.begin() as tx:
            await timers.arm(tx, [self._next_sweep(tx)])

    def _next_sweep(self, tx: Tx) -> Timer:
        return Timer(kind=SWEEP, key=_SWEEP_KEY, tenant_id="", due_at=tx.instant + self._sweep)

    async def on_fill(self, tx: Tx, due: Sequence[Timer]) -> Sequence[Emit]:
        """Give out backlogs; one tenant's queues after another's."""
        queues: dict[str, set[str]] = {}
        for timer in due:
            # Armed by the release before, a timer has the queue in its key only.
            queue = str(timer.payload.get("queue") or timer.key.removeprefix(f"{timer.tenant_id}/"))
            queues.setdefault(timer.tenant_id, set()).add(queue)
        packs = await self._packs(tx, list(queues))
        works: list[Work] = []
        # Locks of several tenants in one transaction stay in one order: agents of one tenant before the next one's.
        for tenant in sorted(packs):
            works += await assigning.fill(tx, tenant, sorted(queues[tenant]), packs[tenant], self._draw)
        return await _saved(tx, works)

    async def on_tell(self, tx: Tx, due: Sequence[Timer]) -> Sequence[Emit]:
        """Publish the states of tickets of which others have said something."""
        emits, more = await tell_untold(tx, _TELL_LIMIT)
        if more:
            await timers.arm(tx, [tell_timer(due[-1].due_at)])
        return emits

    async def on_untouched(self, tx: Tx, due: Sequence[Timer]) -> Sequence[Emit]:
        """Take tickets from owners who did nothing with them (seed 000 §5.2); nobody else has room: they keep them."""
        locked = await tickets.lock(tx, [UUID(timer.key) for timer in due])
        packs = await self._packs(tx, [ticket.tenant_id for ticket in locked.values()])
        works = [
            Work.on(locked[UUID(timer.key)])
            for timer in due
            if UUID(timer.key) in locked
            and assignment.untouched(locked[UUID(timer.key)], str(timer.payload.get("assignee_id")))
            and locked[UUID(timer.key)].tenant_id in packs
        ]
        if not works:
            return []
        moved = await assigning.elsewhere(tx, works, packs, self._draw)
        gone = {work.ticket.id for work in moved}
        told = {UUID(timer.key) for timer in due if timer.payload.get("told")}
        kept = [work for work in works if work.ticket.id not in gone]
        for work in kept:
            if work.ticket.id not in told:
                # Once per owner: nobody learns anything from hearing it every half hour of a night.
                work.begin(tx.instant)
                assignment.kept(work, work.act(DESK, self._draw))
        await timers.arm(tx, [_once_more(tx, work, packs[work.ticket.tenant_id]) for work in kept])
        return await _saved(tx, works)

    async def on_transfer(self, tx: Tx, due: Sequence[Timer]) -> Sequence[Emit]:
        """Let handovers lapse that nobody answered."""
        locked = await tickets.lock(tx, [UUID(timer.key) for timer in due])
        works = []
        for timer in due:
            ticket = locked.get(UUID(timer.key))
            if ticket is None or not transfer.lapsed(ticket, str(timer.payload.get("transfer_id")), tx.instant):
                continue
            work = Work.on(ticket)
            work.begin(tx.instant)
            transfer.close(work, TransferState.EXPIRED, work.act(DESK, self._draw))
            works.append(work)
        return await _saved(tx, works)

    async def on_transition(self, tx: Tx, due: Sequence[Timer]) -> Sequence[Emit]:
        """Make the workflow's timed transitions of tickets that have stayed in their state."""
        locked = await tickets.lock(tx, [UUID(timer.key) for timer in due])
        packs = await self._packs(tx, [ticket.tenant_id for ticket in locked.values()])
        works = []
        for timer in due:
            ticket = locked.get(UUID(timer.key))
            if ticket is None or ticket.tenant_id not in packs:
                continue
            machine = packs[ticket.tenant_id].machine
            move = workflow.due(machine, ticket, str(timer.payload.get("status")), str(timer.payload.get("since")))
            if move is None:
                continue
            work = Work.on(ticket)
            work.begin(tx.instant)
            workflow.apply(work, machine, move, work.act(DESK, self._draw))
            works.append(work)
        await assigning.settle(tx, works, packs, self._draw)
        return await _saved(tx, works)

    async def on_sweep(self, tx: Tx, due: Sequence[Timer]) -> Sequence[Emit]:
        """Wake answers whose parent is overdue, and queues with a backlog and somebody who may have room.

        A ticket that arrives in the instant in which an agent becomes free may be seen by neither; nothing waits
        longer than one sweep for that.
        """
        del due
        await waiting.wake(tx, PARENT, await tickets.overdue_parents(tx, self._patience, _SWEEP_LIMIT))
        starving = await agents.starving(tx, _SWEEP_LIMIT)
        await timers.arm(tx, [*(fill_timer(tx, tenant, queue) for tenant, queue in starving), self._next_sweep(tx)])
        return []

    async def _packs(self, tx: Tx, tenants: Sequence[str]) -> dict[str, Pack]:
        found = await self._known.packs(sorted(set(tenants)), tx)
        return {tenant: pack for tenant, pack in found.items() if isinstance(pack, Pack)}


def _once_more(tx: Tx, work: Work, pack: Pack) -> Timer:
    minutes = pack.assignment.untouched_minutes or 30
    return Timer(
        kind=UNTOUCHED_TIMER,
        key=str(work.ticket.id),
        tenant_id=work.ticket.tenant_id,
        due_at=tx.instant + timedelta(minutes=minutes),
        payload={"assignee_id": str(work.ticket.assignee_id), "told": True},
    )


async def _saved(tx: Tx, works: Sequence[Work]) -> list[Emit]:
    emits = [Emit(fact) for work in works for fact in work.take_facts()]
    return emits + await save(tx, works)
