"""The ticket's state machine as data (seed 000 §2)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.contracts.pack.section import Minutes, Name, Section


class StateCategory(StrEnum):
    """What a state means to everybody who does not know the tenant's own names."""

    NEW = "new"
    OPEN = "open"
    PENDING = "pending"
    """Waiting for the requester."""
    SOLVED = "solved"
    CLOSED = "closed"


class ClockEffect(StrEnum):
    """What being in a state does to a clock (seed 000 §2.3, seed 003 States & Lifecycle)."""

    RUN = "run"
    PAUSE = "pause"
    STOP = "stop"


class State(BaseModel):
    """One state of the workflow."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    label: str
    category: StateCategory
    first_response: ClockEffect = ClockEffect.RUN
    resolution: ClockEffect = ClockEffect.RUN


class Guard(StrEnum):
    """What must hold before a transition."""

    ASSIGNEE = "assignee"
    """Somebody owns the ticket."""
    RESOLUTION = "resolution"
    """A resolution summary is given."""
    ROOT_CAUSE = "root_cause"
    REASON = "reason"
    """The person says why."""
    PUBLIC_REPLY = "public_reply"
    """The requester has been answered at least once."""


class Trigger(StrEnum):
    """What may cause a transition besides a person."""

    MANUAL = "manual"
    ASSIGNED = "assigned"
    REQUESTER_REPLIED = "requester_replied"
    AGENT_REPLIED = "agent_replied"
    ESCALATED = "escalated"
    ESCALATION_ENDED = "escalation_ended"
    RECOVERED = "recovered"
    """The source of the ticket says that the matter is over: an alert has recovered."""
    TIMER = "timer"


class Transition(BaseModel):
    """One arrow of the state machine."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    source: Name = Field(alias="from")
    target: Name = Field(alias="to")
    trigger: Trigger = Trigger.MANUAL
    roles: tuple[Literal["customer", "agent", "team_lead", "manager", "admin"], ...] = (
        "agent",
        "team_lead",
        "manager",
        "admin",
    )
    """Who may do it by hand; `customer` is the ticket's own requester."""
    guards: tuple[Guard, ...] = ()
    new_cycle: bool = False
    """Opens a new SLA cycle (a reopened ticket)."""
    after_minutes: Minutes | None = None
    """With `trigger: timer`: elapsed minutes in the source state."""


class Workflow(Section):
    """The ticket's state machine (seed 000 §2)."""

    SECTION: ClassVar[str] = "workflow"

    initial: Name
    states: Annotated[tuple[State, ...], Field(min_length=1)]
    transitions: tuple[Transition, ...]

    @model_validator(mode="after")
    def _states_exist(self) -> Self:
        names = [state.name for state in self.states]
        for name in names:
            if names.count(name) > 1:
                msg = f"state {name!r} is defined twice"
                raise ValueError(msg)
        known = set(names)
        if self.initial not in known:
            msg = f"initial state {self.initial!r} is not one of the states"
            raise ValueError(msg)
        for arrow in self.transitions:
            for end in (arrow.source, arrow.target):
                if end not in known:
                    msg = f"transition {arrow.source} -> {arrow.target}: {end!r} is not one of the states"
                    raise ValueError(msg)
            if (arrow.trigger is Trigger.TIMER) != (arrow.after_minutes is not None):
                msg = f"transition {arrow.source} -> {arrow.target}: after_minutes goes with trigger: timer"
                raise ValueError(msg)
        unreachable = known - self._reachable()
        if unreachable:
            msg = f"no transition leads to {', '.join(sorted(unreachable))}"
            raise ValueError(msg)
        return self

    def _reachable(self) -> set[str]:
        seen = {self.initial}
        while True:
            more = {arrow.target for arrow in self.transitions if arrow.source in seen} - seen
            if not more:
                return seen
            seen |= more

    def state(self, name: str) -> State:
        """The state of that name. Raises KeyError."""
        for state in self.states:
            if state.name == name:
                return state
        raise KeyError(name)
