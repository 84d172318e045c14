"""Fields that people set by hand: a merge patch over a whitelist, each change with its ledger entry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from uuid import UUID

from pydantic import JsonValue

from services.tickets.domain import assignment, audit, hands, ledger
from services.tickets.domain.policy import Pack
from services.tickets.domain.ticket import MAX_SUBJECT, MAX_WATCHERS, clean_tags, clean_text
from services.tickets.domain.work import Act, Work
from shared.contracts.decision import Impact, Urgency
from shared.contracts.ticket import Change, LedgerKind, TicketUpdated

MAX_FIELDS_BYTES = 8_000
"""Canonical JSON of the tenant's own fields."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """A value that cannot be set: which field, and why."""

    field: str
    detail: str


@dataclass(frozen=True, slots=True)
class _Set:
    """One field's new value in the ticket, and how it is told."""

    values: dict[str, object]
    old: JsonValue
    new: JsonValue
    ledger: tuple[LedgerKind, str] | None = None


def patch(work: Work, pack: Pack, wanted: Mapping[str, JsonValue], queues: frozenset[str], act: Act) -> list[Wrong]:
    """Set what differs; all or nothing. Counts one input if anything changed.

    `queues` are those that a team of the tenant serves; the pack's default queue is always one.
    """
    sets: dict[str, _Set] = {}
    wrong: list[Wrong] = []
    for field, value in wanted.items():
        found = _one(work, pack, field, value, queues | {pack.assignment.default_queue})
        if isinstance(found, Wrong):
            wrong.append(found)
        elif found.old != found.new:
            sets[field] = found
    if wrong or not sets:
        return wrong
    act = Act(act.actor, work.begin(act.at), act.draw)
    for change in sets.values():
        work.change(**change.values)
        if change.ledger is not None:
            ledger.write(work, change.ledger[0], change.ledger[1], act.at)
    hands.remember(work, _names(sets), act.at)
    if act.actor.id == str(work.ticket.assignee_id):
        assignment.touched(work)
    work.record("updated", act, {field: (c.old, c.new) for field, c in sets.items()})
    work.facts.append(
        TicketUpdated(
            tenant_id=work.ticket.tenant_id,
            ticket_id=work.ticket.id,
            ticket=work.ticket.summary(),
            actor=act.actor,
            changes=tuple(Change(field=field, old=change.old, new=change.new) for field, change in sets.items()),
        )
    )
    return []


def _names(sets: Mapping[str, _Set]) -> Iterator[str]:
    """The fields that were set, as decisions name them; each of the tenant's own by itself."""
    for field, change in sets.items():
        if field != "fields":
            yield field
        elif isinstance(change.old, dict) and isinstance(change.new, dict):
            names = change.old.keys() | change.new.keys()
            yield from (f"fields.{name}" for name in sorted(names) if change.old.get(name) != change.new.get(name))


def _one(work: Work, pack: Pack, field: str, value: JsonValue, queues: frozenset[str]) -> _Set | Wrong:
    ticket = work.ticket
    match field, value:
        case "subject", str():
            subject = clean_text(value, MAX_SUBJECT)
            return _Set({"subject": subject}, ticket.subject, subject) if subject else Wrong(field, "must not be empty")
        case "priority", str():
            level = pack.level(value)
            if level is None:
                return Wrong(field, f"one of {', '.join(known.label for known in pack.priorities.levels)}")
            entry = (LedgerKind.PRIORITY, level.label)
            return _Set({"priority": level.label, "rank": level.rank}, ticket.priority, level.label, entry)
        case "queue", str():
            if value not in queues:
                return Wrong(field, f"one of {', '.join(sorted(queues))}")
            return _Set({"queue": value}, ticket.queue, value, (LedgerKind.QUEUE, value))
        case (("product" | "tier" | "language"), (str() | None)):
            text = clean_text(value or "", 64) or None
            kinds = {"product": LedgerKind.PRODUCT, "tier": LedgerKind.TIER}
            told = (kinds[field], text or "") if field in kinds else None
            return _Set({field: text}, getattr(ticket, field), text, told)
        case (("impact" | "urgency"), (str() | None)):
            known = [one.value for one in (Impact if field == "impact" else Urgency)]
            if value is not None and value not in known:
                return Wrong(field, f"one of {', '.join(known)}")
            return _Set({field: value}, getattr(ticket, field), value)
        case "tags", list():
            if not all(isinstance(tag, str) for tag in value):
                return Wrong(field, "a list of texts")
            tags = clean_tags([str(tag) for tag in value])
            return _Set({"tags": tags}, list(ticket.tags), list(tags))
        case "watcher_ids", list():
            return _watchers(work, value)
        case "fields", dict():
            merged: dict[str, JsonValue] = {name: v for name, v in {**ticket.fields, **value}.items() if v is not None}
            if len(audit.canonical(merged)) > MAX_FIELDS_BYTES:
                return Wrong(field, f"at most {MAX_FIELDS_BYTES} bytes altogether")
            return _Set({"fields": merged}, dict(ticket.fields), merged)
        case _:
            return Wrong(field, "cannot be set to this")


def _watchers(work: Work, value: list[JsonValue]) -> _Set | Wrong:
    try:
        watchers = tuple(dict.fromkeys(UUID(str(person)) for person in value))
    except ValueError:
        return Wrong("watcher_ids", "a list of person ids")
    if len(watchers) > MAX_WATCHERS:
        return Wrong("watcher_ids", f"at most {MAX_WATCHERS}")
    before = work.ticket.watcher_ids
    return _Set({"watcher_ids": watchers}, [str(p) for p in before], [str(p) for p in watchers])
