"""How an escalation reaches a step: whom it asks, what it tells, when something happens next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypedDict
from uuid import UUID

from services.escalation.domain.escalation import Escalation, Page, PageState
from services.escalation.domain.targets import Staff, first_of, resolve
from shared.contracts.escalation import EscalationStepped, EscalationTarget
from shared.contracts.pack import PageUrgency
from shared.contracts.ticket import TicketSummary

LATE = 10
"""A step reached later than the tenth part of its own time gets the whole of it from then on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What a change of an escalation may know: the instant, the ticket, who can be reached."""

    now: datetime
    ticket: TicketSummary
    staff: Staff


# -- steps ------------------------------------------------------------------------------------------------------------


def enter(one: Escalation, number: int, moment: Moment, why: str, tag: str | None = None) -> None:
    """Reach a step; where it yields nobody, say so and go to the following at once."""
    while True:
        one.step, one.again = number, 0
        one.alternative, people = first_of(one.current.targets, moment.ticket, moment.staff)
        one.paged_at = None
        if people:
            ask(one, moment, people)
        _ask_besides(one, moment)
        set_next(one)
        one.note(moment.now, "stepped", cause=why, reached=len(people))
        tell_step(one, moment, people, why, tag=tag)
        if people:
            return
        one.unreached += 1
        if number == one.last:
            return
        number, why = number + 1, "unreachable"
        one.base_at = moment.now - one.begins(number)


def leave(one: Escalation, moment: Moment, why: str) -> None:
    """Nobody of this step is left: the next one now. The last one keeps its time, so that somebody may still come."""
    if one.step < one.last:
        one.base_at = moment.now - one.begins(one.step + 1)
        enter(one, one.step + 1, moment, why)
        return
    one.paged_at = None
    set_next(one)
    one.note(moment.now, "nobody_left", cause=why)


def due_step(one: Escalation, now: datetime) -> int:
    """The latest step whose time has come."""
    return max(
        (number for number in range(1, one.last + 1) if one.base_at + one.begins(number) <= now),
        default=1,
    )


def keep_time(one: Escalation, number: int, now: datetime, *, skipped: bool) -> None:
    """Give a step that comes late its own whole time, so that the next one does not follow at its heels."""
    begins = one.begins(number)
    if skipped or now - (one.base_at + begins) > (one.ends(number) - begins) / LATE:
        one.base_at = now - begins


def set_next(one: Escalation) -> None:
    """Say when something happens next: the step's end, or its people paged again before it."""
    ends = one.base_at + one.ends(one.step)
    again = one.current.page_again
    if again is not None and one.paged_at is not None:
        ends = min(ends, one.paged_at + timedelta(minutes=again))
    one.next_at = ends
    one.changed = True


def nobody_left(one: Escalation, page: Page) -> bool:
    """Whether the step that runs now waited for this page and for no other one."""
    if not one.running or not page.responsible or (page.step, page.lap) != (one.step, one.lap):
        return False
    waiting = {other.person_id for other in one.asked() if other.state is PageState.OPEN}
    return not waiting


# -- people -----------------------------------------------------------------------------------------------------------


def ask(one: Escalation, moment: Moment, people: tuple[EscalationTarget, ...]) -> None:
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
            reason=f"{ticket_of(moment)} is unacknowledged: step {one.step} of {one.last}, {one.current.name}",
        )


def _ask_besides(one: Escalation, moment: Moment) -> None:
    """Tell those who need not answer; whoever has to has been asked already."""
    asked = {page.person_id for page in one.asked()}
    for target in one.current.also:
        for person in resolve(target, moment.ticket, moment.staff):
            if person.person_id in asked:
                continue
            one.request(
                person.person_id,
                person.via,
                moment.ticket,
                moment.now,
                # Apart from a page that asks: the same person may become responsible when others cannot be reached.
                name=f"also:{_name(one, person.person_id)}",
                responsible=False,
                urgency=PageUrgency.LOW,
                reason=f"{ticket_of(moment)} is being escalated: step {one.step} of {one.last}, {one.current.name}",
            )


def page_again(one: Escalation, moment: Moment) -> None:
    """Ask those of the step who have said nothing once more."""
    silent = {page.person_id: page for page in one.asked() if page.state is PageState.OPEN}
    one.again += 1
    people = tuple(EscalationTarget(person_id=person, via=silent[person].via) for person in sorted(silent))
    ask(one, moment, people)
    if not people:
        one.paged_at = None
    set_next(one)
    one.note(moment.now, "paged_again", people=len(people))


def _name(one: Escalation, person_id: UUID) -> str:
    """What a page's id is made of."""
    repetition = f":{one.lap}.{one.again}" if one.lap or one.again else ""
    return f"{one.step}:{person_id}{repetition}"


def people_of(one: Escalation) -> tuple[EscalationTarget, ...]:
    """Who is responsible now."""
    pages = {page.person_id: page for page in one.asked()}
    return tuple(EscalationTarget(person_id=person, via=pages[person].via) for person in sorted(pages))


# -- events -----------------------------------------------------------------------------------------------------------


def tell_step(
    one: Escalation, moment: Moment, people: tuple[EscalationTarget, ...], why: str, *, tag: str | None = None
) -> None:
    """Tell who is responsible now, and why the step came."""
    ends = one.base_at + one.ends(one.step)
    follows = one.step < one.last or one.lap < one.plan.repeat
    one.facts.append(
        EscalationStepped(
            **common(one, moment),
            step=one.step,
            name=one.current.name,
            targets=people,
            next_at=ends if follows else None,
            cause=why,
            tag=tag,
        )
    )


class Common(TypedDict):
    """What every fact about an escalation carries."""

    tenant_id: str
    ticket_id: UUID
    ticket: TicketSummary
    escalation_id: UUID
    path: str
    level: int


def common(one: Escalation, moment: Moment) -> Common:
    """The fields of a fact that are the same in all of them."""
    return {
        "tenant_id": one.tenant_id,
        "ticket_id": one.ticket_id,
        "ticket": moment.ticket,
        "escalation_id": one.id,
        "path": one.plan.name,
        "level": one.level,
    }


def ticket_of(moment: Moment) -> str:
    """The ticket as a page names it: never its subject, which may hold anything."""
    return f"{moment.ticket.priority.label} ticket {moment.ticket.number}"
