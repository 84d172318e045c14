"""What arrives on Kafka: causes, the newest state of tickets, what people did and answered.

One call per batch and topic, in one transaction; tickets are locked in key order before anything is decided.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from services.escalation.desk import casework
from services.escalation.desk.known import Known
from services.escalation.domain import causes, walk
from services.escalation.domain.causes import Act, Case, Circumstances
from services.escalation.domain.policy import Occurrence, Policy, occurrences
from services.escalation.domain.targets import STAFF_ROLES, Staff
from services.escalation.domain.ticket import OVER, of_fact, of_state
from services.escalation.measures import Measures
from services.escalation.store import knowledge, tickets
from shared.contracts.escalation import PageAnswer, PageResponse
from shared.contracts.event import Event
from shared.contracts.notification import DeliveryChannel, NotificationFailed
from shared.contracts.pack import Cause
from shared.contracts.sla import SlaBreached, SlaChanged, SlaChangeKind, SlaEvent, SlaWarning
from shared.contracts.ticket import (
    ActorKind,
    TicketAssigned,
    TicketCreated,
    TicketEvent,
    TicketState,
    TicketStatusChanged,
)
from shared.db import Tx
from shared.envelope import Answer, Emit, NotYet, Received, Tombstone, Watermark

_Cause = TicketCreated | SlaWarning | SlaBreached | SlaChanged
_AboutPage = PageResponse | NotificationFailed


class Handlers:
    """The handlers of one service."""

    def __init__(self, known: Known, measures: Measures) -> None:
        self._known = known
        self._measures = measures

    # -- the ticket's state ---------------------------------------------------------------------------------------

    async def on_ticket_state(
        self, tx: Tx, batch: Sequence[Received[TicketState] | Tombstone | Watermark]
    ) -> Sequence[Answer]:
        """Keep the newest state of each ticket, end what is over, start what a change calls for."""
        newest: dict[UUID, Received[TicketState]] = {}
        gone: list[UUID] = []
        marks: dict[int, datetime] = {}
        for one in batch:
            if isinstance(one, Watermark):
                marks[one.partition] = max(one.until, marks.get(one.partition, one.until))
            elif isinstance(one, Tombstone):
                gone.append(UUID(one.key))
                newest.pop(UUID(one.key), None)
            elif one.event.ticket_id not in newest or newest[one.event.ticket_id].event.version < one.event.version:
                newest[one.event.ticket_id] = one
        if marks:
            await knowledge.advance(tx, marks)
        answers: list[Answer] = list(await self._forget(tx, gone)) if gone else []
        # Nothing new starts for a ticket that is over: it need not wait for a policy.
        live = [one for one in newest.values() if one.event.ticket.category not in OVER]
        policies, missing = await self._policies(tx, live)
        if missing or not newest:
            return [*answers, *missing]

        now = tx.instant
        wanted = {
            ticket_id: casework.watched(known, policies.get(known.tenant_id), now)
            for ticket_id, one in newest.items()
            if (known := of_state(one.event, None, one.partition)) is not None
        }
        cases, added = await casework.locked_or_added(tx, wanted)
        befores = {ticket_id: None if ticket_id in added else case.ticket for ticket_id, case in cases.items()}
        news: list[Case] = []
        for ticket_id, case in cases.items():
            after = of_state(newest[ticket_id].event, befores[ticket_id], newest[ticket_id].partition)
            if ticket_id not in added:
                if after is None:
                    continue
                case.know(after)
            news.append(case)
        busy = [c for c in news if c.escalations or any(occurrences(befores[c.ticket.ticket_id], c.ticket))]
        await casework.with_ids(tx, busy)
        people = await casework.staff_of(tx, [case.ticket.tenant_id for case in busy], now)
        watches = []
        for case in news:
            before = befores[case.ticket.ticket_id]
            policy = policies.get(case.ticket.tenant_id)
            causes.follow(case, before, policy, now, people.get(case.ticket.tenant_id, casework.NOBODY))
            case.know(casework.watched(case.ticket, policy, now))
            watches.append((before.watch_at if before is not None else None, case.ticket))
        emits = await casework.save(tx, news, _caused(newest, now), self._measures)
        await casework.set_watches(tx, watches)
        return [*answers, *emits]

    async def _forget(self, tx: Tx, ticket_ids: Sequence[UUID]) -> list[Emit]:
        """A ticket that was deleted needs nobody."""
        cases = await casework.locked(tx, ticket_ids)
        for case in cases.values():
            for one in case.running():
                walk.end(one, case.moment(tx.instant, casework.NOBODY), "deleted")
        emits = await casework.save(tx, cases.values(), _caused({}, tx.instant), self._measures)
        await casework.set_watches(
            tx, [(c.ticket.watch_at, casework.watched(c.ticket, None, tx.instant)) for c in cases.values()]
        )
        await tickets.delete(tx, sorted(cases))
        return emits

    # -- causes ---------------------------------------------------------------------------------------------------

    async def on_ticket_created(self, tx: Tx, batch: Sequence[Received[TicketCreated]]) -> Sequence[Answer]:
        """A new ticket may be an emergency at once."""
        found = [(one, Occurrence(cause=Cause.TICKET_CREATED, key="", at=one.time)) for one in batch]
        return await self._happened(tx, found)

    async def on_sla_warning(self, tx: Tx, batch: Sequence[Received[SlaWarning]]) -> Sequence[Answer]:
        """A breach is imminent."""
        found = [(one, _of_clock(Cause.SLA_WARNING, one.event, one.time)) for one in batch]
        return await self._happened(tx, found)

    async def on_sla_breached(self, tx: Tx, batch: Sequence[Received[SlaBreached]]) -> Sequence[Answer]:
        """A target ran out, unless it has been taken back already."""
        none = await tickets.withdrawn(tx, [(one.event.ticket_id, _clock_key(one.event)) for one in batch])
        found = [
            (one, _of_clock(Cause.SLA_BREACHED, one.event, one.event.breached_at))
            for one in batch
            if (one.event.ticket_id, _clock_key(one.event)) not in none
        ]
        return await self._happened(tx, found)

    async def _happened(self, tx: Tx, found: Sequence[tuple[Received[_Cause], Occurrence]]) -> Sequence[Answer]:
        if not found:
            return []
        policies, missing = await self._policies(tx, [one for one, _ in found])
        if missing:
            return missing
        wanted = {
            one.event.ticket_id: of_fact(one.event.tenant_id, one.event.ticket, one.partition)
            for one, _ in reversed(found)
        }
        cases, _ = await casework.locked_or_added(tx, wanted)
        pulled = [
            (one, what, cases[one.event.ticket_id])
            for one, what in found
            if policies[one.event.tenant_id].pulled(what, cases[one.event.ticket_id].ticket)
        ]
        if not pulled:
            return []
        await casework.with_ids(tx, [case for _, _, case in pulled])
        people = await casework.staff_of(tx, [one.event.tenant_id for one, _, _ in pulled], tx.instant)
        caused: dict[UUID, Received[Event]] = {}
        for one, what, case in pulled:
            tenant = one.event.tenant_id
            caused[one.event.ticket_id] = one
            causes.happened(
                case,
                what,
                Circumstances(policy=policies[tenant], now=tx.instant, staff=people[tenant], cause_id=one.id),
            )
        return await casework.save(tx, cases.values(), _caused(caused, tx.instant), self._measures)

    async def on_sla_changed(self, tx: Tx, batch: Sequence[Received[SlaChanged]]) -> Sequence[Answer]:
        """A provisional breach that was none ends what it started; one that proves true after all starts it anew.

        A breach is told once, so what comes true after its withdrawal is told as a change (`confirmed`).
        """
        answers = await self._withdrawn(tx, [one for one in batch if one.event.change == SlaChangeKind.WITHDRAWN])
        confirmed = [one for one in batch if one.event.change == SlaChangeKind.CONFIRMED]
        if not confirmed:
            return answers
        taken_back = await tickets.withdrawn(tx, [(one.event.ticket_id, _clock_key(one.event)) for one in confirmed])
        found = [
            (one, replace(_of_clock(Cause.SLA_BREACHED, one.event, one.time), key=f"{_clock_key(one.event)}:confirmed"))
            for one in confirmed
            if (one.event.ticket_id, _clock_key(one.event)) in taken_back
        ]
        return [*answers, *await self._happened(tx, found)]

    async def _withdrawn(self, tx: Tx, none: Sequence[Received[SlaChanged]]) -> list[Emit]:
        if not none:
            return []
        await tickets.withdraw(tx, {(one.event.ticket_id, _clock_key(one.event)): one.event.tenant_id for one in none})
        cases = await casework.locked(tx, {one.event.ticket_id for one in none})
        for one in none:
            if one.event.ticket_id in cases:
                causes.withdrawn(cases[one.event.ticket_id], _clock_key(one.event), tx.instant, casework.NOBODY)
        caused = {one.event.ticket_id: one for one in none}
        return await casework.save(tx, cases.values(), _caused(caused, tx.instant), self._measures)

    # -- what people do -------------------------------------------------------------------------------------------

    async def on_ticket_assigned(self, tx: Tx, batch: Sequence[Received[TicketAssigned]]) -> Sequence[Answer]:
        """Assigned by hand: somebody has it now."""
        by_hand = [one for one in batch if _by_colleague(one.event) and one.event.assignee_id is not None]
        return await self._acted(tx, [(one, _act(one, assigned=True)) for one in by_hand])

    async def on_ticket_status_changed(
        self, tx: Tx, batch: Sequence[Received[TicketStatusChanged]]
    ) -> Sequence[Answer]:
        """Moved to another state by a colleague: its owner, or whoever was paged, is at work."""
        by_hand = [one for one in batch if _by_colleague(one.event)]
        return await self._acted(tx, [(one, _act(one, assigned=False)) for one in by_hand])

    async def _acted(
        self, tx: Tx, acts: Sequence[tuple[Received[TicketAssigned | TicketStatusChanged], Act]]
    ) -> Sequence[Answer]:
        if not acts:
            return []
        wanted = {one.event.ticket_id: of_fact(one.event.tenant_id, one.event.ticket, one.partition) for one, _ in acts}
        cases, _ = await casework.locked_or_added(tx, wanted)
        befores = {ticket_id: case.ticket.watch_at for ticket_id, case in cases.items()}
        policies = await self._known.policies({case.ticket.tenant_id for case in cases.values()}, tx)
        of_ticket: dict[UUID, list[Act]] = {}
        for _, act in acts:
            of_ticket.setdefault(act.ticket_id, []).append(act)
        for ticket_id, case in cases.items():
            causes.acted(case, of_ticket[ticket_id], tx.instant, casework.NOBODY)
            if befores[ticket_id] is not None:
                case.know(casework.watched(case.ticket, policies.get(case.ticket.tenant_id), tx.instant))
        caused = {one.event.ticket_id: one for one, _ in acts}
        emits = await casework.save(tx, cases.values(), _caused(caused, tx.instant), self._measures)
        await casework.set_watches(tx, [(befores[one], case.ticket) for one, case in cases.items()])
        return emits

    async def on_page_response(self, tx: Tx, batch: Sequence[Received[PageResponse]]) -> Sequence[Answer]:
        """A paged person said yes or no. An answer nobody knows of a later release is neither."""
        return await self._on_pages(tx, batch, self._respond)

    async def on_notification_failed(self, tx: Tx, batch: Sequence[Received[NotificationFailed]]) -> Sequence[Answer]:
        """A page that cannot be delivered does not wait for its step to end.

        The in-app stream is no way to wake anybody: what fails there is told over the other channels.
        """
        pages = [one for one in batch if one.event.page_id is not None and one.event.channel != DeliveryChannel.APP]
        return await self._on_pages(tx, pages, self._fail)

    async def _on_pages(
        self,
        tx: Tx,
        batch: Sequence[Received[_AboutPage]],
        do: Callable[[Case, _AboutPage, datetime, Staff], None],
    ) -> Sequence[Answer]:
        if not batch:
            return []
        cases = await casework.locked(tx, {one.event.ticket_id for one in batch})
        running = {ticket_id: case for ticket_id, case in cases.items() if case.escalations}
        if not running:
            return []
        people = await casework.staff_of(tx, {case.ticket.tenant_id for case in running.values()}, tx.instant)
        caused: dict[UUID, Received[Event]] = {}
        for one in batch:
            case = running.get(one.event.ticket_id)
            if case is not None and case.ticket.tenant_id == one.event.tenant_id:
                caused[one.event.ticket_id] = one
                do(case, one.event, tx.instant, people[case.ticket.tenant_id])
        return await casework.save(tx, running.values(), _caused(caused, tx.instant), self._measures)

    @staticmethod
    def _respond(case: Case, event: _AboutPage, now: datetime, people: Staff) -> None:
        if not isinstance(event, PageResponse) or event.answer not in tuple(PageAnswer):
            return
        for escalation in case.running():
            taken = event.answer == PageAnswer.ACKNOWLEDGED
            walk.answered(
                escalation, event.page_id, taken=taken, channel=event.channel, moment=case.moment(now, people)
            )

    @staticmethod
    def _fail(case: Case, event: _AboutPage, now: datetime, people: Staff) -> None:
        for escalation in case.running():
            if event.page_id is not None:
                walk.failed(escalation, event.page_id, case.moment(now, people))

    # -- policies -------------------------------------------------------------------------------------------------

    async def _policies(self, tx: Tx, batch: Sequence[Received[Event]]) -> tuple[dict[str, Policy], list[NotYet]]:
        """The tenants' sections; NotYet for each event whose tenant has none."""
        policies = await self._known.policies([one.event.tenant_id for one in batch], tx)
        missing = [
            NotYet(one, "policy", Known.key(one.event.tenant_id))
            for one in batch
            if one.event.tenant_id not in policies
        ]
        return policies, missing


def _clock_key(event: SlaEvent) -> str:
    """Which clock in which cycle; a provisional breach and its withdrawal agree on it."""
    return f"{event.clock}:{event.cycle}"


def _of_clock(cause: Cause, event: SlaEvent, at: datetime) -> Occurrence:
    return Occurrence(cause=cause, key=_clock_key(event), at=at, clock=str(event.clock))


def _by_colleague(event: TicketEvent) -> bool:
    """Whether a person on our side did it."""
    return event.actor.kind == ActorKind.PERSON and event.actor.role in STAFF_ROLES


def _act(one: Received[TicketAssigned | TicketStatusChanged], *, assigned: bool) -> Act:
    return Act(ticket_id=one.event.ticket_id, person_id=UUID(one.event.actor.id), at=one.time, assigned=assigned)


def _caused(by: Mapping[UUID, Received[Event]], now: datetime) -> casework.MakeEmit:
    """Facts with the event of their ticket as their cause."""
    return lambda one, fact: casework.emitted(one, fact, now, by.get(one.ticket_id))
