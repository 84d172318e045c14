"""Webhooks end to end: facts in, signed requests at a sink, what became of them by the API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from services.notify.domain.webhook_delivery import ATTEMPTS, WAITS
from tests.integration.notify.webhook_ground import (
    Ground,
    Sink,
    created,
    fact,
    ground,
    note,
    settled,
    sink,
    working,
)
from tests.support.databases import ScratchDatabases
from tests.support.engines import Engines
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines


@pytest.fixture
async def desk(engines: Engines, databases: ScratchDatabases) -> AsyncIterator[Ground]:
    url = await databases.create("notify")
    async with ground(url, databases.admin(url)) as made:
        yield made


@pytest.fixture
async def at() -> AsyncIterator[Sink]:
    async with sink() as made:
        yield made


async def test_a_fact_is_sent_signed_once_to_each_endpoint_that_wants_it(desk: Ground, at: Sink) -> None:
    every = await desk.add(f"{at.url}/every")
    tickets = await desk.add(f"{at.url}/tickets", event_types=["ticket.created"])
    await desk.add(f"{at.url}/sla", event_types=["sla.*"])
    await desk.add(f"{at.url}/theirs", who=desk.stranger)
    told = fact(created())
    async with working(desk.parts):
        await desk.tell(told)
        await settled(desk, every, "delivered")
        await settled(desk, tickets, "delivered")
    assert sorted(one.path for one in at.got) == ["/every", "/tickets"]
    [got] = at.at("/every")
    assert got.id == str(told.id)
    assert got.is_signed_with(every["secret"])
    assert not got.is_signed_with(tickets["secret"])
    assert got.json["type"] == "ticket.created.v1"
    assert got.json["data"] == told.event.model_dump(mode="json", exclude_none=True)
    assert datetime.fromisoformat(got.json["timestamp"]) == told.time


async def test_the_same_fact_found_twice_is_one_delivery(desk: Ground, at: Sink) -> None:
    endpoint = await desk.add(f"{at.url}/hook")
    told = fact(created())
    await desk.tell(told)
    await desk.tell(told)
    async with working(desk.parts):
        await settled(desk, endpoint, "delivered")
    assert len(at.got) == 1


async def test_internal_notes_go_only_where_they_were_asked_for(desk: Ground, at: Sink) -> None:
    await desk.add(f"{at.url}/public")
    trusted = await desk.add(f"{at.url}/trusted", include_internal=True)
    async with working(desk.parts):
        await desk.tell(fact(note()))
        await settled(desk, trusted, "delivered")
        open_word = fact(note(visibility="public", text="Hello"))
        await desk.tell(open_word)
        await settled(desk, trusted, "delivered", 2)
    assert [one.id for one in at.at("/public")] == [str(open_word.id)]


async def test_a_failed_attempt_is_repeated_with_the_same_id_and_body_and_a_new_signature(
    desk: Ground, at: Sink
) -> None:
    at.says("/hook", 500, 200, text=b"not now")
    endpoint = await desk.add(f"{at.url}/hook")
    async with working(desk.parts):
        await desk.tell(fact(created()))

        async def tried() -> bool:
            [one] = await desk.deliveries(endpoint)
            assert (one["attempts"], one["status"], one["answer"]) == (1, 500, "not now")
            assert one["next_attempt_at"] is not None
            return True

        await eventually(tried)
        await desk.forward(timedelta(seconds=6))
        [done] = await settled(desk, endpoint, "delivered")
    assert done["attempts"] == 2
    assert done["milliseconds"] > 0
    first, second = at.got
    assert (first.id, first.body) == (second.id, second.body)
    assert first.is_signed_with(endpoint["secret"])
    assert second.is_signed_with(endpoint["secret"])


async def test_after_ten_attempts_it_is_given_up_told_once_listed_and_can_be_replayed(desk: Ground, at: Sink) -> None:
    at.says("/hook", 503)
    endpoint = await desk.add(f"{at.url}/hook")
    told = fact(created())
    async with working(desk.parts):
        await desk.tell(told)
        for attempt in range(1, ATTEMPTS + 1):

            async def tried(attempt: int = attempt) -> bool:
                assert len(at.got) == attempt
                [one] = await desk.deliveries(endpoint)
                return bool(one["status"] == 503 and (one["state"] == "failed" or one["attempts"] == attempt))

            await eventually(tried, what=f"attempt {attempt}")
            if attempt < ATTEMPTS:
                await desk.forward(WAITS[attempt - 1] * 1.1)
        [given_up] = await settled(desk, endpoint, "failed")
        assert (given_up["reason"], given_up["attempts"], given_up["status"]) == ("exhausted", 10, 503)
        [event] = await desk.published()
        assert event["topic"] == "notification.failed"
        assert event["delivery_id"] == given_up["delivery_id"]
        assert (event["channel"], event["template"], event["attempts"]) == ("webhook", "ticket.created.v1", 10)
        assert (event["ticket_id"], event["cause_id"]) == (str(told.event.ticket_id), str(told.id))
        at.says("/hook", 204)
        answer = await desk.call("POST", f"/v1/webhooks/deliveries/{given_up['delivery_id']}/replay")
        assert answer.status_code == 202, answer.text
        await desk.forward(timedelta(minutes=6))  # the circuit's pause
        [again] = await settled(desk, endpoint, "delivered")
    assert again["attempts"] == 1
    assert {one.id for one in at.got} == {str(told.id)}
    shown = (await desk.call("GET", f"/v1/webhooks/{endpoint['endpoint_id']}")).json()
    assert (shown["failures"], shown["failing_since"], shown["held_until"]) == (0, None, None)


async def test_410_switches_the_endpoint_off_gives_up_what_waits_and_tells_its_keepers(desk: Ground, at: Sink) -> None:
    at.says("/hook", 410)
    keeper = uuid4()
    await desk.rows(
        "INSERT INTO colleague (person_id, tenant_id, role, active, version) VALUES ($1, 'acme', 'manager', true, 1),"
        " (gen_random_uuid(), 'acme', 'agent', true, 1), (gen_random_uuid(), 'other', 'admin', true, 1)",
        keeper,
    )
    endpoint = await desk.add(f"{at.url}/hook")
    async with working(desk.parts):
        await desk.tell(fact(created()))
        [gone] = await settled(desk, endpoint, "failed")
        assert gone["reason"] == "gone"
        await desk.tell(fact(created()))
    shown = (await desk.call("GET", f"/v1/webhooks/{endpoint['endpoint_id']}")).json()
    assert (shown["active"], shown["disabled_reason"]) == (False, "gone")
    assert len(at.got) == 1
    notices = await desk.rows("SELECT person_id, ticket_id, title, body FROM notice")
    assert [(one["person_id"], one["ticket_id"]) for one in notices] == [(keeper, None)]
    assert notices[0]["title"] == "The webhook to 127.0.0.1 was switched off"


async def test_what_waits_for_an_endpoint_that_is_switched_off_is_given_up_and_replayed_on_demand(
    desk: Ground, at: Sink
) -> None:
    endpoint = await desk.add(f"{at.url}/hook")
    facts = [fact(created()) for _ in range(3)]
    await desk.tell(*facts)
    path = f"/v1/webhooks/{endpoint['endpoint_id']}"
    since = datetime.now(UTC) - timedelta(minutes=1)
    off = await desk.call("PATCH", path, {"active": False}, If_Match='"1"')
    assert off.json()["disabled_reason"] == "manual"
    async with working(desk.parts):
        assert {one["reason"] for one in await settled(desk, endpoint, "failed", 3)} == {"endpoint_disabled"}
        assert (await desk.call("POST", f"{path}/replay", {"since": since.isoformat()})).status_code == 409
        assert (await desk.call("POST", f"{path}/test")).status_code == 409
        assert (await desk.call("PATCH", path, {"active": True}, If_Match='"2"')).status_code == 200
        later = datetime.now(UTC) + timedelta(hours=1)
        assert (await desk.call("POST", f"{path}/replay", {"since": later.isoformat()})).json() == {"replayed": 0}
        assert (await desk.call("POST", f"{path}/replay", {"since": since.isoformat()})).json() == {"replayed": 3}
        await settled(desk, endpoint, "delivered", 3)
    assert sorted(one.id for one in at.got) == sorted(str(one.id) for one in facts)


async def test_days_of_nothing_but_failures_switch_an_endpoint_off(desk: Ground, at: Sink) -> None:
    at.says("/hook", 500)
    endpoint = await desk.add(f"{at.url}/hook")
    await desk.rows(
        "UPDATE webhook_endpoint SET failures = 30, failing_since = desk_now() - interval '5 days 1 second'"
    )
    async with working(desk.parts):
        await desk.tell(fact(created()), fact(created()))
        await settled(desk, endpoint, "failed", 2)
    shown = (await desk.call("GET", f"/v1/webhooks/{endpoint['endpoint_id']}")).json()
    assert (shown["active"], shown["disabled_reason"]) == (False, "failing")
    assert len(at.got) == 1


async def test_redirects_are_failures_and_not_followed(desk: Ground, at: Sink) -> None:
    at.says("/hook", 307, Location=f"{at.url}/elsewhere")
    endpoint = await desk.add(f"{at.url}/hook")
    async with working(desk.parts):
        await desk.tell(fact(created()))

        async def tried() -> bool:
            [one] = await desk.deliveries(endpoint)
            assert (one["status"], one["error"], one["state"]) == (307, "redirect", "pending")
            return True

        await eventually(tried)
    assert at.at("/elsewhere") == []


async def test_a_rotated_secret_signs_beside_the_new_one_for_a_day(desk: Ground, at: Sink) -> None:
    endpoint = await desk.add(f"{at.url}/hook")
    rotated = await desk.call("POST", f"/v1/webhooks/{endpoint['endpoint_id']}/rotate-secret")
    assert rotated.status_code == 200, rotated.text
    old, new = endpoint["secret"], rotated.json()["secret"]
    assert old != new
    async with working(desk.parts):
        await desk.tell(fact(created()))
        await settled(desk, endpoint, "delivered")
        await desk.forward(timedelta(hours=24, seconds=1))
        desk.parts.dispatcher._keys.clear()
        await desk.tell(fact(created(), at=datetime.now(UTC) + timedelta(hours=24)))
        await settled(desk, endpoint, "delivered", 2)
    first, second = at.got
    assert first.is_signed_with(old)
    assert first.is_signed_with(new)
    assert second.is_signed_with(new)
    assert not second.is_signed_with(old)


async def test_a_secret_is_answered_once_and_kept_wrapped(desk: Ground, at: Sink) -> None:
    endpoint = await desk.add(f"{at.url}/hook")
    assert endpoint["secret"].startswith("whsec_")
    for answer in (
        await desk.call("GET", "/v1/webhooks"),
        await desk.call("GET", f"/v1/webhooks/{endpoint['endpoint_id']}"),
        await desk.call("PATCH", f"/v1/webhooks/{endpoint['endpoint_id']}", {"description": "x"}, If_Match='"1"'),
    ):
        assert answer.status_code == 200
        assert "whsec_" not in answer.text
    [row] = await desk.rows("SELECT secret FROM webhook_endpoint")
    assert b"whsec_" not in row["secret"]
    assert endpoint["secret"].removeprefix("whsec_").encode() not in row["secret"]


async def test_what_is_too_old_is_recorded_and_not_sent_and_can_be_replayed(desk: Ground, at: Sink) -> None:
    endpoint = await desk.add(f"{at.url}/hook")
    told = fact(created(), at=datetime.now(UTC) - timedelta(hours=25))
    async with working(desk.parts):
        await desk.tell(told)
        [expired] = await settled(desk, endpoint, "expired")
        assert at.got == []
        await desk.call("POST", f"/v1/webhooks/deliveries/{expired['delivery_id']}/replay")
        await settled(desk, endpoint, "delivered")
    assert [one.id for one in at.got] == [str(told.id)]


async def test_a_ping_is_sent_whatever_the_filter_and_its_failure_is_told_to_nobody(desk: Ground, at: Sink) -> None:
    at.says("/hook", 410)
    endpoint = await desk.add(f"{at.url}/hook", event_types=["sla.breached"])
    answer = await desk.call("POST", f"/v1/webhooks/{endpoint['endpoint_id']}/test")
    assert answer.status_code == 202
    async with working(desk.parts):
        [one] = await settled(desk, endpoint, "failed")
    assert one["delivery_id"] == answer.json()["delivery_id"]
    assert at.got[0].json["type"] == "webhook.ping"
    assert await desk.published() == []


async def test_only_the_beginning_of_an_answer_is_kept(desk: Ground, at: Sink) -> None:
    at.says("/hook", 200, text=b"\x00\xff" + b"x" * 100_000)
    endpoint = await desk.add(f"{at.url}/hook")
    async with working(desk.parts):
        await desk.tell(fact(created()), fact(created()))
        found = await settled(desk, endpoint, "delivered", 2)
    assert all(len(one["answer"]) == 1000 and "\0" not in one["answer"] for one in found)


async def test_a_deleted_endpoint_is_sent_nothing_more_and_is_nowhere_to_be_seen(desk: Ground, at: Sink) -> None:
    endpoint = await desk.add(f"{at.url}/hook")
    await desk.tell(fact(created()))
    path = f"/v1/webhooks/{endpoint['endpoint_id']}"
    assert (await desk.call("DELETE", path)).status_code == 204
    await desk.tell(fact(created()))
    async with working(desk.parts):

        async def given_up() -> bool:
            rows = await desk.rows("SELECT state, reason FROM webhook_delivery")
            assert [(row["state"], row["reason"]) for row in rows] == [("failed", "endpoint_disabled")]
            return True

        await eventually(given_up)
    assert at.got == []
    for method, below in (("GET", ""), ("GET", "/deliveries"), ("DELETE", ""), ("POST", "/test")):
        assert (await desk.call(method, path + below)).status_code == 404
    [row] = await desk.rows("SELECT secret, former_secret FROM webhook_endpoint")
    assert (row["secret"], row["former_secret"]) == (b"", None)
