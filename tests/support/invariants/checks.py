"""The checks: a world against what must hold of it. Pure; every finding names the id it is about."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from services.tickets.domain import audit
from shared.contracts import ids
from shared.contracts.manifest import TOPICS
from tests.support.invariants.world import World
from tests.support.tap import Fact

SHOWN = 20
_JOINED = ("ticket.created", "ticket.message_added")
_DECISIONS = ("ticket.triaged", "ticket.duplicates_found")
_ANSWERS = ("ticket.decision_applied", "ticket.decision_refused")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that should not be."""

    invariant: str
    id: str
    what: str

    def told(self) -> str:
        """One line for people."""
        return f"{self.invariant} {self.id}: {self.what}"


def check(world: World, only: Collection[str] = ()) -> list[Finding]:
    """Every finding, by invariant; empty when all hold. `only` names some of them."""
    return [
        Finding(name, identity, what)
        for name, judged in CHECKS.items()
        if not only or name in only
        for identity, what in judged(world)
    ]


def told(findings: Collection[Finding]) -> str:
    """For people: the first findings, and how many there are of each invariant."""
    if not findings:
        return "all invariants hold"
    counts = Counter(finding.invariant for finding in findings)
    head = f"{len(findings)} findings ({', '.join(f'{name}: {count}' for name, count in counts.items())})"
    shown = [finding.told() for finding in list(findings)[:SHOWN]]
    more = [f"… and {len(findings) - SHOWN} more"] if len(findings) > SHOWN else []
    return "\n".join([head, *shown, *more])


Said = Iterator[tuple[str, str]]
"""The id something is wrong about, and what."""


def new(facts: Iterable[Fact]) -> list[Fact]:
    """Without the repeats that at-least-once allows: the first of each event id."""
    seen: set[str] = set()
    first = []
    for fact in facts:
        if fact.id not in seen:
            seen.add(fact.id)
            first.append(fact)
    return first


def _content(world: World, *topics: str) -> Iterator[tuple[Fact, dict[str, Any]]]:
    for topic in topics:
        for fact in new(world.facts.get(topic, ())):
            if fact.data is not None:
                yield fact, fact.data


def _accepted_is_stored(world: World) -> Said:
    stored = {one.message_id for one in world.stored}
    published = {data["message_id"] for _, data in _content(world, "message.received")}
    places = Counter(message for _, _, message in world.members)
    for message in sorted(world.accepted - stored):
        yield message, "accepted and not stored"
    for message in sorted(stored):
        if message not in published:
            yield message, "stored and never published"
        if places[message] != 1:
            yield message, f"in {places[message]} tickets instead of one"


def _one_effect(world: World) -> Said:
    sources: dict[tuple[str, str, str, bytes], set[str]] = defaultdict(set)
    for one in world.stored:
        if one.external_id is not None:
            sources[one.tenant, one.submitter, one.external_id, one.fingerprint].add(one.message_id)
    for (_, _, source, _), messages in sources.items():
        if len(messages) > 1:
            yield min(messages), f"{len(messages)} messages for one of the source's, {source}"
    for topics, name, what in (
        (("message.received",), "message_id", "receipts"),
        (("page.requested",), "page_id", "requests"),
        (("notification.delivered",), "delivery_id", "deliveries told"),
        (("escalation.started",), "escalation_id", "starts"),
        (("ticket.created",), "ticket_id", "creations"),
        (_DECISIONS, "decision_id", "tellings"),
        (_ANSWERS, "decision_id", "answers"),
    ):
        counts = Counter(data[name] for _, data in _content(world, *topics))
        yield from ((identity, f"{count} {what}") for identity, count in counts.items() if count > 1)
    joined = Counter(data["message"]["message_id"] for _, data in _content(world, *_JOINED))
    yield from ((message, f"joined tickets {count} times") for message, count in joined.items() if count > 1)
    answered = {data["decision_id"] for _, data in _content(world, *_ANSWERS)}
    for _, data in _content(world, *_DECISIONS):
        if data["decision_id"] not in answered:
            yield data["decision_id"], f"a decision about {data['ticket_id']} without an answer"
    numbers = Counter((ticket.tenant, ticket.number) for ticket in world.tickets.values())
    yield from ((number, f"the number of {count} tickets") for (_, number), count in numbers.items() if count > 1)


