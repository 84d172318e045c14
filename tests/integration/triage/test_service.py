"""The whole service on real engines: tickets in, decisions with reasons out, each once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer
from pydantic import JsonValue

from shared.contracts.decision import TicketTriaged
from shared.contracts.directory import PersonChanged, Role
from shared.contracts.message import Body
from shared.contracts.ticket import AuthorKind, Change, Visibility
from tests.integration.triage.conftest import AGENT, PACK, Desk, Ticket
from tests.support.engines import Engines
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines


def label(event: TicketTriaged) -> str | None:
    return event.decision.priority.label if event.decision.priority else None


async def test_a_new_ticket_is_decided_once_with_its_reasons(desk: Desk, engines: Engines) -> None:
    await desk.tenant()
    ticket = Ticket(subject="The whole platform is down", tier="enterprise")
    event = ticket.created("None of our customers can work.")
    identity = uuid4()
    for _ in range(3):
        await desk.publish(event, identity)
    await desk.publish(event)  # the same ticket told again under another id
    (decided,) = await desk.decisions(ticket)
    assert (label(decided), decided.decision.queue, decided.decision.category) == ("P1", "tier2", "technical")
    assert (decided.decision.impact, decided.decision.urgency, decided.based_on_version) == ("critical", "critical", 1)
    assert decided.decision.escalate_after_minutes == 120
    assert {reason.field for reason in decided.reasons} == set(decided.decision.model_dump(exclude_defaults=True))
    published = await _published(desk, engines)
    assert [one.decision_id for one in published] == [decided.decision_id]
    assert published[0] == decided.model_copy(update={"decided_by": "rules"})


async def _published(desk: Desk, engines: Engines) -> list[TicketTriaged]:
    consumer = AIOKafkaConsumer(
        f"{desk.prefix}ticket.triaged", bootstrap_servers=engines.kafka_url, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        found: list[TicketTriaged] = []

        async def some() -> bool:
            for records in (await consumer.getmany(timeout_ms=100)).values():
                found.extend(TicketTriaged.model_validate_json(record.value or b"") for record in records)
            return bool(found)

        await eventually(some, what="ticket.triaged")
        await some()
        return found
    finally:
        await consumer.stop()


async def test_a_ticket_without_rules_waits_for_them(desk: Desk) -> None:
    ticket = Ticket(tenant="late", subject="Question about my invoice")
    await desk.publish(ticket.created("How can I download it?"))

    async def waits() -> bool:
        rows = await desk.rows("SELECT missing_kind, missing_id FROM waiting WHERE key = $1", str(ticket.id))
        return [(row["missing_kind"], row["missing_id"]) for row in rows] == [("policy", "late/priorities")] or [
            (row["missing_kind"], row["missing_id"]) for row in rows
        ] == [("policy", "late/triage")]

    await eventually(waits)
    await desk.tenant("late")
    (decided,) = await desk.decisions(ticket)
    assert label(decided) == "P4"


async def test_each_tenant_is_decided_by_its_own_rules(desk: Desk) -> None:
    strict = {**PACK["triage"], "signals": [{"name": "kaputt", "words": {"de": ["Kaffeemaschine"]}, "at_least": "P1"}]}
    await desk.tenant("acme")
    await desk.tenant("cafe", triage=strict)
    text = "Die Kaffeemaschine braucht neue Bohnen."
    ours, theirs = Ticket(tenant="acme"), Ticket(tenant="cafe")
    await desk.publish(ours.created(text))
    await desk.publish(theirs.created(text))
    assert label((await desk.decisions(theirs))[0]) == "P1"
    assert label((await desk.decisions(ours))[0]) == "P3"


async def test_new_rules_hold_at_once_and_ones_that_cannot_be_read_change_nothing(desk: Desk) -> None:
    await desk.tenant()
    before = Ticket(subject="Please water the plants")
    await desk.publish(before.created("They are dry."))
    assert label((await desk.decisions(before))[0]) == "P3"
    plants = [{"name": "plants", "words": {"en": ["plants"]}, "at_least": "P2"}]
    await desk.tenant(triage={**PACK["triage"], "signals": plants})
    after = Ticket(subject="Please water the plants")
    await desk.publish(after.created("They are dry."))
    (decided,) = await desk.decisions(after)
    assert (label(decided), decided.policy_version) == ("P2", 2)
    await desk.tenant(triage={"matrix": "of a later release"})
    later = Ticket(subject="Please water the plants")
    await desk.publish(later.created("They are dry."))
    (decided,) = await desk.decisions(later)
    assert (label(decided), decided.policy_version) == ("P2", 2)


async def test_malformed_hints_are_as_if_not_said(desk: Desk) -> None:
    await desk.tenant()
    ticket = Ticket(subject="Hello")
    hints: dict[str, JsonValue] = {
        "affected_customers": "many",
        "impact": {"a": 1},
        "urgency": 7,
        "priority": "P9",
        "language": "Klingon!",
    }
    await desk.publish(ticket.created("please see the picture", hints))
    (decided,) = await desk.decisions(ticket)
    assert (label(decided), decided.decision.impact, decided.decision.language) == ("P3", "moderate", "en")
    other = Ticket(subject="Hello")
    await desk.publish(other.created("please see the picture", {"affected_customers": 2_000, "urgency": "Critical"}))
    assert label((await desk.decisions(other))[0]) == "P1"


async def test_a_requesters_message_may_raise_and_never_lower(desk: Desk) -> None:
    await desk.tenant()
    ticket = Ticket(subject="Export does not work")
    await desk.publish(ticket.created("It stops with an error."))
    assert label((await desk.decisions(ticket))[0]) == "P3"
    await desk.publish(ticket.adds("Now all our users are affected and the whole system is down!"))
    _, raised = await desk.decisions(ticket, 2)
    assert (label(raised), raised.decision.impact, raised.decision.category) == ("P1", "critical", None)
    assert raised.based_on_version == 2
    calm = await desk.publish(ticket.adds("Sorry, no hurry, it is only me and a typo."))
    away = await desk.publish(ticket.adds("Emergency! I am out of office.", automatic=True))
    for identity in (calm, away):
        await desk.seen(identity)
    assert len(await desk.decisions(ticket)) == 2


async def test_once_one_of_us_has_answered_messages_raise_nothing(desk: Desk) -> None:
    await desk.tenant()
    ticket = Ticket(subject="Export does not work")
    await desk.publish(ticket.created("It stops with an error."))
    await desk.decisions(ticket)
    answer = await desk.publish(ticket.adds("We look into it.", AuthorKind.AGENT, visibility=Visibility.PUBLIC))
    await desk.seen(answer)
    await desk.seen(await desk.publish(ticket.adds("Emergency, everything is down!")))
    assert len(await desk.decisions(ticket)) == 1


async def test_a_message_that_overtakes_its_ticket_is_part_of_the_first_decision(desk: Desk) -> None:
    await desk.tenant()
    ticket = Ticket(subject="Export does not work")
    created = ticket.created("It stops with an error.")
    await desk.seen(await desk.publish(ticket.adds("Emergency!")))
    await desk.publish(created)
    (decided,) = await desk.decisions(ticket)
    assert label(decided) == "P1"


async def test_what_a_person_set_first_is_not_decided(desk: Desk) -> None:
    await desk.tenant()
    ticket = Ticket(subject="The whole platform is down")
    created = ticket.created("None of our customers can work.")
    set_by_agent = ticket.updated(Change(field="priority", old="P3", new="P2"), Change(field="queue", new="vip"))
    await desk.seen(await desk.publish(set_by_agent))
    await desk.publish(created)
    (decided,) = await desk.decisions(ticket)
    told = decided.decision.model_dump(exclude_defaults=True)
    assert not told.keys() & {"priority", "matrix_priority", "eta_minutes", "queue"}
    assert told["impact"] == "critical"


async def test_an_agent_who_opens_a_ticket_with_a_priority_has_set_it(desk: Desk) -> None:
    await desk.tenant()
    ticket = Ticket(subject="The whole platform is down")
    await desk.publish(ticket.created("None of our customers can work.", {"priority": "P2"}, by=AGENT))
    (decided,) = await desk.decisions(ticket)
    assert decided.decision.priority is None


async def test_corrections_are_remembered_and_shown(desk: Desk) -> None:
    await desk.tenant()
    ticket = Ticket(subject="Question about my invoice")
    await desk.publish(ticket.created("How can I download it?"))
    await desk.decisions(ticket)
    category = Change(field="fields", old={"category": "billing"}, new={"category": "account"})
    identity = await desk.publish(ticket.updated(Change(field="priority", old="P4", new="P2"), category))
    await desk.seen(identity)
    agent, lead, stranger = (
        await desk.known(Role.AGENT),
        await desk.known(Role.TEAM_LEAD),
        await desk.known(Role.TEAM_LEAD, "elsewhere"),
    )
    shown = await desk.ask(agent, f"/v1/triage/tickets/{ticket.id}")
    assert shown["held"] == ["category", "priority"]
    assert shown["decisions"][0]["decision"]["priority"]["label"] == "P4"
    assert {(c["field"], c["decided"], c["corrected"]) for c in shown["corrections"]} == {
        ("priority", "P4", "P2"),
        ("category", "billing", "account"),
    }
    first = await desk.ask(lead, "/v1/triage/corrections", params={"limit": 1})
    second = await desk.ask(lead, "/v1/triage/corrections", params={"limit": 1, "cursor": first["next_cursor"]})
    assert {first["items"][0]["field"], second["items"][0]["field"]} == {"priority", "category"}
    assert second["next_cursor"] is None
    assert (await desk.ask(stranger, "/v1/triage/corrections"))["items"] == []
    answer = await desk.client.get(f"/v1/triage/tickets/{ticket.id}", headers=stranger.headers)
    assert answer.status_code == 404


async def test_a_tier_that_becomes_known_decides_the_newest_tickets_again(desk: Desk) -> None:
    await desk.tenant()
    ticket = Ticket(subject="Export does not work")
    await desk.publish(ticket.created("It stops with an error."))
    (first,) = await desk.decisions(ticket)
    assert first.decision.tier is None
    person = PersonChanged(tenant_id="acme", person_id=ticket.requester_id, version=2, tier="enterprise")
    await desk.publish(person)
    _, again = await desk.decisions(ticket, 2)
    assert again.decision.model_dump(exclude_defaults=True) == {
        "tier": "enterprise",
        "queue": "tier2",
        "escalate_after_minutes": 120.0,
    }
    await desk.publish(person.model_copy(update={"version": 3}))
    later = Ticket(subject="Export does not work", requester_id=ticket.requester_id)
    await desk.publish(later.created("It stops with an error."))
    (known,) = await desk.decisions(later)
    assert known.decision.tier == "enterprise"
    assert len(await desk.decisions(ticket)) == 2


async def test_the_queue_of_an_address_holds_when_a_decision_is_made_again(desk: Desk) -> None:
    await desk.tenant(triage={**PACK["triage"], "address_queues": {"billing@acme.example": "billing"}})
    ticket = Ticket(subject="Export does not work", inbound_address="billing@acme.example")
    await desk.publish(ticket.created("It stops with an error."))
    (first,) = await desk.decisions(ticket)
    assert first.decision.queue == "billing"
    await desk.publish(PersonChanged(tenant_id="acme", person_id=ticket.requester_id, version=2, tier="enterprise"))
    _, again = await desk.decisions(ticket, 2)
    assert (again.decision.tier, again.decision.queue) == ("enterprise", None), "nothing new of the queue"


async def test_a_long_text_is_read_from_the_blob_store_and_decided_again(desk: Desk) -> None:
    await desk.tenant()
    ticket = Ticket(subject="Hello")
    text = "There was a data breach, our database was stolen.\n" + "log line\n" * 10_000
    blob = await desk.blobs.put("acme", text.encode(), "text/plain")
    await desk.publish(ticket.created(Body(text_blob=blob)))
    first, second = await desk.decisions(ticket, 2)
    assert (label(first), label(second), second.decision.category) == ("P3", "P1", "security")


async def test_a_long_further_message_raises_too_and_lowers_nothing(desk: Desk) -> None:
    await desk.tenant()
    ticket = Ticket(subject="Export does not work")
    await desk.publish(ticket.created("It stops with an error."))
    await desk.decisions(ticket)
    for text in ("Emergency!\n" + "log line\n" * 5_000, "No hurry, it is only me.\n" + "log line\n" * 5_000):
        blob = await desk.blobs.put("acme", text.encode(), "text/plain")
        await desk.publish(ticket.adds(Body(text_blob=blob)))

    async def both_read() -> bool:
        (row,) = await desk.rows("SELECT findings::text FROM triaged")
        return "emergency" in row["findings"] and "only_me" in row["findings"]

    await eventually(both_read)
    first, raised = await desk.decisions(ticket, 2)
    assert (label(first), label(raised)) == ("P3", "P1")


async def test_a_preview_stores_nothing_and_says_why(desk: Desk) -> None:
    agent, customer = await desk.known(Role.AGENT), await desk.known(Role.CUSTOMER)
    draft = {"subject": "Server nicht erreichbar", "text": "Niemand kann arbeiten.", "tier": "premium"}
    early = await desk.client.post("/v1/triage/preview", json=draft, headers=agent.headers)
    assert (early.status_code, early.json()["type"].rpartition("/")[2]) == (503, "policy-missing")
    await desk.tenant(languages=("de",))
    answer = await desk.client.post("/v1/triage/preview", json=draft, headers=agent.headers)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["decision"]["priority"]["label"], body["decision"]["language"]) == ("P1", "de")
    assert {reason["field"] for reason in body["reasons"]} >= {"impact", "urgency", "priority", "queue"}
    refused = await desk.client.post("/v1/triage/preview", json={"subjekt": "x"}, headers=agent.headers)
    assert refused.status_code == 422
    wrong = await desk.client.post("/v1/triage/preview", json={"language": "!"}, headers=agent.headers)
    assert wrong.status_code == 422
    forbidden = await desk.client.post("/v1/triage/preview", json=draft, headers=customer.headers)
    assert forbidden.status_code == 403
    assert await desk.rows("SELECT 1 FROM triaged") == []


async def test_many_tickets_are_decided_in_one_go(desk: Desk) -> None:
    await desk.tenant()
    tickets = [Ticket(subject=f"Question {n}") for n in range(300)]
    await asyncio.gather(*(desk.publish(ticket.created("How do I do this?")) for ticket in tickets))

    async def all_decided() -> bool:
        rows = await desk.rows("SELECT count(*) AS n FROM decision")
        return bool(rows[0]["n"] == len(tickets))

    began = datetime.now(UTC)
    await eventually(all_decided)
    assert (datetime.now(UTC) - began).total_seconds() < 20
