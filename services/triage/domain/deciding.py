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

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from services.triage.domain.facts import Decision, Facts, Found
from shared.contracts.decision import Reason, Triage
from shared.contracts.pack import Priorities, Priority
from shared.contracts.pack.triage import IMPACTS, URGENCIES, Product, Signal, TierRule, TriageRules
from shared.contracts.ticket import PriorityLevel

_GIVEN, _TEXT, _TIER, _NOTHING = 1.0, 0.75, 0.6, 0.3
"""How sure a field is by where it comes from."""


@dataclass(frozen=True)
class Rules:
    """One version of a tenant's rules, ready to decide with."""

    triage: TriageRules
    priorities: Priorities
    signals: Mapping[str, Signal] = field(init=False)
    products: Mapping[str, Product] = field(init=False)
    tiers: Mapping[str, TierRule] = field(init=False)
    levels: Mapping[str, Priority] = field(init=False)
    eta: Mapping[str, float] = field(init=False)
    queues: Mapping[str, str] = field(init=False)
    """By priority."""
    read: frozenset[str] = field(init=False)
    """Languages that the rules name a reader for."""

    def __post_init__(self) -> None:
        languages = self.triage.languages
        made: dict[str, Any] = {
            "signals": {signal.name: signal for signal in self.triage.signals},
            "products": {product.name.casefold(): product for product in self.triage.products},
            "tiers": {tier.tier: tier for tier in self.triage.tiers},
            "levels": {level.label.casefold(): level for level in self.priorities.levels},
            "eta": {label.casefold(): minutes for label, minutes in self.triage.eta_minutes.items()},
            "read": frozenset((*languages.general, *languages.queues)),
            "queues": {label.casefold(): queue for label, queue in self.triage.priority_queues.items()},
        }
        for name, value in made.items():
            object.__setattr__(self, name, value)

    def level(self, label: str | None) -> Priority | None:
        """The priority of that label, whatever its case; None where it is none of the tenant's."""
        return self.levels.get(label.casefold()) if label else None


@dataclass(slots=True)
class _Draft:
    values: dict[str, Any] = field(default_factory=dict)
    reasons: list[Reason] = field(default_factory=list)
    sureness: dict[str, float] = field(default_factory=dict)

    def set(self, name: str, value: object, rule: str, text: str, sure: float = _GIVEN) -> None:
        self.values[name] = value
        self.reasons.append(Reason(field=name, rule=rule, text=text))
        self.sureness[name] = sure


def decide(rules: Rules, facts: Facts) -> Decision:
    """The decision about one ticket; every field of it that is set has its reason."""
    draft = _Draft()
    said = [(rules.signals[found.name], found) for found in facts.findings.signals if found.name in rules.signals]
    spoken = [(signal, found) for signal, found in said if not found.denied]
    _category(draft, rules, facts, spoken)
    _impact(draft, rules, facts, spoken)
    _urgency(draft, rules, facts, said)
    _priority(draft, rules, facts, spoken)
    _language(draft, facts)
    _product(draft, rules, facts)
    _tier(draft, rules, facts)
    _queue(draft, rules, facts)
    _eta(draft, rules)
    _tags(draft, rules, facts, spoken)
    judged = [draft.sureness.get(name, _NOTHING) for name in ("category", "impact", "urgency")]
    confidence = round(sum(judged) / len(judged), 2)
    return Decision(triage=Triage(**draft.values), reasons=tuple(draft.reasons), confidence=confidence)


_Spoken = Iterable[tuple[Signal, Found]]


def _category(draft: _Draft, rules: Rules, facts: Facts, spoken: _Spoken) -> None:
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
    rule, text = f"signal.{signal.name}", _says(found)
    if facts.said.category is None:
        share = weights[category] / sum(weights.values())
        draft.set("category", category, rule, text, round(0.5 + 0.4 * share, 2))
    if signal.subcategory is not None:
        draft.set("subcategory", signal.subcategory, rule, text, _TEXT)


def _impact(draft: _Draft, rules: Rules, facts: Facts, spoken: _Spoken) -> None:
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
        # A small number in a text says little (one of many writes); in place of a text that says nothing, something.
        if counted is not None and (found is None or IMPACTS.index(counted[0]) < IMPACTS.index(found[0])):
            draft.set("impact", *counted, _TEXT)
        elif found is not None:
            draft.set("impact", *found, _TEXT)
        else:
            text = f"Nothing says how far it reaches, so it counts as {impact.default}."
            draft.set("impact", impact.default, "impact.default", text, _NOTHING)
    _at_least(draft, "impact", facts.least_impact, IMPACTS)


