"""The API: who sees what, what is refused and why, no lost update, pages that skip and repeat nothing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import orjson
import pytest

from shared.contracts.directory import PersonChanged, Role
from tests.integration.tickets.conftest import Service, message, person, reply, ticket_id
from tests.support.api import Caller

pytestmark = pytest.mark.engines


async def _desk(service: Service) -> dict[str, Caller]:
    await service.tenant()
    team = await service.team()
    await service.agent("ann", team)
    return {role.value: service.caller("ann" if role is Role.AGENT else role.value, role) for role in Role}


async def _ticket(service: Service, sender: str = "rita", **more: Any) -> str:
    first = message(sender, **more)
    await service.handle(first)
    return f"/v1/tickets/{ticket_id(first)}"


async def test_a_ticket_is_read_by_id_and_number_with_its_tag(service: Service) -> None:
    who = await _desk(service)
    path = await _ticket(service)
    answer = await service.call(who["agent"], "GET", path)
    assert answer.status_code == 200
    ticket = answer.json()
    assert answer.headers["etag"] == f'"{ticket["version"]}"'
    by_number = await service.call(who["agent"], "GET", f"/v1/tickets/{ticket['number']}")
    assert by_number.json() == ticket
    again = await service.call(who["agent"], "GET", path, If_None_Match=answer.headers["etag"])
    assert again.status_code == 304


async def test_a_ticket_opened_by_an_agent_goes_the_way_of_any_message(service: Service) -> None:
    who = await _desk(service)
    body = {
        "subject": "No sound",
        "text": "Since noon.",
        "requester": {"address": "Rita@Example.org"},
        "channel": "phone",
    }
    first = await service.call(who["agent"], "POST", "/v1/tickets", body, Idempotency_Key="a-1")
    assert first.status_code == 201, first.text
    ticket = first.json()
    assert ticket["requester_id"] == str(person("rita"))
    assert ticket["assignee_id"] == str(person("ann"))
    assert first.headers["location"] == f"/v1/tickets/{ticket['id']}"
    assert first.headers["etag"] == '"1"'
    again = await service.call(who["agent"], "POST", "/v1/tickets", body, Idempotency_Key="a-1")
    assert (again.status_code, again.json()) == (201, ticket)
    assert await service.one("SELECT count(*) FROM ticket") == 1
    events = [e["topic"] for e in await service.published()]
    assert events == ["ticket.created", "ticket.assigned", "ticket.status_changed", "ticket.state"]


async def test_customers_open_tickets_only_for_themselves(service: Service) -> None:
    who = await _desk(service)
    mine = service.caller("rita", Role.CUSTOMER)
    good = await service.call(mine, "POST", "/v1/tickets", {"subject": "Help", "text": "Please."})
    assert good.json()["requester_id"] == str(person("rita"))
    for extra in ({"requester_id": str(uuid4())}, {"requester": {"address": "x@y"}}, {"queue": "tier1"}):
        refused = await service.call(mine, "POST", "/v1/tickets", {"subject": "Help", "text": "Please.", **extra})
        assert refused.status_code == 403
        assert "ticket." in refused.json()["detail"]
    unnamed = await service.call(who["agent"], "POST", "/v1/tickets", {"subject": "Help", "text": "Please."})
    assert unnamed.status_code == 422


async def test_a_patch_needs_the_version_it_was_made_against(service: Service) -> None:
    who = await _desk(service)
    path = await _ticket(service)
    assert (await service.call(who["agent"], "PATCH", path, {"subject": "New"})).status_code == 428
    stale = await service.call(who["agent"], "PATCH", path, {"subject": "New"}, If_Match='"99"')
    assert stale.status_code == 412
    tag = (await service.call(who["agent"], "GET", path)).headers["etag"]
    body = {
        "subject": "New",
        "priority": "P1",
        "tags": ["A", "b"],
        "fields": {"room": 7},
        "watcher_ids": [str(uuid4())],
    }
    done = await service.call(who["agent"], "PATCH", path, body, If_Match=tag)
    assert done.status_code == 200, done.text
    assert done.json()["priority"] == {"rank": 1, "label": "P1"}
    assert done.json()["tags"] == ["a", "b"]
    (told,) = await service.published("ticket.updated")
    assert {c["field"] for c in told["changes"]} == set(body)
    bad = {"priority": "P9", "queue": "nowhere"}
    wrong = await service.call(who["agent"], "PATCH", path, bad, If_Match=done.headers["etag"])
    assert wrong.status_code == 422
    assert {e["pointer"] for e in wrong.json()["errors"]} == {"/priority", "/queue"}


async def test_fifty_writers_on_one_ticket_lose_no_update(service: Service) -> None:
    who = await _desk(service)
    path = await _ticket(service)

    async def write(n: int) -> None:
        if n % 2:
            answer = await service.call(
                who["agent"], "POST", f"{path}/messages", {"text": f"note {n}", "visibility": "internal"}
            )
            assert answer.status_code == 201
            return
        while True:
            read = await service.call(who["agent"], "GET", path)
            body = {"fields": {f"writer_{n}": n}}
            answer = await service.call(who["agent"], "PATCH", path, body, If_Match=read.headers["etag"])
            if answer.status_code == 200:
                return
            assert answer.status_code == 412

    before = (await service.call(who["agent"], "GET", path)).json()["version"]
    await asyncio.gather(*(write(n) for n in range(50)))
    ticket = (await service.call(who["agent"], "GET", path)).json()
    assert ticket["version"] == before + 50
    assert len(ticket["fields"]) == 25
    assert await service.one("SELECT count(*) FROM message") == 26
    versions = [e["version"] for e in await service.published("ticket.state")]
    assert versions == sorted(versions)
    assert len(set(versions)) == len(versions)


async def test_internal_notes_are_never_shown_to_customers(service: Service) -> None:
    who = await _desk(service)
    path = await _ticket(service)
    await service.call(who["agent"], "POST", f"{path}/messages", {"text": "CANARY", "visibility": "internal"})
    await service.call(who["agent"], "POST", f"{path}/messages", {"text": "Hello"})
    mine = service.caller("rita", Role.CUSTOMER)
    for below in ("", "/messages", "/transitions"):
        seen = await service.call(mine, "GET", path + below)
        assert seen.status_code == 200
        assert "CANARY" not in seen.text
    assert len((await service.call(mine, "GET", f"{path}/messages")).json()["items"]) == 2
    assert len((await service.call(who["agent"], "GET", f"{path}/messages")).json()["items"]) == 3
    assert len((await service.call(who["service"], "GET", f"{path}/messages")).json()["items"]) == 2
    refused = await service.call(mine, "POST", f"{path}/messages", {"text": "x", "visibility": "internal"})
    assert refused.status_code == 403
    assert "ticket.note" in refused.json()["detail"]


async def test_an_agents_answer_is_a_response_and_a_customers_resumes_a_pending_ticket(service: Service) -> None:
    who = await _desk(service)
    path = await _ticket(service)
    too_early = await service.call(who["agent"], "POST", f"{path}/transitions", {"to": "pending"})
    assert too_early.status_code == 409
    assert too_early.json()["type"].endswith("transition-guard")
    await service.call(who["agent"], "POST", f"{path}/messages", {"text": "Which printer?"})
    assert (await service.call(who["agent"], "POST", f"{path}/transitions", {"to": "pending"})).status_code == 200
    mine = service.caller("rita", Role.CUSTOMER)
    await service.call(mine, "POST", f"{path}/messages", {"text": "The red one."})
    state = (await service.published("ticket.state"))[-1]
    assert state["ticket"]["status"] == "open"
    kinds = [entry["kind"] for entry in state["ledger"]]
    assert kinds[-4:] == ["responded", "status", "replied", "status"]


async def test_transitions_say_what_is_possible_and_what_is_missing(service: Service) -> None:
    who = await _desk(service)
    path = await _ticket(service)
    options = {
        o["to"]: o for o in (await service.call(who["agent"], "GET", f"{path}/transitions")).json()["transitions"]
    }
    assert options["solved"]["missing"] == ["resolution"]
    assert options["escalated"]["possible"] is False
    refused = await service.call(who["agent"], "POST", f"{path}/transitions", {"to": "escalated", "reason": "r"})
    assert refused.status_code == 403
    assert "ticket.transition" in refused.json()["detail"]
    assert (await service.call(who["agent"], "POST", f"{path}/transitions", {"to": "moon"})).status_code == 422
    missing = await service.call(who["agent"], "POST", f"{path}/transitions", {"to": "solved"})
    assert missing.status_code == 409
    assert missing.json()["errors"][0]["pointer"] == "/resolution"
    done = await service.call(who["agent"], "POST", f"{path}/transitions", {"to": "solved", "resolution": "Fixed."})
    assert done.json()["fields"]["resolution"] == "Fixed."
    mine = service.caller("rita", Role.CUSTOMER)
    assert (await service.call(mine, "POST", f"{path}/transitions", {"to": "closed"})).status_code == 200
    late = await service.call(mine, "POST", f"{path}/messages", {"text": "Wait"})
    assert (late.status_code, late.json()["type"].rpartition("/")[2]) == (409, "ticket-closed")


async def test_a_page_after_page_walk_sees_each_ticket_once_while_others_arrive(service: Service) -> None:
    who = await _desk(service)
    first = [message(source=f"old{n}") for n in range(30)]
    for n in range(0, 30, 5):
        await service.handle(*first[n : n + 5])
    seen: list[str] = []
    url: str | None = "/v1/tickets?sort=created_at&limit=7"
    while url:
        answer = await service.call(who["agent"], "GET", url)
        seen += [t["id"] for t in answer.json()["items"]]
        await service.handle(message()) if len(seen) < 30 else None
        link = answer.headers.get("link")
        url = link.partition("<")[2].partition(">")[0] if link else None
    assert len(seen) == len(set(seen))
    assert {str(ticket_id(m)) for m in first} <= set(seen)


async def test_a_cursor_is_good_only_for_its_own_list_and_tenant(service: Service) -> None:
    who = await _desk(service)
    await service.handle(*(message() for _ in range(3)))
    page = (await service.call(who["agent"], "GET", "/v1/tickets?limit=1")).json()
    cursor = page["next_cursor"]
    assert (await service.call(who["agent"], "GET", f"/v1/tickets?limit=1&cursor={cursor}")).status_code == 200
    for query in (f"sort=priority&cursor={cursor}", f"status=new&cursor={cursor}", f"cursor={cursor[:-2]}AA"):
        assert (await service.call(who["agent"], "GET", f"/v1/tickets?{query}")).status_code == 422
    stranger = service.caller("x", Role.ADMIN, tenant="other")
    assert (await service.call(stranger, "GET", f"/v1/tickets?limit=1&cursor={cursor}")).status_code == 422
    assert (await service.call(who["agent"], "GET", "/v1/tickets?sort=subject;drop")).status_code == 422


async def test_filters_find_what_they_say(service: Service) -> None:
    who = await _desk(service)
    path = await _ticket(service)
    other = await _ticket(service, "carl")
    tag = (await service.call(who["agent"], "GET", path)).headers["etag"]
    await service.call(who["agent"], "PATCH", path, {"tags": ["Fire"], "priority": "P1"}, If_Match=tag)
    number = (await service.call(who["agent"], "GET", path)).json()["number"]
    only = ["tag=fire", "priority=P1", f"requester={person('rita')}", f"number={number}"]
    both = ["status=open", "category=open", "queue=tier1", f"assignee={person('ann')}", "unassigned=false"]
    for query in only:
        items = (await service.call(who["agent"], "GET", f"/v1/tickets?{query}")).json()["items"]
        assert [f"/v1/tickets/{t['id']}" for t in items] == [path], query
    for query in both:
        items = (await service.call(who["agent"], "GET", f"/v1/tickets?{query}")).json()["items"]
        assert {f"/v1/tickets/{t['id']}" for t in items} == {path, other}, query
    now = datetime.now(UTC).isoformat().replace("+", "%2B")
    assert (await service.call(who["agent"], "GET", f"/v1/tickets?updated_since={now}")).json()["items"] == []
    naive = await service.call(who["agent"], "GET", "/v1/tickets?updated_since=2026-01-01T00:00:00")
    assert naive.status_code == 422


ROUTES = [
    ("GET", "{path}", None),
    ("PATCH", "{path}", {"subject": "x"}),
    ("GET", "{path}/messages", None),
    ("POST", "{path}/messages", {"text": "x"}),
    ("GET", "{path}/transitions", None),
    ("POST", "{path}/transitions", {"to": "solved", "resolution": "x"}),
    ("POST", "{path}/assignment", {"assignee_id": None}),
    ("GET", "{path}/audit", None),
]


@pytest.mark.parametrize("source", ["id", "number"])
@pytest.mark.parametrize("role", list(Role))
async def test_nothing_of_another_tenant_is_visible_on_any_route(service: Service, role: Role, source: str) -> None:
    await _desk(service)
    await service.tenant("other")
    path = await _ticket(service, subject="CANARY")
    if source == "number":
        number = await service.one("SELECT number FROM ticket")
        path = f"/v1/tickets/{number}"
    # The very same person id, in another tenant: even the requester sees nothing from there.
    stranger = service.caller("rita", role, tenant="other", person_id=person("rita"))
    for method, template, body in ROUTES:
        answer = await service.call(stranger, method, template.format(path=path), body, If_Match='"1"')
        assert answer.status_code == 404, (method, template, answer.text)
        assert "CANARY" not in answer.text
    for query in ("", "?status=open", f"?requester={person('rita')}", "?number=" + path.rpartition("/")[2]):
        items = (await service.call(stranger, "GET", f"/v1/tickets{query}")).json()["items"]
        assert items == []
    export = await service.call(stranger, "GET", "/v1/tickets/export")
    assert export.status_code in {200, 403}
    assert "CANARY" not in export.text


async def test_what_is_visible_but_forbidden_names_the_permission(service: Service) -> None:
    who = await _desk(service)
    path = await _ticket(service)
    mine = service.caller("rita", Role.CUSTOMER)
    needed = {
        ("PATCH", ""): "ticket.update",
        ("POST", "/assignment"): "ticket.assign",
        ("GET", "/audit"): "audit.read",
    }
    for (method, below), permission in needed.items():
        body = {"assignee_id": None} if below == "/assignment" else ({"subject": "x"} if method == "PATCH" else None)
        answer = await service.call(mine, method, path + below, body, If_Match='"1"')
        assert answer.status_code == 403, answer.text
        assert permission in answer.json()["detail"]
    others = service.caller("carl", Role.CUSTOMER)
    for method, template, body in ROUTES:
        answer = await service.call(others, method, template.format(path=path), body, If_Match='"1"')
        assert answer.status_code == 404
    export = await service.call(who["agent"], "GET", "/v1/tickets/export")
    assert (export.status_code, "ticket.export" in export.text) == (403, True)


async def test_a_watcher_sees_the_ticket_as_long_as_they_watch(service: Service) -> None:
    who = await _desk(service)
    path = await _ticket(service)
    carl = service.caller("carl", Role.CUSTOMER)
    assert (await service.call(carl, "GET", path)).status_code == 404
    tag = (await service.call(who["agent"], "GET", path)).headers["etag"]
    added = await service.call(who["agent"], "PATCH", path, {"watcher_ids": [str(person("carl"))]}, If_Match=tag)
    assert (await service.call(carl, "GET", path)).status_code == 200
    assert len((await service.call(carl, "GET", "/v1/tickets")).json()["items"]) == 1
    await service.call(who["agent"], "PATCH", path, {"watcher_ids": []}, If_Match=added.headers["etag"])
    assert (await service.call(carl, "GET", path)).status_code == 404


async def test_an_assignment_beyond_capacity_or_to_a_stranger_is_refused(service: Service) -> None:
    who = await _desk(service)
    team = await service.team()
    await service.agent("tim", team, capacity=1, available=False)
    paths = [await _ticket(service) for _ in range(2)]
    body = {"assignee_id": str(person("tim")), "reason": "Knows printers."}
    assert (await service.call(who["agent"], "POST", f"{paths[0]}/assignment", body)).status_code == 200
    full = await service.call(who["agent"], "POST", f"{paths[1]}/assignment", body)
    assert (full.status_code, full.json()["type"].rpartition("/")[2]) == (409, "agent-at-capacity")
    nobody = await service.call(who["agent"], "POST", f"{paths[1]}/assignment", {"assignee_id": str(uuid4())})
    assert nobody.status_code == 422
    back = await service.call(who["agent"], "POST", f"{paths[0]}/assignment", {"assignee_id": None})
    assert back.json()["assignee_id"] is None


async def test_the_export_has_every_state_ledger_and_message(service: Service) -> None:
    who = await _desk(service)
    messages = [message(source=f"m{n}") for n in range(5)]
    await service.handle(*messages, *(reply(messages[0], source=f"r{n}") for n in range(450)))
    export = await service.call(who["admin"], "GET", "/v1/tickets/export")
    assert export.headers["content-type"].startswith("application/x-ndjson")
    lines = [orjson.loads(line) for line in export.text.splitlines()]
    assert sum(line["kind"] == "ticket" for line in lines) == 5
    assert sum(line["kind"] == "message" for line in lines) == 455
    for line in lines:
        if line["kind"] == "ticket":
            assert [e["number"] for e in line["ledger"]] == list(range(1, len(line["ledger"]) + 1))
    tickets = [line["state"]["ticket_id"] for line in lines if line["kind"] == "ticket"]
    rest = await service.call(who["admin"], "GET", f"/v1/tickets/export?after={tickets[2]}")
    again = [orjson.loads(line) for line in rest.text.splitlines()]
    assert [line["state"]["ticket_id"] for line in again if line["kind"] == "ticket"] == tickets[3:]


async def test_a_tenant_without_a_policy_is_told_so(service: Service) -> None:
    stranger = service.caller("rita", Role.CUSTOMER, tenant="bare")
    answer = await service.call(stranger, "POST", "/v1/tickets", {"subject": "Help", "text": "Please."})
    assert answer.status_code == 503
    assert "retry-after" in answer.headers


async def test_directory_enriches_what_it_knows_of_the_requester(service: Service) -> None:
    who = await _desk(service)
    organisation = uuid4()
    await service.learn(
        PersonChanged(
            tenant_id="acme",
            person_id=person("vip"),
            version=1,
            tier="enterprise",
            organisation_id=organisation,
            language="fr",
        )
    )
    ticket = (await service.call(who["agent"], "GET", await _ticket(service, "vip"))).json()
    assert (ticket["tier"], ticket["organisation_id"], ticket["language"]) == ("enterprise", str(organisation), "fr")
