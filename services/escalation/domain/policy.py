"""A tenant's escalation section as it is asked: what a cause pulls, which path a ticket walks, what is too old."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from services.escalation.domain.ticket import KnownTicket
from shared.contracts.pack import Cause, EscalationPath, EscalationPaths, EscalationTrigger

UNHANDLED = "unhandled"
"""Cause key of escalations that a watch started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrence:
    """Something that may start or raise an escalation of one ticket."""

    cause: Cause
    key: str
    """Tells two causes of one kind apart; the same one twice is one escalation."""
    at: datetime
    """When it happened."""
    clock: str | None = None
    level: int | None = None
    """Of a person's own choice, or of the escalation that goes on on another path."""
    path: str | None = None
    step: str | None = None
    reason: str | None = None

    @property
    def told(self) -> str:
        """The cause as events name it: after the topic it came on, where it came on one."""
        return _TOPICS.get(self.cause, self.cause.value)


_TOPICS = {
    Cause.TICKET_CREATED: "ticket.created",
    Cause.SLA_WARNING: "sla.warning",
    Cause.SLA_BREACHED: "sla.breached",
}
_TAKEN_BY_WORK = frozenset(
    {Cause.TICKET_CREATED, Cause.TICKET_REOPENED, Cause.PRIORITY_RAISED, Cause.SLA_WARNING, Cause.SLA_BREACHED}
)
"""Causes that are answered by somebody of ours working on the ticket since; a complaint is not."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The section in force, and which version of the pack it came in."""

    section: EscalationPaths
    version: tuple[str, int] = ("", 0)
    _by_label: dict[str, EscalationPath] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Index the paths by priority."""
        by_label = {label: path for path in self.section.paths for label in path.priorities}
        object.__setattr__(self, "_by_label", by_label)

    def path_of(self, label: str) -> EscalationPath | None:
        """The path of a priority."""
        return self._by_label.get(label)

    def path(self, name: str | None, label: str) -> EscalationPath | None:
        """The named path, else the priority's."""
        if name is None:
            return self.path_of(label)
        return next((path for path in self.section.paths if path.name == name), None)

    def pulled(self, what: Occurrence, ticket: KnownTicket) -> list[EscalationTrigger]:
        """Triggers that a cause pulls for this ticket, the lowest level first.

        A person, and a path that goes on as another, need no trigger of the pack.
        """
        found = [one for one in self.section.triggers if not one.unless_handled and _matches(one, what, ticket)]
        if what.level is not None:
            chosen = EscalationTrigger(level=what.level, cause=what.cause, path=what.path, step=what.step)
            found = [one for one in found if what.cause is not Cause.MANUAL or one.level == what.level]
            found = [one.model_copy(update=_chosen(one, what)) for one in found] or [chosen]
        return sorted(found, key=lambda one: one.level)

    def too_old(self, path: EscalationPath, at: datetime, now: datetime) -> bool:
        """Whether nobody is to be told of a cause any more."""
        return now - at > timedelta(minutes=max(self.section.too_old_minutes, path.steps[-1].until))

    def watch(self, ticket: KnownTicket, now: datetime) -> tuple[datetime, EscalationTrigger] | None:
        """When it has to be looked at whether anybody handled a ticket, and what follows if not; None for never."""
        created = ticket.summary.created_at
        if not ticket.active or ticket.handled_since(created):
            return None
        label = ticket.summary.priority.label
        for trigger in self.section.triggers:
            if not trigger.unless_handled or (trigger.priorities and label not in trigger.priorities):
                continue
            path = self.path(trigger.path, label)
            number = path.number(trigger.step) if path is not None and trigger.step is not None else None
            if path is None or number is None or ticket.watched == path.name or self.too_old(path, created, now):
                continue
            begins = timedelta(minutes=path.steps[number - 2].until) if number > 1 else timedelta()
            return created + begins, trigger
        return None


def worth_starting(what: Occurrence, ticket: KnownTicket) -> bool:
    """Whether anybody is to be called: the ticket is not over, and nobody has worked on it since the cause."""
    if not ticket.active:
        return False
    return not (what.cause in _TAKEN_BY_WORK and ticket.handled_since(what.at))


def occurrences(before: KnownTicket | None, after: KnownTicket) -> Iterator[Occurrence]:
    """What a newer state of a ticket means for escalation.

    A ticket seen for the first time was not raised: its creation is a fact of its own.
    """
    summary = after.summary
    if before is not None and before.state_version and after.cycle > before.cycle:
        yield Occurrence(cause=Cause.TICKET_REOPENED, key=str(after.cycle), at=summary.updated_at)
    if before is not None and summary.priority.rank < before.summary.priority.rank:
        key = f"{after.cycle}:{summary.priority.label}:{summary.version}"
        yield Occurrence(cause=Cause.PRIORITY_RAISED, key=key, at=summary.updated_at)
    # What a fact said of it before any state did has not been looked at.
    known = set(before.summary.tags) if before is not None and before.state_version else set()
    for tag in sorted(set(summary.tags) - known):
        yield Occurrence(cause=Cause.TAGGED, key=f"{after.cycle}:{tag}", at=summary.updated_at)
    if after.duplicates > (before.duplicates if before is not None else 0):
        yield Occurrence(cause=Cause.REPEATED, key=str(after.cycle), at=summary.updated_at)


def _matches(trigger: EscalationTrigger, what: Occurrence, ticket: KnownTicket) -> bool:
    if trigger.cause is not what.cause:
        return False
    if trigger.priorities and ticket.summary.priority.label not in trigger.priorities:
        return False
    match what.cause:
        case Cause.SLA_WARNING | Cause.SLA_BREACHED:
            return not trigger.clocks or what.clock in trigger.clocks
        case Cause.TAGGED:
            return what.key.partition(":")[2] in trigger.tags
        case Cause.REPEATED:
            return trigger.duplicates is not None and ticket.duplicates >= trigger.duplicates
        case _:
            return True


def _chosen(trigger: EscalationTrigger, what: Occurrence) -> dict[str, object]:
    """What a person chose, over what the pack says."""
    chosen = {"level": max(trigger.level, what.level or 1), "path": what.path, "step": what.step}
    return {name: value for name, value in chosen.items() if value is not None}
