"""Two tenants: what belongs to one does not exist for the other, by whatever id, place or role it is asked for."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from tests.support.desk import ROLES, Desk
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines

BODIES: dict[str, Any] = {
    "POST /v1/tickets/{ticket}/messages": {"text": "Mine now."},
    "POST /v1/tickets/{ticket}/transitions": {"to": "closed", "reason": "Mine now."},
    "POST /v1/tickets/{ticket}/assignment": {"assignee_id": None},
    "POST /v1/tickets/{ticket}/merge": {"into": "INC-2026-000001"},
    "POST /v1/tickets/{ticket}/links": {"ticket": "INC-2026-000001"},
    "POST /v1/tickets/{ticket}/transfers": {"to": str(uuid4())},
    "PATCH /v1/tickets/{ticket}": {"priority": "P1"},
    "PATCH /v1/people/{person_id}": {"name": "Mine now"},
    "PATCH /v1/teams/{team_id}": {"name": "Mine now"},
    "PATCH /v1/organisations/{organisation_id}": {"name": "Mine now"},
    "PATCH /v1/tenants/{tenant_id}": {"name": "Mine now"},
}
"""Valid contents for operations with an id in their path, so that nothing but the id can be wrong."""


@dataclass(frozen=True, kw_only=True)
class Property:
    """What the other tenant has."""

    canary: str
    ids: dict[str, str]
    """By name of the path parameter."""
    number: str
    cursor: str
    tags: dict[str, str]
    """ETag by path parameter."""


async def property_of(desk: Desk) -> Property:
    """Fill a tenant with things that all carry one string."""
    canary = f"kanarie{secrets.token_hex(5)}"
    first = await desk.open(f"{canary} one", text=canary)
    ticket = await desk.open(f"{canary} two", text=canary)
    team = await desk.post("/v1/teams", {"name": canary, "queues": [canary]}, as_="admin")
    organisation = await desk.post("/v1/organisations", {"name": canary}, as_="admin")
    person = await desk.post("/v1/people", {"name": canary, "addresses": [f"{canary}@acme.example"]}, as_="admin")
    body = {"person_id": person["person_id"], "name": canary}
    key = await desk.post("/v1/api-keys", body, as_="admin")
    (message, *_) = await desk.conversation(ticket["id"])
    page = await desk.get("/v1/tickets", as_="admin", params={"limit": 1})
    ids = {
        "ticket": ticket["id"],
        "message_id": message["id"],
        "team_id": team["team_id"],
        "organisation_id": organisation["organisation_id"],
        "person_id": person["person_id"],
        "credential_id": key["credential"]["credential_id"],
        "tenant_id": desk.tenant,
    }
    paths = {
        "ticket": "tickets",
        "person_id": "people",
        "team_id": "teams",
        "organisation_id": "organisations",
        "tenant_id": "tenants",
    }
    tags = {
        name: (await desk.call("GET", f"/v1/{path}/{ids[name]}", as_="admin")).headers["ETag"]
        for name, path in paths.items()
    }
    assert first["number"] != ticket["number"]
    return Property(canary=canary, ids=ids, number=ticket["number"], cursor=page["next_cursor"], tags=tags)


def nobody(name: str, value: str) -> str:
    """An id of the same form that is nobody's."""
    if name == "credential_id":
        return secrets.token_hex(32)
    return f"none-{secrets.token_hex(3)}" if name == "tenant_id" else str(uuid4())


@pytest.fixture
async def theirs(open_tenant: Callable[[str], Awaitable[Desk]]) -> tuple[Desk, Property]:
    desk = await open_tenant("theirs")
    return desk, await property_of(desk)


async def test_an_id_of_another_tenant_in_a_path_is_answered_like_one_that_nobody_has(
    desk: Desk, theirs: tuple[Desk, Property]
) -> None:
    other, property_ = theirs
    document = (await desk.call("GET", "/openapi.json", as_=None)).json()
    tried = 0
    for path, item in document["paths"].items():
        names = [name for name in property_.ids if f"{{{name}}}" in path]
        for method in item:
            for name in names:
                # Of two ids in one path the other one is the other tenant's too.
                place = path
                for also in names:
                    place = place if also == name else place.replace(f"{{{also}}}", property_.ids[also])
                for role in ROLES:
                    operation = f"{method.upper()} {path}"
                    forms = [property_.ids[name]] + ([property_.number] if name == "ticket" else [])
                    for form in forms:
                        headers = {"If-Match": property_.tags[name]} if name in property_.tags else {}
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
                        tried += 1
                        assert asked.status_code in {403, 404}, (operation, role, asked.text)
                        assert (asked.status_code, asked.json()["title"], asked.json().get("detail")) == (
                            absent.status_code,
                            absent.json()["title"],
                            absent.json().get("detail"),
                        ), f"{operation} tells {role} that it exists"
                        assert property_.canary not in asked.text
                        if role == "admin":
                            assert asked.status_code == 404, operation
    assert tried >= 8 * 20, "the document has the operations with ids"
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
    tag = (await desk.call("GET", f"/v1/tickets/{mine['id']}")).headers["ETag"]
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
