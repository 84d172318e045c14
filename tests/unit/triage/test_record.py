"""What is remembered of a ticket, and which decisions are news."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from services.triage.domain.facts import Findings, Said
from services.triage.domain.record import DECIDED, Record, Told, by_staff, corrected, judge
from shared.contracts.ticket import Actor, ActorKind, Change
from tests.unit.triage.desk import default, found

NOON = datetime(2026, 11, 16, 12, tzinfo=UTC)
TICKET = UUID("1c4f5a83-6c2e-5d0b-9a64-2f1b3f4f6a10")
AGENT = Actor(kind=ActorKind.PERSON, id="a", role="agent")


def record(*signals: str, **values: object) -> Record:
    base = Record(ticket_id=TICKET, tenant_id="acme", version=3, findings=found(*signals))
    return base.but(**values)


def first(*signals: str, **values: object) -> tuple[Record, Told]:
    after, told = judge(record(*signals, **values), default(), "created:1", NOON)
    assert told is not None
    return after, told


def names(told: Told) -> set[str]:
    return set(told.event.decision.model_dump(exclude_defaults=True))


def test_the_first_decision_is_told_whole_and_only_once() -> None:
    after, told = first("outage")
    assert names(told) >= {"impact", "urgency", "matrix_priority", "priority", "category", "queue", "eta_minutes"}
    assert {reason.field for reason in told.event.reasons} == names(told)
    assert (told.event.based_on_version, told.event.policy_version) == (3, 7)
    assert judge(after, default(), "person:2", NOON) == (after, None)


def test_the_same_input_under_the_same_rules_is_the_same_decision() -> None:
    assert first("outage")[1].event.decision_id == first("outage")[1].event.decision_id
    other, _ = judge(record("outage"), default(), "created:2", NOON)
    assert other.decision_id != first("outage")[1].event.decision_id


def test_a_later_message_tells_what_it_raises_and_nothing_else() -> None:
    after, _ = first("broken")
    worse, told = judge(
        after.but(findings=found("broken", "outage"), version=4), default(), "message:2", NOON, only_raise=True
    )
    assert told is not None
    assert names(told) == {"impact", "urgency", "matrix_priority", "priority", "eta_minutes", "queue"}
    assert (told.event.decision.priority, told.event.based_on_version) == (
        worse.decision and worse.decision.priority,
        4,
    )
    calmer = worse.but(findings=found("broken", "outage", "no_hurry", "only_me", "cosmetic"))
    assert judge(calmer, default(), "message:3", NOON, only_raise=True) == (calmer, None)


def test_a_tag_alone_is_no_reason_to_tell_again() -> None:
    after, _ = first("emergency", "outage")
    again = after.but(findings=found("emergency", "outage", "complaint"))
    assert judge(again, default(), "message:2", NOON, only_raise=True)[1] is None


def test_fields_that_a_person_set_are_not_decided() -> None:
    _, told = first("outage", held=frozenset({"priority", "category"}))
    assert not names(told) & {"priority", "matrix_priority", "eta_minutes", "category"}
    assert judge(record("outage", held=DECIDED), default(), "created:1", NOON)[1] is None


def test_a_tier_that_becomes_known_changes_what_depends_on_it() -> None:
    after, _ = first("broken")
    _, told = judge(after.but(tier="enterprise"), default(), "person:2", NOON)
    assert told is not None
    assert names(told) == {"tier", "queue", "escalate_after_minutes"}


def test_a_correction_remembers_what_was_decided_and_holds_the_field() -> None:
    after, _ = first("question")
    changes = [
        Change(field="priority", old="P4", new="P2"),
        Change(field="subject", old="a", new="b"),
        Change(field="tags", old=[], new=["x"]),
        Change(field="fields", old={"category": "question", "x": 1}, new={"category": "billing", "x": 2}),
        Change(field="fields.subcategory", new="invoice"),
        Change(field="impact", new="minor"),
    ]
    held, kept = corrected(after, AGENT, changes, TICKET, NOON)
    assert held.held == {"priority", "category", "subcategory", "impact"}
    assert held.touched
    assert [(one.field, one.decided, one.corrected) for one in kept] == [
        ("priority", "P4", "P2"),
        ("category", "question", "billing"),
        ("subcategory", None, "invoice"),
    ]


def test_only_people_of_ours_correct() -> None:
    assert by_staff(AGENT)
    assert not by_staff(Actor(kind=ActorKind.PERSON, id="c", role="customer"))
    assert not by_staff(Actor(kind=ActorKind.SERVICE, id="triage"))
    assert not by_staff(Actor(kind=ActorKind.SERVICE, id="key:1", role="service"))


def test_findings_of_several_messages_are_joined() -> None:
    one = Findings(signals=found("outage").signals, affected=3, language="de")
    other = Findings(signals=found("login").signals, affected=300, language="en")
    joined = one.join(other)
    assert ([s.name for s in joined.signals], joined.affected, joined.language) == (["login", "outage"], 300, "de")
    assert joined.join(other) == joined
    assert Said.of({}) == Said()
