"""What triage remembers of a ticket, and when a decision is worth telling.

Invariants: a field that a person set is never decided again; later messages raise and never lower; nothing is told
that was told before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from pydantic import JsonValue

from services.triage.domain.facts import Decision, Facts, Findings, Said
from services.triage.domain.ruleset import Ruleset
from shared.contracts.decision import TicketTriaged, Triage
from shared.contracts.pack.triage import IMPACTS, URGENCIES
from shared.contracts.ticket import Actor, ActorKind, Change

DECIDED = frozenset(Triage.model_fields)
_FROM_PRIORITY = frozenset({"priority", "matrix_priority", "eta_minutes"})
"""Mean nothing beside a priority that a person set."""
_RAISED = ("impact", "urgency", "matrix_priority", "priority", "eta_minutes", "tags", "queue")
"""What a later message may change."""
CUSTOMER = "customer"


@dataclass(frozen=True, kw_only=True)
class Record:
    """One ticket as triage knows it."""

    # No slots: `but` copies the dictionary at once, a fifth of what dataclasses.replace costs.

    ticket_id: UUID
    tenant_id: str
    revision: int = 0
    """0: no row yet."""
    version: int = 0
    """Highest version of the ticket seen."""
    requester_id: UUID | None = None
    tier: str | None = None
    language: str | None = None
    """The requester's own."""
    said: Said = field(default_factory=Said)
    findings: Findings = field(default_factory=Findings)
    decision: Triage | None = None
    """Everything told so far; None before the ticket's first message was handled."""
    decision_id: UUID | None = None
    decided_at: datetime | None = None
    held: frozenset[str] = frozenset()
    """Fields that a person set."""
    touched: bool = False
    """A person of ours has worked on it."""

    def but(self, **values: Any) -> Record:
        """The same with other values."""
        made = object.__new__(Record)
        made.__dict__.update(self.__dict__, **values)
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A decision worth telling, and what led to it."""

    event: TicketTriaged
    cause: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What a person set in place of a decision."""

    event_id: UUID
    field: str
    tenant_id: str
    ticket_id: UUID
    at: datetime
    actor_id: str
    role: str | None
    decided: JsonValue
    corrected: JsonValue
    decision_id: UUID | None


def judge(
    record: Record, ruleset: Ruleset, cause: str, at: datetime, *, only_raise: bool = False
) -> tuple[Record, Told | None]:
    """Decide about a ticket; the record afterwards, and the decision if it says anything new.

    `cause` names the input (`created:<message id>`): the same input under the same rules is the same decision.
    """
    last = record.decision
    facts = Facts(
        said=record.said,
        findings=record.findings,
        tier=record.tier,
        language=record.language,
        tenant_languages=ruleset.languages,
        least_impact=last.impact if last and only_raise else None,
        least_urgency=last.urgency if last and only_raise else None,
    )
    decision = ruleset.decide(facts)
    news = _news(last, decision, record.held, only_raise=only_raise)
    if not news:
        return record, None
    decision_id = uuid5(record.ticket_id, f"triage:{cause}:{ruleset.version}")
    event = TicketTriaged(
        tenant_id=record.tenant_id,
        ticket_id=record.ticket_id,
        decision_id=decision_id,
        based_on_version=record.version,
        decision=Triage(**news),
        confidence=decision.confidence,
        reasons=tuple(reason for reason in decision.reasons if reason.field in news),
        policy_version=ruleset.version,
    )
    told = event.decision if last is None else last.model_copy(update=news)
    after = record.but(decision=told, decision_id=decision_id, decided_at=at)
    return after, Told(event=event, cause=cause, at=at)


def _news(last: Triage | None, decision: Decision, held: frozenset[str], *, only_raise: bool) -> dict[str, Any]:
    """The fields to tell, by name."""
    found = {name: getattr(decision.triage, name) for name in {reason.field for reason in decision.reasons}}
    if "priority" in held:
        found = {name: value for name, value in found.items() if name not in _FROM_PRIORITY}
    found = {name: value for name, value in found.items() if name not in held}
    if last is None:
        return found
    if only_raise:
        found = _raised(last, decision, found)
    return {name: value for name, value in found.items() if value != getattr(last, name)}


def _raised(last: Triage, decision: Decision, found: dict[str, Any]) -> dict[str, Any]:
    """What a message raises; nothing when it raises neither impact nor urgency nor priority."""
    more = _higher(IMPACTS, last.impact, found.get("impact")) or _higher(URGENCIES, last.urgency, found.get("urgency"))
    priority = found.get("priority")
    risen = priority is not None and (last.priority is None or priority.rank < last.priority.rank)
    if not (more or risen):
        return {}
    kept = {name: found[name] for name in _RAISED if name in found}
    if not risen:
        kept = {name: value for name, value in kept.items() if name not in {*_FROM_PRIORITY, "queue"}}
    elif not any(r.field == "queue" and r.rule.startswith("priority_queues.") for r in decision.reasons):
        kept.pop("queue", None)
    if "tags" in kept:
        kept["tags"] = tuple(sorted({*last.tags, *kept["tags"]}))
    return kept


def _higher(scale: tuple[str, ...], before: str | None, now: str | None) -> bool:
    if now not in scale:
        return False
    return before not in scale or scale.index(now) < scale.index(before)


def by_staff(actor: Actor) -> bool:
    """Whether a person of ours acts, and not a requester or a program."""
    return actor.kind == ActorKind.PERSON and actor.role is not None and actor.role != CUSTOMER


def corrected(
    record: Record, actor: Actor, changes: Iterable[Change], event_id: UUID, at: datetime
) -> tuple[Record, list[Correction]]:
    """Remember what a person set: those fields are theirs from now on."""
    found: list[Correction] = []
    held = set(record.held)
    for change in _fields(changes):
        held.add(change.field)
        decided = None if record.decision is None else record.decision.model_dump(mode="json").get(change.field)
        if isinstance(decided, dict):
            decided = decided.get("label")
        if decided == change.new:
            continue
        found.append(
            Correction(
                event_id=event_id,
                field=change.field,
                tenant_id=record.tenant_id,
                ticket_id=record.ticket_id,
                at=at,
                actor_id=actor.id,
                role=actor.role,
                decided=decided,
                corrected=change.new,
                decision_id=record.decision_id,
            )
        )
    return record.but(held=frozenset(held), touched=True), found


def _fields(changes: Iterable[Change]) -> Iterable[Change]:
    """Changes of what triage decides, those within the tenant's own fields (category) too."""
    for change in changes:
        name = change.field.removeprefix("fields.")
        if change.field == "fields":
            old = change.old if isinstance(change.old, dict) else {}
            new = change.new if isinstance(change.new, dict) else {}
            for name in sorted(DECIDED & (old.keys() | new.keys())):
                if old.get(name) != new.get(name):
                    yield Change(field=name, old=old.get(name), new=new.get(name))
        elif name in DECIDED and name != "tags":
            # Tags are added to those a ticket has, so they are never triage's to overwrite.
            yield Change(field=name, old=change.old, new=change.new)
