"""The tenant's state machine: which move is possible, for whom, and what is missing for it (seed 000 §2).

A refusal is a value that explains itself, never an exception.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from services.tickets.domain import audit, ledger, transfer
from services.tickets.domain.ticket import Ticket
from services.tickets.domain.work import Act, Timer, Work
from shared.contracts.decision import TransferState
from shared.contracts.directory import Role
from shared.contracts.pack import Guard, State, Transition, Trigger, Workflow
from shared.contracts.ticket import TicketStatusChanged

TRANSITION_TIMER = "transition"
"""Kind of the timer behind `trigger: timer` transitions."""


_NONE: Sequence[Transition] = ()


class Machine:
    """A workflow compiled for look-up."""

    def __init__(self, workflow: Workflow) -> None:
        self.workflow = workflow
        self.initial = workflow.state(workflow.initial)
        self.states: dict[str, State] = {state.name: state for state in workflow.states}
        self._arrows: dict[Trigger, dict[str, list[Transition]]] = {trigger: {} for trigger in Trigger}
        for arrow in workflow.transitions:
            self._arrows[arrow.trigger].setdefault(arrow.source, []).append(arrow)

    def arrows(self, source: str, trigger: Trigger) -> Sequence[Transition]:
        """The arrows that leave a state by that trigger, in the pack's order."""
        return self._arrows[trigger].get(source, _NONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a person gives with a transition."""

    reason: str | None = None
    resolution: str | None = None
    root_cause: str | None = None


NOTHING = Given()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mover:
    """Who wants the transition; `own` when the person is the ticket's requester."""

    role: str
    own: bool = False


@dataclass(frozen=True, slots=True)
class Move:
    """A transition that may happen now."""

    arrow: Transition
    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Why a transition may not happen."""

    code: str
    """`unknown_state`, `same_state`, `no_transition`, `role`, `guard`."""
    target: str
    detail: str
    missing: tuple[str, ...] = ()
    """Guards that do not hold, or roles that would be allowed."""


def transition(machine: Machine, ticket: Ticket, target: str, mover: Mover, given: Given = NOTHING) -> Move | Refused:
    """Whether a person may move the ticket to `target` now."""
    state = machine.states.get(target)
    if state is None:
        known = ", ".join(machine.states)
        return Refused(code="unknown_state", target=target, detail=f"there is no state {target!r}; there are {known}")
    if ticket.merged_into is not None:
        return Refused(code="merged", target=target, detail="the ticket was merged into another one")
    if target == ticket.status:
        return Refused(code="same_state", target=target, detail=f"the ticket is {target!r} already")
    arrows = [arrow for arrow in machine.arrows(ticket.status, Trigger.MANUAL) if arrow.target == target]
    if not arrows:
        to = ", ".join(arrow.target for arrow in machine.arrows(ticket.status, Trigger.MANUAL)) or "nowhere"
        detail = f"{ticket.status!r} does not lead to {target!r} by hand; it leads to {to}"
        return Refused(code="no_transition", target=target, detail=detail)
    allowed = [arrow for arrow in arrows if _may(arrow, mover)]
    if not allowed:
        roles = tuple(dict.fromkeys(role for arrow in arrows for role in arrow.roles))
        return Refused(code="role", target=target, detail=f"it takes one of {', '.join(roles)}", missing=roles)
    missing: tuple[str, ...] = ()
    for arrow in allowed:
        missing = unmet(arrow, ticket, given)
        if not missing:
            return Move(arrow, state)
    return Refused(code="guard", target=target, detail=" and ".join(_SAYS[Guard(m)] for m in missing), missing=missing)


def automatic(machine: Machine, ticket: Ticket, trigger: Trigger) -> Move | None:
    """The move that `trigger` causes from the ticket's state, if any; the first whose guards hold."""
    if ticket.merged_into is not None:
        return None
    for arrow in machine.arrows(ticket.status, trigger):
        if not unmet(arrow, ticket, NOTHING):
            return Move(arrow, machine.states[arrow.target])
    return None


def options(machine: Machine, ticket: Ticket, mover: Mover) -> list[Move | Refused]:
    """Every state reachable by hand: what is possible now and, for the others, why not."""
    targets = dict.fromkeys(arrow.target for arrow in machine.arrows(ticket.status, Trigger.MANUAL))
    return [transition(machine, ticket, target, mover) for target in targets]


def _may(arrow: Transition, mover: Mover) -> bool:
    if mover.role != Role.CUSTOMER and mover.role in arrow.roles:
        return True
    return mover.own and Role.CUSTOMER in arrow.roles


_SAYS = {
    Guard.ASSIGNEE: "the ticket needs an assignee",
    Guard.RESOLUTION: "a resolution summary is needed",
    Guard.ROOT_CAUSE: "a root cause is needed",
    Guard.REASON: "a reason is needed",
    Guard.PUBLIC_REPLY: "the requester must have been answered",
}


def unmet(arrow: Transition, ticket: Ticket, given: Given) -> tuple[str, ...]:
    """The guards that do not hold."""
    if not arrow.guards:
        return ()
    holds = {
        Guard.ASSIGNEE: ticket.assignee_id is not None,
        Guard.RESOLUTION: bool(given.resolution or ticket.fields.get("resolution")),
        Guard.ROOT_CAUSE: bool(given.root_cause or ticket.fields.get("root_cause")),
        Guard.REASON: bool(given.reason),
        Guard.PUBLIC_REPLY: ticket.answered,
    }
    return tuple(guard.value for guard in arrow.guards if not holds[guard])


def apply(work: Work, machine: Machine, move: Move, act: Act, given: Given = NOTHING) -> None:
    """Make the move: state, ledger, cycle, timers, fact, audit. The input is counted by the caller."""
    before = work.ticket
    told = {"reason": given.reason, "resolution": given.resolution, "root_cause": given.root_cause}
    kept = {name: value for name, value in told.items() if value and name != "reason"}
    fields = {**before.fields, **kept}
    if move.arrow.new_cycle:
        # The last cycle's answer is in its conversation; the new one needs its own.
        fields = {name: value for name, value in fields.items() if name not in ("resolution", "root_cause")}
    work.change(status=move.state.name, category=move.state.category.value, status_since=act.at, fields=fields)
    if move.arrow.new_cycle:
        ledger.new_cycle(work, act.at)
    else:
        ledger.status(work, move.state.category, act.at)
    arm_timer(work, machine, act.at)
    if not work.ticket.active:
        transfer.close(work, TransferState.CANCELLED, act)
    values: dict[str, audit.Values] = {name: (None, value) for name, value in told.items() if value}
    work.record("status_changed", act, {"status": (before.status, move.state.name), **values})
    work.facts.append(
        TicketStatusChanged(
            tenant_id=before.tenant_id,
            ticket_id=before.id,
            ticket=work.ticket.summary(),
            actor=act.actor,
            previous=before.status,
            current=move.state.name,
            trigger=move.arrow.trigger.value,
            reason=given.reason,
            resolution=given.resolution,
            cycle=work.ticket.cycle,
        )
    )


def arm_timer(work: Work, machine: Machine, at: datetime) -> None:
    """Arm the state's timer transition, the soonest of them, or cancel the one of the state before."""
    soonest: Transition | None = None
    for arrow in machine.arrows(work.ticket.status, Trigger.TIMER):
        if soonest is None or (arrow.after_minutes or 0) < (soonest.after_minutes or 0):
            soonest = arrow
    if soonest is None or soonest.after_minutes is None:
        if work.stored is not None:
            work.no_timer(TRANSITION_TIMER)
        return
    due = at + timedelta(minutes=soonest.after_minutes)
    payload = {"status": work.ticket.status, "since": at.isoformat(), "target": soonest.target}
    work.timer(Timer(kind=TRANSITION_TIMER, due_at=due, payload=payload))


def due(machine: Machine, ticket: Ticket, status: str, since: str) -> Move | None:
    """The move a fired timer causes, if the ticket has stayed in that state since then."""
    if ticket.status != status or ticket.status_since.isoformat() != since:
        return None
    return automatic(machine, ticket, Trigger.TIMER)


def mover(role: str, person_id: UUID | None, ticket: Ticket) -> Mover:
    """A person as one who moves that ticket."""
    return Mover(role=role, own=person_id == ticket.requester_id)
