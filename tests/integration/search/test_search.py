"""`/v1/search` and `/v1/similar`: what is found, what is shown of it, and to whom."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from shared.contracts.directory import Role
from tests.integration.search.conftest import NOW, Desk, Ticket

pytestmark = pytest.mark.engines


async def test_words_phrases_exclusions_alternatives_beginnings_and_typos(running: Desk) -> None:
    who = await running.known(Role.AGENT)
    await running.open(
        Ticket("Invoice is wrong", "The total of invoice 4711 is too high."),
        Ticket("Printer does not print", "Le café est froid; the paper is jammed."),
        Ticket("Rechnung nicht lesbar", "Die Prüfung der Rechnung schlägt fehl."),
    )
    cases = {
        "invoice total": ["Invoice is wrong"],
        "invoise": ["Invoice is wrong"],
        '"paper is jammed"': ["Printer does not print"],
        '"jammed is paper"': [],
        "is -invoice": ["Printer does not print"],
        "invoice | rechnung": ["Invoice is wrong", "Rechnung nicht lesbar"],
        "print*": ["Printer does not print"],
        "pruefung | prufung": ["Rechnung nicht lesbar"],
        "CAFE": ["Printer does not print"],
        "invoice printer": [],
    }
    for text, subjects in cases.items():
        assert sorted(await running.subjects(who, q=text)) == subjects, text


async def test_the_engines_own_syntax_is_only_text(running: Desk) -> None:
    who = await running.known(Role.AGENT)
    await running.open(Ticket("One"), Ticket("Two", tenant="beta"))
    for text in ("tenant_id:beta", "*:*", "(a OR", "internal_text:x~5", "/.*/", "\\", "{", '"', "- | -", "*"):
        assert "Two" not in await running.subjects(who, q=text), text


async def test_a_number_finds_its_ticket_first(running: Desk) -> None:
    who = await running.known(Role.AGENT)
    ours = Ticket("Scanner", number="INC-2026-000123")
    others = [Ticket(f"Copy of INC-2026-000123 and 123 ({n})", "INC-2026-000123 123 " * 20) for n in range(3)]
    await running.open(ours, *others)
    for text in ("INC-2026-000123", "inc-2026-000123", "123", "000123"):
        found = await running.subjects(who, q=text)
        assert found[0] == "Scanner", text


async def test_filters_and_facets_count_what_is_found(running: Desk) -> None:
    who = await running.known(Role.AGENT)
    agent = uuid4()
    await running.open(
        Ticket("Mail one", changes={"product": "mail", "tags": ("VIP",), "status": "open", "category": "open"}),
        Ticket("Mail two", changes={"product": "mail", "assignee_id": agent}, fields={"category": "billing"}),
        Ticket("Chat one", changes={"product": "chat", "queue": "tier2", "channel": "chat"}),
        Ticket("Mail of others", tenant="beta", changes={"product": "mail"}),
    )
    page = await running.find(who, q="one | two", facets="product,status,tag,queue,about")
    assert (page["total"], page["total_exact"]) == (3, True)
    assert page["facets"]["product"] == [{"value": "mail", "count": 2}, {"value": "chat", "count": 1}]
    assert page["facets"]["tag"] == [{"value": "vip", "count": 1}]
    assert {b["value"]: b["count"] for b in page["facets"]["queue"]} == {"tier1": 2, "tier2": 1}
    assert page["facets"]["about"] == [{"value": "billing", "count": 1}]
    assert await running.subjects(who, product="mail", assignee=str(agent)) == ["Mail two"]
    assert await running.subjects(who, tag="vip") == ["Mail one"]
    assert await running.subjects(who, channel="chat") == ["Chat one"]
    assert await running.subjects(who, about="billing") == ["Mail two"]
    assert sorted(await running.subjects(who, category=["new", "open"], product="mail")) == ["Mail one", "Mail two"]


async def test_highlights_are_escaped_so_that_the_mark_is_the_only_markup(running: Desk) -> None:
    who = await running.known(Role.AGENT)
    await running.open(Ticket("<script>alert(1)</script> toner", "Our <b>toner</b> is empty & <mark>late</mark>"))
    (item,) = (await running.find(who, q="toner"))["items"]
    assert item["highlights"]["subject"] == ["&lt;script&gt;alert(1)&lt;&#x2F;script&gt; <mark>toner</mark>"]
    (text,) = item["highlights"]["text"]
    assert "<mark>toner</mark>" in text
    assert "&lt;mark&gt;late" in text
    assert "<b>" not in text


async def test_customers_find_their_own_and_watched_tickets_and_nothing_internal(running: Desk) -> None:
    person = uuid4()
    customer = await running.known(Role.CUSTOMER, person=person)
    agent, service = await running.known(Role.AGENT), await running.known(Role.SERVICE)
    own, watched, foreign = Ticket("Own", requester=person), Ticket("Watched", watchers=(person,)), Ticket("Foreign")
    for ticket in (own, watched, foreign):
        ticket.message("secret codeword zanzibar", "internal")
    await running.open(own, watched, foreign)

    assert sorted(await running.subjects(customer)) == ["Own", "Watched"]
    for who in (customer, service):
        for query in ("zanzibar", '"codeword zanzibar"', "zanz*", "zanzibat", "own | zanzibar", "secret"):
            page = await running.find(who, q=query, facets="status")
            assert "zanzibar" not in str(page)
            assert [item["subject"] for item in page["items"]] in ([], ["Own"]), query
    assert (await running.find(customer, q="zanzibar", facets="status"))["facets"]["status"] == []
    # What is excluded by an internal word would tell that the word is there.
    assert sorted(await running.subjects(customer, q="burns -zanzibar")) == ["Own", "Watched"]

    found = await running.find(agent, q="zanzibar")
    assert found["total"] == 3
    assert "<mark>zanzibar</mark>" in found["items"][0]["highlights"]["notes"][0]

    for ticket, status in ((own, 200), (watched, 200), (foreign, 404)):
        answer = await running.client.get("/v1/similar", params={"ticket_id": str(ticket.id)}, headers=customer.headers)
        assert answer.status_code == status
        assert "Foreign" not in answer.text
    assert "zanzibar" not in (await running.client.get("/v1/similar?text=zanzibar", headers=customer.headers)).text


async def test_no_tenant_finds_anything_of_another(running: Desk) -> None:
    ours, theirs = await running.known(Role.ADMIN), await running.known(Role.ADMIN, tenant="beta")
    ticket = Ticket("Canary in the mine")
    await running.open(ticket)
    assert await running.subjects(ours, q="canary") == ["Canary in the mine"]
    page = await running.find(theirs, q="canary", facets="status,requester")
    assert (page["items"], page["total"], page["facets"]["requester"]) == ([], 0, [])
    answer = await running.client.get("/v1/similar", params={"ticket_id": str(ticket.id)}, headers=theirs.headers)
    assert answer.status_code == 404
    assert (await running.client.get("/v1/similar?text=canary mine", headers=theirs.headers)).json() == {"items": []}


async def test_pages_follow_each_other_without_gap_or_repetition(running: Desk) -> None:
    who = await running.known(Role.AGENT)
    # Half of them at one instant, and all of one score.
    tickets = [Ticket("Same words", number=f"INC-2026-{n:06}", at=NOW + timedelta(days=n // 6)) for n in range(1, 12)]
    await running.open(*tickets)
    for query in (
        {"q": "same"},
        {},
        {"sort": "created_at"},
        {"sort": "-created_at"},
        {"sort": "-priority", "q": "words"},
    ):
        seen: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = await running.find(who, **query, **cursor, limit=3)
            assert page["total"] == 11
            seen += [item["number"] for item in page["items"]]
            if page["next_cursor"] is None:
                break
            cursor = {"cursor": page["next_cursor"]}
        assert sorted(seen) == sorted(ticket.number for ticket in tickets), query
    oldest = [item["created_at"] for item in (await running.find(who, sort="created_at"))["items"]]
    assert oldest == sorted(oldest)


async def test_merged_tickets_are_found_only_when_asked_for(running: Desk) -> None:
    who = await running.known(Role.AGENT)
    await running.open(Ticket("Went on elsewhere", merged_into=uuid4()))
    assert await running.subjects(who, q="elsewhere") == []
    assert await running.subjects(who, q="elsewhere", merged="true") == ["Went on elsewhere"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"q": "x" * 401}, "/q"),
        ({"q": " ".join(f"word{n}" for n in range(20))}, "/q"),
        ({"limit": 101}, "/limit"),
        ({"facets": "status,passwords"}, "/facets"),
        ({"sort": "salary"}, "/sort"),
        ({"from": "2026-01-01T00:00:00"}, "/from"),
        ({"assignee": "bob"}, "/assignee/0"),
        ({"category": "lost"}, "/category/0"),
        ({"cursor": "Zm9v"}, "/cursor"),
    ],
)
async def test_nonsense_is_refused_by_name(running: Desk, query: dict[str, str], field: str) -> None:
    who = await running.known(Role.AGENT)
    answer = await running.client.get("/v1/search", params=query, headers=who.headers)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [field]


async def test_similar_tickets_are_ranked_by_likeness(running: Desk) -> None:
    who = await running.known(Role.AGENT)
    known = Ticket("Cannot print to office printer HP-4250", "Jobs stay in the queue of the HP-4250, tray two is full.")
    near = Ticket("Printer HP-4250 in the office prints nothing", "Print jobs stay in the queue.")
    far = Ticket("Salary statement", "Where do I find the statement of October?")
    await running.open(known, near, far)
    answer = await running.client.get("/v1/similar", params={"ticket_id": str(known.id)}, headers=who.headers)
    (best,) = answer.json()["items"]
    assert best["ticket"]["number"] == near.number
    assert best["likeness"] > 0.5
    text = {"text": "office printer HP-4250 keeps jobs in the queue"}
    found = (await running.client.get("/v1/similar", params=text, headers=who.headers)).json()["items"]
    assert {item["ticket"]["number"] for item in found} == {known.number, near.number}
    for bad in ({}, {"text": "both", "ticket_id": str(known.id)}):
        assert (await running.client.get("/v1/similar", params=bad, headers=who.headers)).status_code == 422


async def test_strangers_are_shown_nothing_and_agents_do_not_operate_the_index(running: Desk) -> None:
    agent = await running.known(Role.AGENT)
    for method, path in (("GET", "/v1/search"), ("GET", "/v1/similar"), ("POST", "/v1/search/rebuild")):
        assert (await running.client.request(method, path)).status_code == 401
    for method, path in (("GET", "status"), ("POST", "rebuild"), ("POST", "replay")):
        answer = await running.client.request(method, f"/v1/search/{path}", headers=agent.headers)
        assert answer.status_code == 403


async def test_an_index_with_few_tickets_answers_the_largest_page_in_any_order(running: Desk) -> None:
    who = await running.known(Role.AGENT)
    for sort in ("-created_at", "created_at", "-updated_at", "priority", "-priority"):
        assert (await running.find(who, sort=sort, limit=100))["items"] == []
    await running.open(Ticket("Only one"))
    for sort in ("-created_at", "created_at", "-updated_at", "priority", "-priority"):
        assert len((await running.find(who, sort=sort, limit=100))["items"]) == 1
