"""What triage and search decide becomes part of the ticket, field by field, and never over what a person set."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from shared.contracts.decision import DuplicateCandidate, Reason, TicketDuplicatesFound, TicketTriaged, Triage
from shared.contracts.directory import Role
from shared.contracts.ticket import PriorityLevel
from shared.envelope import NotYet
from tests.integration.tickets.conftest import PACK, Service, message, ticket_id

pytestmark = pytest.mark.engines

HELD = {**PACK["assignment"], "wait_for_triage_seconds": 2}


def triaged(ticket: UUID, version: int = 1, *, decision_id: UUID | None = None, **said: Any) -> TicketTriaged:
    if "priority" in said:
        said["priority"] = PriorityLevel(rank=1, label=said["priority"])
    return TicketTriaged(
        tenant_id="acme",
        ticket_id=ticket,
        decision_id=decision_id or uuid4(),
        based_on_version=version,
        decision=Triage(**said),
        reasons=(Reason(field="priority", rule="matrix", text="It is bad."),),
    )


def found(ticket: UUID, *others: tuple[UUID, float], version: int = 1) -> TicketDuplicatesFound:
    return TicketDuplicatesFound(
        tenant_id="acme",
        ticket_id=ticket,
        decision_id=uuid4(),
        based_on_version=version,
        candidates=tuple(
            DuplicateCandidate(ticket_id=other, number="X", score=score, source="index", reason="alike")
            for other, score in others
        ),
    )


async def _opened(service: Service, **more: Any) -> UUID:
    first = message(**more)
    await service.handle(first)
    return ticket_id(first)


async def test_a_decision_becomes_part_of_the_ticket_with_its_reasons(service: Service) -> None:
    await service.tenant()
    await service.team(queues=("tier1", "tier2"))
    ticket = await _opened(service)
    said: dict[str, Any] = {
        "category": "outage",
        "impact": "major",
        "urgency": "high",
        "language": "de",
        "tags": ("Scan", "vip"),
    }
    await service.hear(triaged(ticket, priority="P1", queue="tier2", tier="gold", eta_minutes=90, **said))

    (row,) = await service.rows("SELECT * FROM ticket")
    assert (row["priority"], row["rank"], row["queue"], row["tier"]) == ("P1", 1, "tier2", "gold")
    assert (row["impact"], row["urgency"], row["language"], row["tags"]) == ("major", "high", "de", ["scan", "vip"])
    assert row["eta_at"] == row["cycle_opened_at"] + timedelta(minutes=90)
    (applied,) = await service.published("ticket.decision_applied")
    assert {change["field"] for change in applied["changes"]} == {
        *("priority", "queue", "tier", "eta_at", "category", "impact", "urgency", "language", "tags"),
    }
    assert (applied["decision"], applied["refused"], applied["reasons"][0]["rule"]) == ("ticket.triaged", [], "matrix")
    assert applied["actor"] == {"kind": "service", "id": "triage"}
    state = await service.state(ticket)
    assert (state.version, state.ticket.priority.label, state.fields["category"]) == (2, "P1", "outage")
    assert [e.kind for e in state.ledger][-3:] == ["tier", "priority", "queue"]
    assert not await service.published("ticket.updated"), "a decision must not look like a person's change to triage"


async def test_what_a_person_set_stays_whichever_came_first(service: Service) -> None:
    await service.tenant()
    await service.team(queues=("tier1", "tier2"))
    ticket = await _opened(service)
    ann = service.caller("ann", Role.AGENT)
    patch = {"priority": "P4", "fields": {"category": "billing"}, "impact": "minor"}
    answer = await service.call(ann, "PATCH", f"/v1/tickets/{ticket}", patch, If_Match='"1"')
    assert answer.status_code == 200, answer.text
    assert answer.json()["set_by_people"] == ["fields.category", "impact", "priority"]

    said: dict[str, Any] = {"category": "outage", "subcategory": "power", "impact": "major", "queue": "tier2"}
    await service.hear(triaged(ticket, priority="P1", **said))
    (applied,) = await service.published("ticket.decision_applied")
    assert {change["field"] for change in applied["changes"]} == {"queue", "subcategory"}
    refused = {one["field"]: one["reason"] for one in applied["refused"]}
    assert refused == dict.fromkeys(("priority", "category", "impact"), "set_by_person")
    (row,) = await service.rows("SELECT priority, impact, fields::text FROM ticket")
    assert (row["priority"], row["impact"]) == ("P4", "minor")
    assert "billing" in row["fields"]


async def test_values_the_pack_does_not_know_are_refused_by_field_and_nothing_left_is_said(service: Service) -> None:
    await service.tenant()
    ticket = await _opened(service)
    await service.hear(triaged(ticket, priority="P99", queue="nowhere", language=None))
    (refused,) = await service.published("ticket.decision_refused")
    assert refused["reason"] == "nothing_left"
    assert {one["field"]: one["reason"] for one in refused["refused"]} == {
        "priority": "unknown_priority",
        "queue": "unknown_queue",
    }
    assert await service.one("SELECT version FROM ticket") == 1
    assert len(await service.published("ticket.state")) == 1, "nothing is published unless it changed"


async def test_the_same_decision_counts_once_and_an_older_one_not_at_all(service: Service) -> None:
    await service.tenant()
    ticket = await _opened(service)
    newer = triaged(ticket, 3, priority="P1")
    await service.hear(newer, newer)
    await service.hear(newer)
    await service.hear(triaged(ticket, 2, priority="P4"))
    assert await service.one("SELECT priority FROM ticket") == "P1"
    assert len(await service.published("ticket.decision_applied")) == 1
    (refused,) = await service.published("ticket.decision_refused")
    assert refused["reason"] == "older_decision"


async def test_a_decision_about_a_ticket_that_is_not_here_waits_and_never_reaches_another_tenants(
    service: Service,
) -> None:
    await service.tenant()
    await service.tenant("evil")
    first = message(tenant="evil")
    await service.handle(first)
    for absent in (uuid4(), ticket_id(first)):
        (waits,) = await service.hear(triaged(absent, priority="P1"))
        assert isinstance(waits, NotYet)
        assert (waits.missing_kind, waits.missing_id) == ("ticket", str(absent))


async def test_nobody_is_bothered_before_triage_has_named_the_queue(service: Service) -> None:
    await service.tenant(assignment=HELD)
    await service.agent("ann", await service.team("tier1", queues=("tier1",)))
    bob = await service.agent("bob", await service.team("tier2", queues=("tier2",)))
    ticket = await _opened(service)
    assert await service.one("SELECT assignee_id FROM ticket") is None
    await service.hear(triaged(ticket, queue="tier2", priority="P2"))
    assert await service.one("SELECT assignee_id FROM ticket") == bob
    (assigned,) = await service.published("ticket.assigned")
    assert (assigned["queue"], assigned["reason"]) == ("tier2", "least_loaded")
    await service.forward(timedelta(seconds=5))
    await service.fire()
    assert len(await service.published("ticket.assigned")) == 1


async def test_a_decision_that_changes_nothing_still_lets_the_ticket_go(service: Service) -> None:
    await service.tenant(assignment=HELD)
    ann = await service.agent("ann", await service.team())
    ticket = await _opened(service)
    await service.hear(triaged(ticket, queue="nowhere"))
    assert await service.one("SELECT assignee_id FROM ticket") == ann
    assert (await service.state(ticket)).version == 2


async def test_without_triage_a_ticket_waits_two_seconds_and_no_longer(service: Service) -> None:
    await service.tenant(assignment=HELD)
    ann = await service.agent("ann", await service.team(), capacity=10)
    await _opened(service)
    await service.fire()
    assert await service.one("SELECT assignee_id FROM ticket") is None, "never early"
    await service.forward(timedelta(seconds=3))
    await service.fire()
    assert await service.one("SELECT assignee_id FROM ticket") == ann
    assert await service.one("SELECT held_until FROM ticket") is None


async def test_held_tickets_are_no_backlog_that_others_must_not_jump(service: Service) -> None:
    await service.tenant(assignment=HELD)
    await service.agent("ann", await service.team(), capacity=10)
    waiting, decided = await _opened(service), await _opened(service)
    await service.hear(triaged(decided, priority="P2"))
    rows = await service.rows("SELECT id, assignee_id FROM ticket")
    assert {row["id"]: row["assignee_id"] is not None for row in rows} == {waiting: False, decided: True}


async def test_a_later_queue_moves_the_ticket_from_whom_a_rule_chose_and_not_from_whom_a_person_chose(
    service: Service,
) -> None:
    await service.tenant()
    ann = await service.agent("ann", await service.team("tier1", queues=("tier1",)))
    bob = await service.agent("bob", await service.team("tier2", queues=("tier2",)))
    by_rule, by_hand = await _opened(service), await _opened(service)
    lead = service.caller("lead", Role.TEAM_LEAD)
    for owner in (None, ann):
        answer = await service.call(
            lead, "POST", f"/v1/tickets/{by_hand}/assignment", {"assignee_id": owner and str(owner)}
        )
        assert answer.status_code == 200, answer.text
    await service.hear(triaged(by_rule, 1, queue="tier2"), triaged(by_hand, 3, queue="tier2"))
    rows = await service.rows("SELECT id, assignee_id, queue FROM ticket")
    assert {row["id"]: (row["assignee_id"], row["queue"]) for row in rows} == {
        by_rule: (bob, "tier2"),
        by_hand: (ann, "tier2"),
    }
    (moved,) = [one for one in await service.published("ticket.assigned") if one["reason"] == "queue_changed"]
    assert (moved["previous_assignee_id"], moved["assignee_id"]) == (str(ann), str(bob))


async def test_a_queue_where_nobody_has_room_takes_the_ticket_without_an_owner(service: Service) -> None:
    await service.tenant()
    await service.agent("ann", await service.team("tier1", queues=("tier1",)))
    await service.team("tier2", queues=("tier2",))
    ticket = await _opened(service)
    await service.hear(triaged(ticket, queue="tier2"))
    (row,) = await service.rows("SELECT assignee_id, queue, status FROM ticket")
    assert (row["assignee_id"], row["queue"]) == (None, "tier2")


async def test_what_an_agent_chose_when_opening_the_ticket_stays(service: Service) -> None:
    await service.tenant(assignment=HELD)
    await service.team(queues=("tier1", "tier2"))
    ann = await service.agent("ann", await service.team(queues=("tier1", "tier2")))
    caller = service.caller("ann", Role.AGENT)
    new = {
        "subject": "S",
        "text": "T",
        "requester": {"address": "rita@example.org"},
        "priority": "P4",
        "queue": "tier2",
    }
    made = await service.call(caller, "POST", "/v1/tickets", new)
    assert made.status_code == 201, made.text
    assert made.json()["assignee_id"] == str(ann), "whoever names the queue needs no triage to wait for"
    await service.hear(triaged(UUID(made.json()["id"]), priority="P1", queue="tier1"))
    (refused,) = await service.published("ticket.decision_refused")
    assert {one["reason"] for one in refused["refused"]} == {"set_by_person"}


async def test_suggested_duplicates_are_of_the_same_tenant_and_are_confirmed_or_dismissed_for_good(
    service: Service,
) -> None:
    await service.tenant()
    await service.tenant("evil")
    one, two, ticket = await _opened(service), await _opened(service), await _opened(service)
    foreign = message(tenant="evil")
    await service.handle(foreign)
    await service.hear(found(ticket, (one, 0.9), (two, 0.7), (ticket_id(foreign), 0.99), (ticket, 1.0)))
    (applied,) = await service.published("ticket.decision_applied")
    assert {one["field"].rpartition(".")[2]: one["reason"] for one in applied["refused"]} == {
        str(ticket_id(foreign)): "unknown_ticket",
        str(ticket): "itself",
    }
    links = (await service.state(ticket)).links
    assert [(link.ticket_id, link.suggested, link.score) for link in links] == [(one, True, 0.9), (two, True, 0.7)]

    ann, rita = service.caller("ann", Role.AGENT), service.caller("rita", Role.CUSTOMER)
    path = f"/v1/tickets/{ticket}/links"
    assert (await service.call(ann, "POST", path, {"ticket": str(one)})).status_code == 200
    shown = (await service.call(ann, "POST", path, {"ticket": str(two), "action": "dismiss"})).json()
    assert [(link["ticket_id"], link["suggested"]) for link in shown["links"]] == [(str(one), False)]
    await service.hear(found(ticket, (one, 0.95), (two, 0.99), version=4))
    (refused,) = await service.published("ticket.decision_refused")
    assert sorted(one["reason"] for one in refused["refused"]) == ["confirmed", "dismissed"]

    assert (await service.call(rita, "POST", path, {"ticket": str(two)})).status_code == 403
    assert "links" not in (await service.call(rita, "GET", f"/v1/tickets/{ticket}")).json()
    assert (await service.call(ann, "POST", path, {"ticket": str(ticket_id(foreign))})).status_code == 422
    assert (await service.call(ann, "POST", path, {"ticket": str(ticket)})).status_code == 422


async def test_a_closed_or_merged_ticket_takes_no_decision(service: Service) -> None:
    await service.tenant()
    closed, merged = await _opened(service), await _opened(service)
    await service.rows("UPDATE ticket SET status = 'closed', category = 'closed', active = false WHERE id = $1", closed)
    await service.rows("UPDATE ticket SET merged_into = $1, active = false WHERE id = $2", closed, merged)
    await service.hear(triaged(closed, priority="P1"), triaged(merged, priority="P1"))
    reasons = {one["ticket_id"]: one["reason"] for one in await service.published("ticket.decision_refused")}
    assert reasons == {str(closed): "closed", str(merged): "merged"}