def _breaches_once(world: World) -> Said:
    told_: dict[tuple[str, str, int], set[str]] = defaultdict(set)
    for fact, data in _content(world, "sla.breached"):
        told_[data["ticket_id"], data["clock"], data["cycle"]].add(fact.id)
    changed = {(data["ticket_id"], data["clock"], data["cycle"]) for _, data in _content(world, "sla.changed")}
    for (ticket, name, cycle), events in told_.items():
        wanted = str(ids.breach_id(UUID(ticket), name, cycle))
        if events != {wanted}:
            yield ticket, f"breach of {name}, cycle {cycle}, told as {sorted(events)} instead of {wanted}"
    kept = {(clock.ticket_id, clock.name, clock.cycle): clock for clock in world.clocks}
    for place, clock in kept.items():
        if clock.told and place not in told_:
            yield clock.ticket_id, f"breach of {clock.name}, cycle {clock.cycle}, kept as told and on no topic"
        if clock.overdue:
            yield clock.ticket_id, f"{clock.name} is running past its due instant"
    for place in told_:
        here = kept.get(place)
        if here is not None and not here.told:
            yield place[0], f"breach of {place[1]}, cycle {place[2]}, on the topic and not kept as told"
        elif here is not None and here.state != "breached" and place not in changed:
            yield place[0], f"breach of {place[1]} told, the clock is {here.state}, and nobody took it back"


def _handed_off_once(world: World) -> Said:
    for one in world.deliveries:
        if one.channel == "app" and one.state == "delivered" and not one.noticed:
            yield one.id, "told in the application, and no notice is there"
        if one.channel != "email" or one.external_id is None:
            continue
        arrived = world.mails.get(one.external_id, 0)
        if one.state == "delivered" and arrived == 0:
            yield one.id, "kept as delivered, and the mail never arrived"
        if arrived > 1 + one.doubtful + (one.state == "sending"):
            yield one.id, f"arrived {arrived} times, {one.doubtful} attempts are in doubt"
    for call in world.calls:
        if not call.here:
            continue
        arrived = world.answered.get((call.name, call.event_id), 0)
        if call.state == "delivered" and arrived == 0:
            yield call.event_id, f"kept as delivered to {call.endpoint_id}, and never arrived"
        if arrived > max(call.attempts, 1):
            yield call.event_id, f"arrived {arrived} times at {call.endpoint_id} in {call.attempts} attempts"


def _chains_verify(world: World) -> Said:
    for ticket in world.tickets.values():
        chain = world.chains.get(UUID(ticket.ticket_id), [])
        flaws = audit.verify(chain, audit.Anchor(ticket.audit_count, ticket.audit_head))
        if flaws:
            yield ticket.ticket_id, f"audit entry {flaws[0].number}: {flaws[0].what}"


def _legal_moves(world: World) -> Said:
    now = {data["ticket_id"]: data["ticket"]["status"] for _, data in _content(world, "ticket.created")}
    for fact, data in _content(world, "ticket.status_changed"):
        ticket, arrow = data["ticket_id"], (data["previous"], data["current"])
        if ticket in now and now[ticket] != data["previous"]:
            yield ticket, f"left {data['previous']}, where it was not: it was {now[ticket]}"
        if arrow not in world.arrows.get(fact.tenant, set()):
            yield ticket, f"no arrow leads from {arrow[0]} to {arrow[1]} ({data['trigger']})"
        now[ticket] = data["current"]
    for identity, status in now.items():
        stored = world.tickets.get(identity)
        if stored is not None and stored.status != status:
            yield identity, f"is {stored.status}, and was last told to be {status}"


def _versions_rise(world: World) -> Said:
    for topic in (topic.name for topic in TOPICS if topic.compacted):
        newest: dict[tuple[str, str], tuple[int, int]] = {}
        for fact, data in _content(world, topic):
            place, version = (fact.key, fact.headers.get("ce_type", "")), _version(data)
            if place in newest and not _follows(newest[place], version):
                yield fact.key, f"{topic} went from {newest[place]} to {version} (version, revision)"
            newest[place] = max(version, newest.get(place, version))
        if topic == "ticket.state":
            published = {key: version for (key, _), version in newest.items()}
            for ticket in world.tickets.values():
                if published.get(ticket.ticket_id) != (ticket.version, ticket.revision):
                    yield (
                        ticket.ticket_id,
                        f"is {(ticket.version, ticket.revision)}, published {published.get(ticket.ticket_id)}",
                    )


