"""The state machine of an escalation: start, step, raise, answer, end.

Invariants: only a running escalation steps or pages; within a lap its steps only rise; nobody is asked twice for one
step, one lap and one repetition; when it stops running every open page is called back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypedDict
from uuid import UUID

from services.escalation.domain.escalation import Escalation, Page, PageState, State
from services.escalation.domain.targets import Staff, first_of, resolve
from shared.contracts.escalation import (
    EscalationAcknowledged,
    EscalationEnded,
    EscalationStarted,
    EscalationStepped,
    EscalationTarget,
)
from shared.contracts.pack import EscalationTrigger, PageUrgency
from shared.contracts.ticket import TicketSummary

LATE = 10
"""A step reached later than the tenth part of its own time gets the whole of it from then on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What a change of an escalation may know: the instant, the ticket, who can be reached."""

    now: datetime
    ticket: TicketSummary
    staff: Staff


def start(
    one: Escalation,
    moment: Moment,
    *,
    step: int = 1,
    jump: bool = False,
    tag: str | None = None,
    reason: str | None = None,
) -> None:
    """Begin at `step`, or at a later one whose time has come by now.

    Steps missed meanwhile (the service was away) are passed over: people are asked for the latest due step only.
    With `jump` the step begins now, whatever its own time.
    """
    if jump:
        one.base_at = moment.now - one.begins(step)
    one.note(moment.now, "started", cause=one.cause, reason=reason)
    one.facts.append(
        EscalationStarted(
            **_common(one, moment), cause=one.cause, cause_id=one.cause_id, steps=one.last, tag=tag, reason=reason
        )
    )
    number = max(step, _due(one, moment.now))
    _keep_time(one, number, moment.now, skipped=number > step)
    _enter(one, number, moment, "due")


def advance(one: Escalation, moment: Moment) -> bool:
    """Do what is due by now; whether anything was."""
    if not one.running or one.next_at is None or moment.now < one.next_at:
        return False
    due = _due(one, moment.now)
    if due > one.step:
        _keep_time(one, due, moment.now, skipped=due > one.step + 1)
        _enter(one, due, moment, "due")
    elif moment.now < one.base_at + one.ends(one.step):
        _page_again(one, moment)
    elif one.lap < one.plan.repeat:
        one.lap, one.base_at = one.lap + 1, moment.now
        _enter(one, 1, moment, "repeated")
    else:
        end(one, moment, "exhausted")
    return True


def due_instant(one: Escalation, now: datetime) -> datetime:
    """The latest instant up to `now` that calls for something: of the step to be told, not of those passed over."""
    begins = one.base_at + one.begins(_due(one, now))
    return begins if one.next_at is None else max(begins, one.next_at)


def raise_(one: Escalation, trigger: EscalationTrigger, cause: str, moment: Moment) -> bool:
    """Let another cause move a running escalation on instead of starting a second one; whether it did.

    The level never falls and the step never goes back.
    """
    if not one.running:
        return False
    rises = trigger.level > one.level
    one.level = max(one.level, trigger.level)
    target = one.plan.number(trigger.step) if trigger.step is not None else None
    moved = target is not None and target > one.step
    if not (rises or moved):
        return False
    one.note(moment.now, "raised", cause=cause)
    if target is not None and moved:
        one.base_at = moment.now - one.begins(target)
        _enter(one, target, moment, "raised", tag=trigger.tag)
    else:
        _tell_step(one, moment, _people(one), "raised", tag=trigger.tag)
    alert(one, trigger, moment)
    return True


def alert(one: Escalation, trigger: EscalationTrigger, moment: Moment) -> None:
    """Tell whom a trigger wants told, whatever the path does."""
    _, people = first_of(trigger.alert, moment.ticket, moment.staff)
    for person in people:
        one.request(
            person.person_id,
            person.via,
            moment.ticket,
            moment.now,
            name=f"alert:{trigger.level}:{person.person_id}",
            responsible=False,
            urgency=PageUrgency.LOW,
            reason=f"{_ticket(moment)} has reached escalation level {trigger.level} ({trigger.cause.value})",
        )


def acknowledge(one: Escalation, moment: Moment, person_id: UUID | None, via: str) -> bool:
    """Somebody took it; whether it was running."""
    if not one.running:
        return False
    one.state, one.acknowledged_by, one.ended_at, one.next_at = State.ACKNOWLEDGED, person_id, moment.now, None
    one.note(moment.now, "acknowledged", via=via, person=None if person_id is None else str(person_id))
    one.facts.append(EscalationAcknowledged(**_common(one, moment), step=one.step, person_id=person_id, via=via))
    one.cancel_pages(moment.now, "acknowledged")
    return True


def end(one: Escalation, moment: Moment, reason: str) -> bool:
    """It is over; whether it was running or acknowledged until now."""
    if one.state not in (State.RUNNING, State.ACKNOWLEDGED):
        return False
    one.state, one.ended_at, one.ended_reason, one.next_at = State.ENDED, moment.now, reason, None
    one.note(moment.now, "ended", reason=reason)
    one.facts.append(EscalationEnded(**_common(one, moment), step=one.step, reason=reason))
    one.cancel_pages(moment.now, reason)
    return True


def answered(one: Escalation, page_id: UUID, *, taken: bool, channel: str, moment: Moment) -> None:
    """A paged person said yes, which ends the walk, or no, which brings the next step at once."""
    page = one.pages.get(page_id)
    if page is None:
        return
    if taken:
        if page.state in (PageState.OPEN, PageState.DECLINED, PageState.FAILED):
            one.settle(page, PageState.ACKNOWLEDGED, moment.now)
        acknowledge(one, moment, page.person_id, "page")
        return
    if page.state is not PageState.OPEN:
        return
    for other in one.asked():
        if other.person_id == page.person_id and other.state is PageState.OPEN:
            one.settle(other, PageState.DECLINED, moment.now)
    one.settle(page, PageState.DECLINED, moment.now)
    one.note(moment.now, "declined", person=str(page.person_id), channel=channel)
    if _nobody_left(one, page):
        _leave(one, moment, "declined")


def failed(one: Escalation, page_id: UUID, moment: Moment) -> None:
    """A page could not be delivered: others of the step, its next target, or the next step at once."""
    page = one.pages.get(page_id)
    if page is None or page.state is not PageState.OPEN:
        return
    one.settle(page, PageState.FAILED, moment.now)
    one.note(moment.now, "unreachable", person=str(page.person_id))
    if not _nobody_left(one, page):
        return
    asked = {other.person_id for other in one.asked()}
    number = one.alternative + 1
    while number < len(one.current.targets):
        number, people = first_of(one.current.targets, moment.ticket, moment.staff, after=number)
        others = tuple(person for person in people if person.person_id not in asked)
        if others:
            one.alternative = number
            _ask(one, moment, others)
            _set_next(one)
            _tell_step(one, moment, others, "unreachable")
            return
        number += 1
    _leave(one, moment, "unreachable")


# -- steps ------------------------------------------------------------------------------------------------------------


def _enter(one: Escalation, number: int, moment: Moment, why: str, tag: str | None = None) -> None:
    """Reach a step; where it yields nobody, say so and go to the following at once."""
    while True:
        one.step, one.again = number, 0
        one.alternative, people = first_of(one.current.targets, moment.ticket, moment.staff)
        one.paged_at = None
        if people:
            _ask(one, moment, people)
        _ask_besides(one, moment)
        _set_next(one)
        one.note(moment.now, "stepped", cause=why, reached=len(people))
        _tell_step(one, moment, people, why, tag=tag)
        if people:
            return
        one.unreached += 1
        if number == one.last:
            return
        number, why = number + 1, "unreachable"
        one.base_at = moment.now - one.begins(number)


def _leave(one: Escalation, moment: Moment, why: str) -> None:
    """Nobody of this step is left: the next one now. The last one keeps its time, so that somebody may still come."""
    if one.step < one.last:
        one.base_at = moment.now - one.begins(one.step + 1)
        _enter(one, one.step + 1, moment, why)
        return
    one.paged_at = None
    _set_next(one)
    one.note(moment.now, "nobody_left", cause=why)


def _due(one: Escalation, now: datetime) -> int:
    """The latest step whose time has come."""
    return max(
        (number for number in range(1, one.last + 1) if one.base_at + one.begins(number) <= now),
        default=1,
    )


def _keep_time(one: Escalation, number: int, now: datetime, *, skipped: bool) -> None:
    """Give a step that comes late its own whole time, so that the next one does not follow at its heels."""
    begins = one.begins(number)
    if skipped or now - (one.base_at + begins) > (one.ends(number) - begins) / LATE:
        one.base_at = now - begins


def _set_next(one: Escalation) -> None:
    ends = one.base_at + one.ends(one.step)
    again = one.current.page_again
    if again is not None and one.paged_at is not None:
        ends = min(ends, one.paged_at + timedelta(minutes=again))
    one.next_at = ends
    one.changed = True


def _nobody_left(one: Escalation, page: Page) -> bool:
    """Whether the step that runs now waited for this page and for no other one."""
    if not one.running or not page.responsible or (page.step, page.lap) != (one.step, one.lap):
        return False
    waiting = {other.person_id for other in one.asked() if other.state is PageState.OPEN}
    return not waiting


# -- people -----------------------------------------------------------------------------------------------------------


def _ask(one: Escalation, moment: Moment, people: tuple[EscalationTarget, ...]) -> None:
    """Page the responsible people of the step."""
    one.paged_at = moment.now
    for person in people:
        one.request(
            person.person_id,
            person.via,
            moment.ticket,
            moment.now,
            name=_name(one, person.person_id),
            responsible=True,
            urgency=one.current.urgency,
            reason=f"{_ticket(moment)} is unacknowledged: step {one.step} of {one.last}, {one.current.name}",
        )


def _ask_besides(one: Escalation, moment: Moment) -> None:
    for target in one.current.also:
        for person in resolve(target, moment.ticket, moment.staff):
            one.request(
                person.person_id,
                person.via,
                moment.ticket,
                moment.now,
                name=_name(one, person.person_id),
                responsible=False,
                urgency=PageUrgency.LOW,
                reason=f"{_ticket(moment)} is being escalated: step {one.step} of {one.last}, {one.current.name}",
            )


def _page_again(one: Escalation, moment: Moment) -> None:
    """Ask those of the step who have said nothing once more."""
    silent = {page.person_id: page for page in one.asked() if page.state is PageState.OPEN}
    one.again += 1
    people = tuple(EscalationTarget(person_id=person, via=silent[person].via) for person in sorted(silent))
    _ask(one, moment, people)
    if not people:
        one.paged_at = None
    _set_next(one)
    one.note(moment.now, "paged_again", people=len(people))


def _name(one: Escalation, person_id: UUID) -> str:
    """What a page's id is made of."""
    repetition = f":{one.lap}.{one.again}" if one.lap or one.again else ""
    return f"{one.step}:{person_id}{repetition}"


