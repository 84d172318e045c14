"""Escalation paths by priority and trigger levels (seed 000 §7)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from shared.contracts.pack.section import Label, Minutes, Name, Part, Section

ScheduleName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
"""Name of an on-call schedule; it stands in addresses."""
Target = Annotated[
    str,
    Field(
        pattern=r"^(assignee|team_lead|queue_team|role:(agent|team_lead|manager|admin)"
        r"|on_call:[a-z][a-z0-9_-]{0,39}|team:\S.{0,78}\S?)$"
    ),
]
"""Whom to reach: `assignee`; `team_lead` (of the ticket's team, else of the teams that serve its queue); `queue_team`
(everybody who serves its queue); `role:manager` and the like (everybody with it); `on_call:<schedule>`; `team:<name>`.
"""


class PageUrgency(StrEnum):
    """How hard a page tries to be seen."""

    HIGH = "high"
    """Wake them."""
    LOW = "low"
    """May wait until they look."""


class EscalationStep(Part):
    """Whose turn it is until when."""

    name: Name
    until: Minutes
    """Elapsed minutes since the path's start at which this step is over; it begins where the one before ends.

    `Agent (15 min) → Team Lead (30 min)` is 15 and 30: the agent has a quarter of an hour, the lead the next one.
    """
    targets: Annotated[tuple[Target, ...], Field(min_length=1, max_length=10)]
    """In this order until one yields somebody; all whom it yields are paged."""
    also: Annotated[tuple[Target, ...], Field(max_length=10)] = ()
    """Told besides, with low urgency; nothing waits for their answer."""
    urgency: PageUrgency = PageUrgency.HIGH
    page_again: Minutes | None = None
    """Page the same people again after so many minutes without an answer, as long as the step lasts."""


class EscalationPath(Part):
    """Steps walked until somebody takes the ticket."""

    name: Name
    priorities: tuple[Label, ...] = ()
    """Whose tickets walk this path unless a trigger names another; none for a path that only triggers name."""
    steps: Annotated[tuple[EscalationStep, ...], Field(min_length=1, max_length=20)]
    repeat: Annotated[int, Field(ge=0, le=20)] = 0
    """How often the whole path is walked again when its last step is over and nobody came."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        names = [step.name for step in self.steps]
        if len(set(names)) < len(names):
            msg = "each step of a path needs its own name"
            raise ValueError(msg)
        for before, after in zip(self.steps, self.steps[1:], strict=False):
            if after.until <= before.until:
                msg = (
                    f"step {after.name!r} ends at minute {after.until:g}, not after {before.name!r} ({before.until:g})"
                )
                raise ValueError(msg)
        return self

    def number(self, step: str) -> int | None:
        """The step's number from 1, or None when the path has no step of that name."""
        return next((number for number, one in enumerate(self.steps, start=1) if one.name == step), None)


class Cause(StrEnum):
    """What starts an escalation, or raises one that runs."""

    TICKET_CREATED = "ticket_created"
    TICKET_REOPENED = "ticket_reopened"
    """It was over and goes on: another cycle."""
    PRIORITY_RAISED = "priority_raised"
    SLA_WARNING = "sla_warning"
    SLA_BREACHED = "sla_breached"
    TAGGED = "tagged"
    """The ticket got one of the trigger's tags, say that of a complaint."""
    REPEATED = "repeated"
    """So many duplicates are linked."""
    MANUAL = "manual"


class EscalationTrigger(Part):
    """What happens when: level, path, first step (seed 000 §7.1)."""

    level: Annotated[int, Field(ge=1, le=5)]
    cause: Cause
    priorities: tuple[Label, ...] = ()
    """Only tickets of these; empty for all."""
    clocks: tuple[Name, ...] = ()
    """With `sla_warning` and `sla_breached`: only these clocks; empty for all."""
    tags: tuple[Annotated[str, Field(min_length=1, max_length=40)], ...] = ()
    """With `tagged`: any of them; the ticket's tags are lower case."""
    duplicates: Annotated[int, Field(ge=1, le=50)] | None = None
    """With `repeated`: confirmed links `duplicates` on the ticket."""
    path: Name | None = None
    """None: the path of the ticket's priority."""
    step: Name | None = None
    """Where to begin, and how far to move a path that runs already; None: at its first step, and not at all."""
    unless_handled: bool = False
    """With `ticket_created` and `step`: say nothing before that step's own time has come, and nothing at all when by
    then somebody of ours has answered or taken the ticket. What a desk wants for every ticket that is no emergency.
    """
    alert: Annotated[tuple[Target, ...], Field(max_length=10)] = ()
    """Told at once with low urgency, whatever the path does: the first of these that yields somebody."""
    tag: Name | None = None
    """Published with the escalation for whoever acts on it: `priority_queue`, `root_cause`."""

    @model_validator(mode="after")
    def _fits_its_cause(self) -> Self:
        if self.clocks and self.cause not in (Cause.SLA_WARNING, Cause.SLA_BREACHED):
            msg = "clocks go with sla_warning and sla_breached"
            raise ValueError(msg)
        if bool(self.tags) != (self.cause is Cause.TAGGED):
            msg = "tags go with cause: tagged, which needs them"
            raise ValueError(msg)
        if (self.duplicates is not None) != (self.cause is Cause.REPEATED):
            msg = "duplicates goes with cause: repeated, which needs it"
            raise ValueError(msg)
        if self.unless_handled and (self.cause is not Cause.TICKET_CREATED or self.step is None):
            msg = "unless_handled goes with cause: ticket_created and a step"
            raise ValueError(msg)
        return self


class EscalationPaths(Section):
    """Escalation paths by priority and trigger levels (seed 000 §7)."""

    SECTION: ClassVar[str] = "escalation"

    paths: Annotated[tuple[EscalationPath, ...], Field(max_length=50)]
    triggers: Annotated[tuple[EscalationTrigger, ...], Field(max_length=200)]
    too_old_minutes: Minutes = 60
    """A cause older than this, and than its whole path, is recorded as expired and pages nobody."""
    page_minutes: Minutes = 30
    """A page not handed off after this time is not sent any more."""

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        paths: dict[str, EscalationPath] = {}
        owners: dict[str, str] = {}
        for path in self.paths:
            if paths.setdefault(path.name, path) is not path:
                msg = f"path {path.name!r} is defined twice"
                raise ValueError(msg)
            for label in path.priorities:
                if owners.setdefault(label, path.name) != path.name:
                    msg = f"priority {label!r} has two paths: {owners[label]!r} and {path.name!r}"
                    raise ValueError(msg)
        for trigger in self.triggers:
            if trigger.path is not None and trigger.path not in paths:
                msg = f"path {trigger.path!r} does not exist"
                raise ValueError(msg)
            for path in self.taken(trigger):
                if trigger.step is not None and path.number(trigger.step) is None:
                    msg = f"path {path.name!r} has no step {trigger.step!r}"
                    raise ValueError(msg)
        return self

    def taken(self, trigger: EscalationTrigger) -> tuple[EscalationPath, ...]:
        """The paths that a trigger may start."""
        if trigger.path is not None:
            return tuple(path for path in self.paths if path.name == trigger.path)
        wanted = set(trigger.priorities)
        return tuple(path for path in self.paths if path.priorities and (not wanted or wanted & set(path.priorities)))
