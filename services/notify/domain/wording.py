"""The words of a delivery: which language, and the values that templates name. Pure; every value is plain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from shared.contracts.pack.notifications import VARIABLES, Template, Words
from shared.templates import Value

MAX_TEXT = 500_000
"""Characters of a message that go into a mail; what is beyond says so."""
CUT = "\n\n[The rest of this message is too long for a mail.]"
_INSTANTS = {
    "ticket": ("created_at", "updated_at", "eta_at"),
    "clock": ("due_at", "breached_at"),
    "escalation": ("next_at",),
    "page": ("expires_at",),
    "transfer": ("expires_at",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody as templates name them."""

    name: str = ""
    organisation: str = ""


NOBODY = Person()


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What surrounds a fact when it is put into words."""

    recipient: Person
    people: Mapping[str, Person]
    """By the part they play: `requester`, `assignee`, `actor`, `author`, `from`, `to`."""
    desk_name: str
    sender: str
    phone: str
    timezone: str
    """IANA zone of the reader."""
    now: datetime
    ticket_url: str
    page_url: str = ""
    survey_url: str = ""
    text: str = ""
    """Of the message, wherever it was kept."""
    attached: Sequence[Mapping[str, Any]] = ()
    left_out: Sequence[str] = ()
    """Names of files too large to be attached."""


def choose(template: Template, wanted: Sequence[str | None]) -> tuple[str, Words]:
    """The first language wanted that there are words in, `pt` doing for `pt-BR` and the other way round; else any."""
    for language in filter(None, wanted):
        for candidate in _kin(language, template.words):
            return candidate, template.words[candidate]
    return next(iter(template.words.items()))


def _kin(language: str, known: Mapping[str, object]) -> Iterator[str]:
    folded = language.casefold()
    base = folded.partition("-")[0]
    yield from (one for one in known if one.casefold() == folded)
    yield from (one for one in known if one.casefold() == base)
    yield from (one for one in known if one.casefold().partition("-")[0] == base)


def values(facts: Mapping[str, Any], setting: Setting) -> dict[str, Value]:
    """Every variable there is, with the empty text for what the fact says nothing of."""
    zone = _zone(setting.timezone)
    found: dict[str, Any] = {name: _empty(shape) for name, shape in VARIABLES.items()}
    for name in ("change", "clock", "escalation", "page", "transfer", "merge", "rating"):
        found[name] |= {part: value for part, value in facts.get(name, {}).items() if part in found[name]}
    ticket = facts.get("ticket", {})
    found["ticket"] |= {part: value for part, value in ticket.items() if part in found["ticket"]}
    found["ticket"] |= {"priority": ticket.get("priority", {}).get("label", ""), "url": setting.ticket_url}
    for name, parts in _INSTANTS.items():
        for part in parts:
            found[name][part] = _instant(found[name][part], zone)
    people = setting.people
    requester = people.get("requester", NOBODY)
    found["requester"] = {"name": requester.name, "organisation": requester.organisation}
    found["recipient"] = {"name": setting.recipient.name}
    found["assignee"] = {"name": people.get("assignee", NOBODY).name}
    found["actor"] = {"name": people.get("actor", NOBODY).name}
    found["transfer"] |= {"from": people.get("from", NOBODY).name, "to": people.get("to", NOBODY).name}
    found["page"]["url"] = setting.page_url
    found["desk"] = {"name": setting.desk_name, "sender": setting.sender, "phone": setting.phone}
    found["message"] = {
        "text": setting.text if len(setting.text) <= MAX_TEXT else setting.text[:MAX_TEXT] + CUT,
        "author": people.get("author", NOBODY).name,
        "attachments": [{"name": file["name"], "size": file["size"]} for file in setting.attached],
        "left_out": list(setting.left_out),
    }
    found["survey_url"] = setting.survey_url
    found["now"] = _instant(setting.now.isoformat(), zone)
    return found


def _empty(shape: object) -> object:
    if isinstance(shape, Mapping):
        return {name: _empty(part) for name, part in shape.items()}
    return [] if isinstance(shape, list) else ""


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def _instant(text: object, zone: ZoneInfo) -> str:
    if not isinstance(text, str) or not text:
        return ""
    return datetime.fromisoformat(text).astimezone(zone).strftime("%Y-%m-%d %H:%M %Z")
