"""Rules over several places of the escalation section, and between it and the priorities, each told with its line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from services.directory.domain.pack_source import Path, Problem
from shared.contracts.pack import EscalationPaths, Priorities, Section

SECTION = EscalationPaths.SECTION


def check(value: Mapping[str, JsonValue]) -> Iterator[Problem]:
    """Names given twice, steps out of order, triggers that lead nowhere."""
    paths = {name: path for _, path in _mappings(value.get("paths")) if isinstance(name := path.get("name"), str)}
    yield from _twice(value.get("paths"), (SECTION, "paths"), "path")
    owners: dict[str, str] = {}
    for number, path in _mappings(value.get("paths")):
        at: Path = (SECTION, "paths", number)
        yield from _twice(path.get("steps"), (*at, "steps"), "step")
        yield from _order(path.get("steps"), (*at, "steps"))
        for place, label in _texts(path.get("priorities")):
            owner = owners.setdefault(label, str(path.get("name")))
            if owner != path.get("name"):
                yield Problem(path=(*at, "priorities", place), message=f"{label!r} has a path already: {owner!r}")
    for number, trigger in _mappings(value.get("triggers")):
        yield from _trigger(trigger, (SECTION, "triggers", number), paths)


def across(sections: Mapping[str, Section]) -> Iterator[Problem]:
    """Paths and triggers are of priorities that exist, and each priority has a path."""
    escalation, priorities = sections.get(SECTION), sections.get(Priorities.SECTION)
    if not isinstance(escalation, EscalationPaths) or not isinstance(priorities, Priorities):
        return
    labels = [level.label for level in priorities.levels]
    named = [("paths", number, path.priorities) for number, path in enumerate(escalation.paths)]
    named += [("triggers", number, trigger.priorities) for number, trigger in enumerate(escalation.triggers)]
    for kind, number, own in named:
        for place, label in enumerate(own):
            if label not in labels:
                message = f"{label!r} is none of the priorities: {', '.join(labels)}"
                yield Problem(path=(SECTION, kind, number, "priorities", place), message=message)
    owned = {label for path in escalation.paths for label in path.priorities}
    for label in labels:
        if escalation.paths and label not in owned:
            message = (
                f"no path has the priority {label!r}: its tickets are never escalated, but by a path a person names"
            )
            yield Problem(path=(SECTION, "paths"), message=message, warning=True)


def _trigger(
    trigger: Mapping[str, JsonValue], at: Path, paths: Mapping[str, Mapping[str, JsonValue]]
) -> Iterator[Problem]:
    named = trigger.get("path")
    if isinstance(named, str) and named not in paths:
        yield Problem(path=(*at, "path"), message=f"{named!r} is not one of the paths: {', '.join(paths)}")
        return
    step = trigger.get("step")
    if not isinstance(step, str):
        return
    wanted = {label for _, label in _texts(trigger.get("priorities"))}
    for name, path in paths.items():
        own = {label for _, label in _texts(path.get("priorities"))}
        taken = name == named if isinstance(named, str) else bool(own) and (not wanted or bool(own & wanted))
        steps = [str(one.get("name")) for _, one in _mappings(path.get("steps"))]
        if taken and step not in steps:
            message = f"the path {name!r} has no step {step!r}; it has {', '.join(steps)}"
            yield Problem(path=(*at, "step"), message=message)


def _order(steps: JsonValue, at: Path) -> Iterator[Problem]:
    before: float | None = None
    for number, step in _mappings(steps):
        until = step.get("until")
        if not isinstance(until, int | float) or isinstance(until, bool):
            continue
        if before is not None and until <= before:
            message = f"the step ends at minute {until:g}, which is not after the one before it ({before:g})"
            yield Problem(path=(*at, number, "until"), message=message)
        before = until


def _twice(items: JsonValue, at: Path, what: str) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for number, item in _mappings(items):
        name = item.get("name")
        if isinstance(name, str) and first.setdefault(name, number) != number:
            message = f"the {what} {name!r} is defined twice; it is also number {first[name] + 1} of the list"
            yield Problem(path=(*at, number, "name"), message=message)


def _mappings(value: JsonValue) -> Iterator[tuple[int, Mapping[str, JsonValue]]]:
    for number, item in enumerate(value if isinstance(value, list) else ()):
        if isinstance(item, dict):
            yield number, item


def _texts(value: JsonValue) -> Iterator[tuple[int, str]]:
    for number, item in enumerate(value if isinstance(value, list) else ()):
        if isinstance(item, str):
            yield number, item
