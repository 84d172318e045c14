"""Decisions of triage and search applied field by field (architecture rule 2).

A field that a person set stays. A value the tenant's pack does not know is refused by itself. The same decision counts
once, and one that saw an older ticket than the newest applied decision of its kind is not applied any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from pydantic import JsonValue

from services.tickets.domain import ledger
from services.tickets.domain.policy import Pack
from services.tickets.domain.ticket import MAX_LINKS, Ticket, clean_tags, clean_text
from services.tickets.domain.work import Act, Work
from shared.contracts.decision import (
    DuplicateCandidate,
    Reason,
    RefusedField,
    TicketDecisionApplied,
    TicketDecisionRefused,
    TicketDuplicatesFound,
    TicketTriaged,
    Triage,
)
from shared.contracts.ticket import Change, LedgerKind, Link, LinkKind

TRIAGE, DUPLICATES = "ticket.triaged", "ticket.duplicates_found"
"""Kinds of decisions, by their event types without the version."""
REMEMBERED = 4
"""Ids of applied decisions kept per kind."""
MAX_SUGGESTED = 10
"""Suggested duplicates of one ticket at a time; the likeliest stay."""
MAX_WORD = 64

Decision = TicketTriaged | TicketDuplicatesFound


@dataclass(frozen=True, slots=True)
class _Value:
    """One field's new value in the ticket, and how it is told."""

    name: str
    """As people may have set it: `priority`, `fields.category`."""
    values: Mapping[str, object]
    old: JsonValue
    new: JsonValue
    ledger: tuple[LedgerKind, str] | None = None


@dataclass(slots=True)
class _Weighed:
    values: list[_Value] = field(default_factory=list)
    refused: list[RefusedField] = field(default_factory=list)


def triaged(work: Work, pack: Pack, said: TicketTriaged, queues: frozenset[str], act: Act) -> None:
    """Apply what triage says, or answer why not; a repeated decision is passed over.

    `queues` are those that a team of the tenant serves; the pack's default queue is always one.
    """
    if not _counts(work, TRIAGE, said, act):
        return
    weighed = _Weighed()
    known = queues | {pack.assignment.default_queue}
    for one in _wanted(work.ticket, pack, said.decision, known):
        if isinstance(one, RefusedField):
            weighed.refused.append(one)
        elif one.name in work.ticket.set_by:
            weighed.refused.append(RefusedField(field=one.name.removeprefix("fields."), reason="set_by_person"))
        elif one.old == one.new:
            weighed.refused.append(RefusedField(field=one.name.removeprefix("fields."), reason="unchanged"))
        else:
            weighed.values.append(one)
    _conclude(work, TRIAGE, said, weighed, act, reasons=said.reasons)


def duplicates_found(work: Work, said: TicketDuplicatesFound, others: Mapping[UUID, Ticket], act: Act) -> None:
    """Suggest what search found, or answer why not. `others` are the tenant's own tickets among the candidates."""
    if not _counts(work, DUPLICATES, said, act):
        return
    ticket = work.ticket
    weighed = _Weighed()
    links = {link.ticket_id: link for link in ticket.links if link.kind == LinkKind.DUPLICATES}
    fresh: dict[UUID, Link] = {}
    for candidate in said.candidates:
        reason = _unfit(ticket, candidate, others, links)
        if reason is not None:
            weighed.refused.append(RefusedField(field=f"links.{candidate.ticket_id}", reason=reason))
        else:
            other = others[candidate.ticket_id]
            fresh[other.id] = Link(
                kind=LinkKind.DUPLICATES,
                ticket_id=other.id,
                number=other.number,
                suggested=True,
                score=round(candidate.score, 4),
            )
    suggested = {link.ticket_id: link for link in links.values() if link.suggested} | fresh
    likeliest = sorted(suggested.values(), key=lambda link: (-(link.score or 0.0), link.number))[:MAX_SUGGESTED]
    made = bounded((*(link for link in ticket.links if not _is_suggestion(link)), *likeliest))
    old, new = _told(filter(_is_suggestion, ticket.links)), _told(filter(_is_suggestion, made))
    if old != new:
        weighed.values.append(_Value("links", {"links": made}, old, new))
    _conclude(work, DUPLICATES, said, weighed, act)


def bounded(links: Sequence[Link]) -> tuple[Link, ...]:
    """At most as many links as a snapshot carries; suggestions go first, then the oldest."""
    kept = list(links)
    while len(kept) > MAX_LINKS:
        kept.remove(next(filter(_is_suggestion, reversed(kept)), kept[0]))
    return tuple(kept)


def _is_suggestion(link: Link) -> bool:
    return link.suggested and link.kind == LinkKind.DUPLICATES


def _told(links: Iterator[Link]) -> JsonValue:
    return [{"ticket_id": str(link.ticket_id), "number": link.number, "score": link.score} for link in links]


def _unfit(
    ticket: Ticket, candidate: DuplicateCandidate, others: Mapping[UUID, Ticket], links: Mapping[UUID, Link]
) -> str | None:
    """Why a candidate is not suggested; None when it is."""
    other = others.get(candidate.ticket_id)
    if candidate.ticket_id == ticket.id:
        return "itself"
    if other is None or other.tenant_id != ticket.tenant_id:
        return "unknown_ticket"
    if candidate.ticket_id in ticket.dismissed_ids:
        return "dismissed"
    if other.merged_into is not None:
        return "merged"
    known = links.get(candidate.ticket_id)
    if known is not None and not known.suggested:
        return "confirmed"
    if known is not None and known.score == round(candidate.score, 4):
        return "unchanged"
    return None