def _people(one: Escalation) -> tuple[EscalationTarget, ...]:
    """Who is responsible now."""
    pages = {page.person_id: page for page in one.asked()}
    return tuple(EscalationTarget(person_id=person, via=pages[person].via) for person in sorted(pages))


# -- events -----------------------------------------------------------------------------------------------------------


def _tell_step(
    one: Escalation, moment: Moment, people: tuple[EscalationTarget, ...], why: str, *, tag: str | None = None
) -> None:
    ends = one.base_at + one.ends(one.step)
    follows = one.step < one.last or one.lap < one.plan.repeat
    one.facts.append(
        EscalationStepped(
            **_common(one, moment),
            step=one.step,
            name=one.current.name,
            targets=people,
            next_at=ends if follows else None,
            cause=why,
            tag=tag,
        )
    )


class _Common(TypedDict):
    tenant_id: str
    ticket_id: UUID
    ticket: TicketSummary
    escalation_id: UUID
    path: str
    level: int


def _common(one: Escalation, moment: Moment) -> _Common:
    return {
        "tenant_id": one.tenant_id,
        "ticket_id": one.ticket_id,
        "ticket": moment.ticket,
        "escalation_id": one.id,
        "path": one.plan.name,
        "level": one.level,
    }


def _ticket(moment: Moment) -> str:
    return f"{moment.ticket.priority.label} ticket {moment.ticket.number}"
