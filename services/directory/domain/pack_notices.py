"""The section `notifications`: templates that can be filled in, rules that name one, conditions that can hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from services.directory.domain.pack_source import Path, Problem
from shared import templates
from shared.contracts.pack.notifications import VARIABLES, Occasion, Words

SECTION = "notifications"
_TICKET = frozenset({"channel", "category", "current", "priority", "queue"})
_OF = {
    Occasion.TICKET_CREATED: {"author", "visibility", "automatic"},
    Occasion.MESSAGE_ADDED: {"author", "visibility", "automatic"},
    Occasion.STATUS_CHANGED: {"previous", "trigger"},
    Occasion.TRANSFER_CHANGED: {"state"},
    Occasion.RATED: {"score"},
    Occasion.SLA_WARNING: {"clock"},
    Occasion.SLA_BREACHED: {"clock", "provisional"},
    Occasion.SLA_CHANGED: {"clock", "change"},
    Occasion.ESCALATION_STARTED: {"level"},
    Occasion.ESCALATION_STEPPED: {"level", "step"},
    Occasion.ESCALATION_ENDED: {"level", "step"},
    Occasion.PAGE_REQUESTED: {"urgency", "step"},
}
_PEOPLE = {
    "targets": {Occasion.ESCALATION_STEPPED},
    "person": {Occasion.PAGE_REQUESTED, Occasion.CHAT_REPLY_MISSED, Occasion.TRANSFER_CHANGED},
    "from": {Occasion.TRANSFER_CHANGED},
    "previous_assignee": {Occasion.ASSIGNED},
}
_WORDS = tuple(Words.model_fields)


def check(section: Mapping[str, JsonValue]) -> Iterator[Problem]:
    """Problems of the section that its model would not find, or not with their line."""
    given = section.get("templates")
    known = given if isinstance(given, dict) else {}
    for name, template in known.items():
        words = template.get("words") if isinstance(template, dict) else None
        for language, texts in (words if isinstance(words, dict) else {}).items():
            if isinstance(texts, dict):
                yield from _texts((SECTION, "templates", name, "words", language), texts)
    used = set()
    rules = section.get("rules")
    for number, rule in enumerate(rules if isinstance(rules, list) else ()):
        if isinstance(rule, dict):
            used.add(rule.get("template"))
            yield from _rule((SECTION, "rules", number), rule, known)
    for name in known:
        if name not in used:
            message = f"no rule uses the template {name!r}"
            yield Problem(path=(SECTION, "templates", name), message=message, warning=True)


def _texts(at: Path, texts: Mapping[str, JsonValue]) -> Iterator[Problem]:
    for part in _WORDS:
        text = texts.get(part)
        if isinstance(text, str):
            for fault in templates.check(text, VARIABLES):
                message = f"line {fault.line} of the template: {fault.message}"
                yield Problem(path=(*at, part), message=message)


def _rule(at: Path, rule: Mapping[str, JsonValue], known: Mapping[str, JsonValue]) -> Iterator[Problem]:
    template = rule.get("template")
    if isinstance(template, str) and template not in known:
        message = f"{template!r} is not one of the templates: {', '.join(known)}"
        yield Problem(path=(*at, "template"), message=message)
    try:
        occasion = Occasion(str(rule.get("event")))
    except ValueError:
        return  # told by the model
    possible = _OF.get(occasion, set()) | (_TICKET if occasion is not Occasion.CHAT_REPLY_MISSED else set())
    when = rule.get("when")
    for field in when if isinstance(when, dict) else ():
        if field not in possible and field in _FIELDS:
            message = f"{occasion.value} says nothing of {field!r}; it says {', '.join(sorted(possible)) or 'nothing'}"
            yield Problem(path=(*at, "when", field), message=message)
    to = rule.get("to")
    for number, target in enumerate(to if isinstance(to, list) else ()):
        occasions = _PEOPLE.get(str(target))
        if occasions is not None and occasion not in occasions:
            message = f"{occasion.value} names no {target!r}"
            yield Problem(path=(*at, "to", number), message=message)


_FIELDS = _TICKET.union(*_OF.values())
