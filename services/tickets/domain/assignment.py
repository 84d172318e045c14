"""Who gets a ticket: the least loaded agent within capacity (seed 000 §5.1, §5.2), chosen on locked rows by the caller.

`apply` is the one place where a ticket's assignee changes.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from services.tickets.domain import audit, hands, ledger, transfer, workflow
from services.tickets.domain.ticket import Ticket
from services.tickets.domain.work import Act, Timer, Work
from services.tickets.domain.workflow import Machine
from shared.contracts.decision import TransferState
from shared.contracts.pack import Trigger
from shared.contracts.ticket import Actor, ActorKind, LedgerKind, TicketAssigned

UNTOUCHED_TIMER = "untouched"
"""Kind of the timer that takes a ticket from an agent who did nothing with it."""
DESK = Actor(kind=ActorKind.SERVICE, id="tickets")
"""Acts when a rule or a timer of ours does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """Somebody who takes work, with the load counted under a lock."""

    person_id: UUID
    queues: frozenset[str]
    """Queues of the agent's teams."""
    team_of: tuple[tuple[str, UUID], ...] = ()
    """Queue → team through which the agent serves it."""
    capacity: int
    load: int
    """Active tickets the agent owns."""

    def team(self, queue: str) -> UUID | None:
        """The team through which the agent serves that queue."""
        return next((team for name, team in self.team_of if name == queue), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One ticket's new owner, and why: the load with this ticket, against the capacity."""

    person_id: UUID
    team_id: UUID | None
    load: int
    capacity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """An unassigned ticket as the queue sees it."""

    ticket_id: UUID
    queue: str
    rank: int
    since: datetime
    avoid: UUID | None = None
    """An agent who is not to get it (who just left it untouched), unless nobody else is free."""


def distribute(waiting: Iterable[Waiting], agents: Sequence[Agent]) -> dict[UUID, Choice]:
    """Give tickets to agents: most urgent, then oldest first, each to the least loaded agent who has room.

    Pure and repeatable: ties go to the lower person id. Tickets for which nobody has room are left out.
    """
    loads = {agent.person_id: agent.load for agent in agents}
    by_id = {agent.person_id: agent for agent in agents}
    heaps: dict[str, list[tuple[int, UUID]]] = {}
    for agent in agents:
        if agent.load < agent.capacity:
            for queue in agent.queues:
                heaps.setdefault(queue, []).append((agent.load, agent.person_id))
    for heap in heaps.values():
        heapq.heapify(heap)
    chosen: dict[UUID, Choice] = {}
    for ticket in sorted(waiting, key=lambda w: (w.rank, w.since, w.ticket_id)):
        found = _take(heaps.get(ticket.queue, []), loads, by_id, ticket.avoid)
        if found is None:
            continue
        loads[found.person_id] += 1
        chosen[ticket.ticket_id] = Choice(
            person_id=found.person_id,
            team_id=found.team(ticket.queue),
            load=loads[found.person_id],
            capacity=found.capacity,
        )
    return chosen


def _take(
    heap: list[tuple[int, UUID]], loads: dict[UUID, int], by_id: dict[UUID, Agent], avoid: UUID | None
) -> Agent | None:
    """The least loaded agent of one queue; entries whose load is out of date are put right on the way."""
    avoided: tuple[int, UUID] | None = None
    found: Agent | None = None
    while heap:
        load, person_id = heapq.heappop(heap)
        agent = by_id[person_id]
        if loads[person_id] >= agent.capacity:
            continue
        if loads[person_id] != load:
            heapq.heappush(heap, (loads[person_id], person_id))
            continue
        if person_id == avoid:
            avoided = (load, person_id)
            continue
        found = agent
        break
    if avoided is not None:
        heapq.heappush(heap, avoided)
    if found is not None:
        heapq.heappush(heap, (loads[found.person_id] + 1, found.person_id))
    return found


def apply(
    work: Work,
    machine: Machine,
    choice: Choice | None,
    reason: str,
    act: Act,
    *,
    untouched_minutes: float | None = None,
) -> None:
    """Give the ticket to `choice`, or to nobody; the input is counted by the caller.

    Triggers `assigned`, so that a new ticket opens. With `untouched_minutes` a timer takes the ticket back when the
    new owner does nothing with it. A person's choice is remembered: no rule gives the ticket to somebody else because
    its queue changed. An open handover ends, since its giver does not have the ticket any more.
    """
    before = work.ticket
    person = choice.person_id if choice else None
    work.change(
        assignee_id=person,
        team_id=choice.team_id if choice else before.team_id,
        assigned_at=act.at if choice else None,
        held_until=None,
    )
    if choice is not None and act.actor != DESK:
        hands.remember(work, [hands.ASSIGNEE], act.at)
    else:
        hands.forget(work, hands.ASSIGNEE)
    if person != before.assignee_id:
        transfer.close(work, TransferState.CANCELLED, act)
    if person != before.assignee_id:
        ledger.write(work, LedgerKind.ASSIGNEE, str(person) if person else "", act.at)
    if choice and untouched_minutes:
        payload = {"assignee_id": str(person)}
        work.timer(Timer(kind=UNTOUCHED_TIMER, due_at=act.at + timedelta(minutes=untouched_minutes), payload=payload))
    elif before.assignee_id is not None:
        work.no_timer(UNTOUCHED_TIMER)
    values: dict[str, audit.Values] = {"assignee": (_text(before.assignee_id), _text(person)), "why": (None, reason)}
    work.record("assigned" if choice else "unassigned", act, values)
    work.facts.append(
        TicketAssigned(
            tenant_id=before.tenant_id,
            ticket_id=before.id,
            ticket=work.ticket.summary(),
            actor=act.actor,
            previous_assignee_id=before.assignee_id,
            assignee_id=person,
            team_id=work.ticket.team_id,
            queue=before.queue,
            reason=reason,
            load=choice.load if choice else None,
            capacity=choice.capacity if choice else None,
        )
    )
    if choice is not None:
        move = workflow.automatic(machine, work.ticket, Trigger.ASSIGNED)
        if move is not None:
            workflow.apply(work, machine, move, act)


def kept(work: Work, act: Act) -> None:
    """The owner left the ticket untouched, and nobody else has room: it stays, and is told of."""
    ticket = work.ticket
    work.record("untouched", act, {"assignee": (_text(ticket.assignee_id), _text(ticket.assignee_id))})
    work.facts.append(
        TicketAssigned(
            tenant_id=ticket.tenant_id,
            ticket_id=ticket.id,
            ticket=ticket.summary(),
            actor=act.actor,
            previous_assignee_id=ticket.assignee_id,
            assignee_id=ticket.assignee_id,
            team_id=ticket.team_id,
            queue=ticket.queue,
            reason="nobody_else",
        )
    )


def touched(work: Work) -> None:
    """The owner did something, so the ticket is not taken away any more."""
    if work.ticket.assignee_id is not None:
        work.no_timer(UNTOUCHED_TIMER)


def untouched(ticket: Ticket, assignee_id: str) -> bool:
    """Whether a fired timer still finds the ticket with the same owner."""
    return ticket.active and str(ticket.assignee_id) == assignee_id


def _text(person_id: UUID | None) -> str | None:
    return None if person_id is None else str(person_id)
