"""Messages become tickets, or go on with one; nothing joins what it may not."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import pairwise
from uuid import uuid4

import orjson
import pytest

from shared import outbox, waiting
from shared.contracts.directory import Role
from shared.contracts.message import Hints
from shared.contracts.ticket import TicketState
from shared.envelope import NotYet
from tests.integration.tickets.conftest import OURS, Service, build, message, person, received, reply, ticket_id
from tests.support.databases import ScratchDatabases
from tests.support.engines import Engines

pytestmark = pytest.mark.engines


async def test_a_message_becomes_a_ticket_with_an_owner(service: Service) -> None:
    await service.tenant()
    team = await service.team()
    agent = await service.agent("ann", team)
    first = message(hints=Hints(priority="p1", tags=("VIP", "vip"), error_code="E\n42"))

    await service.handle(first)

    (row,) = await service.rows("SELECT * FROM ticket")
    assert row["id"] == ticket_id(first)
    assert row["assignee_id"] == agent
    assert (row["status"], row["category"], row["rank"]) == ("open", "open", 1)
    assert row["tags"] == ["vip"]
    assert orjson.loads(row["fields"]) == {"error_code": "E 42"}
    events = await service.published()
    topics = [e["topic"] for e in events]
    assert topics == ["ticket.created", "ticket.assigned", "ticket.status_changed", "ticket.state"]
    assert events[1]["load"] == 1
    assert events[1]["capacity"] == 5
    assert events[3]["version"] == events[3]["revision"] == 1


async def test_the_ledger_starts_at_trusted_receipt_and_everything_else_at_the_transaction(service: Service) -> None:
    await service.tenant()
    first = message()
    await service.handle(first)
    (state,) = await service.published("ticket.state")
    ledger = TicketState.model_validate({k: v for k, v in state.items() if k != "topic"}).ledger
    assert [entry.kind for entry in ledger] == ["opened", "status", "priority", "queue"]
    assert ledger[0].at == first.received_at
    created = await service.one("SELECT created_at FROM ticket")
    assert {entry.at for entry in ledger[1:]} == {created}


async def test_a_reply_joins_the_ticket_of_its_parent_in_the_same_batch(service: Service) -> None:
    await service.tenant()
    first = message()
    second = reply(first)
    await service.handle(first, second, reply(second))
    assert await service.one("SELECT message_count FROM ticket") == 3
    assert [r["position"] for r in await service.rows("SELECT position FROM message ORDER BY position")] == [1, 2, 3]
    (state,) = await service.published("ticket.state")
    assert state["version"] == 3
    assert len(state["messages"]) == 3


async def test_a_message_handled_before_is_skipped_whatever_its_event_is_called(service: Service) -> None:
    await service.tenant()
    first = message(source="same")
    await service.handle(first)
    assert await service.handle(first, message(source="same"), first) == []
    assert await service.one("SELECT message_count FROM ticket") == 1


async def test_a_reply_waits_for_its_parent_and_joins_when_it_arrives(service: Service) -> None:
    await service.tenant()
    first = message()
    answer = reply(first)
    (waits,) = await service.handle(answer)
    assert isinstance(waits, NotYet)
    assert (waits.missing_kind, waits.missing_id) == ("parent", str(first.message_id))
    assert await service.one("SELECT count(*) FROM ticket") == 0

    await _put_away(service, answer, waits)
    await service.handle(first)
    assert await service.one("SELECT due_at <= now() FROM waiting") is True
    await service.handle(answer)
    assert await service.one("SELECT message_count FROM ticket") == 2


async def test_a_parent_that_stays_away_too_long_opens_a_ticket_that_is_linked_later(service: Service) -> None:
    await service.tenant()
    first = message()
    answer = reply(first)
    (waits,) = await service.handle(answer)
    assert isinstance(waits, NotYet)
    await _put_away(service, answer, waits)
    await service.rows("UPDATE waiting SET due_at = now() + interval '1 hour'")
    await service.fired.start(service.database)
    await service.forward(timedelta(minutes=9))
    await service.fire()
    assert isinstance((await service.handle(answer))[0], NotYet)

    await service.forward(timedelta(minutes=2))
    await service.fire()
    assert await service.one("SELECT due_at <= now() FROM waiting") is True
    await service.handle(answer)
    opened = ticket_id(answer)
    assert await service.one("SELECT awaited_parent_id FROM ticket WHERE id = $1", opened) == first.message_id

    await service.handle(first)
    (row,) = await service.rows("SELECT follows_id, awaited_parent_id FROM ticket WHERE id = $1", opened)
    assert (row["follows_id"], row["awaited_parent_id"]) == (ticket_id(first), None)


async def _put_away(service: Service, answer: object, waits: NotYet) -> None:
    async with service.database.begin() as tx:
        row = waiting.Waiting(
            key="k",
            topic="message.received",
            partition=0,
            offset=1,
            record_ms=1,
            payload=b"{}",
            headers=b"0[]",
            reason="not_yet",
            missing_kind=waits.missing_kind,
            missing_id=waits.missing_id,
        )
        await waiting.append(tx, "tickets", [row])
        await tx.execute("UPDATE waiting SET due_at = now() + interval '1 minute'")


async def test_an_unknown_parent_opens_at_once(service: Service) -> None:
    await service.tenant()
    await service.handle(message(parent="unknown"))
    assert await service.one("SELECT count(*) FROM ticket") == 1


async def test_a_number_in_the_subject_counts_only_for_participants_who_are_not_spoofed(service: Service) -> None:
    await service.tenant()
    first = message("rita", to=("carl",))
    await service.handle(first)
    number = await service.one("SELECT number FROM ticket")
    assert number.startswith("INC-20")

    await service.handle(message("rita", ticket_number=number), message("carl", ticket_number=number))
    assert await service.one("SELECT message_count FROM ticket WHERE number = $1", number) == 3
    stranger = message("mallory", ticket_number=number)
    spoofed = message("rita", ticket_number=number, spoofed=True)
    await service.handle(stranger, spoofed)
    assert await service.one("SELECT message_count FROM ticket WHERE number = $1", number) == 3
    assert await service.one("SELECT count(*) FROM ticket") == 3


async def test_a_token_joins_only_for_a_participant_of_the_same_tenant(service: Service) -> None:
    await service.tenant("acme")
    await service.tenant("evil")
    first = message("rita")
    await service.handle(first)
    target = ticket_id(first)

    await service.handle(message("rita", token_ticket_id=target))
    assert await service.one("SELECT message_count FROM ticket WHERE id = $1", target) == 2
    await service.handle(
        message("mallory", token_ticket_id=target),
        message("rita", tenant="evil", token_ticket_id=target),
        message("rita", tenant="evil", parent="known", parent_message_id=uuid4()),
    )
    foreign = message("rita", tenant="evil", parent="known", parent_message_id=first.message_id)
    assert isinstance((await service.handle(foreign))[0], NotYet)
    assert await service.one("SELECT message_count FROM ticket WHERE id = $1", target) == 2


async def test_the_address_of_the_desk_itself_takes_part_in_nothing(service: Service) -> None:
    await service.tenant()
    first = message("rita")
    await service.handle(first.model_copy(update={"recipients": (OURS,)}))
    assert await service.one("SELECT participant_ids FROM ticket") == [person("rita")]


async def test_a_ticket_knows_which_of_our_addresses_its_first_message_was_sent_to(service: Service) -> None:
    await service.tenant()
    first = message("rita", to=("carl",)).model_copy(update={"inbound_address": "support@acme.example"})
    await service.handle(first)
    ticket = ticket_id(first)
    assert (await service.state(ticket)).ticket.inbound_address == "support@acme.example"
    (created,) = await service.published("ticket.created")
    assert created["ticket"]["inbound_address"] == "support@acme.example"
    await service.handle(reply(first).model_copy(update={"inbound_address": "other@acme.example"}))
    assert (await service.state(ticket)).ticket.inbound_address == "support@acme.example", "the first counts"
    await service.handle(alone := message("rita", to=("carl",)))
    assert (await service.state(ticket_id(alone))).ticket.inbound_address is None


async def test_automatic_mail_changes_neither_state_nor_clocks(service: Service) -> None:
    await service.tenant()
    opened = message(automatic=True)
    await service.handle(opened)
    assert await service.one("SELECT opened FROM ticket") is False
    (state,) = await service.published("ticket.state")
    assert "opened" not in {entry["kind"] for entry in state["ledger"]}

    before = await service.one("SELECT ledger_count FROM ticket")
    await service.handle(reply(opened, automatic=True))
    assert await service.one("SELECT ledger_count FROM ticket") == before
    person_writes = reply(opened)
    await service.handle(person_writes)
    (last,) = (await service.published("ticket.state"))[-1:]
    opened_at = next(entry["at"] for entry in last["ledger"] if entry["kind"] == "opened")
    assert opened_at == person_writes.received_at.isoformat().replace("+00:00", "Z")


async def test_a_missing_policy_is_waited_for_by_name(service: Service) -> None:
    (waits,) = await service.handle(message(tenant="nobody"))
    assert isinstance(waits, NotYet)
    assert (waits.missing_kind, waits.missing_id) == ("policy", "nobody/workflow")
    assert await service.one("SELECT count(*) FROM ticket") == 0


async def test_a_reply_to_a_closed_ticket_opens_one_that_follows_it(service: Service) -> None:
    await service.tenant()
    first = message()
    await service.handle(first)
    await service.rows("UPDATE ticket SET status = 'closed', category = 'closed', active = false")
    answer = reply(first)
    await service.handle(answer)
    assert await service.one("SELECT follows_id FROM ticket WHERE id = $1", ticket_id(answer)) == ticket_id(first)
    await service.handle(reply(first, automatic=True))
    assert await service.one("SELECT message_count FROM ticket WHERE id = $1", ticket_id(first)) == 2


async def test_a_reply_to_a_solved_ticket_reopens_it_in_a_new_cycle(service: Service) -> None:
    await service.tenant()
    team = await service.team()
    await service.agent("ann", team)
    first = message()
    await service.handle(first)
    agent = service.caller("ann", Role.AGENT)
    solved = await service.call(
        agent, "POST", f"/v1/tickets/{ticket_id(first)}/transitions", {"to": "solved", "resolution": "Put out."}
    )
    assert solved.status_code == 200
    await service.handle(reply(first))
    state = (await service.published("ticket.state"))[-1]
    assert state["ticket"]["status"] == "reopened"
    assert state["cycle"] == 2
    assert state["ledger"][0]["kind"] == "cycle"
    assert state["sealed"][0]["solved_at"] is not None
    archived = await service.rows("SELECT number FROM ledger_archive ORDER BY number")
    assert [r["number"] for r in archived] == list(range(1, state["ledger"][0]["number"]))


async def test_merges_are_followed_to_their_end(service: Service) -> None:
    await service.tenant()
    chain = [message() for _ in range(3)]
    await service.handle(*chain)
    for source, target in pairwise(chain):
        await service.rows(
            "UPDATE ticket SET merged_into = $2, active = false WHERE id = $1", ticket_id(source), ticket_id(target)
        )
    await service.handle(reply(chain[0]))
    assert await service.one("SELECT message_count FROM ticket WHERE id = $1", ticket_id(chain[2])) == 2


async def test_text_that_jsonb_refuses_is_kept(service: Service) -> None:
    await service.tenant()
    await service.handle(message(subject="a\0b\r\nBcc: x", text="NUL \0 and \x1f"))
    assert await service.one("SELECT subject FROM ticket") == "a b Bcc: x"
    assert await service.one("SELECT body::text FROM message") == '{"text":"NUL \\u0000 and \\u001f"}'


async def test_an_agents_mail_is_an_answer_of_ours_only_with_a_token_and_a_true_sender(service: Service) -> None:
    await service.tenant()
    team = await service.team()
    await service.agent("ann", team)
    first = message()
    await service.handle(first)
    target = ticket_id(first)
    await service.handle(message("ann", token_ticket_id=target))
    (state,) = (await service.published("ticket.state"))[-1:]
    assert state["ledger"][-1]["kind"] == "responded"
    await service.handle(message("ann", token_ticket_id=target, spoofed=True), reply(first, "ann"))
    kinds = [
        r["author_kind"] for r in await service.rows("SELECT author_kind FROM message ORDER BY ticket_id, position")
    ]
    assert kinds.count("agent") == 1


async def test_what_only_looks_like_a_number_or_an_id_harms_nobody(service: Service) -> None:
    await service.tenant()
    await service.handle(
        message(ticket_number="INC-2026-\0"), message(external_id="a\0b@c"), message(ticket_number="; DROP")
    )
    assert await service.one("SELECT count(*) FROM ticket") == 3


async def test_a_section_that_cannot_be_read_is_waited_for_and_the_former_pack_goes_on(service: Service) -> None:
    await service.tenant("acme", workflow={"initial": "x", "of_a_later_release": True})
    (waits,) = await service.handle(message())
    assert isinstance(waits, NotYet)
    assert waits.missing_id == "acme/workflow"
    await service.tenant("acme")
    await service.handle(message())
    await service.tenant("acme", workflow={"initial": "x", "of_a_later_release": True})
    await service.handle(message())
    assert await service.one("SELECT count(*) FROM ticket") == 2


async def test_a_slower_transaction_never_takes_the_ledger_back_in_time(service: Service) -> None:
    await service.tenant()
    first = message()
    await service.handle(first)
    batch = [received(reply(first))]
    async with service.database.begin() as slow:
        await asyncio.sleep(0.05)
        await service.handle(reply(first))
        answers = await service.handlers.on_message_received(slow, batch)
        await outbox.add(slow, answers)
    state = (await service.published("ticket.state"))[-1]
    instants = [entry["at"] for entry in state["ledger"] if entry["kind"] != "opened"]
    assert instants == sorted(instants)
    assert state["message_count"] == 3


async def test_four_handlers_at_once_never_give_a_number_twice(
    service: Service, engines: Engines, databases: ScratchDatabases
) -> None:
    await service.tenant()
    others = [await build(engines, databases, service.url) for _ in range(3)]
    instances = [service, *others]
    for _ in range(5):
        await asyncio.gather(*(one.handle(*(message() for _ in range(40))) for one in instances))
    numbers = [r["number"] for r in await service.rows("SELECT number FROM ticket")]
    assert len(numbers) == len(set(numbers)) == 800
    for one in others:
        await one.http.aclose()
        await one.database.close()


async def test_a_snapshot_stays_under_64_kb_with_5000_messages(service: Service) -> None:
    await service.tenant()
    team = await service.team()
    await service.agent("ann", team)
    first = message(subject="€" * 500, hints=Hints(tags=tuple(f"tag-{i}-" + "é" * 30 for i in range(30))))
    await service.handle(first)
    await service.rows("UPDATE ticket SET fields = $1", orjson.dumps({"note": "x" * 7_900}).decode())
    for start in range(0, 5000, 500):
        await service.handle(*(reply(first, source=f"{start}-{i}") for i in range(500)))
    sizes = [r[0] for r in await service.rows("SELECT octet_length(payload) FROM outbox WHERE topic = 'ticket.state'")]
    assert max(sizes) < 65_536
    (last,) = (await service.published("ticket.state"))[-1:]
    assert last["message_count"] == 5001
    assert last["messages"][-1]["message_id"] == str(reply(first, source="4500-499").message_id)
    kept = [r["number"] for r in await service.rows("SELECT number FROM ledger_archive")]
    kept += [entry["number"] for entry in last["ledger"]]
    assert sorted(kept) == list(range(1, max(kept) + 1))
