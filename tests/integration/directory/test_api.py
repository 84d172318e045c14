"""The admin API on a real database: versions, roles, walls between tenants."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from shared.contracts import ids
from shared.contracts.directory import Role
from tests.integration.directory.conftest import PACK, Directory

pytestmark = pytest.mark.engines


async def test_a_change_names_the_version_it_was_made_against(directory: Directory) -> None:
    await directory.tenant("acme")
    agent = await directory.person("acme", "ana")
    path = f"/v1/people/{agent.person_id}"
    blind = await directory.call("acme/admin", "PATCH", path, {"capacity": 3})
    late = await directory.call("acme/admin", "PATCH", path, {"capacity": 3}, match=7)
    right = await directory.call("acme/admin", "PATCH", path, {"capacity": 3}, match=1)
    again = await directory.call("acme/admin", "PATCH", path, {"capacity": 4}, match=1)
    assert (blind.status_code, late.status_code, right.status_code, again.status_code) == (428, 412, 200, 412)
    assert right.headers["etag"] == '"2"'
    assert right.json()["capacity"] == 3
    unchanged = await directory.call("acme/admin", "GET", path, headers={"If-None-Match": '"2"'})
    assert unchanged.status_code == 304


async def test_two_changes_at_once_lose_neither(directory: Directory) -> None:
    await directory.tenant("acme")
    agent = await directory.person("acme", "ana")
    path = f"/v1/people/{agent.person_id}"
    answers = await asyncio.gather(
        *(directory.call("acme/admin", "PATCH", path, {"capacity": number}, match=1) for number in range(1, 9))
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7


async def test_a_change_is_published_with_its_row_and_the_relay_is_woken(directory: Directory) -> None:
    await directory.tenant("acme")
    agent = await directory.person("acme", "ana")
    await directory.forget()
    directory.woken.clear()
    answer = await directory.call(
        "acme/admin", "PATCH", f"/v1/people/{agent.person_id}", {"available": True, "capacity": 5}, match=1
    )
    [event] = await directory.published("person.changed")
    assert event is not None
    assert (event["version"], event["available"], event["capacity"]) == (2, True, 5)
    assert event["version"] == answer.json()["version"]
    assert directory.woken


async def test_a_change_that_changes_nothing_is_no_event_and_no_version(directory: Directory) -> None:
    await directory.tenant("acme")
    agent = await directory.person("acme", "ana", capacity=5)
    await directory.forget()
    answer = await directory.call(
        "acme/admin", "PATCH", f"/v1/people/{agent.person_id}", {"capacity": 5, "name": "Ana"}, match=1
    )
    assert answer.json()["version"] == 1
    assert await directory.published("person.changed") == []


async def test_teams_skills_tier_and_organisation_reach_the_event(directory: Directory) -> None:
    await directory.tenant("acme")
    agent = await directory.person("acme", "ana")
    team = (await directory.call("acme/admin", "POST", "/v1/teams", {"name": "Tier 1", "queues": ["tier1"]})).json()
    changes = {
        "team_ids": [team["team_id"]],
        "skills": [{"name": "registry", "proficiency": 9}, {"name": "french"}],
        "tier": "gold",
    }
    answer = await directory.call("acme/admin", "PATCH", f"/v1/people/{agent.person_id}", changes, match=1)
    assert answer.status_code == 200
    event = (await directory.published("person.changed"))[-1]
    assert event is not None
    assert event["team_ids"] == [team["team_id"]]
    assert event["skills"] == [{"name": "french", "proficiency": 5}, {"name": "registry", "proficiency": 9}]
    assert event["tier"] == "gold"
    members = (await directory.call("acme/admin", "GET", f"/v1/people?team_id={team['team_id']}")).json()["items"]
    assert [member["person_id"] for member in members] == [str(agent.person_id)]


ROUTES = [
    ("GET", "/v1/people/{person}", None),
    ("PATCH", "/v1/people/{person}", {"name": "Eve"}),
    ("GET", "/v1/teams/{team}", None),
    ("PATCH", "/v1/teams/{team}", {"name": "Eve"}),
    ("GET", "/v1/organisations/{organisation}", None),
    ("PATCH", "/v1/organisations/{organisation}", {"name": "Eve"}),
    ("GET", "/v1/tenants/acme", None),
    ("PATCH", "/v1/tenants/acme", {"name": "Eve"}),
    ("DELETE", "/v1/api-keys/{key}", None),
    ("GET", "/v1/policies", None),
    ("GET", "/v1/policies/versions/1", None),
    ("POST", "/v1/policies/rollback", {"to": 1}),
]


@pytest.mark.parametrize("who", ["admin", "mara", "leo", "ana", "machine", "customer"])
async def test_another_tenants_things_do_not_exist(directory: Directory, who: str) -> None:
    await directory.tenant("acme", operator=True)
    await directory.tenant("evil")
    for local, role in {
        "mara": Role.MANAGER,
        "leo": Role.TEAM_LEAD,
        "ana": Role.AGENT,
        "machine": Role.SERVICE,
        "customer": Role.CUSTOMER,
    }.items():
        await directory.person("evil", local, role)
    victim = await directory.person("acme", "victim")
    team = (await directory.call("acme/admin", "POST", "/v1/teams", {"name": "Tier 1"})).json()
    organisation = (await directory.call("acme/admin", "POST", "/v1/organisations", {"name": "Big"})).json()
    keys = (await directory.call("acme/admin", "GET", "/v1/api-keys")).json()["items"]
    assert (await directory.pack("acme/admin", "PUT", "/v1/policies", PACK)).status_code == 200
    await directory.forget()
    names = {
        "person": victim.person_id,
        "team": team["team_id"],
        "organisation": organisation["organisation_id"],
        "key": keys[0]["credential_id"],
    }
    for method, path, body in ROUTES:
        match = 1 if method == "PATCH" else None
        answer = await directory.call(f"evil/{who}", method, path.format(**names), body, match=match)
        # A role that may not use the route at all is told so; nobody is told that the thing exists.
        allowed = {404} if who == "admin" else {403, 404}
        if path == "/v1/policies/rollback":
            allowed = {409, 403}  # of the caller's own tenant, which has no pack
        assert answer.status_code in allowed, (method, path, answer.text)
        assert "victim" not in answer.text
    for listing in ("/v1/people", "/v1/teams", "/v1/organisations", "/v1/tenants", "/v1/api-keys"):
        answer = await directory.call(f"evil/{who}", "GET", listing)
        assert "acme" not in answer.text, listing
    assert await directory.rows("SELECT 1 FROM outbox") == []


async def test_a_customer_sees_themselves_and_nobody_else(directory: Directory) -> None:
    await directory.tenant("acme")
    mia = await directory.person("acme", "mia", Role.CUSTOMER)
    ana = await directory.person("acme", "ana")
    own = await directory.call("acme/mia", "GET", f"/v1/people/{mia.person_id}")
    other = await directory.call("acme/mia", "GET", f"/v1/people/{ana.person_id}")
    none = await directory.call("acme/mia", "GET", f"/v1/people/{uuid4()}")
    assert (own.status_code, other.status_code, none.status_code) == (200, 404, 404)
    assert {**other.json(), "instance": ""} == {**none.json(), "instance": ""}
    for listing in ("/v1/people", "/v1/teams", "/v1/organisations", "/v1/tenants", "/v1/policies"):
        assert (await directory.call("acme/mia", "GET", listing)).status_code == 403


@pytest.mark.parametrize(
    ("who", "changes", "status"),
    [
        ("ana", {"available": True}, 200),
        ("ana", {"capacity": 50}, 403),
        ("ana", {"role": "admin"}, 403),
        ("leo", {"capacity": 3, "available": True}, 200),
        ("leo", {"tier": "gold"}, 403),
        ("leo", {"role": "team_lead"}, 403),
        ("mara", {"tier": "gold"}, 200),
        ("mara", {"role": "admin"}, 403),
        ("mara", {"addresses": ["ana@acme.example", "boss@acme.example"]}, 403),
        ("mara", {"active": False}, 403),
        ("admin", {"role": "team_lead"}, 200),
    ],
)
async def test_each_role_changes_what_it_may(
    directory: Directory, who: str, changes: dict[str, object], status: int
) -> None:
    await directory.tenant("acme")
    await directory.person("acme", "mara", Role.MANAGER)
    await directory.person("acme", "leo", Role.TEAM_LEAD)
    ana = await directory.person("acme", "ana")
    answer = await directory.call(f"acme/{who}", "PATCH", f"/v1/people/{ana.person_id}", changes, match=1)
    assert answer.status_code == status, answer.text


async def test_an_address_belongs_to_one_person(directory: Directory) -> None:
    await directory.tenant("acme")
    await directory.person("acme", "ana")
    ben = await directory.person("acme", "ben")
    made = await directory.call("acme/admin", "POST", "/v1/people", {"name": "A", "addresses": ["ANA@acme.example "]})
    taken = await directory.call(
        "acme/admin",
        "PATCH",
        f"/v1/people/{ben.person_id}",
        {"addresses": ["ben@acme.example", "ana@acme.example"]},
        match=1,
    )
    assert (made.status_code, taken.status_code) == (409, 409)
    await directory.tenant("other")
    free = await directory.call("other/admin", "POST", "/v1/people", {"name": "A", "addresses": ["ana@acme.example"]})
    assert free.status_code == 201


async def test_the_last_administrator_cannot_leave(directory: Directory) -> None:
    await directory.tenant("acme")
    admin = ids.person_id("acme", "admin@acme.example")
    for changes in ({"role": "agent"}, {"active": False}):
        answer = await directory.call("acme/admin", "PATCH", f"/v1/people/{admin}", changes, match=1)
        assert answer.status_code == 409
        assert answer.json()["type"].endswith("/last-administrator")
    await directory.person("acme", "second", Role.ADMIN)
    answer = await directory.call("acme/second", "PATCH", f"/v1/people/{admin}", {"role": "agent"}, match=1)
    assert answer.status_code == 200


async def test_pages_show_everybody_once_end_with_a_full_one_and_are_only_for_their_tenant(
    directory: Directory,
) -> None:
    await directory.tenant("acme")
    await directory.tenant("other")
    for number in range(7):
        await directory.person("acme", f"agent{number}")
    seen: list[str] = []
    path = "/v1/people?limit=4"
    cursor = None
    while True:
        page = (await directory.call("acme/admin", "GET", path + (f"&cursor={cursor}" if cursor else ""))).json()
        assert len(page["items"]) == 4, "a last page that is full is known to be the last"
        seen += [person["person_id"] for person in page["items"]]
        first, cursor = cursor or page["next_cursor"], page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 8
    stolen = await directory.call("other/admin", "GET", f"{path}&cursor={first}")
    assert stolen.status_code == 422


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("/v1/people", {"name": " \u202e ", "addresses": ["a@b.example"]}, "/name"),
        ("/v1/people", {"name": "A", "addresses": ["a\r\nbcc@b.example"]}, "/addresses/0"),
        ("/v1/people", {"name": "A", "addresses": []}, "/addresses"),
        ("/v1/people", {"name": "A", "addresses": ["a@b.example"], "timezone": "../etc/passwd"}, "/timezone"),
        ("/v1/people", {"name": "A", "addresses": ["a@b.example"], "capacity": 10**9}, "/capacity"),
        ("/v1/people", {"name": "A", "addresses": ["a@b.example"], "shoe_size": 43}, "/shoe_size"),
        ("/v1/people", {"name": "A", "addresses": ["a@b.example"], "team_ids": [str(uuid4())]}, "/team_ids/0"),
        ("/v1/teams", {"name": "A", "lead_id": str(uuid4())}, "/lead_id"),
        ("/v1/teams", {"name": "A", "tier": 5}, "/tier"),
        ("/v1/organisations", {"name": "A", "domains": ["com"]}, "/domains/0"),
        ("/v1/api-keys", {"name": "A", "person_id": str(uuid4())}, "/person_id"),
        ("/v1/api-keys", {"name": "A", "person_id": str(uuid4()), "expires_at": "2031-01-01T00:00:00"}, "/expires_at"),
    ],
)
async def test_a_bad_value_is_refused_with_its_pointer(
    directory: Directory, path: str, body: dict[str, object], pointer: str
) -> None:
    await directory.tenant("acme")
    answer = await directory.call("acme/admin", "POST", path, body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == pointer
