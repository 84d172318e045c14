"""Cases of one transaction: tickets locked in key order, their escalations, who can be reached; then all of it saved.

Every change of an escalation goes through here, with its ticket's row locked: that is what keeps two of them from
running, or one page from being asked for twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from uuid import UUID, uuid5

import structlog

from services.escalation.domain.causes import Case
from services.escalation.domain.escalation import Escalation, State
from services.escalation.domain.policy import Policy
from services.escalation.domain.rotation import on_call
from services.escalation.domain.targets import Staff
from services.escalation.domain.ticket import KnownTicket
from services.escalation.measures import Measures
from services.escalation.store import escalations, schedules, staff, tickets
from shared import timers
from shared.contracts.escalation import EscalationEvent, EscalationStarted, PageEvent, PageRequested
from shared.contracts.event import Event
from shared.db import Database, Tx
from shared.envelope import Emit, Received
from shared.timers import Timer

STEP = "step"
"""Kind of the timer of a running escalation; its key is the escalation's id."""
WATCH = "watch"
"""Kind of the timer that asks whether anybody has handled a ticket; its key is the ticket's id."""

MakeEmit = Callable[[Escalation, EscalationEvent | PageEvent], Emit]
NOBODY = Staff()
"""For changes that reach nobody: ends and acknowledgements."""
logger = structlog.get_logger(__name__)


async def locked(tx: Tx, ticket_ids: Iterable[UUID]) -> dict[UUID, Case]:
    """Cases of the tickets that are known, with what runs for them."""
    known = await tickets.lock(tx, ticket_ids)
    return await _cases(tx, known)


async def locked_or_added(tx: Tx, wanted: Mapping[UUID, KnownTicket]) -> tuple[dict[UUID, Case], set[UUID]]:
    """Cases of all these tickets, and which of them were added as given."""
    known = await tickets.lock(tx, wanted)
    added = await tickets.insert(tx, (one for ticket_id, one in wanted.items() if ticket_id not in known))
    # Another consumer's fact was quicker; it has committed by now.
    known |= await tickets.lock(tx, [one for one in wanted if one not in known and one not in added])
    cases = await _cases(tx, known)
    return cases | {one: Case(ticket=wanted[one]) for one in added}, added


async def _cases(tx: Tx, known: Mapping[UUID, KnownTicket]) -> dict[UUID, Case]:
    running = await escalations.running(tx, known) if known else {}
    return {one: Case(ticket=ticket, escalations=running.get(one, [])) for one, ticket in known.items()}


async def with_ids(tx: Tx, cases: Iterable[Case]) -> None:
    """Have cases know every escalation their tickets ever had: before something may start."""
    by = {case.ticket.ticket_id: case for case in cases}
    if by:
        for ticket_id, ids in (await escalations.ids(tx, by)).items():
            by[ticket_id].ids = ids


async def staff_of(reader: Database | Tx, tenants: Iterable[str], instant: datetime) -> dict[str, Staff]:
    """Who can be reached, and who is on call at `instant`, by tenant."""
    wanted = sorted(set(tenants))
    if not wanted:
        return {}
    people = await staff.people(reader, wanted)
    teams = await staff.teams(reader, wanted)
    rotations = await schedules.of_tenants(reader, wanted)
    overrides = await schedules.overrides(reader, wanted, instant, instant) if rotations else {}
    found = {}
    for tenant in wanted:
        those = Staff(people=people.get(tenant, {}), teams=teams.get(tenant, []))
        now = {
            one.name: shift.person_id
            for one in rotations
            if one.tenant_id == tenant
            and (shift := on_call(one, overrides.get((tenant, one.name), ()), instant, those.active)) is not None
        }
        found[tenant] = replace(those, on_call=now)
    return found


async def save(tx: Tx, cases: Iterable[Case], emit: MakeEmit, measures: Measures) -> list[Emit]:
    """Store what was decided, set the timers, answer what to publish."""
    touched = [case for case in cases if case.touched or any(one.changed for one in case.escalations)]
    if not touched:
        return []
    await tickets.update(tx, sorted((c.ticket for c in touched if c.touched), key=lambda one: one.ticket_id))
    changed = [one for case in touched for one in case.escalations if one.changed]
    await escalations.save(tx, changed)
    await _set_timers(tx, changed)
    measures.changed(changed)
    for one in changed:
        if one.unreached:
            logger.error(
                "escalation reaches nobody", escalation=str(one.id), ticket=str(one.ticket_id), path=one.plan.name
            )
        if one.state is State.EXPIRED:
            logger.warning("escalation cause is too old", escalation=str(one.id), ticket=str(one.ticket_id))
    return [emit(one, fact) for one in changed for fact in one.facts]


async def _set_timers(tx: Tx, changed: Iterable[Escalation]) -> None:
    armed, over = [], []
    for one in changed:
        if one.running and one.next_at is not None:
            payload = {"ticket_id": str(one.ticket_id)}
            armed.append(
                Timer(kind=STEP, key=str(one.id), tenant_id=one.tenant_id, due_at=one.next_at, payload=payload)
            )
        elif one.stored:
            over.append(str(one.id))
    if armed:
        await timers.arm(tx, armed)
    if over:
        await timers.cancel(tx, STEP, sorted(over))


def watched(ticket: KnownTicket, policy: Policy | None, now: datetime) -> KnownTicket:
    """The ticket with the instant at which it is looked at whether anybody handled it."""
    watch = policy.watch(ticket, now) if policy is not None else None
    watch_at = watch[0] if watch is not None else None
    return ticket if watch_at == ticket.watch_at else replace(ticket, watch_at=watch_at)


async def set_watches(tx: Tx, changed: Iterable[tuple[datetime | None, KnownTicket]]) -> None:
    """Arm and cancel the watches of tickets, given the instant that was set before."""
    armed, over = [], []
    for before, ticket in changed:
        if ticket.watch_at is not None and ticket.watch_at != before:
            key = str(ticket.ticket_id)
            armed.append(Timer(kind=WATCH, key=key, tenant_id=ticket.tenant_id, due_at=ticket.watch_at))
        elif ticket.watch_at is None and before is not None:
            over.append(str(ticket.ticket_id))
    if armed:
        await timers.arm(tx, armed)
    if over:
        await timers.cancel(tx, WATCH, sorted(over))


def emitted(
    one: Escalation,
    fact: EscalationEvent | PageEvent,
    now: datetime,
    cause: Received[Event] | None = None,
    *,
    correlation: str | None = None,
    traceparent: str | None = None,
) -> Emit:
    """A fact to publish; what may be found twice (a start, a page) has an id made of what it is about."""
    identity = None
    if isinstance(fact, EscalationStarted):
        identity = uuid5(one.id, "started")
    elif isinstance(fact, PageRequested):
        identity = uuid5(fact.page_id, "requested")
    return Emit(
        fact,
        cause,
        id=identity,
        time=now if identity is not None else None,
        correlation=correlation,
        traceparent=traceparent,
    )
