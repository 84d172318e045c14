"""The decision: what is known of a ticket, put to a tenant's rules.

Precedence, the same for every ticket:
- impact: number of customers given, impact given, text, default;
- urgency: urgency given, text, tier, default;
- priority: the one given or else the matrix's, raised by what the text says (`at_least`), never lowered by it;
- queue: the kinds of rules in the pack's order, the first that names one;
- language: given, the requester's, the text's, the tenant's first;
- category: given, or the greatest sum of the weights of what the text says.
Nothing depends on the order in which a pack lists its signals, products or words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from services.triage.domain import routing
from services.triage.domain.draft import NOTHING, TEXT, TIER, Draft, says, where
from services.triage.domain.facts import Decision, Facts, Found
from services.triage.domain.rules import Rules
from shared.contracts.decision import Triage
from shared.contracts.pack import Priority
from shared.contracts.pack.triage import IMPACTS, URGENCIES, Signal
from shared.contracts.ticket import PriorityLevel

_RANK: Mapping[str, int] = {impact: rank for rank, impact in enumerate(IMPACTS)}


def decide(rules: Rules, facts: Facts) -> Decision:
    """The decision about one ticket; every field of it that is set has its reason."""
    draft = Draft()
    said = [(rules.signals[found.name], found) for found in facts.findings.signals if found.name in rules.signals]
    spoken = [(signal, found) for signal, found in said if not found.denied]
    _category(draft, rules, facts, spoken)
    _impact(draft, rules, facts, spoken)
    _urgency(draft, rules, facts, said)
    _priority(draft, rules, facts, spoken)
    routing.set_language(draft, facts)
    routing.set_product(draft, rules, facts)
    routing.set_tier(draft, rules, facts)
    routing.set_queue(draft, rules, facts)
    routing.set_eta(draft, rules)
    routing.set_tags(draft, rules, facts, spoken)
    judged = [draft.sureness.get(name, NOTHING) for name in ("category", "impact", "urgency")]
    confidence = round(sum(judged) / len(judged), 2)
    return Decision(triage=Triage(**draft.values), reasons=tuple(draft.reasons), confidence=confidence)


_Spoken = Iterable[tuple[Signal, Found]]


def _category(draft: Draft, rules: Rules, facts: Facts, spoken: _Spoken) -> None:
    if facts.said.category is not None:
        draft.set("category", facts.said.category, "hints.category", f"It was sent as “{facts.said.category}”.")
    weights: dict[str, float] = {}
    best: dict[str, tuple[float, str, Signal, Found]] = {}
    for signal, found in spoken:
        if signal.category is None:
            continue
        weight = signal.weight * (rules.triage.subject_weight if found.in_subject else 1.0)
        weights[signal.category] = weights.get(signal.category, 0.0) + weight
        rank = (-weight, signal.name)
        if signal.category not in best or rank < best[signal.category][:2]:
            best[signal.category] = (*rank, signal, found)
    if not weights:
        return
    category = facts.said.category or min(weights, key=lambda name: (-weights[name], name))
    if category not in best:
        return
    _, _, signal, found = best[category]
    rule, text = f"signal.{signal.name}", says(found)
    if facts.said.category is None:
        share = weights[category] / sum(weights.values())
        draft.set("category", category, rule, text, round(0.5 + 0.4 * share, 2))
    if signal.subcategory is not None:
        draft.set("subcategory", signal.subcategory, rule, text, TEXT)


def _impact(draft: Draft, rules: Rules, facts: Facts, spoken: _Spoken) -> None:
    said, impact = facts.said, rules.triage.impact
    named = _named(said.impact, IMPACTS, impact.called)
    if said.affected_customers is not None:
        draft.set("impact", *_by_number(rules, said.affected_customers, "impact.affected_customers"))
    elif named is not None:
        draft.set("impact", named, "hints.impact", f"It was sent with impact “{said.impact}”.")
    else:
        found = _from_text(spoken, "impact", IMPACTS, impact.default)
        counted = None
        if facts.findings.affected is not None:
            counted = _by_number(rules, facts.findings.affected, "impact.counted")
        # A small number in a text lowers nothing: one of many may have written.
        if counted is not None and _worse(counted[0], found[0] if found else None, impact.default):
            draft.set("impact", *counted, TEXT)
        elif found is not None:
            draft.set("impact", *found, TEXT)
        else:
            text = f"Nothing says how far it reaches, so it counts as {impact.default}."
            draft.set("impact", impact.default, "impact.default", text, NOTHING)
    _at_least(draft, "impact", facts.least_impact, IMPACTS)


def _worse(counted: str, said: str | None, default: str) -> bool:
    """Whether a number of people is news beside what the text says, or beside a text that says nothing."""
    if said is not None:
        return _RANK[counted] < _RANK[said]
    return _RANK[counted] <= _RANK[default]


def _by_number(rules: Rules, number: int, rule: str) -> tuple[Any, str, str]:
    thresholds = sorted(rules.triage.impact.affected_customers, key=lambda one: -one.more_than)
    for one in thresholds:
        if number > one.more_than:
            return one.impact, rule, f"{number} are affected, more than {one.more_than}: {one.impact}."
    lowest = thresholds[-1].more_than if thresholds else 0
    fewer = rules.triage.impact.fewer
    return fewer, rule, f"{number} {'is' if number == 1 else 'are'} affected, not more than {lowest}: {fewer}."


def _urgency(draft: Draft, rules: Rules, facts: Facts, said: _Spoken) -> None:
    urgency = rules.triage.urgency
    named = _named(facts.said.urgency, URGENCIES, urgency.called)
    tier = rules.tiers.get(facts.tier or "")
    found = _from_text(said, "urgency", URGENCIES, urgency.default)
    if named is not None:
        draft.set("urgency", named, "hints.urgency", f"It was sent with urgency “{facts.said.urgency}”.")
    elif found is not None:
        draft.set("urgency", *found, TEXT)
    elif tier is not None and tier.urgency is not None:
        text = f"Customers of the tier {tier.tier} wait with urgency {tier.urgency}."
        draft.set("urgency", tier.urgency, f"tier.{tier.tier}", text, TIER)
    else:
        text = f"Nothing says how soon it hurts, so it counts as {urgency.default}."
        draft.set("urgency", urgency.default, "urgency.default", text, NOTHING)
    _at_least(draft, "urgency", facts.least_urgency, URGENCIES)


def _from_text(said: _Spoken, kind: str, scale: tuple[Any, ...], default: str) -> tuple[str, str, str] | None:
    """The worst that a text says; a statement that calms is believed unless another one alarms."""
    found: list[tuple[int, bool, str, str]] = []
    for signal, words in said:
        value: str | None = getattr(signal, kind)
        stated = signal.stated
        text = says(words)
        if words.denied:
            value, stated = (signal.denied_urgency if kind == "urgency" else None), True
            text = f"{where(words)} denies “{words.words}”."
        if value is not None:
            found.append((scale.index(value), stated, f"signal.{signal.name}", text))
    if not found:
        return None
    statements = [one for one in found if one[1]]
    calm = scale.index(default)
    if statements and min(one[0] for one in statements) > calm:
        found = statements
    rank, _, rule, text = min(found, key=lambda one: (one[0], one[2]))
    return scale[rank], rule, text


def _named(word: str | None, scale: tuple[Any, ...], called: Mapping[str, str]) -> str | None:
    """A value by its own name or by what senders call it; None for anything else."""
    if word is None:
        return None
    folded = word.casefold()
    return folded if folded in scale else next((v for name, v in called.items() if name.casefold() == folded), None)


def _at_least(draft: Draft, name: str, least: str | None, scale: tuple[Any, ...]) -> None:
    if least is not None and least in scale and scale.index(least) < scale.index(draft.values[name]):
        draft.reasons = [reason for reason in draft.reasons if reason.field != name]
        draft.set(name, least, f"{name}.kept", f"It was {least} before, and later messages lower nothing.", TEXT)


def _priority(draft: Draft, rules: Rules, facts: Facts, spoken: _Spoken) -> None:
    impact, urgency = draft.values["impact"], draft.values["urgency"]
    line = next(line for line in rules.triage.matrix if line.fits(impact, urgency))
    level = _level(rules, line.priority)
    text = f"Impact {impact} with urgency {urgency} gives {level.label}."
    draft.set("matrix_priority", _wire(level), "matrix", text)
    rule = "matrix"
    given = rules.level(facts.said.priority)
    if given is not None:
        level, rule, text = given, "hints.priority", f"It was sent with priority {given.label}."
    elif rules.triage.unknown_priority is not None and _nothing_known(draft):
        least = _level(rules, rules.triage.unknown_priority)
        if least.rank < level.rank:
            level, rule, text = least, "unknown_priority", f"Nothing says that it may wait longer than {least.label}."
    for signal, found in sorted(spoken, key=lambda pair: pair[0].name):
        least_level = rules.level(signal.at_least)
        if least_level is not None and least_level.rank < level.rank:
            level, rule = least_level, f"signal.{signal.name}"
            text = f"{says(found)[:-1]}, which is at least {level.label}."
    draft.set("priority", _wire(level), rule, text)


def _nothing_known(draft: Draft) -> bool:
    return max(draft.sureness["impact"], draft.sureness["urgency"]) <= NOTHING


def _level(rules: Rules, label: str) -> Priority:
    """Directory lets no pack pass whose rules name a priority it does not have; a newer section may for a moment."""
    return rules.level(label) or rules.levels[rules.priorities.default.casefold()]


def _wire(level: Priority) -> PriorityLevel:
    return PriorityLevel(rank=level.rank, label=level.label)
