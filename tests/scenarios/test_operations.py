"""The operations page: every metric and log event it names exists, every procedure on it works as written."""

from __future__ import annotations

import re
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer

from shared.contracts import ids
from shared.contracts.message import Body, MessageReceived, Participant
from tests.support.bus import wire
from tests.support.desk import Desk
from tests.support.installation import ROOT, WITH_DATABASE, Installation
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines

PAGE = (ROOT / "docs/operations.md").read_text(encoding="utf-8")


async def publish(
    installation: Installation,
    value: bytes,
    key: bytes,
    headers: list[tuple[str, bytes]],
    topic: str = "message.received",
) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=installation.engines.kafka_url)
    await producer.start()
    try:
        await producer.send_and_wait(f"{installation.prefix}{topic}", value, key=key, headers=headers)
    finally:
        await producer.stop()


def message_of(tenant: str) -> MessageReceived:
    """A message for a tenant that may not exist."""
    message_id, address = uuid4(), "early@acme.example"
    return MessageReceived.model_validate(
        {
            "tenant_id": tenant,
            "message_id": message_id,
            "conversation_id": message_id,
            "channel": "api",
            "received_at": "2026-11-21T12:00:00Z",
            "sender": Participant(person_id=ids.person_id(tenant, address), address=address),
            "subject": "Before its tenant",
            "body": Body(text="Too early."),
        }
    )


async def test_the_page_names_every_metric_and_no_other(desk: Desk) -> None:
    await desk.open("Something to measure")
    told: set[str] = set()
    for service in WITH_DATABASE:
        text = await desk.installation.metrics(service)
        told |= set(re.findall(r"^# TYPE (deskwire_\w+) (?!gauge\n.*_created)", text, re.MULTILINE))
    told = {name for name in told if not name.endswith("_created")}
    named = set(re.findall(r"`(deskwire_\w+)`", PAGE))
    assert named - told == set(), "named and not there"
    assert told - named == set(), "there and not named"


async def test_every_log_event_on_the_page_is_one_of_ours() -> None:
    table = PAGE.partition("## Log events")[2].partition("\n## ")[0]
    events = [
        name
        for row in table.splitlines()
        if row.startswith("| `")
        for name in re.findall(r"`([^`]+)`", row.split("|")[1])
    ]
    sources = "\n".join(
        path.read_text(encoding="utf-8") for folder in ("shared", "services") for path in (ROOT / folder).rglob("*.py")
    )
    assert [event for event in events if f'"{event}"' not in sources] == []
    assert len(events) > 20


async def test_dead_letters_are_listed_shown_and_replayed(desk: Desk) -> None:
    installation, marker = desk.installation, uuid4()
    fact = wire(message_of(desk.tenant), id=marker)
    await publish(installation, b"{", fact["key"], fact["headers"])

    async def listed() -> str:
        lines = (await installation.cli("dlq", "list", "tickets")).splitlines()
        return next((line for line in lines if str(marker) in line), "")

    line = await eventually(listed, within=30, every=0.2, what="the letter")
    assert "message.received" in line
    assert "json" in line
    place = re.search(r"message\.received (\d+:\d+)", line)
    assert place is not None, line
    shown = await installation.cli("dlq", "show", "tickets", "message.received", place[1])
    assert str(marker) in shown
    await installation.cli("dlq", "replay", "tickets", "message.received", place[1])

    async def again() -> bool:
        said = await installation.cli("dlq", "list", "tickets")
        return sum(str(marker) in line for line in said.splitlines()) == 2

    await eventually(again, within=30, every=0.2, what="the letter put aside once more")
    assert "tickets" in await installation.cli("dlq", "list")


@pytest.mark.parametrize("service", ["triage", "sla", "escalation", "notify", "search"])
async def test_what_a_service_put_aside_is_listed_by_its_name(service: str, desk: Desk) -> None:
    installation, marker = desk.installation, uuid4()
    topic = "ticket.state" if service == "sla" else "ticket.created"
    fact = wire(message_of(desk.tenant), id=marker)
    # A message is foreign to this topic.
    await publish(installation, fact["value"], fact["key"], fact["headers"], topic=topic)

    async def listed() -> str:
        lines = (await installation.cli("dlq", "list", service)).splitlines()
        return next((line for line in lines if str(marker) in line), "")

    line = await eventually(listed, within=60, every=0.5, what="the letter")
    assert topic in line
    assert "Before its tenant" not in line, "nothing of the content"
    await installation.cli("parked", "list", service)


async def test_a_key_that_waits_is_listed_with_what_is_missing_and_can_be_given_up(desk: Desk) -> None:
    installation = desk.installation
    message = message_of(f"nobody-{uuid4().hex[:6]}")
    fact = wire(message)
    await publish(installation, fact["value"], fact["key"], fact["headers"])
    key = message.key

    async def waits(service: str = "tickets") -> str:
        lines = (await installation.cli("parked", "list", service)).splitlines()
        return next((line for line in lines if key in line), "")

    line = await eventually(waits, within=30, every=0.2, what="the waiting key")
    assert f"policy {message.tenant_id}/" in line
    assert "Before its tenant" in await installation.cli("parked", "show", "tickets", key)
    await installation.cli("parked", "release", "tickets", key)
    assert await eventually(waits, within=30, every=0.2, what="still nothing there"), "releasing brings no policy"
    assert f"tenant {message.tenant_id}" in await eventually(
        lambda: waits("directory"), within=30, every=0.2, what="the key, waiting in directory too"
    )
    for service in ("tickets", "directory"):
        await installation.cli("parked", "discard", service, key)
        assert await waits(service) == ""
