"""Rules over several places of the triage section, and between it and the priorities, each told with its line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pydantic import JsonValue

from services.directory.domain.pack_source import Path, Problem
from shared.contracts.pack import Priorities, Section, TriageRules
from shared.contracts.pack.triage import IMPACTS, URGENCIES

SECTION = TriageRules.SECTION


def check(value: Mapping[str, JsonValue]) -> Iterator[Problem]:
    """Names given twice, combinations that no line of the matrix is for, lines that are never reached."""
    for kind, field in (("signals", "name"), ("products", "name"), ("tiers", "tier")):
        yield from _twice(value.get(kind), (SECTION, kind), field)
    for number, product in _mappings(value.get("products")):
        yield from _twice(product.get("topics"), (SECTION, "products", number, "topics"), "name")
    yield from _matrix(value)


def across(sections: Mapping[str, Section]) -> Iterator[Problem]:
    """Every priority that triage names exists."""
    triage, priorities = sections.get(SECTION), sections.get(Priorities.SECTION)
    if not isinstance(triage, TriageRules) or not isinstance(priorities, Priorities):
        return
    labels = {level.label.casefold(): level.label for level in priorities.levels}
    for path, label in _labels(triage):
        if label.casefold() not in labels:
            message = f"{label!r} is none of the priorities: {', '.join(labels.values())}"
            yield Problem(path=(SECTION, *path), message=message)
    if triage.address_queues and "address" not in triage.queue_order:
        message = "never used: queue_order leaves out `address`"
        yield Problem(path=(SECTION, "address_queues"), message=message, warning=True)
    estimated = {label.casefold() for label in triage.eta_minutes}
    for folded, label in labels.items():
        if estimated and folded not in estimated:
            message = f"no estimate for the priority {label!r}: its tickets have none"
            yield Problem(path=(SECTION, "eta_minutes"), message=message, warning=True)


def _labels(triage: TriageRules) -> Iterator[tuple[Path, str]]:
    for number, line in enumerate(triage.matrix):
        yield ("matrix", number, "priority"), line.priority
    for number, signal in enumerate(triage.signals):
        if signal.at_least is not None:
            yield ("signals", number, "at_least"), signal.at_least
    if triage.unknown_priority is not None:
        yield ("unknown_priority",), triage.unknown_priority
    for label in triage.priority_queues:
        yield ("priority_queues", label), label
    for label in triage.eta_minutes:
        yield ("eta_minutes", label), label


def _matrix(value: Mapping[str, JsonValue]) -> Iterator[Problem]:
    open_pairs = {(impact, urgency) for impact in IMPACTS for urgency in URGENCIES}
    lines = list(_mappings(value.get("matrix")))
    if not lines:
        return
    for number, line in lines:
        taken = {
            (impact, urgency)
            for impact, urgency in open_pairs
            if line.get("impact") in (None, impact) and line.get("urgency") in (None, urgency)
        }
        if not taken and _known(line.get("impact"), IMPACTS) and _known(line.get("urgency"), URGENCIES):
            message = "never reached: lines before are for everything that it is for"
            yield Problem(path=(SECTION, "matrix", number), message=message)
        open_pairs -= taken
    for impact, urgency in sorted(open_pairs, key=lambda pair: (IMPACTS.index(pair[0]), URGENCIES.index(pair[1]))):
        message = f"no line of the matrix is for impact {impact} with urgency {urgency}"
        yield Problem(path=(SECTION, "matrix"), message=message)
        return


def _known(word: JsonValue, scale: Iterable[str]) -> bool:
    return word is None or (isinstance(word, str) and word in scale)


def _twice(items: JsonValue, at: Path, field: str) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for number, item in _mappings(items):
        name = item.get(field)
        if not isinstance(name, str):
            continue
        if name.casefold() in first:
            message = f"{name!r} is defined twice; it is also number {first[name.casefold()] + 1} of the list"
            yield Problem(path=(*at, number, field), message=message)
        first.setdefault(name.casefold(), number)


def _mappings(value: JsonValue) -> Iterator[tuple[int, Mapping[str, JsonValue]]]:
    for number, item in enumerate(value if isinstance(value, list) else ()):
        if isinstance(item, dict):
            yield number, item
