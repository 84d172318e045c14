"""Decisions of other services, a whole batch at once: lock, apply field by field, give out, answer.

Source: architecture rule 2. A decision about a ticket that is not here waits for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from services.tickets.desk import assigning
from services.tickets.desk.known import Known
from services.tickets.desk.saving import save
from services.tickets.domain import audit, deciding
from services.tickets.domain.policy import Pack
from services.tickets.domain.ticket import Ticket
from services.tickets.domain.work import Act, Work
from services.tickets.store import agents, tickets
from shared.contracts.decision import TicketDuplicatesFound, TicketTriaged
from shared.contracts.ticket import Actor, ActorKind
from shared.db import Tx
from shared.envelope import Answer, Emit, NotYet, Received

TICKET = "ticket"
"""What a decision waits for when its ticket is not here, which takes a lost database."""
TRIAGE = Actor(kind=ActorKind.SERVICE, id="triage")
SEARCH = Actor(kind=ActorKind.SERVICE, id="search")


class Deciding:
    """Applies what triage and search decide."""

    def __init__(self, known: Known, draw: audit.Draw) -> None:
        self._known = known
        self._draw = draw

    async def triaged(self, tx: Tx, batch: Sequence[Received[TicketTriaged]]) -> list[Answer]:
        """Apply a batch; a ticket that was held for triage is given out now, whatever became of the decision."""
        works = await _locked(tx, batch)
        packs, waiting = await self._packs(tx, batch, works)
        if waiting:
            return waiting
        queues = await agents.queues_of_tenants(tx, sorted(packs))
        answers: list[Answer] = []
        last: dict[UUID, Received[TicketTriaged]] = {}
        for one in batch:
            work, tenant = works[one.event.ticket_id], one.event.tenant_id
            act = Act(TRIAGE, tx.instant, self._draw)
            deciding.triaged(work, packs[tenant], one.event, queues.get(tenant, frozenset()), act)
            if work.ticket.held:
                work.remember(held_until=None)
            answers += [Emit(fact, one) for fact in work.take_facts()]
            last[work.ticket.id] = one
        changed = [work for work in works.values() if work.changed]
        await assigning.settle(tx, changed, packs, self._draw)
        answers += [Emit(fact, last[work.ticket.id]) for work in changed for fact in work.take_facts()]
        answers += await save(tx, changed, lambda work, state: Emit(state, last[work.ticket.id]))
        return answers

    async def duplicates_found(self, tx: Tx, batch: Sequence[Received[TicketDuplicatesFound]]) -> list[Answer]:
        """Suggest what search found; of the tenant's own tickets only."""
        works = await _locked(tx, batch)
        waiting = _absent(batch, works)
        if waiting:
            return waiting
        wanted = {candidate.ticket_id for one in batch for candidate in one.event.candidates}
        others = await tickets.glance(tx, sorted(wanted))
        answers: list[Answer] = []
        last: dict[UUID, Received[TicketDuplicatesFound]] = {}
        for one in batch:
            work = works[one.event.ticket_id]
            deciding.duplicates_found(work, one.event, others, Act(SEARCH, tx.instant, self._draw))
            answers += [Emit(fact, one) for fact in work.take_facts()]
            last[work.ticket.id] = one
        changed = [work for work in works.values() if work.changed]
        answers += await save(tx, changed, lambda work, state: Emit(state, last[work.ticket.id]))
        return answers

    async def _packs(
        self, tx: Tx, batch: Sequence[Received[TicketTriaged]], works: Mapping[UUID, Work]
    ) -> tuple[dict[str, Pack], list[Answer]]:
        """The packs of the batch's tenants, or what has to wait for one, or for its ticket."""
        waiting = _absent(batch, works)
        packs: dict[str, Pack] = {}
        for tenant, found in (await self._known.packs({one.event.tenant_id for one in batch}, tx)).items():
            if isinstance(found, Pack):
                packs[tenant] = found
            else:
                waiting += [NotYet(one, "policy", found.key) for one in batch if one.event.tenant_id == tenant]
        return packs, waiting


Decisions = Sequence[Received[TicketTriaged]] | Sequence[Received[TicketDuplicatesFound]]


async def _locked(tx: Tx, batch: Decisions) -> dict[UUID, Work]:
    """The tickets decided about, each of the tenant that the decision names."""
    found: dict[UUID, Ticket] = await tickets.lock(tx, {one.event.ticket_id for one in batch})
    tenants = {one.event.ticket_id: one.event.tenant_id for one in batch}
    return {id_: Work.on(ticket) for id_, ticket in found.items() if ticket.tenant_id == tenants[id_]}


def _absent(batch: Decisions, works: Mapping[UUID, Work]) -> list[Answer]:
    return [NotYet(one, TICKET, str(one.event.ticket_id)) for one in batch if one.event.ticket_id not in works]
