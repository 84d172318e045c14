"""What would go wrong with a policy, its schedules and these people: told before a night proves it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from services.escalation.domain.rotation import Override, Schedule
from services.escalation.domain.targets import Staff, first_of, resolve
from shared.contracts.pack import Cause, EscalationPath, EscalationPaths, EscalationStep


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that people should know before they go live."""

    severity: Literal["error", "warning"]
    """`error`: somebody would not be reached who should be."""
    code: str
    message: str
    path: str | None = None
    step: str | None = None
    schedule: str | None = None
    queue: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ticket:
    """A ticket in some queue that nobody owns: the hardest to find people for."""

    queue: str
    assignee_id: UUID | None = None
    team_id: UUID | None = None


def lint(
    section: EscalationPaths,
    staff: Staff,
    schedules: Sequence[Schedule],
    overrides: Mapping[str, Sequence[Override]],
    now: datetime,
) -> list[Finding]:
    """Every finding, errors first, for tickets in every queue that a team serves."""
    queues = sorted({queue for team in staff.teams for queue in team.queues}) or [""]
    found = [
        *_paths(section, staff, queues),
        *_triggers(section, staff),
        *_schedules(section, staff, schedules, overrides, now),
    ]
    return sorted(found, key=lambda one: one.severity)


def _paths(section: EscalationPaths, staff: Staff, queues: Sequence[str]) -> Iterator[Finding]:
    started = {path.name for trigger in section.triggers for path in section.taken(trigger)}
    for path in section.paths:
        reached = set()
        for step in path.steps:
            findings = list(_step(path, step, staff, queues))
            if not any(one.code in ("step_reaches_nobody", "step_needs_owner") for one in findings):
                reached.add(step.name)
            yield from findings
        if not reached:
            yield Finding(
                severity="error",
                code="path_reaches_nobody",
                message="no step reaches anybody for a ticket that nobody owns: it would end without a person knowing",
                path=path.name,
            )
        elif path.steps[-1].name not in reached:
            yield Finding(
                severity="error",
                code="path_without_end",
                message="the last step reaches nobody: when all others have failed, the ticket is nobody's",
                path=path.name,
            )
        if path.name not in started:
            message = "nothing starts this path but a person"
            yield Finding(severity="warning", code="path_never_starts", message=message, path=path.name)


def _step(path: EscalationPath, step: EscalationStep, staff: Staff, queues: Sequence[str]) -> Iterator[Finding]:
    at = {"path": path.name, "step": step.name}
    lonely = [queue for queue in queues if not first_of(step.targets, _Ticket(queue=queue), staff)[1]]
    owned = "assignee" in step.targets
    if lonely and len(lonely) == len(queues):
        message = "reaches nobody" + (" while the ticket has no owner" if owned else "")
        code = "step_needs_owner" if owned else "step_reaches_nobody"
        yield Finding(severity="warning" if owned else "error", code=code, message=message, **at)
    else:
        for queue in lonely:
            message = f"reaches nobody for tickets in {queue!r}" + (" that have no owner" if owned else "")
            severity: Literal["error", "warning"] = "warning" if owned else "error"
            yield Finding(severity=severity, code="queue_reaches_nobody", message=message, queue=queue, **at)
    for target in (*step.targets, *step.also):
        if target != "assignee" and not any(resolve(target, _Ticket(queue=queue), staff) for queue in queues):
            message = f"{target} means nobody now"
            yield Finding(severity="warning", code="target_means_nobody", message=message, **at)


def _triggers(section: EscalationPaths, staff: Staff) -> Iterator[Finding]:
    for trigger in section.triggers:
        if trigger.alert and not first_of(trigger.alert, _Ticket(queue=""), staff)[1]:
            message = f"level {trigger.level} ({trigger.cause.value}): its alert means nobody now"
            yield Finding(severity="warning", code="alert_means_nobody", message=message)
        if not section.taken(trigger):
            message = f"level {trigger.level} ({trigger.cause.value}): no path has its priorities"
            yield Finding(severity="warning", code="trigger_without_path", message=message)
    if not any(trigger.cause is not Cause.MANUAL for trigger in section.triggers):
        yield Finding(severity="error", code="nothing_escalates", message="no trigger: only people start escalations")


def _schedules(
    section: EscalationPaths,
    staff: Staff,
    schedules: Sequence[Schedule],
    overrides: Mapping[str, Sequence[Override]],
    now: datetime,
) -> Iterator[Finding]:
    named = {
        target.removeprefix("on_call:")
        for path in section.paths
        for step in path.steps
        for target in (*step.targets, *step.also)
        if target.startswith("on_call:")
    }
    known = {schedule.name for schedule in schedules}
    for name in sorted(named - known):
        message = "a path names this schedule, but it does not exist: the step's next target is taken"
        yield Finding(severity="error", code="schedule_missing", message=message, schedule=name)
    for schedule in schedules:
        reachable = [member for member in schedule.members if member in staff.active]
        if not reachable:
            message = "nobody of its members is active: it is one long gap" if schedule.members else "has no members"
            code = "schedule_gap" if schedule.members else "schedule_without_members"
            yield Finding(severity="error", code=code, message=message, schedule=schedule.name)
        elif len(reachable) < len(set(schedule.members)):
            idle = len(set(schedule.members)) - len(set(reachable))
            message = f"{idle} of its members are not active: their shifts are the next one's"
            if idle:
                yield Finding(severity="warning", code="member_inactive", message=message, schedule=schedule.name)
        for one in overrides.get(schedule.name, ()):
            if one.ends_at > now and one.person_id not in staff.active:
                message = f"the override from {one.starts_at.isoformat()} is of somebody who is not active: it is none"
                yield Finding(severity="warning", code="override_inactive", message=message, schedule=schedule.name)
        if schedule.name not in named:
            message = "no path names it"
            yield Finding(severity="warning", code="schedule_unused", message=message, schedule=schedule.name)
