"""Two tickets become one: answers follow, clocks end, nothing goes in a circle, and it can be taken back."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from services.tickets.domain.merging import UNDO
from shared.contracts.directory import Role
from tests.integration.tickets.conftest import Service, message, person, reply, ticket_id
from tests.support.api import Caller

pytestmark = pytest.mark.engines


async def _desk(service: Service) -> Caller:
    await service.tenant()
    await service.agent("ann", await service.team(), capacity=100)
    return service.caller("ann", Role.AGENT)


async def _merge(service: Service, who: Caller, one: UUID, into: UUID, **more: object) -> None:
    answer = await service.call(who, "POST", f"/v1/tickets/{one}/merge", {"into": str(into), **more})
    assert answer.status_code == 200, answer.text
    assert answer.json()["merged_into"] == str(into)


async def test_a_merged_ticket_ends_its_clocks_frees_its_owner_and_says_where_it_goes_on(service: Service) -> None:
    ann = await _desk(service)
    first, second = message("rita"), message("vera")
    await service.handle(first, second)
    one, other = ticket_id(first), ticket_id(second)
    await _merge(service, ann, one, other, reason="the same outage")

    state = await service.state(one)
    assert (state.merged_into, state.ledger[-1].kind, state.ledger[-1].value) == (other, "merged", str(other))
    (fact,) = await service.published("ticket.merged")
    number = await service.one("SELECT number FROM ticket WHERE id = $1", other)
    assert (fact["ticket_id"], fact["into_number"], fact["reason"]) == (str(one), number, "the same outage")
    assert await service.one("SELECT active FROM ticket WHERE id = $1", one) is False
    assert await service.rows("SELECT kind FROM timer WHERE key = $1", str(one)) == []
    (told,) = await service.published("ticket.updated")
    assert (told["ticket_id"], told["changes"][0]["new"]) == (str(other), [str(person("rita"))])
    actions = await service.rows("SELECT ticket_id, action FROM audit WHERE action IN ('merged', 'absorbed')")
    assert {(row["ticket_id"], row["action"]) for row in actions} == {(one, "merged"), (other, "absorbed")}
    assert (await service.call(service.caller("rita", Role.CUSTOMER), "GET", f"/v1/tickets/{other}")).status_code == 200


async def test_the_merged_ones_requester_stays_outside_where_the_agent_says_so(service: Service) -> None:
    ann = await _desk(service)
    first, second = message("rita"), message("vera")
    await service.handle(first, second)
    await _merge(service, ann, ticket_id(first), ticket_id(second), follow=False)
    rita = service.caller("rita", Role.CUSTOMER)
    assert (await service.call(rita, "GET", f"/v1/tickets/{ticket_id(second)}")).status_code == 404


async def test_answers_to_a_chain_of_merges_join_its_end_and_whoever_wrote_follows_it(service: Service) -> None:
    ann = await _desk(service)
    first, second, third = message("rita", to=("carl",)), message("vera"), message("tom")
    await service.handle(first, second, third)
    a, b, c = map(ticket_id, (first, second, third))
    await _merge(service, ann, a, b, follow=False)
    await _merge(service, ann, b, c, follow=False)
    number = await service.one("SELECT number FROM ticket WHERE id = $1", a)
    await service.handle(
        reply(first, "rita"),
        message("carl", token_ticket_id=a),
        message("vera", subject="any", ticket_number=await service.one("SELECT number FROM ticket WHERE id = $1", b)),
        message("mallory", subject=f"Re: [{number}]", ticket_number=number),
    )
    rows = await service.rows(
        "SELECT id, message_count, watcher_ids FROM ticket WHERE id = ANY ($1::uuid[])", [a, b, c]
    )
    counts = {row["id"]: row["message_count"] for row in rows}
    assert counts == {a: 1, b: 1, c: 4}
    watching = next(set(row["watcher_ids"]) for row in rows if row["id"] == c)
    assert watching == {person("rita"), person("carl"), person("vera")}
    assert await service.one("SELECT count(*) FROM ticket") == 4, "who takes part in none of them opens a ticket"


async def test_merging_into_a_merged_ticket_means_the_one_it_goes_on_in_and_never_a_circle(service: Service) -> None:
    ann = await _desk(service)
    sent = [message("rita") for _ in range(3)]
    await service.handle(*sent)
    a, b, c = map(ticket_id, sent)
    await _merge(service, ann, b, c)
    answer = await service.call(ann, "POST", f"/v1/tickets/{a}/merge", {"into": str(b)})
    assert answer.json()["merged_into"] == str(c)
    again = await service.call(ann, "POST", f"/v1/tickets/{a}/merge", {"into": str(c)})
    assert again.status_code == 200, "a repetition changes nothing"
    assert len(await service.published("ticket.merged")) == 2
    for into in (a, b, c):
        circle = await service.call(ann, "POST", f"/v1/tickets/{c}/merge", {"into": str(into)})
        assert (circle.status_code, circle.json()["type"].rpartition("/")[2]) == (409, "merge-same-ticket")


async def test_a_merged_ticket_is_read_only_and_names_the_other(service: Service) -> None:
    ann = await _desk(service)
    first, second = message("rita"), message("rita")
    await service.handle(first, second)
    one = ticket_id(first)
    await _merge(service, ann, one, ticket_id(second))
    number = await service.one("SELECT number FROM ticket WHERE id = $1", ticket_id(second))
    for method, path, body in (
        ("POST", "messages", {"text": "hello"}),
        ("POST", "transitions", {"to": "closed", "reason": "x"}),
        ("POST", "assignment", {"assignee_id": None}),
        ("POST", "transfers", {"to": str(person("ann"))}),
        ("PUT", f"watchers/{person('ann')}", None),
        ("POST", "merge", {"into": "INC-2026-999999"}),
    ):
        answer = await service.call(ann, method, f"/v1/tickets/{one}/{path}", body)
        if path == "merge":
            assert answer.status_code == 422
            continue
        assert answer.status_code == 409, (path, answer.text)
        assert number in answer.json()["detail"]


async def test_two_merges_that_cross_never_make_a_circle(service: Service) -> None:
    ann = await _desk(service)
    sent = [message("rita") for _ in range(16)]
    await service.handle(*sent)
    ids = [ticket_id(one) for one in sent]
    crossing = [(a, b) for a, b in zip(ids[::2], ids[1::2], strict=True) for a, b in ((a, b), (b, a))]
    calls = [service.call(ann, "POST", f"/v1/tickets/{a}/merge", {"into": str(b)}) for a, b in crossing]
    answers = await asyncio.gather(*calls)
    assert sorted(answer.status_code for answer in answers) == [200] * 8 + [409] * 8
    pointers = {r["id"]: r["merged_into"] for r in await service.rows("SELECT id, merged_into FROM ticket")}
    assert sum(into is not None for into in pointers.values()) == 8
    assert all(pointers[into] is None for into in pointers.values() if into is not None)


async def test_only_ones_own_tenants_tickets_are_merged_and_only_by_agents(service: Service) -> None:
    ann = await _desk(service)
    await service.tenant("evil")
    mine, foreign = message("rita"), message(tenant="evil")
    await service.handle(mine, foreign)
    path = f"/v1/tickets/{ticket_id(mine)}/merge"
    assert (await service.call(ann, "POST", path, {"into": str(ticket_id(foreign))})).status_code == 422
    rita = service.caller("rita", Role.CUSTOMER)
    assert (await service.call(rita, "POST", path, {"into": str(ticket_id(mine))})).status_code == 403
    mallory = service.caller("mallory", Role.AGENT, tenant="evil")
    assert (await service.call(mallory, "POST", path, {"into": str(ticket_id(foreign))})).status_code == 404


async def test_a_closed_ticket_takes_nothing_in(service: Service) -> None:
    ann = await _desk(service)
    first, second = message("rita"), message("rita")
    await service.handle(first, second)
    await service.call(ann, "POST", f"/v1/tickets/{ticket_id(second)}/transitions", {"to": "closed", "reason": "spam"})
    answer = await service.call(ann, "POST", f"/v1/tickets/{ticket_id(first)}/merge", {"into": str(ticket_id(second))})
    assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (409, "merge-closed")


async def test_a_merge_taken_back_restores_the_ticket_in_a_new_cycle(service: Service) -> None:
    ann = await _desk(service)
    first, second = message("rita"), message("vera")
    await service.handle(first, second)
    one, other = ticket_id(first), ticket_id(second)
    await _merge(service, ann, one, other)
    await service.handle(reply(first, "rita"))
    answer = await service.call(ann, "POST", f"/v1/tickets/{one}/unmerge", {"reason": "another printer"})
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    assert (shown["merged_into"], shown["status"], shown["cycle"], shown["assignee_id"]) == (
        None,
        "open",
        2,
        str(person("ann")),
    )
    state = await service.state(one)
    assert [entry.kind for entry in state.ledger][:2] == ["cycle", "status"]
    assert state.sealed[0].cycle == 1
    assert (await service.state(other)).watcher_ids == ()
    (fact,) = await service.published("ticket.unmerged")
    assert (fact["from_id"], fact["reason"]) == (str(other), "another printer")
    assert await service.one("SELECT message_count FROM ticket WHERE id = $1", other) == 2, "what came stays"
    await service.handle(reply(first, "rita"))
    assert await service.one("SELECT message_count FROM ticket WHERE id = $1", one) == 2
    again = await service.call(ann, "POST", f"/v1/tickets/{one}/unmerge")
    assert (again.status_code, again.json()["type"].rpartition("/")[2]) == (409, "merge-not-merged")


async def test_after_thirty_days_a_merge_stands(service: Service) -> None:
    ann = await _desk(service)
    first, second = message("rita"), message("vera")
    await service.handle(first, second)
    await _merge(service, ann, ticket_id(first), ticket_id(second))
    await service.forward(UNDO + timedelta(minutes=1))
    answer = await service.call(ann, "POST", f"/v1/tickets/{ticket_id(first)}/unmerge")
    assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (409, "merge-too-late")


async def test_the_middle_of_a_chain_can_be_taken_back_with_what_came_by_it(service: Service) -> None:
    ann = await _desk(service)
    sent = [message("rita"), message("vera"), message("tom")]
    await service.handle(*sent)
    a, b, c = map(ticket_id, sent)
    await _merge(service, ann, a, b)
    await _merge(service, ann, b, c)
    assert (await service.call(ann, "POST", f"/v1/tickets/{b}/unmerge")).status_code == 200
    await service.handle(reply(sent[0], "rita"))
    rows = await service.rows("SELECT id, message_count FROM ticket")
    assert {row["id"]: row["message_count"] for row in rows} == {a: 1, b: 2, c: 1}


async def test_merging_races_with_messages_and_nothing_is_lost(service: Service) -> None:
    ann = await _desk(service)
    first, second = message("rita"), message("vera")
    await service.handle(first, second)
    a, b = ticket_id(first), ticket_id(second)
    replies = [reply(one, who) for _ in range(10) for one, who in ((first, "rita"), (second, "vera"))]

    async def swap() -> None:
        for _ in range(5):
            await service.call(ann, "POST", f"/v1/tickets/{a}/merge", {"into": str(b)})
            await service.call(ann, "POST", f"/v1/tickets/{a}/unmerge")

    await asyncio.gather(swap(), *(service.handle(one) for one in replies))
    assert await service.one("SELECT sum(message_count) FROM ticket") == 22
    rows = await service.rows("SELECT ticket_id, count(*), max(position) FROM message GROUP BY ticket_id")
    assert all(row["count"] == row["max"] for row in rows)
    admin = service.caller("root", Role.ADMIN)
    for one in (a, b):
        audit = await service.call(admin, "GET", f"/v1/tickets/{one}/audit?verify=true")
        assert audit.json()["verified"] is True
