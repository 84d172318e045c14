"""Two tenants: what belongs to one does not exist for the other, by whatever id, place or role it is asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.scenarios.property import BODIES, COMMON, Property, nobody, property_of
from tests.support.desk import ROLES, Desk
from tests.support.origin import document_of
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines


@pytest.fixture
async def theirs(open_tenant: Callable[[str], Awaitable[Desk]]) -> tuple[Desk, Property]:
    desk = await open_tenant("theirs")
    return desk, await property_of(desk)


async def test_an_id_of_another_tenant_in_a_path_is_answered_like_one_that_nobody_has(
    desk: Desk, theirs: tuple[Desk, Property]
) -> None:
    other, property_ = theirs
    document = await document_of(desk)
    tried: Counter[str] = Counter()
    for path, item in document["paths"].items():
        names = [name for name in property_.ids if f"{{{name}}}" in path]
        for method in item:
            for name in names:
                # Of two ids in one path the other one is the other tenant's too.
                place = path
                for also in names:
                    place = place if also == name else place.replace(f"{{{also}}}", property_.ids[also])
                for common, value in COMMON.items():
                    place = place.replace(f"{{{common}}}", value)
                for role in ROLES:
                    operation = f"{method.upper()} {path}"
                    forms = [property_.ids[name]] + ([property_.number] if name == "ticket" else [])
                    for form in forms:
                        headers = {"If-Match": property_.tags.get(name, '"1"')}
                        given = {"json": BODIES[operation]} if operation in BODIES else {}
                        asked = await desk.call(
                            method.upper(), place.replace(f"{{{name}}}", form), as_=role, headers=headers, **given
                        )
                        absent = await desk.call(
                            method.upper(),
                            place.replace(f"{{{name}}}", nobody(name, form)),
                            as_=role,
                            headers=headers,
                            **given,
                        )
                        tried[name] += 1
                        assert asked.status_code in {403, 404}, (operation, role, asked.text)
                        assert (asked.status_code, asked.json()["title"], asked.json().get("detail")) == (
                            absent.status_code,
                            absent.json()["title"],
                            absent.json().get("detail"),
                        ), f"{operation} tells {role} that it exists"
                        assert property_.canary not in asked.text
                        if role == "admin":
                            assert asked.status_code == 404, operation
    assert tried.keys() == property_.ids.keys(), "the document has operations with every id"
    assert tried.total() >= 8 * 50
    assert (await other.ticket(property_.ids["ticket"]))["status"] == "open", "and nothing happened to it"


async def test_an_id_of_another_tenant_in_a_query_finds_nothing(desk: Desk, theirs: tuple[Desk, Property]) -> None:
    _, property_ = theirs
    ids = property_.ids
    queries: dict[str, list[dict[str, str]]] = {
        "/v1/tickets": [
            {"assignee": ids["person_id"]},
            {"requester": ids["person_id"]},
            {"number": property_.number},
            {"queue": property_.canary},
            {"cursor": property_.cursor},
        ],
        "/v1/tickets/export": [{"after": "00000000-0000-0000-0000-000000000000"}],
        "/v1/people": [
            {"team_id": ids["team_id"]},
            {"organisation_id": ids["organisation_id"]},
            {"address": f"{property_.canary}@acme.example"},
            {"cursor": property_.cursor},
        ],
        "/v1/teams": [{}, {"cursor": property_.cursor}],
        "/v1/organisations": [{}],
        "/v1/tenants": [{}],
        "/v1/api-keys": [{}],
        "/v1/quarantine": [{"cursor": property_.cursor}],
        "/v1/policies/versions": [{}],
        "/v1/transfers": [{}],
        "/v1/mailboxes": [{}],
        "/v1/suppressions": [{}],
        "/v1/triage/corrections": [{}],
        "/v1/escalations": [{}, {"ticket_id": ids["ticket"]}, {"cursor": property_.cursor}],
        "/v1/schedules": [{}],
        "/v1/on-call": [{}],
        "/v1/pages": [{}],
        "/v1/notifications": [{}, {"ticket_id": ids["ticket"]}, {"recipient_id": ids["person_id"]}],
        "/v1/notifications/notices": [{}],
        "/v1/notifications/preferences": [{"person_id": ids["person_id"]}],
        "/v1/webhooks": [{}],
        "/v1/search": [
            {"q": property_.canary},
            {"q": property_.number},
            {"requester": ids["person_id"]},
            {"q": "*", "queue": property_.canary},
            {"cursor": property_.cursor},
        ],
        "/v1/similar": [{"ticket_id": ids["ticket"]}, {"text": property_.canary}],
    }
    for path, questions in queries.items():
        for role in ROLES:
            for params in questions:
                answer = await desk.call("GET", path, as_=role, params=params)
                own = answer.text.replace(str(params.get("address", "-")), "").replace(
                    str(params.get("queue", "-")), ""
                )
                assert property_.canary not in own, (path, params, role)
                assert not [name for name, value in ids.items() if value in own and value not in params.values()]
                if "cursor" in params and answer.status_code != 403:
                    assert answer.status_code in {400, 422}, (path, role, answer.status_code)


async def test_an_id_of_another_tenant_in_a_body_is_refused_or_means_nothing(
    desk: Desk, theirs: tuple[Desk, Property]
) -> None:
    other, property_ = theirs
    ids = property_.ids
    mine = await desk.open("Mine")
    # Triage and assignment change it too; the tag is to be the last.
    await desk.quiet()
    tag = (await desk.call("GET", f"/v1/tickets/{mine['id']}")).headers["ETag"]
    rotation = {"starts_on": "2026-01-05", "handover": {"weekday": "monday", "time": "09:00"}}
    refused: list[tuple[str, str, dict[str, Any], dict[str, str]]] = [
        ("POST", f"/v1/tickets/{mine['id']}/assignment", {"assignee_id": ids["person_id"]}, {}),
        ("POST", f"/v1/tickets/{mine['id']}/assignment", {"assignee_id": str(other.people["agent"])}, {}),
        ("POST", "/v1/tickets", {"subject": "S", "text": "T", "requester_id": ids["person_id"]}, {}),
        ("PATCH", f"/v1/tickets/{mine['id']}", {"queue": property_.canary}, {"If-Match": tag}),
        ("POST", "/v1/people", {"name": "N", "addresses": ["n@x.example"], "team_ids": [ids["team_id"]]}, {}),
        (
            "POST",
            "/v1/people",
            {"name": "N", "addresses": ["n@x.example"], "organisation_id": ids["organisation_id"]},
            {},
        ),
        ("POST", "/v1/api-keys", {"person_id": ids["person_id"], "name": "theirs"}, {}),
        ("POST", "/v1/teams", {"name": "N", "lead_id": ids["person_id"]}, {}),
        ("POST", "/v1/escalations", {"ticket_id": ids["ticket"], "reason": "Mine now."}, {}),
        ("PUT", "/v1/schedules/primary", {**rotation, "members": [ids["person_id"]]}, {}),
        ("PUT", "/v1/schedules/primary", {**rotation, "members": [str(other.people["agent"])]}, {}),
        ("POST", f"/v1/tickets/{mine['id']}/transfers", {"to": str(other.people["agent"])}, {}),
        ("POST", f"/v1/tickets/{mine['id']}/merge", {"into": ids["ticket"]}, {"If-Match": tag}),
        ("POST", f"/v1/tickets/{mine['id']}/links", {"ticket": ids["ticket"]}, {}),
    ]
    for method, path, body, headers in refused:
        answer = await desk.call(method, path, as_="admin", json=body, headers=headers)
        assert answer.status_code in {404, 422}, (method, path, answer.status_code, answer.text)
        assert property_.canary not in answer.text.replace(str(body), "").replace(body.get("queue", "-"), "")

    # The number first: with a few tickets more, we would have one of that number ourselves.
    links = ({"ticket_number": property_.number}, {"in_reply_to": ids["message_id"]}, {"in_reply_to": ids["ticket"]})
    for link in links:
        accepted = await desk.message("Reply to theirs", **link)
        assert (await desk.ticket_of(accepted["message_id"]))["subject"] == "Reply to theirs", link
    assert len(await other.conversation(ids["ticket"])) == 1


async def test_a_revoked_key_is_refused_within_thirty_seconds_and_no_other_is(
    desk: Desk, theirs: tuple[Desk, Property]
) -> None:
    other, _ = theirs
    answer = await other.call("DELETE", f"/v1/api-keys/{'0' * 64}", as_="admin")
    assert answer.status_code == 404
    listed = await other.get("/v1/api-keys", as_="admin", params={"limit": 200})
    revoked = next(key for key in listed["items"] if key["person_id"] == str(other.people["agent"]))
    gone = await other.call("DELETE", f"/v1/api-keys/{revoked['credential_id']}", as_="admin")
    assert gone.status_code == 204

    async def refused() -> bool:
        return (await other.call("GET", "/v1/tickets", as_="agent")).status_code == 401

    await eventually(refused, within=30, every=0.2, what="the revoked key refused within 30 s")
    assert (await desk.call("GET", "/v1/tickets")).status_code == 200
