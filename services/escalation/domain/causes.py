"""What a cause, a newer state of the ticket or somebody's act does to the escalations of one ticket."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from services.escalation.domain import walk
from services.escalation.domain.escalation import Escalation, State, escalation_id
from services.escalation.domain.policy import UNHANDLED, Occurrence, Policy, occurrences, worth_starting
from services.escalation.domain.stepping import Moment
from services.escalation.domain.targets import Staff
from services.escalation.domain.ticket import KnownTicket
from shared.contracts.pack import Cause, EscalationPath, EscalationTrigger


@dataclass(slots=True, kw_only=True)
class Case:
    """One ticket with its escalations, within one transaction."""

    ticket: KnownTicket
    escalations: list[Escalation] = field(default_factory=list)
    ids: frozenset[UUID] = frozenset()
    """Of every escalation the ticket has ever had."""
    touched: bool = False
    """Whether the ticket's row is to be written."""

    def running(self, path: str | None = None) -> list[Escalation]:
        """Escalations that still step."""
        return [one for one in self.escalations if one.running and path in (None, one.plan.name)]

    def moment(self, now: datetime, staff: Staff) -> Moment:
        """What its escalations may know."""
        return Moment(now=now, ticket=self.ticket.summary, staff=staff)

    def know(self, ticket: KnownTicket) -> None:
        """The ticket is as this from now on."""
        if ticket is not self.ticket:
            self.ticket, self.touched = ticket, True


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """Under which something happens: the tenant's policy, the instant, who can be reached."""

    policy: Policy
    now: datetime
    staff: Staff
    cause_id: UUID | None = None
    """The CloudEvents id of the cause, where one has caused it."""


def happened(case: Case, what: Occurrence, given: Circumstances) -> list[Escalation]:
    """Start an escalation, or raise the one that runs; those that were started or moved."""
    moved = []
    for trigger in given.policy.pulled(what, case.ticket):
        path = given.policy.path(trigger.path, case.ticket.summary.priority.label)
        if path is not None:
            moved += _pull(case, trigger, path, what, given)
    return moved


def _pull(
    case: Case, trigger: EscalationTrigger, path: EscalationPath, what: Occurrence, given: Circumstances
) -> list[Escalation]:
    moment = case.moment(given.now, given.staff)
    identity = escalation_id(case.ticket.ticket_id, path.name, what.cause.value, what.key)
    if identity in case.ids or not worth_starting(what, case.ticket):
        return []
    too_old = given.policy.too_old(path, what.at, moment.now)
    for one in case.running(path.name):
        # The second trigger of the cause that has just started it adds its level, too.
        return [one] if not too_old and walk.raise_(one, trigger, what.told, moment) else []
    if any(one.id == identity for one in case.escalations):
        return []
    one = Escalation(
        id=identity,
        tenant_id=case.ticket.tenant_id,
        ticket_id=case.ticket.ticket_id,
        plan=path,
        rank=case.ticket.summary.priority.rank if case.ticket.summary.priority.label in path.priorities else 0,
        level=trigger.level,
        cause=what.told,
        cause_key=what.key,
        cause_id=given.cause_id,
        cause_at=what.at,
        started_at=moment.now,
        base_at=what.at,
        page_minutes=given.policy.section.page_minutes,
        changed=True,
    )
    case.escalations.append(one)
    if too_old:
        one.state, one.ended_at, one.ended_reason = State.EXPIRED, moment.now, "expired"
        one.note(moment.now, "expired", cause=what.told)
        return [one]
    step = path.number(trigger.step) if trigger.step is not None else None
    waited = trigger.unless_handled
    walk.start(one, moment, step=step or 1, jump=step is not None and not waited, tag=trigger.tag, reason=what.reason)
    walk.alert(one, trigger, moment)
    return [one]


def follow(case: Case, before: KnownTicket | None, policy: Policy | None, now: datetime, staff: Staff) -> None:
    """Bring the ticket's escalations in line with its newest state.

    Without a policy (an old tenant, a ticket that is over) nothing new starts, and what runs is ended all the same.
    """
    ticket = case.ticket
    goes_on: list[Occurrence] = []
    for one in case.running():
        moment = case.moment(now, staff)
        if not ticket.active:
            walk.end(one, moment, "merged" if ticket.merged else str(ticket.summary.category))
        elif ticket.responded_at is not None and ticket.responded_at > one.cause_at:
            walk.acknowledge(one, moment, None, "ticket")
        elif one.rank and ticket.summary.priority.label not in one.plan.priorities:
            raised = ticket.summary.priority.rank < one.rank
            walk.end(one, moment, "priority_raised" if raised else "priority_lowered")
            if raised:
                goes_on.append(_goes_on(one, ticket))
    if policy is None:
        return
    found = list(occurrences(before, ticket))
    if goes_on:
        # The path of the new priority takes over, with the level reached, whether or not the pack has a trigger.
        found = [what for what in found if what.cause is not Cause.PRIORITY_RAISED]
        found.append(max(goes_on, key=lambda what: what.level or 0))
    for what in found:
        happened(case, what, Circumstances(policy=policy, now=now, staff=staff))


def _goes_on(one: Escalation, ticket: KnownTicket) -> Occurrence:
    key = f"{ticket.cycle}:{ticket.summary.priority.label}:{ticket.summary.version}"
    return Occurrence(cause=Cause.PRIORITY_RAISED, key=key, at=ticket.summary.updated_at, level=one.level)


def unhandled(case: Case, given: Circumstances) -> list[Escalation]:
    """Start what a watch waited for, if it is still wanted and due."""
    watch = given.policy.watch(case.ticket, given.now)
    if watch is None or watch[0] > given.now:
        return []
    trigger = watch[1]
    path = given.policy.path(trigger.path, case.ticket.summary.priority.label)
    if path is None:
        return []
    created = case.ticket.summary.created_at
    case.know(replace(case.ticket, watched=path.name, watch_at=None))
    what = Occurrence(cause=Cause.TICKET_CREATED, key=UNHANDLED, at=created)
    return _pull(case, trigger, path, what, given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """A colleague did something to a ticket."""

    ticket_id: UUID
    person_id: UUID
    at: datetime
    assigned: bool
    """By hand, to somebody; else they moved it to another state."""


def acted(case: Case, acts: Iterable[Act], now: datetime, staff: Staff) -> None:
    """Take what people did for an acknowledgement: assigning by hand, or moving a ticket one owns or was paged for."""
    for act in sorted(acts, key=lambda one: one.at):
        owns = act.person_id == case.ticket.summary.assignee_id
        if act.assigned or owns:
            case.know(case.ticket.acted(act.at))
        for one in case.running():
            if act.at > one.cause_at and (act.assigned or owns or one.paged(act.person_id)):
                walk.acknowledge(one, case.moment(now, staff), act.person_id, "ticket")


def withdrawn(case: Case, clock_key: str, now: datetime, staff: Staff) -> None:
    """A provisional breach was none: what it started is over. What it only raised goes on."""
    for one in case.running():
        if one.cause == "sla.breached" and one.cause_key == clock_key:
            walk.end(one, case.moment(now, staff), "withdrawn")
