"""Where a ticket belongs: language, product, tier, queue; its estimate and its tags."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from services.triage.domain.draft import NOTHING, TEXT, Draft, says
from services.triage.domain.facts import Facts, Found
from services.triage.domain.rules import Rules
from shared.contracts.pack.triage import Signal


def set_language(draft: Draft, facts: Facts) -> None:
    """Which language it is in."""
    if facts.said.language is not None:
        draft.set("language", facts.said.language, "hints.language", "The sender said so.")
    elif facts.language is not None:
        draft.set("language", facts.language, "language.requester", "It is the requester's language.")
    elif facts.findings.language is not None:
        draft.set("language", facts.findings.language, "language.text", "The text is written in it.", TEXT)
    elif facts.tenant_languages:
        text = "The text is too short to tell, so the desk's first language is assumed."
        draft.set("language", facts.tenant_languages[0], "language.tenant", text, NOTHING)


def set_product(draft: Draft, rules: Rules, facts: Facts) -> None:
    """Which product it is about."""
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
        draft.set("product", found.name, f"product.{found.name}", says(found), TEXT)


def set_tier(draft: Draft, rules: Rules, facts: Facts) -> None:
    """The requester's tier, and when it wants to be escalated."""
    if facts.tier is None:
        return
    draft.set("tier", facts.tier, "requester.tier", f"The requester's contract is {facts.tier}.")
    rule = rules.tiers.get(facts.tier)
    if rule is not None and rule.escalate_after_minutes is not None:
        minutes = rule.escalate_after_minutes
        text = f"Customers of the tier {rule.tier} are escalated after {minutes:g} minutes."
        draft.set("escalate_after_minutes", minutes, f"tier.{rule.tier}", text)


def set_queue(draft: Draft, rules: Rules, facts: Facts) -> None:
    """Whose it is, by the kinds of rules in the pack's order."""
    for kind in rules.triage.queue_order:
        found = _QUEUES[kind](draft, rules, facts)
        if found is not None:
            draft.set("queue", *found)
            return


def _queue_by_priority(draft: Draft, rules: Rules, _: Facts) -> tuple[str, str, str] | None:
    label = draft.values["priority"].label
    queue = rules.queues.get(label.casefold())
    return (queue, f"priority_queues.{label}", f"Tickets of priority {label} go to {queue}.") if queue else None


def _queue_by_address(_: Draft, rules: Rules, facts: Facts) -> tuple[str, str, str] | None:
    address = (facts.said.inbound_address or "").casefold()
    queue = rules.address_queues.get(address)
    return (queue, f"address_queues.{address}", f"What is sent to {address} goes to {queue}.") if queue else None


def _queue_by_language(draft: Draft, rules: Rules, facts: Facts) -> tuple[str, str, str] | None:
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


def _queue_by_product(draft: Draft, rules: Rules, facts: Facts) -> tuple[str, str, str] | None:
    product = rules.products.get((draft.values.get("product") or "").casefold())
    if product is None:
        return None
    topics = {f"{product.name}/{topic.name}": topic for topic in product.topics}
    spoken = [f for f in facts.findings.topics if not f.denied and f.name in topics and topics[f.name].queue]
    if spoken:
        found = min(spoken, key=lambda one: (not one.in_subject, one.name))
        queue = topics[found.name].queue or ""
        return queue, f"product.{found.name}", f"{says(found)[:-1]}: {product.name} has that in {queue}."
    if product.queue is not None:
        return product.queue, f"product.{product.name}", f"Tickets about {product.name} go to {product.queue}."
    return None


def _queue_by_tier(_: Draft, rules: Rules, facts: Facts) -> tuple[str, str, str] | None:
    tier = rules.tiers.get(facts.tier or "")
    if tier is None or tier.queue is None:
        return None
    return tier.queue, f"tier.{tier.tier}", f"Customers of the tier {tier.tier} go to {tier.queue}."


_QUEUES: Mapping[str, Callable[[Draft, Rules, Facts], tuple[str, str, str] | None]] = {
    "priority": _queue_by_priority,
    "address": _queue_by_address,
    "language": _queue_by_language,
    "tier": _queue_by_tier,
    "product": _queue_by_product,
}


def set_eta(draft: Draft, rules: Rules) -> None:
    """How long its priority usually takes."""
    label = draft.values["priority"].label
    minutes = rules.eta.get(label.casefold())
    if minutes is not None:
        hours = f"{minutes / 60:g} hours" if minutes >= 60 else f"{minutes:g} minutes"
        draft.set("eta_minutes", minutes, f"eta_minutes.{label}", f"{label} usually takes {hours}.")


def set_tags(draft: Draft, rules: Rules, facts: Facts, spoken: Sequence[tuple[Signal, Found]]) -> None:
    """What signals, tier and language mark it with."""
    tags = {tag: f"signal.{signal.name}" for signal, _ in spoken for tag in signal.tags}
    tier = rules.tiers.get(facts.tier or "")
    if tier is not None:
        tags.update(dict.fromkeys(tier.tags, f"tier.{tier.tier}"))
    if _unread(_primary(draft.values.get("language")), rules, facts):
        tags.update(dict.fromkeys(rules.triage.languages.other_tags, "languages.other"))
    if tags:
        names = tuple(sorted(tags))
        draft.set("tags", names, ", ".join(sorted(set(tags.values()))), f"Marked {', '.join(names)}.")
