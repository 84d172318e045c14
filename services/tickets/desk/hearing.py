"""What sla, escalation and notify say, a whole batch at once: shown, and where the workflow says so, acted upon.

No version rises for what is only said (architecture rule 3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar
from uuid import UUID

from services.tickets.desk import assigning
from services.tickets.desk.deciding import TICKET
from services.tickets.desk.known import Known
from services.tickets.desk.saving import save
from services.tickets.domain import audit, derived, workflow
from services.tickets.domain.policy import Pack
from services.tickets.domain.work import Work
from services.tickets.store import tickets
from shared.contracts.escalation import EscalationEvent
from shared.contracts.notification import NotificationFailed
from shared.contracts.pack import Trigger
from shared.contracts.sla import SlaEvent
from shared.contracts.ticket import Actor, ActorKind
from shared.db import Tx
from shared.envelope import Answer, Emit, NotYet, Received

ESCALATION = Actor(kind=ActorKind.SERVICE, id="escalation")

Said = TypeVar("Said", SlaEvent, EscalationEvent, NotificationFailed)


class Hearing:
    """Takes in what others say of tickets."""

    def __init__(self, known: Known, draw: audit.Draw) -> None:
        self._known = known
        self._draw = draw

    async def sla(self, tx: Tx, batch: Sequence[Received[SlaEvent]]) -> list[Answer]:
        """News of clocks."""

        def hear(work: Work, one: Received[SlaEvent]) -> None:
            derived.sla(work, one.event, one.time)

        return await self._hear(tx, batch, hear)

    async def notification_failed(self, tx: Tx, batch: Sequence[Received[NotificationFailed]]) -> list[Answer]:
        """Deliveries given up."""

        def hear(work: Work, one: Received[NotificationFailed]) -> None:
            del one
            derived.notification_failed(work)

        return await self._hear(tx, batch, hear)

    async def escalation(self, tx: Tx, batch: Sequence[Received[EscalationEvent]]) -> list[Answer]:
        """News of escalations; a second step, or an end after one, may move the ticket."""

        def hear(work: Work, one: Received[EscalationEvent]) -> Trigger | None:
            return derived.escalation(work, one.event, one.time)

        return await self._hear(tx, batch, hear)

    async def _hear(
        self, tx: Tx, batch: Sequence[Received[Said]], hear: Callable[[Work, Received[Said]], Trigger | None]
    ) -> list[Answer]:
        found = await tickets.lock(tx, {one.event.ticket_id for one in batch})
        absent: list[Answer] = [
            NotYet(one, TICKET, str(one.event.ticket_id))
            for one in batch
            if one.event.ticket_id not in found or found[one.event.ticket_id].tenant_id != one.event.tenant_id
        ]
        if absent:
            return absent
        works = {ticket_id: Work.on(ticket) for ticket_id, ticket in found.items()}
        last: dict[UUID, Received[Said]] = {}
        moves: list[tuple[Received[Said], Trigger]] = []
        for one in batch:
            trigger = hear(works[one.event.ticket_id], one)
            last[one.event.ticket_id] = one
            if trigger is not None:
                moves.append((one, trigger))
        if moves:
            waiting = await self._move(tx, works, moves)
            if waiting:
                return waiting
        answers: list[Answer] = [
            Emit(fact, last[work.ticket.id]) for work in works.values() for fact in work.take_facts()
        ]
        answers += await save(tx, list(works.values()), lambda work, state: Emit(state, last[work.ticket.id]))
        return answers

    async def _move(
        self, tx: Tx, works: dict[UUID, Work], moves: Sequence[tuple[Received[Said], Trigger]]
    ) -> list[Answer]:
        """Make the workflow's moves; what has to wait for a pack."""
        packs: dict[str, Pack] = {}
        for tenant, found in (await self._known.packs({one.event.tenant_id for one, _ in moves}, tx)).items():
            if not isinstance(found, Pack):
                return [NotYet(one, "policy", found.key) for one, _ in moves if one.event.tenant_id == tenant]
            packs[tenant] = found
        moved = []
        for one, trigger in moves:
            work, machine = works[one.event.ticket_id], packs[one.event.tenant_id].machine
            move = workflow.automatic(machine, work.ticket, trigger)
            if move is not None:
                work.begin(tx.instant)
                workflow.apply(work, machine, move, work.act(ESCALATION, self._draw))
                moved.append(work)
        await assigning.settle(tx, moved, packs, self._draw)
        return []
