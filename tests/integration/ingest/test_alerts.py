"""Alertmanager's webhook: one alert is one conversation, what it repeats is one message, recovery says so."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from shared.contracts.message import Channel, Parent
from tests.integration.ingest.conftest import Ingest

pytestmark = pytest.mark.engines

WHO = "acme/service"


def alert(status: str = "firing", **more: Any) -> dict[str, Any]:
    """One alert as Alertmanager 0.27 sends it."""
    return {
        "status": status,
        "labels": {"alertname": "HighErrorRate", "severity": "critical", "service": "checkout", "env": "prod"},
        "annotations": {
            "summary": "5xx above 5 %",
            "description": "Checkout fails.",
            "runbook_url": "https://r.example",
        },
        "startsAt": "2026-11-21T10:00:00.123456789Z",
        "endsAt": "0001-01-01T00:00:00Z" if status == "firing" else "2026-11-21T10:20:00Z",
        "generatorURL": "https://prometheus.example/graph?g0.expr=x",
        "fingerprint": "c0ffee0123456789",
    } | more


def webhook(*alerts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "version": "4",
        "groupKey": '{}:{alertname="HighErrorRate"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "deskwire",
        "groupLabels": {"alertname": "HighErrorRate"},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "https://alertmanager.example",
        "alerts": list(alerts),
    } | more


async def post(ingest: Ingest, *alerts: dict[str, Any], who: str = WHO, **more: Any) -> dict[str, Any]:
    answer = await ingest.call(who, "POST", "/v1/alerts", webhook(*alerts, **more))
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_first_firing_opens_a_ticket_that_says_what_it_is(ingest: Ingest) -> None:
    told = await post(ingest, alert())
    (event,) = await ingest.received()
    assert told["results"][0] == {
        "fingerprint": "c0ffee0123456789",
        "status": "accepted",
        "message_id": str(event.message_id),
        "conversation_id": str(event.conversation_id),
        "ticket_id": told["results"][0]["ticket_id"],
    }
    assert (event.channel, event.parent, event.automatic, event.resolves) == (Channel.ALERT, Parent.NONE, False, False)
    assert event.subject == "HighErrorRate: 5xx above 5 %"
    for said in ("FIRING", "Checkout fails.", "severity = critical", "https://r.example", "prometheus.example"):
        assert said in (event.body.text or "")
    assert (event.hints.impact, event.hints.urgency) == ("critical", "critical")
    assert (event.hints.product, event.hints.environment) == ("checkout", "prod")
    assert event.hints.tags == ("alert", "HighErrorRate")
    assert "@" not in event.sender.address


async def test_repetitions_are_one_message_also_when_two_alertmanagers_tell_it_at_once(ingest: Ingest) -> None:
    await asyncio.gather(*(post(ingest, alert()) for _ in range(8)))
    told = await post(ingest, alert(startsAt="2026-11-21T11:00:00.123456+01:00"))
    assert told["duplicate"] == 1
    assert len(await ingest.received()) == 1


async def test_changes_recovery_and_the_next_firing_continue_one_conversation_each_answering_the_one_before(
    ingest: Ingest,
) -> None:
    await post(ingest, alert())
    await post(ingest, alert(annotations={"summary": "5xx above 50 %"}))
    await post(ingest, alert("resolved"))
    await post(ingest, alert("resolved"))
    await post(ingest, alert(startsAt="2026-11-21T12:00:00Z"))
    await post(ingest, alert())
    events = await ingest.received()
    assert [event.resolves for event in events] == [False, False, True, False]
    assert len({event.conversation_id for event in events}) == 1
    assert [event.parent for event in events] == [Parent.NONE, *[Parent.KNOWN] * 3]
    assert [event.parent_message_id for event in events[1:]] == [event.message_id for event in events[:-1]]


async def test_a_whole_story_in_one_request_is_told_in_order(ingest: Ingest) -> None:
    told = await post(ingest, alert(), alert("resolved"), alert(startsAt="2026-11-21T12:00:00Z"))
    assert told["accepted"] == 3
    events = await ingest.received()
    assert [event.parent_message_id for event in events] == [None, events[0].message_id, events[1].message_id]


async def test_recovery_of_what_never_fired_here_opens_nothing(ingest: Ingest) -> None:
    told = await post(ingest, alert("resolved"))
    assert (told["ignored"], told["results"][0]["status"]) == (1, "ignored")
    assert await ingest.received() == []


async def test_other_labels_and_other_tenants_are_other_conversations(ingest: Ingest) -> None:
    bare = {name: value for name, value in alert().items() if name != "fingerprint"}
    await post(ingest, alert(), bare, {**bare, "labels": {"alertname": "Other"}})
    await post(ingest, alert(), who="beta/service")
    events = await ingest.received()
    assert len({event.conversation_id for event in events}) == 4
    assert {event.parent for event in events} == {Parent.NONE}


async def test_alerts_left_out_by_their_sender_are_told_of(ingest: Ingest) -> None:
    assert (await post(ingest, alert(), truncatedAlerts=7))["truncated"] == 7
    (event,) = await ingest.received()
    assert "7 more alerts" in (event.body.text or "")


async def test_long_labels_are_cut_in_the_text_and_whole_in_the_original(ingest: Ingest) -> None:
    told = await post(ingest, alert(annotations={f"a{n}": "long " * 3_000 for n in range(12)}))
    (event,) = await ingest.received()
    assert len(await ingest.text(event)) < 60_000
    original = await ingest.call("acme/agent", "GET", f"/v1/messages/{told['results'][0]['message_id']}/original")
    assert original.content.count(b"long ") == 36_000


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (webhook(), "/alerts"),
        (webhook(alert(startsAt="yesterday")), "/alerts/0/startsAt"),
        (webhook(alert(), alert("broken")), "/alerts/1/status"),
        (webhook(alert(labels={"severity": 5})), "/alerts/0/labels/severity"),
        (webhook(alert(), version="3"), "/version"),
        (webhook(*[alert()] * 1_001), "/alerts"),
    ],
)
async def test_what_cannot_be_read_is_refused_with_its_place(
    ingest: Ingest, body: dict[str, Any], pointer: str
) -> None:
    answer = await ingest.call(WHO, "POST", "/v1/alerts", body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert pointer in {error["pointer"] for error in answer.json()["errors"]}
    assert await ingest.received() == []


async def test_a_thousand_alerts_are_taken_at_once(ingest: Ingest) -> None:
    told = await post(ingest, *(alert(fingerprint=f"{n:016x}") for n in range(1_000)))
    assert told["accepted"] == 1_000


async def test_customers_and_strangers_send_no_alerts(ingest: Ingest) -> None:
    assert (await ingest.call("acme/customer", "POST", "/v1/alerts", webhook(alert()))).status_code == 403
    assert (await ingest.http.post("/v1/alerts", json=webhook(alert()))).status_code == 401
