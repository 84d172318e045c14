"""Who may do what to webhooks, what is refused and where, and that nobody sees another tenant's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from services.notify.domain.webhook_endpoint import MOST_ENDPOINTS
from services.notify.store import webhook_queue
from tests.integration.notify.webhook_ground import Ground, created, fact, ground
from tests.support.databases import ScratchDatabases
from tests.support.engines import Engines
from tests.support.openapi import check_api

pytestmark = pytest.mark.engines

URL = "https://hooks.example.org/in"


@pytest.fixture
async def desk(engines: Engines, databases: ScratchDatabases) -> AsyncIterator[Ground]:
    url = await databases.create("notify")
    async with ground(url, databases.admin(url), webhook_allowed_networks="") as made:
        yield made


def operations(endpoint: dict[str, Any], delivery: str) -> list[tuple[str, str, Any]]:
    """Everything there is to do."""
    path = f"/v1/webhooks/{endpoint['endpoint_id']}"
    return [
        ("GET", path, None),
        ("PATCH", path, {"description": "mine now"}),
        ("DELETE", path, None),
        ("POST", f"{path}/rotate-secret", None),
        ("POST", f"{path}/test", None),
        ("GET", f"{path}/deliveries", None),
        ("POST", f"{path}/replay", {"since": "2026-01-01T00:00:00Z"}),
        ("POST", f"/v1/webhooks/deliveries/{delivery}/replay", None),
    ]


async def test_only_who_keeps_webhooks_may_see_or_change_them(desk: Ground) -> None:
    endpoint = await desk.add(URL)
    everything = [
        *operations(endpoint, str(uuid4())),
        ("GET", "/v1/webhooks", None),
        ("POST", "/v1/webhooks", {"url": URL}),
    ]
    for method, path, body in everything:
        answer = await desk.call(method, path, body, who=desk.agent, If_Match='"1"')
        assert (answer.status_code, "webhook.write" in answer.text) == (403, True), (method, path)
        assert (await desk.http.request(method, path, json=body)).status_code == 401


async def test_another_tenants_webhooks_are_not_there(desk: Ground) -> None:
    endpoint = await desk.add(URL)
    await desk.tell(fact(created()))
    [delivery] = await desk.deliveries(endpoint)
    for method, path, body in operations(endpoint, delivery["delivery_id"]):
        answer = await desk.call(method, path, body, who=desk.stranger, If_Match='"1"')
        assert answer.status_code == 404, (method, path, answer.text)
    assert (await desk.call("GET", "/v1/webhooks", who=desk.stranger)).json()["items"] == []
    assert [one["state"] for one in await desk.deliveries(endpoint)] == ["pending"]


async def test_a_cursor_of_one_tenant_is_worth_nothing_to_another(desk: Ground) -> None:
    endpoint = await desk.add(URL)
    await desk.tell(*(fact(created()) for _ in range(6)))
    path = f"/v1/webhooks/{endpoint['endpoint_id']}/deliveries?limit=2"
    seen: list[str] = []
    cursor = ""
    while True:
        answer = (await desk.call("GET", f"{path}{cursor}")).json()
        assert len(answer["items"]) == 2, "a last page that is full is known to be the last"
        seen += [one["delivery_id"] for one in answer["items"]]
        if answer["next_cursor"] is None:
            break
        cursor = f"&cursor={answer['next_cursor']}"
    assert len(seen) == len(set(seen)) == 6
    theirs = await desk.add(URL, who=desk.stranger)
    path = f"/v1/webhooks/{theirs['endpoint_id']}/deliveries?limit=2{cursor}"
    assert (await desk.call("GET", path, who=desk.stranger)).status_code == 422


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"url": "http://hooks.example.org/"}, "/url"),
        ({"url": "https://127.0.0.1/"}, "/url"),
        ({"url": "https://169.254.169.254/latest/meta-data"}, "/url"),
        ({"url": "https://2130706433/"}, "/url"),
        ({"url": "https://localhost/"}, "/url"),
        ({"url": "https://user:pw@hooks.example.org/"}, "/url"),
        ({"url": "https://hooks.example.org:22/"}, "/url"),
        ({"url": "gopher://hooks.example.org/"}, "/url"),
        ({"url": URL, "event_types": []}, "/event_types"),
        ({"url": URL, "event_types": ["ticket.*", "person.*"]}, "/event_types/1"),
        ({"url": URL, "description": "two\nlines"}, "/description"),
        ({"url": URL, "secret": "whsec_mine"}, "/secret"),
        ({}, "/url"),
    ],
)
async def test_what_is_refused_is_named(desk: Ground, body: dict[str, Any], pointer: str) -> None:
    answer = await desk.call("POST", "/v1/webhooks", body)
    assert answer.status_code == 422, answer.text
    assert pointer in answer.text


async def test_an_address_is_kept_in_the_one_form_all_readers_agree_on(desk: Ground) -> None:
    made = await desk.add("https://HOOKS.Example.org.:443/In?Token=A")
    assert made["url"] == "https://hooks.example.org/In?Token=A"


async def test_a_change_names_the_version_it_was_made_against(desk: Ground) -> None:
    endpoint = await desk.add(URL)
    path = f"/v1/webhooks/{endpoint['endpoint_id']}"
    assert (await desk.call("PATCH", path, {"active": False})).status_code == 428
    changed = await desk.call("PATCH", path, {"event_types": ["sla.*"]}, If_Match='"1"')
    assert changed.headers["etag"] == '"2"'
    assert (changed.json()["event_types"], changed.json()["url"]) == (["sla.*"], URL)
    assert (await desk.call("PATCH", path, {"active": False}, If_Match='"1"')).status_code == 412
    refused = await desk.call("PATCH", path, {"url": "https://10.0.0.1/"}, If_Match='"2"')
    assert refused.status_code == 422


async def test_a_tenant_has_no_more_webhooks_than_it_may(desk: Ground) -> None:
    for _ in range(MOST_ENDPOINTS):
        await desk.add(URL)
    assert (await desk.call("POST", "/v1/webhooks", {"url": URL})).status_code == 409
    await desk.add(URL, who=desk.stranger)


async def test_looking_for_work_costs_one_probe_per_endpoint_however_much_has_piled_up(desk: Ground) -> None:
    endpoint = await desk.add(URL)
    await desk.add(URL)
    await desk.rows(
        "INSERT INTO webhook_delivery (id, tenant_id, endpoint_id, event_id, type, state, due_at, queued_at, created_at)"
        " SELECT gen_random_uuid(), 'acme', $1, gen_random_uuid(), 'ticket.created.v1', 'pending',"
        " now() + interval '1 hour', now(), now() FROM generate_series(1, 20000)",
        endpoint["endpoint_id"],
    )
    await desk.rows("ANALYZE webhook_delivery")
    [row] = await desk.rows(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {webhook_queue._HEADS}")
    assert "Seq Scan on webhook_delivery" not in row[0]
    assert '"Actual Rows": 20000' not in row[0]
    [head] = await webhook_queue.heads(desk.database)
    assert 3500 < head.due_in < 3601


@pytest.mark.slow
async def test_every_operation_answers_as_documented(desk: Ground) -> None:
    endpoint = await desk.add(URL)
    await desk.tell(fact(created()))
    report = await check_api(desk.app, headers=desk.manager.headers, examples=3)
    assert len(report.operations) == 10
    assert endpoint["secret"] not in str(report)
