"""Rules over several places of a pack. They read the raw document, so that each verdict names one place.

Shapes are not judged here: what has the wrong type is passed over and told by the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations

from pydantic import JsonValue

from services.directory.domain import pack_escalation, pack_notices, pack_triage
from services.directory.domain.pack_source import Path, Problem
from shared.contracts.pack import (
    Assignment,
    Calendars,
    ClockEffect,
    Priorities,
    Section,
    SlaTargets,
    StateCategory,
    Strategy,
    Target,
    Transition,
    Trigger,
    Workflow,
    ZoneOf,
)

MOST_ITEMS = {
    "states": 100,
    "transitions": 500,
    "levels": 9,
    "calendars": 50,
    "targets": 500,
    "paths": 50,
    "triggers": 200,
    "matrix": 32,
    "signals": 200,
    "products": 100,
    "tiers": 20,
}
"""Longest lists accepted: more than any desk has, few enough that every rule stays quick."""

_EVERYBODY = frozenset(Transition.model_fields["roles"].default)


def within(section: str, value: Mapping[str, JsonValue]) -> Iterator[Problem]:
    """Problems inside one section that its model would tell without a line."""
    oversized = [key for key, most in MOST_ITEMS.items() if _length(value.get(key)) > most]
    for key in oversized:
        yield Problem(path=(section, key), message=f"at most {MOST_ITEMS[key]} {key} are possible")
    if oversized:
        return
    match section:
        case "workflow":
            yield from _states(value)
            yield from _arrows(value)
            yield from _unreached(value)
        case "priorities":
            yield from _levels(value)
        case pack_notices.SECTION:
            yield from pack_notices.check(value)
        case pack_escalation.SECTION:
            yield from pack_escalation.check(value)
        case pack_triage.SECTION:
            yield from pack_triage.check(value)
        case _:
            return


def across(sections: Mapping[str, Section]) -> Iterator[Problem]:
    """What only shows when a valid workflow is seen as a whole, or sections beside each other."""
    yield from _sla(sections)
    yield from pack_escalation.across(sections)
    yield from pack_triage.across(sections)
    workflow = sections.get("workflow")
    assignment = sections.get("assignment")
    if not isinstance(workflow, Workflow):
        return
    yield from _dead_ends(workflow)
    if isinstance(assignment, Assignment) and assignment.strategy is not Strategy.MANUAL:
        first = workflow.state(workflow.initial)
        taken = any(a.trigger is Trigger.ASSIGNED and a.source == first.name for a in workflow.transitions)
        if first.category is StateCategory.NEW and not taken:
            message = (
                f"tickets are given to agents by {assignment.strategy.value}, but no transition with trigger: assigned"
                f" leads out of {first.name!r}: they would stay there"
            )
            yield Problem(path=("assignment", "strategy"), message=message)


def _sla(sections: Mapping[str, Section]) -> Iterator[Problem]:
    """Targets name calendars and priorities that exist, and none stands behind a line that takes all its tickets."""
    sla, calendars, priorities = sections.get("sla"), sections.get("calendars"), sections.get("priorities")
    if not isinstance(sla, SlaTargets):
        return
    if isinstance(calendars, Calendars):
        for number, calendar in enumerate(calendars.calendars):
            if calendar.zone == ZoneOf.ORGANISATION:
                message = "organisations have no zone of their own yet: the tenant's counts"
                yield Problem(path=("calendars", "calendars", number, "zone"), message=message, warning=True)
        known = [calendar.name for calendar in calendars.calendars]
        named: list[tuple[Path, str]] = [(("sla", "calendar"), sla.calendar)]
        named += [(("sla", "targets", n, "calendar"), t.calendar) for n, t in enumerate(sla.targets) if t.calendar]
        for path, name in named:
            if name not in known:
                yield Problem(path=path, message=f"{name!r} is not one of the calendars: {', '.join(known)}")
    if isinstance(priorities, Priorities):
        labels = [level.label for level in priorities.levels]
        for number, target in enumerate(sla.targets):
            if target.priority is not None and target.priority not in labels:
                message = f"{target.priority!r} is none of the priorities: {', '.join(labels)}"
                yield Problem(path=("sla", "targets", number, "priority"), message=message)
    for number, target in enumerate(sla.targets):
        for clock in ("first_response", "resolution"):
            earlier = next((n for n, one in enumerate(sla.targets[:number]) if _takes(one, target, clock)), None)
            if getattr(target, clock) is not None and earlier is not None:
                message = f"number {earlier + 1} of the list takes all these tickets before this line is read"
                yield Problem(path=("sla", "targets", number, clock), message=message, warning=True)
                break


def _takes(one: Target, other: Target, clock: str) -> bool:
    """Whether whatever fits `other` fits `one` too, which has a number for that clock."""
    return getattr(one, clock) is not None and one.tier in (None, other.tier) and one.priority in (None, other.priority)


def _dead_ends(workflow: Workflow) -> Iterator[Problem]:
    for number, state in enumerate(workflow.states):
        at: Path = ("workflow", "states", number)
        leaving = [arrow for arrow in workflow.transitions if arrow.source == state.name]
        if state.category is StateCategory.PENDING and not any(
            arrow.trigger is Trigger.REQUESTER_REPLIED for arrow in leaving
        ):
            message = f"{state.name!r} waits for the requester, but nothing happens when they reply"
            yield Problem(path=at, message=message, warning=True)
        ended = state.category in (StateCategory.SOLVED, StateCategory.CLOSED)
        if ended and state.resolution is not ClockEffect.STOP:
            message = f"{state.name!r} counts as {state.category.value}, but its resolution clock does not stop"
            yield Problem(path=(*at, "resolution"), message=message, warning=True)
        if not ended and not leaving:
            message = f"no transition leads out of {state.name!r}: tickets would never be closed"
            yield Problem(path=at, message=message)


def _states(value: Mapping[str, JsonValue]) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for number, name in _named(value.get("states"), "name"):
        if name in first:
            message = f"the state {name!r} is defined twice; it is also number {first[name] + 1} of the list"
            yield Problem(path=("workflow", "states", number, "name"), message=message)
        first.setdefault(name, number)
    initial = value.get("initial")
    if isinstance(initial, str) and first and initial not in first:
        yield Problem(path=("workflow", "initial"), message=_no_state(initial, first))


def _arrows(value: Mapping[str, JsonValue]) -> Iterator[Problem]:
    known = dict.fromkeys(name for _, name in _named(value.get("states"), "name"))
    seen: list[tuple[int, Mapping[str, JsonValue]]] = []
    for number, arrow in _mappings(value.get("transitions")):
        at: Path = ("workflow", "transitions", number)
        for end in ("from", "to"):
            name = arrow.get(end)
            if isinstance(name, str) and known and name not in known:
                yield Problem(path=(*at, end), message=_no_state(name, known))
        timed = arrow.get("trigger") == Trigger.TIMER.value
        if timed and arrow.get("after_minutes") is None:
            yield Problem(path=(*at, "trigger"), message="trigger: timer needs after_minutes")
        if not timed and arrow.get("after_minutes") is not None:
            yield Problem(path=(*at, "after_minutes"), message="after_minutes goes with trigger: timer only")
        if arrow.get("from") == arrow.get("to") and isinstance(arrow.get("from"), str):
            yield Problem(path=(*at, "to"), message="a transition leads to another state")
        seen.append((number, arrow))
    for (one, earlier), (two, later) in combinations(seen, 2):
        clash = _clash(earlier, later)
        if clash:
            message = f"{clash} as number {one + 1} of the list: which one would it be?"
            yield Problem(path=("workflow", "transitions", two), message=message)


def _clash(one: Mapping[str, JsonValue], two: Mapping[str, JsonValue]) -> str | None:
    """Why no machine could choose between two transitions; None when it can."""
    trigger = one.get("trigger", Trigger.MANUAL.value)
    if one.get("from") != two.get("from") or trigger != two.get("trigger", Trigger.MANUAL.value):
        return None
    if trigger != Trigger.MANUAL.value:
        return f"the same state and trigger ({trigger})"
    if one.get("to") == two.get("to") and _roles(one) & _roles(two):
        return "the same transition for the same role"
    return None


def _roles(arrow: Mapping[str, JsonValue]) -> frozenset[str]:
    roles = arrow.get("roles")
    return frozenset(str(role) for role in roles) if isinstance(roles, list) else _EVERYBODY


def _unreached(value: Mapping[str, JsonValue]) -> Iterator[Problem]:
    names = dict.fromkeys(name for _, name in _named(value.get("states"), "name"))
    initial = value.get("initial")
    if not isinstance(initial, str) or initial not in names:
        return
    arrows = [(str(arrow.get("from")), str(arrow.get("to"))) for _, arrow in _mappings(value.get("transitions"))]
    reached, fresh = {initial}, {initial}
    while fresh:
        fresh = {target for source, target in arrows if source in fresh} - reached
        reached |= fresh
    for number, name in _named(value.get("states"), "name"):
        if name not in reached:
            message = f"no transition leads to {name!r} from {initial!r}"
            yield Problem(path=("workflow", "states", number), message=message)


def _levels(value: Mapping[str, JsonValue]) -> Iterator[Problem]:
    labels: dict[str, int] = {}
    ranks: dict[int, int] = {}
    for number, level in _mappings(value.get("levels")):
        at: Path = ("priorities", "levels", number)
        label, rank = level.get("label"), level.get("rank")
        if isinstance(label, str) and labels.setdefault(label, number) != number:
            message = f"the label {label!r} is given twice; it is also number {labels[label] + 1} of the list"
            yield Problem(path=(*at, "label"), message=message)
        if isinstance(rank, int) and ranks.setdefault(rank, number) != number:
            message = f"the rank {rank} is given twice; it is also number {ranks[rank] + 1} of the list"
            yield Problem(path=(*at, "rank"), message=message)
    default = value.get("default")
    if isinstance(default, str) and labels and default not in labels:
        message = f"{default!r} is none of the priorities: {', '.join(labels)}"
        yield Problem(path=("priorities", "default"), message=message)


def _no_state(name: str, known: Mapping[str, object]) -> str:
    return f"{name!r} is not one of the states: {', '.join(known)}"


def _length(value: JsonValue) -> int:
    return len(value) if isinstance(value, list) else 0


def _mappings(value: JsonValue) -> Iterator[tuple[int, Mapping[str, JsonValue]]]:
    for number, item in enumerate(value if isinstance(value, list) else ()):
        if isinstance(item, dict):
            yield number, item


def _named(value: JsonValue, field: str) -> Iterator[tuple[int, str]]:
    for number, item in _mappings(value):
        name = item.get(field)
        if isinstance(name, str):
            yield number, name
