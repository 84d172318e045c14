"""Who is told of a fact, over which way, in which words, and when: the pack's rules applied. Pure.

The id of a delivery is made of its cause, so that a fact found twice, or a person reached by two rules, is one row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID, uuid5

from services.notify.domain.occasions import Fact
from services.notify.domain.preferences import INDIFFERENT, Preference
from shared.contracts import ids
from shared.contracts.pack.notifications import Notifications, Occasion, Rule, When


class State(StrEnum):
    """Where a delivery stands."""

    WAITING = "waiting"
    SENDING = "sending"
    """In the next system's hands or on the way there: a cancellation comes too late."""
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    """The fact was too old to be told when it came."""
    SKIPPED = "skipped"
    """Kept back on purpose; `reason` says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Staff:
    """What the rules may ask of a tenant's people."""

    leads: Mapping[UUID, UUID] = field(default_factory=dict)
    """Team → its lead."""
    roles: Mapping[tuple[str, str], tuple[UUID, ...]] = field(default_factory=dict)
    """Tenant and role → who has it now."""
    preferences: Mapping[UUID, Preference] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One delivery to be."""

    id: UUID
    fact: Fact
    template: str
    channel: str
    recipient_id: UUID
    state: State = State.WAITING
    reason: str | None = None
    due_at: datetime | None = None
    """Not to be handed off before; None for at once."""
    answering: bool = False
    """It answers a message by itself: bounded per address."""


def plan(fact: Fact, notices: Notifications, staff: Staff, instant: datetime) -> list[Planned]:
    """Every delivery that a fact leads to, each recipient once per template and channel."""
    found: dict[UUID, Planned] = {}
    for rule in notices.rules:
        template = notices.templates.get(rule.template)
        if rule.event is not fact.occasion or template is None or not holds(rule.when, fact):
            continue
        answering = template.submitted == "auto-replied"
        if answering and fact.values.get("automatic"):
            continue  # machines are not answered by machines, whatever a pack says (RFC 3834 §2)
        expired = instant >= _ends(fact, rule, notices)
        for person in _people(fact, rule, staff):
            preference = staff.preferences.get(person, INDIFFERENT)
            for channel in rule.channels:
                state, reason, due_at = _verdict(fact, preference, rule.template, channel, instant, expired=expired)
                one = Planned(
                    id=delivery_id(fact, rule, person, channel),
                    fact=fact,
                    template=rule.template,
                    channel=channel,
                    recipient_id=person,
                    state=state,
                    reason=reason,
                    due_at=due_at,
                    answering=answering,
                )
                found.setdefault(one.id, one)
    return list(found.values())


def delivery_id(fact: Fact, rule: Rule, person: UUID, channel: str) -> UUID:
    """UUIDv5 of the cause (a page, the ticket itself where it is told once, else the event), template, person, way."""
    cause = fact.page_id or (fact.ticket_id if rule.once_per_ticket else fact.cause_id)
    return uuid5(ids.tenant_namespace(fact.tenant_id), f"delivery:{cause}:{rule.template}:{person}:{channel}")


def holds(when: When, fact: Fact) -> bool:
    """Whether every condition given holds; one that the fact says nothing of does not."""
    for name in when.model_fields_set:
        wanted = getattr(when, name)
        if wanted is not None and fact.values.get(name) not in wanted:
            return False
    return True


def tenants_asked(facts: Iterable[Fact], notices: Mapping[str, Notifications]) -> Iterator[tuple[str, str]]:
    """Tenant and role of every rule that may apply: what `Staff.roles` has to hold."""
    for fact in facts:
        for rule in notices[fact.tenant_id].rules:
            if rule.event is fact.occasion:
                for target in rule.to:
                    if target.startswith("role:"):
                        yield fact.tenant_id, target.removeprefix("role:")


def allowed(sent: Sequence[datetime], wanted: int, limit: int, instant: datetime) -> tuple[int, list[datetime]]:
    """How many of `wanted` automatic answers may go to somebody now, and the instants to remember.

    Within any hour never more than `limit`.
    """
    recent = [one for one in sent if one > instant - timedelta(hours=1)]
    granted = max(0, min(wanted, limit - len(recent)))
    return granted, [*recent, *([instant] * granted)]


def _ends(fact: Fact, rule: Rule, notices: Notifications) -> datetime:
    """The instant from which the fact is too old to be told by this rule."""
    ages = notices.expire_after
    if fact.occasion is Occasion.PAGE_REQUESTED:
        usual = ages.page
    else:
        usual = ages.email if "email" in rule.channels else ages.app
    end = fact.at + timedelta(minutes=rule.expire_after or usual)
    return min(end, fact.expires_at) if fact.expires_at is not None else end


def _people(fact: Fact, rule: Rule, staff: Staff) -> Iterator[UUID]:
    seen: set[UUID] = set()
    for target in rule.to:
        for person in _target(fact, target, staff):
            own = person == fact.actor_id and target != "requester"
            if person not in seen and not own and not _author(fact, person):
                seen.add(person)
                yield person


def _author(fact: Fact, person: UUID) -> bool:
    """Whether the person wrote the message that joined: a requester too is not sent their own words."""
    return fact.occasion is Occasion.MESSAGE_ADDED and person == fact.actor_id


def _target(fact: Fact, target: str, staff: Staff) -> tuple[UUID, ...]:
    if target.startswith("role:"):
        return staff.roles.get((fact.tenant_id, target.removeprefix("role:")), ())
    if target == "team_lead":
        team = fact.ticket.team_id if fact.ticket else None
        lead = staff.leads.get(team) if team else None
        return (lead,) if lead else ()
    return fact.people.get(target, ())


def _verdict(
    fact: Fact, preference: Preference, template: str, channel: str, instant: datetime, *, expired: bool
) -> tuple[State, str | None, datetime | None]:
    """State, reason and due instant; a page asks for no preference and knows no quiet hours."""
    if expired:
        return State.EXPIRED, "expired", None
    if fact.page_id is not None:
        return State.WAITING, None, None
    if not preference.wants(template, channel):
        return State.SKIPPED, "not_wanted", None
    quiet = preference.quiet.until(instant) if preference.quiet and channel == "email" else None
    return State.WAITING, None, quiet