def _version(data: dict[str, Any]) -> tuple[int, int]:
    return int(data.get("version", data.get("pack_version", 0))), int(data.get("revision", 0))


def _follows(before: tuple[int, int], after: tuple[int, int]) -> bool:
    if before[1] or after[1]:
        return after[0] >= before[0] and after[1] > before[1]
    return after[0] >= before[0]


def _tenants_apart(world: World) -> Said:
    owner = {ticket.ticket_id: ticket.tenant for ticket in world.tickets.values()}
    for row in world.held:
        if owner.get(row.ticket_id, row.tenant) != row.tenant:
            yield row.ticket_id, f"of {owner[row.ticket_id]} stands with {row.tenant} in {row.place}"
    for tenant, ticket, message in world.members:
        if owner.get(ticket, tenant) != tenant:
            yield message, f"of {tenant} is in a ticket of {owner[ticket]}"
    for topic, facts in world.facts.items():
        for fact in facts:
            ticket = str((fact.data or {}).get("ticket_id", ""))
            if owner.get(ticket, fact.tenant) != fact.tenant:
                yield ticket, f"of {owner[ticket]} is told as {fact.tenant}'s on {topic}"
            text = ""
            for canary, tenant in world.canaries.items():
                text = text or str(fact.data)
                if fact.tenant != tenant and canary in text:
                    yield fact.id, f"what is {tenant}'s stands in {topic} of {fact.tenant}"


def _index_equals_database(world: World) -> Said:
    for ticket in world.tickets.values():
        document = world.documents.get(ticket.ticket_id)
        if document is None:
            yield ticket.ticket_id, "is not in the index"
            continue
        if world.texts.get(ticket.ticket_id, 0) != ticket.messages:
            known = world.texts.get(ticket.ticket_id, 0)
            yield ticket.ticket_id, f"search knows the texts of {known} of {ticket.messages} messages"
        wanted = {
            "tenant_id": ticket.tenant,
            "number": ticket.number,
            "subject": ticket.subject or None,
            "status": ticket.status,
            "priority": ticket.priority,
            "queue": ticket.queue,
            "assignee_id": ticket.assignee_id,
            "merged_into": ticket.merged_into,
            "messages": ticket.messages,
        }
        for name, value in wanted.items():
            if document.get(name) != value:
                yield ticket.ticket_id, f"the index says {name} {document.get(name)!r}, the database {value!r}"
    for identity in world.documents.keys() - world.tickets.keys():
        yield identity, "is in the index and in no database"


def _nothing_left(world: World) -> Said:
    for one in world.left:
        yield one.id, f"left in {one.place}: {one.why}"


def _offsets_true(world: World) -> Said:
    committed = {(one.group, one.topic, one.partition): one.committed for one in world.offsets}
    for one in world.offsets:
        if one.committed < one.end:
            yield f"{one.topic}/{one.partition}", f"{one.group} is at {one.committed} of {one.end}"
    readers = {topic.name: topic.consumers for topic in TOPICS if not topic.compacted}
    for name, groups in readers.items():
        for group in groups:
            known = world.handled.get(group, set()) | world.aside.get(group, set())
            for fact in world.facts.get(name, ()):
                if fact.offset < committed.get((group, name, fact.partition), 0) and fact.id not in known:
                    yield fact.id, f"{group} has passed it on {name} and not handled it"


CHECKS: dict[str, Callable[[World], Said]] = {
    "I1": _accepted_is_stored,
    "I2": _one_effect,
    "I3": _breaches_once,
    "I4": _handed_off_once,
    "I5": _chains_verify,
    "I6": _legal_moves,
    "I7": _versions_rise,
    "I8": _tenants_apart,
    "I9": _index_equals_database,
    "I10": _nothing_left,
    "I11": _offsets_true,
}
