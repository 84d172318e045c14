"""The state machine of an escalation: start, step, raise, answer, end.

Invariants: only a running escalation steps or pages; within a lap its steps only rise; nobody is asked twice for one
step, one lap and one repetition; when it stops running every open page is called back.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from services.escalation.domain.escalation import Escalation, PageState, State
from services.escalation.domain.stepping import (
    Moment,
    ask,
    common,
    due_step,
    enter,
    keep_time,
    leave,
    nobody_left,
    page_again,
    people_of,
    set_next,
    tell_step,
    ticket_of,
)
from services.escalation.domain.targets import first_of
from shared.contracts.escalation import (
    EscalationAcknowledged,
    EscalationEnded,
    EscalationStarted,
)
from shared.contracts.pack import EscalationTrigger, PageUrgency


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
            **common(one, moment), cause=one.cause, cause_id=one.cause_id, steps=one.last, tag=tag, reason=reason
        )
    )
    number = max(step, due_step(one, moment.now))
    keep_time(one, number, moment.now, skipped=number > step)
    enter(one, number, moment, "due")


def advance(one: Escalation, moment: Moment) -> bool:
    """Do what is due by now; whether anything was."""
    if not one.running or one.next_at is None or moment.now < one.next_at:
        return False
    due = due_step(one, moment.now)
    if due > one.step:
        keep_time(one, due, moment.now, skipped=due > one.step + 1)
        enter(one, due, moment, "due")
    elif moment.now < one.base_at + one.ends(one.step):
        page_again(one, moment)
    elif one.lap < one.plan.repeat:
        one.lap, one.base_at = one.lap + 1, moment.now
        enter(one, 1, moment, "repeated")
    else:
        end(one, moment, "exhausted")
    return True


def due_instant(one: Escalation, now: datetime) -> datetime:
    """The latest instant up to `now` that calls for something: of the step to be told, not of those passed over."""
    begins = one.base_at + one.begins(due_step(one, now))
    return begins if one.next_at is None else max(begins, one.next_at)


def raise_(one: Escalation, trigger: EscalationTrigger, cause: str, moment: Moment) -> bool:
    """Let another cause move a running escalation on instead of starting a second one; whether it did.

    The level never falls and the step never goes back. Where the path's own time has come further than the trigger's
    step (the service was away), the path's step is entered: nobody below it gets a turn that is over.
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
        target = max(target, due_step(one, moment.now))
        one.base_at = moment.now - one.begins(target)
        enter(one, target, moment, "raised", tag=trigger.tag)
    else:
        tell_step(one, moment, people_of(one), "raised", tag=trigger.tag)
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
            reason=f"{ticket_of(moment)} has reached escalation level {trigger.level} ({trigger.cause.value})",
        )


def acknowledge(one: Escalation, moment: Moment, person_id: UUID | None, via: str) -> bool:
    """Somebody took it; whether it was running."""
    if not one.running:
        return False
    one.state, one.acknowledged_by, one.ended_at, one.next_at = State.ACKNOWLEDGED, person_id, moment.now, None
    one.note(moment.now, "acknowledged", via=via, person=None if person_id is None else str(person_id))
    one.facts.append(EscalationAcknowledged(**common(one, moment), step=one.step, person_id=person_id, via=via))
    one.cancel_pages(moment.now, "acknowledged")
    return True


def end(one: Escalation, moment: Moment, reason: str) -> bool:
    """It is over; whether it was running or acknowledged until now."""
    if one.state not in (State.RUNNING, State.ACKNOWLEDGED):
        return False
    one.state, one.ended_at, one.ended_reason, one.next_at = State.ENDED, moment.now, reason, None
    one.note(moment.now, "ended", reason=reason)
    one.facts.append(EscalationEnded(**common(one, moment), step=one.step, reason=reason))
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
    if nobody_left(one, page):
        leave(one, moment, "declined")


def failed(one: Escalation, page_id: UUID, moment: Moment) -> None:
    """A page could not be delivered: others of the step, its next target, or the next step at once."""
    page = one.pages.get(page_id)
    if page is None or page.state is not PageState.OPEN:
        return
    one.settle(page, PageState.FAILED, moment.now)
    one.note(moment.now, "unreachable", person=str(page.person_id))
    if not nobody_left(one, page):
        return
    asked = {other.person_id for other in one.asked()}
    number = one.alternative + 1
    while number < len(one.current.targets):
        number, people = first_of(one.current.targets, moment.ticket, moment.staff, after=number)
        others = tuple(person for person in people if person.person_id not in asked)
        if others:
            one.alternative = number
            ask(one, moment, others)
            set_next(one)
            tell_step(one, moment, others, "unreachable")
            return
        number += 1
    leave(one, moment, "unreachable")