def _by_number(rules: Rules, number: int, rule: str) -> tuple[Any, str, str]:
    thresholds = sorted(rules.triage.impact.affected_customers, key=lambda one: -one.more_than)
    for one in thresholds:
        if number > one.more_than:
            return one.impact, rule, f"{number} are affected, more than {one.more_than}: {one.impact}."
    lowest = thresholds[-1].more_than if thresholds else 0
    fewer = rules.triage.impact.fewer
    return fewer, rule, f"{number} {'is' if number == 1 else 'are'} affected, not more than {lowest}: {fewer}."


def _urgency(draft: _Draft, rules: Rules, facts: Facts, said: _Spoken) -> None:
    urgency = rules.triage.urgency
    named = _named(facts.said.urgency, URGENCIES, urgency.called)
    tier = rules.tiers.get(facts.tier or "")
    found = _from_text(said, "urgency", URGENCIES, urgency.default)
    if named is not None:
        draft.set("urgency", named, "hints.urgency", f"It was sent with urgency “{facts.said.urgency}”.")
    elif found is not None:
        draft.set("urgency", *found, _TEXT)
    elif tier is not None and tier.urgency is not None:
        text = f"Customers of the tier {tier.tier} wait with urgency {tier.urgency}."
        draft.set("urgency", tier.urgency, f"tier.{tier.tier}", text, _TIER)
    else:
        text = f"Nothing says how soon it hurts, so it counts as {urgency.default}."
        draft.set("urgency", urgency.default, "urgency.default", text, _NOTHING)
    _at_least(draft, "urgency", facts.least_urgency, URGENCIES)


def _from_text(said: _Spoken, kind: str, scale: tuple[Any, ...], default: str) -> tuple[str, str, str] | None:
    """The worst that a text says; a statement that calms is believed unless another one alarms."""
    found: list[tuple[int, bool, str, str]] = []
    for signal, words in said:
        value: str | None = getattr(signal, kind)
        stated = signal.stated
        text = _says(words)
        if words.denied:
            value, stated = (signal.denied_urgency if kind == "urgency" else None), True
            text = f"{_where(words)} denies “{words.words}”."
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


def _at_least(draft: _Draft, name: str, least: str | None, scale: tuple[Any, ...]) -> None:
    if least is not None and least in scale and scale.index(least) < scale.index(draft.values[name]):
        draft.reasons = [reason for reason in draft.reasons if reason.field != name]
        draft.set(name, least, f"{name}.kept", f"It was {least} before, and later messages lower nothing.", _TEXT)


def _priority(draft: _Draft, rules: Rules, facts: Facts, spoken: _Spoken) -> None:
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
            text = f"{_says(found)[:-1]}, which is at least {level.label}."
    draft.set("priority", _wire(level), rule, text)


def _nothing_known(draft: _Draft) -> bool:
    return max(draft.sureness["impact"], draft.sureness["urgency"]) <= _NOTHING


def _level(rules: Rules, label: str) -> Priority:
    """Directory lets no pack pass whose rules name a priority it does not have; a newer section may for a moment."""
    return rules.level(label) or rules.levels[rules.priorities.default.casefold()]


def _wire(level: Priority) -> PriorityLevel:
    return PriorityLevel(rank=level.rank, label=level.label)


def _language(draft: _Draft, facts: Facts) -> None:
    if facts.said.language is not None:
        draft.set("language", facts.said.language, "hints.language", "The sender said so.")
    elif facts.language is not None:
        draft.set("language", facts.language, "language.requester", "It is the requester's language.")
    elif facts.findings.language is not None:
        draft.set("language", facts.findings.language, "language.text", "The text is written in it.", _TEXT)
    elif facts.tenant_languages:
        text = "The text is too short to tell, so the desk's first language is assumed."
        draft.set("language", facts.tenant_languages[0], "language.tenant", text, _NOTHING)


def _product(draft: _Draft, rules: Rules, facts: Facts) -> None:
    said = facts.said.product
    if said is not None:
        known = rules.products.get(said.casefold())
        draft.set("product", known.name if known else said, "hints.product", "The sender named it.")
        return
    spoken = [
        found for found in facts.findings.products if not found.denied and found.name.casefold() in rules.products
    ]
    if spoken:
        found = min(spoken, key=lambda one: (not one.in_subject, one.name))
        draft.set("product", found.name, f"product.{found.name}", _says(found), _TEXT)


