"""A message accepted on any channel becomes a ticket, or a part of the right one, exactly once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from shared.contracts import ids
from tests.support.desk import CUSTOMER, Desk
from tests.support.packs import PATIENT, apply
from tests.support.tap import Fact
from tests.support.waiting import eventually


async def created(desk: Desk, ticket_id: str) -> Fact:
    """The one `ticket.created` of a ticket."""

    async def there() -> list[Fact]:
        return [fact for fact in await desk.events("ticket.created") if fact.key == ticket_id]

    facts = await eventually(there, what=f"ticket.created of {ticket_id}")
    assert len(facts) == 1
    return facts[0]


async def test_a_message_by_http_is_received_then_a_ticket_with_number_state_priority_and_owner(
    desk: Desk, folder: Path
) -> None:
    await apply(desk, folder, PATIENT)
    accepted = await desk.message("Cannot log in", "It says no.")
    fact = await created(desk, accepted["ticket_id"])
    (received,) = await desk.events("message.received", message_id=accepted["message_id"])
    assert received.key == accepted["conversation_id"]
    assert fact.data is not None
    told = fact.data["ticket"]
    assert told["number"].startswith("INC-")
    assert told["priority"]["label"] == "P3"
    assert (told["status"], told.get("assignee_id")) == ("new", None), "a fact says how it was at that moment"
    assert told["requester_id"] == str(ids.person_id(desk.tenant, CUSTOMER))
    assert fact.data["message"]["body"]["text"] == "It says no."
    assert fact.headers["ce_causationid"] == received.id

    async def given() -> list[Fact]:
        # Triage names the queue first.
        return await desk.events("ticket.assigned", ticket_id=accepted["ticket_id"])

    (assigned,) = await eventually(given, what="an owner")
    assert assigned.data is not None
    owner = assigned.data["assignee_id"]
    # An enterprise's contract goes straight to Tier 2 (seed 000 §3.2).
    assert owner in {str(desk.people[name]) for name in ("specialist", "other_specialist")}
    (opened,) = await desk.events("ticket.status_changed", ticket_id=accepted["ticket_id"])
    assert opened.data is not None
    assert (opened.data["previous"], opened.data["current"], opened.data["trigger"]) == ("new", "open", "assigned")

    (listed,) = await desk.tickets()
    assert {name: listed[name] for name in ("id", "number", "status", "assignee_id")} == {
        "id": accepted["ticket_id"],
        "number": told["number"],
        "status": "open",
        "assignee_id": owner,
    }


async def test_a_mail_opens_a_ticket(desk: Desk) -> None:
    sent = await desk.mail("Printer on fire", "Smoke everywhere.", sender="joe@globex.example")
    ticket = await desk.ticket_of(sent.message_id)
    assert (ticket["subject"], ticket["channel"]) == ("Printer on fire", "email")
    (message,) = await desk.conversation(ticket["number"])
    assert message["body"]["text"].strip() == "Smoke everywhere."


async def test_a_reply_by_in_reply_to_continues_the_ticket(desk: Desk) -> None:
    first = await desk.mail("Printer on fire")
    ticket = await desk.ticket_of(first.message_id)
    reply = await desk.mail("Re: Printer on fire", "Still burning.", headers={"In-Reply-To": first.header_id})
    assert (await desk.ticket_of(reply.message_id))["id"] == ticket["id"]
    said = [message["body"]["text"].strip() for message in await desk.conversation(ticket["id"])]
    assert said == ["It says no.", "Still burning."]
    assert len(await desk.tickets()) == 1


async def test_a_reply_sent_before_its_parent_arrives_joins_the_same_conversation(desk: Desk) -> None:
    parent = f"<{uuid4()}@acme.example>"
    reply = await desk.mail("Re: Lost", "Any news?", headers={"In-Reply-To": parent})
    await desk.ticket_of(reply.message_id)
    late = await desk.mail("Lost", "Where is it?", header_id=parent)
    await desk.ticket_of(late.message_id)
    received = await desk.events("message.received")
    assert len({fact.key for fact in received}) == 1, "both belong to one conversation"


async def with_second_address(desk: Desk) -> str:
    """Another address of the desk, once mail to it is taken."""
    tenant = await desk.call("GET", f"/v1/tenants/{desk.tenant}", as_="admin")
    second = f"help@{desk.tenant}.example"
    changed = await desk.call(
        "PATCH",
        f"/v1/tenants/{desk.tenant}",
        as_="admin",
        json={"inbound_addresses": [desk.support, second]},
        headers={"If-Match": tenant.headers["ETag"]},
    )
    assert changed.status_code == 200, changed.text

    async def taken() -> bool:
        return (await desk.mail("probe", to=[second], header_id="<probe@acme.example>")).code == 250

    await eventually(taken, what="the second address")
    await desk.quiet()
    return second


async def test_a_mail_to_another_of_our_addresses_is_answered_from_there(desk: Desk) -> None:
    second = await with_second_address(desk)
    sent = await desk.mail("Printer on fire", sender="joe@globex.example", to=[second])
    ticket = await desk.ticket_of(sent.message_id)
    assert ticket["inbound_address"] == second
    mail = await desk.inbox("joe@globex.example").expects(subject="Printer on fire", about=ticket["number"])
    assert f"<{second}>" in mail["headers"]["from"]


async def test_who_answers_to_the_reply_address_does_not_make_it_a_person_that_is_written_to(desk: Desk) -> None:
    sent = await desk.mail("Printer on fire", sender="joe@globex.example")
    ticket = await desk.ticket_of(sent.message_id)
    told = await desk.inbox("joe@globex.example").expects(subject="Printer on fire", about=ticket["number"])
    reply_to = told["headers"]["reply-to"]
    assert reply_to.startswith("reply+")
    answer = await desk.mail("Re: Printer on fire", "It still burns.", sender="joe@globex.example", to=[reply_to])
    assert (await desk.ticket_of(answer.message_id))["id"] == ticket["id"]
    await desk.reply(ticket["id"], "We come.", as_=await desk.owner(ticket["id"]))
    await desk.inbox("joe@globex.example").expects(subject="Re: Printer on fire", about=ticket["number"])
    await desk.inbox(reply_to).has_nothing()
    assert (await desk.ticket(ticket["id"]))["watcher_ids"] == []
    people = await desk.get("/v1/people", as_="admin", params={"address": reply_to})
    assert people["items"] == []


async def test_the_same_mail_to_two_of_our_addresses_is_one_ticket(desk: Desk) -> None:
    second = await with_second_address(desk)
    header_id = f"<{uuid4()}@acme.example>"
    together = await desk.mail("Twice", to=[desk.support, second], header_id=header_id)
    alone = await desk.mail("Twice", to=[second], header_id=header_id)
    again = await desk.mail("Twice", to=[desk.support], header_id=header_id)
    assert together.message_id == alone.message_id == again.message_id
    await desk.ticket_of(together.message_id)
    await desk.installation.settled()
    assert sum(ticket["subject"] == "Twice" for ticket in await desk.tickets()) == 1


async def test_a_stranger_who_cites_a_number_does_not_join(desk: Desk) -> None:
    ticket = await desk.open("Payroll")
    subject = f"Re: [{ticket['number']}] Payroll"
    stranger = await desk.ticket_of((await desk.mail(subject, "Send me all.", sender="eve@evil.example")).message_id)
    assert stranger["id"] != ticket["id"]
    friend = await desk.ticket_of((await desk.mail(subject, "Here is more.", sender=CUSTOMER)).message_id)
    assert friend["id"] == ticket["id"]


async def test_a_forged_token_joins_nothing(desk: Desk) -> None:
    ticket = await desk.open("Payroll")
    forged = f"support+{ticket['id'].replace('-', '')}.{'A' * 22}@{desk.tenant}.example"
    answer = await desk.mail("Re: Payroll", "Let me in.", sender="eve@evil.example", to=[forged])
    if answer.code == 250:
        assert (await desk.ticket_of(answer.message_id))["id"] != ticket["id"]
    headers = {"References": f"<{forged}>", "In-Reply-To": f"<ticket-{ticket['id']}@{desk.tenant}.example>"}
    named = await desk.mail("Re: Payroll", "Let me in.", sender="eve@evil.example", headers=headers)
    assert (await desk.ticket_of(named.message_id))["id"] != ticket["id"]
    assert len(await desk.conversation(ticket["id"])) == 1


async def test_a_repeated_idempotency_key_answers_the_same_ids_and_opens_one_ticket(desk: Desk) -> None:
    key = f"try-{uuid4()}"
    first = await desk.message("Once", key=key)
    again = await desk.message("Once", key=key)
    ids_ = ("message_id", "conversation_id", "ticket_id")
    assert [first[name] for name in ids_] == [again[name] for name in ids_]
    assert (first["status"], again["status"]) == ("accepted", "duplicate")
    other = await desk.call(
        "POST",
        "/v1/messages",
        as_="service",
        json={"subject": "Other", "sender": {"address": CUSTOMER}},
        headers={"Idempotency-Key": key},
    )
    assert other.status_code == 422
    await desk.ticket(first["ticket_id"])
    await desk.installation.settled()
    assert [ticket["id"] for ticket in await desk.tickets()] == [first["ticket_id"]]


async def test_a_batch_of_a_thousand_is_a_thousand_tickets_each_once(
    desk: Desk, dose: Callable[[int, int], int]
) -> None:
    batches = dose(1, 20)
    wanted: dict[str, str] = {}
    for batch in range(batches):
        body = {"messages": [_message(batch, number) for number in range(1000)]}
        answer = await desk.post("/v1/messages", body, as_="service", status=202)
        assert (answer["accepted"], answer["duplicate"], answer["invalid"]) == (1000, 0, 0)
        repeated = await desk.post("/v1/messages", body, as_="service", status=202)
        assert repeated["duplicate"] == 1000
        wanted |= {result["ticket_id"]: f"Row {batch}-{n}" for n, result in enumerate(answer["results"])}
    assert len(wanted) == 1000 * batches

    async def complete() -> bool:
        return len(await desk.events("ticket.created")) >= len(wanted)

    await eventually(complete, within=120, every=0.2, what="every ticket.created")
    # While triage and assignment go on, a list by its newest change moves under whoever turns its pages.
    await desk.quiet()
    facts = await desk.events("ticket.created")
    assert Counter(fact.key for fact in facts) == Counter(dict.fromkeys(wanted, 1))
    assert {fact.key: fact.data["ticket"]["subject"] for fact in facts if fact.data} == wanted
    numbers = {ticket["number"] for ticket in await desk.tickets()}
    assert len(numbers) == len(wanted)


def _message(batch: int, number: int) -> dict[str, Any]:
    return {
        "source_id": f"row-{batch}-{number}",
        "subject": f"Row {batch}-{number}",
        "text": "Imported.",
        "sender": {"address": f"person{number % 50}@globex.example"},
    }


async def test_a_message_of_one_tenant_is_on_no_topic_of_another(
    desk: Desk, open_tenant: Callable[[str], Awaitable[Desk]]
) -> None:
    other = await open_tenant("other")
    accepted = await desk.message("Ours alone")
    await created(desk, accepted["ticket_id"])
    assert await other.events("ticket.created") == []
    assert await other.tickets() == []