def _counts(work: Work, kind: str, said: Decision, act: Act) -> bool:
    """Whether a decision is to be weighed; one that comes too late is answered here."""
    ticket = work.ticket
    version, known = _decided(ticket, kind)
    if str(said.decision_id) in known:
        return False
    if ticket.merged_into is not None:
        _refuse(work, kind, said, act, reason="merged")
    elif ticket.closed:
        _refuse(work, kind, said, act, reason="closed")
    elif said.based_on_version < version:
        _refuse(work, kind, said, act, reason="older_decision")
    else:
        return True
    return False


def _decided(ticket: Ticket, kind: str) -> tuple[int, tuple[str, ...]]:
    match ticket.decided.get(kind):
        case [int(version), list(known)]:
            return version, tuple(str(one) for one in known)
        case _:
            return 0, ()


def _conclude(
    work: Work, kind: str, said: Decision, weighed: _Weighed, act: Act, *, reasons: tuple[Reason, ...] = ()
) -> None:
    if not weighed.values:
        _refuse(work, kind, said, act, reason="nothing_left", refused=tuple(weighed.refused))
        return
    act = Act(act.actor, work.begin(act.at), act.draw)
    for one in weighed.values:
        # Two of them may be names within `fields`.
        values = dict(one.values)
        if "fields" in values:
            values["fields"] = {**work.ticket.fields, one.name.removeprefix("fields."): one.new}
        work.change(**values)
        if one.ledger is not None:
            ledger.write(work, one.ledger[0], one.ledger[1], act.at)
    _, known = _decided(work.ticket, kind)
    ids: list[JsonValue] = [*known[-(REMEMBERED - 1) :], str(said.decision_id)]
    work.remember(decided={**work.ticket.decided, kind: [said.based_on_version, ids]})
    work.record("decided", act, {one.name: (one.old, one.new) for one in weighed.values})
    work.facts.append(
        TicketDecisionApplied(
            tenant_id=work.ticket.tenant_id,
            ticket_id=work.ticket.id,
            ticket=work.ticket.summary(),
            actor=act.actor,
            decision=kind,
            decision_id=said.decision_id,
            based_on_version=said.based_on_version,
            changes=tuple(
                Change(field=one.name.removeprefix("fields."), old=one.old, new=one.new) for one in weighed.values
            ),
            refused=tuple(one for one in weighed.refused if one.reason != "unchanged"),
            reasons=reasons,
        )
    )


def _refuse(
    work: Work, kind: str, said: Decision, act: Act, *, reason: str, refused: tuple[RefusedField, ...] = ()
) -> None:
    work.facts.append(
        TicketDecisionRefused(
            tenant_id=work.ticket.tenant_id,
            ticket_id=work.ticket.id,
            ticket=work.ticket.summary(),
            actor=act.actor,
            decision=kind,
            decision_id=said.decision_id,
            based_on_version=said.based_on_version,
            reason=reason,
            refused=refused,
        )
    )


def _wanted(ticket: Ticket, pack: Pack, said: Triage, queues: frozenset[str]) -> Iterator[_Value | RefusedField]:
    """What triage says, field by field; what it is silent about is no field."""
    yield from _texts(ticket, said)
    if said.priority is not None:
        level = pack.level(said.priority.label)
        if level is None:
            yield RefusedField(field="priority", reason="unknown_priority")
        else:
            values = {"priority": level.label, "rank": level.rank}
            yield _Value("priority", values, ticket.priority, level.label, (LedgerKind.PRIORITY, level.label))
    if said.queue is not None:
        if said.queue not in queues:
            yield RefusedField(field="queue", reason="unknown_queue")
        else:
            yield _Value("queue", {"queue": said.queue}, ticket.queue, said.queue, (LedgerKind.QUEUE, said.queue))
    if said.eta_minutes is not None:
        # From the beginning of the cycle and not from the decision: repeated later, the estimate is the same.
        eta = ticket.cycle_opened_at + timedelta(minutes=said.eta_minutes)
        old = None if ticket.eta_at is None else ticket.eta_at.isoformat()
        yield _Value("eta_at", {"eta_at": eta}, old, eta.isoformat())
    if said.tags:
        tags = clean_tags((*ticket.tags, *said.tags))
        yield _Value("tags", {"tags": tags}, list(ticket.tags), list(tags))


_LEDGER: Mapping[str, LedgerKind] = {"tier": LedgerKind.TIER, "product": LedgerKind.PRODUCT}
_WORDS: Sequence[tuple[str, Callable[[Triage], str | None]]] = (
    ("impact", lambda said: said.impact),
    ("urgency", lambda said: said.urgency),
    ("language", lambda said: said.language),
    ("product", lambda said: said.product),
    ("tier", lambda said: said.tier),
)
_FIELDS: Sequence[tuple[str, Callable[[Triage], str | None]]] = (
    ("category", lambda said: said.category),
    ("subcategory", lambda said: said.subcategory),
)


def _texts(ticket: Ticket, said: Triage) -> Iterator[_Value]:
    for name, of in _WORDS:
        text = _word(of(said))
        if text is not None:
            entry = (_LEDGER[name], text) if name in _LEDGER else None
            yield _Value(name, {name: text}, getattr(ticket, name), text, entry)
    for name, of in _FIELDS:
        text = _word(of(said))
        if text is not None:
            yield _Value(f"fields.{name}", {"fields": None}, ticket.fields.get(name), text)


def _word(value: str | None) -> str | None:
    return None if value is None else clean_text(str(value), MAX_WORD) or None