def _tier(draft: _Draft, rules: Rules, facts: Facts) -> None:
    if facts.tier is None:
        return
    draft.set("tier", facts.tier, "requester.tier", f"The requester's contract is {facts.tier}.")
    rule = rules.tiers.get(facts.tier)
    if rule is not None and rule.escalate_after_minutes is not None:
        minutes = rule.escalate_after_minutes
        text = f"Customers of the tier {rule.tier} are escalated after {minutes:g} minutes."
        draft.set("escalate_after_minutes", minutes, f"tier.{rule.tier}", text)


def _queue(draft: _Draft, rules: Rules, facts: Facts) -> None:
    for kind in rules.triage.queue_order:
        found = _QUEUES[kind](draft, rules, facts)
        if found is not None:
            draft.set("queue", *found)
            return


def _queue_by_priority(draft: _Draft, rules: Rules, _: Facts) -> tuple[str, str, str] | None:
    label = draft.values["priority"].label
    queue = rules.queues.get(label.casefold())
    return (queue, f"priority_queues.{label}", f"Tickets of priority {label} go to {queue}.") if queue else None


def _queue_by_language(draft: _Draft, rules: Rules, facts: Facts) -> tuple[str, str, str] | None:
    languages = rules.triage.languages
    language = _primary(draft.values.get("language"))
    if language in languages.queues:
        queue = languages.queues[language]
        return queue, f"languages.{language}", f"Tickets in the language {language} go to {queue}."
    if languages.other_queue is not None and _unread(language, rules, facts):
        text = f"Nobody here reads {language}, so it is to be translated."
        return languages.other_queue, "languages.other", text
    return None


def _unread(language: str, rules: Rules, facts: Facts) -> bool:
    if not language or language in rules.read:
        return False
    return all(_primary(own) != language for own in facts.tenant_languages)


def _primary(tag: str | None) -> str:
    return (tag or "").partition("-")[0].casefold()


def _queue_by_product(draft: _Draft, rules: Rules, facts: Facts) -> tuple[str, str, str] | None:
    product = rules.products.get((draft.values.get("product") or "").casefold())
    if product is None:
        return None
    topics = {f"{product.name}/{topic.name}": topic for topic in product.topics}
    spoken = [f for f in facts.findings.topics if not f.denied and f.name in topics and topics[f.name].queue]
    if spoken:
        found = min(spoken, key=lambda one: (not one.in_subject, one.name))
        queue = topics[found.name].queue or ""
        return queue, f"product.{found.name}", f"{_says(found)[:-1]}: {product.name} has that in {queue}."
    if product.queue is not None:
        return product.queue, f"product.{product.name}", f"Tickets about {product.name} go to {product.queue}."
    return None


def _queue_by_tier(_: _Draft, rules: Rules, facts: Facts) -> tuple[str, str, str] | None:
    tier = rules.tiers.get(facts.tier or "")
    if tier is None or tier.queue is None:
        return None
    return tier.queue, f"tier.{tier.tier}", f"Customers of the tier {tier.tier} go to {tier.queue}."


_QUEUES: Mapping[str, Callable[[_Draft, Rules, Facts], tuple[str, str, str] | None]] = {
    "priority": _queue_by_priority,
    "language": _queue_by_language,
    "tier": _queue_by_tier,
    "product": _queue_by_product,
}


def _eta(draft: _Draft, rules: Rules) -> None:
    label = draft.values["priority"].label
    minutes = rules.eta.get(label.casefold())
    if minutes is not None:
        hours = f"{minutes / 60:g} hours" if minutes >= 60 else f"{minutes:g} minutes"
        draft.set("eta_minutes", minutes, f"eta_minutes.{label}", f"{label} usually takes {hours}.")


def _tags(draft: _Draft, rules: Rules, facts: Facts, spoken: _Spoken) -> None:
    tags = {tag: f"signal.{signal.name}" for signal, _ in spoken for tag in signal.tags}
    tier = rules.tiers.get(facts.tier or "")
    if tier is not None:
        tags.update(dict.fromkeys(tier.tags, f"tier.{tier.tier}"))
    if _unread(_primary(draft.values.get("language")), rules, facts):
        tags.update(dict.fromkeys(rules.triage.languages.other_tags, "languages.other"))
    if tags:
        names = tuple(sorted(tags))
        draft.set("tags", names, ", ".join(sorted(set(tags.values()))), f"Marked {', '.join(names)}.")


def _where(found: Found) -> str:
    return "The subject" if found.in_subject else "The text"


def _says(found: Found) -> str:
    return f"{_where(found)} says “{found.words}”."
