"""What people write to us is in their tickets and nowhere else: no log line, no metric, no header, no other's answer."""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from shared.bus.dead import topic_name
from shared.contracts.event import Topic
from shared.contracts.manifest import MESSAGE_RECEIVED, TICKET_CREATED, TICKET_STATE
from tests.support.desk import Desk
from tests.support.installation import SERVICES, WITH_DATABASE, Installation
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines


class Canary:
    """Somebody who is in no other test: every way to spell them."""

    def __init__(self) -> None:
        token = secrets.token_hex(5)
        self.local = f"kanarie{token}"
        self.address = f"{self.local}@vogel{token}.example"
        self.name = f"Zwitscher{token} Piepmatz{token}"
        self.phone = "+49 30 " + "".join(secrets.choice("123456789") for _ in range(8))
        self.subject = f"Betreff{token}"
        self.text = f"Inhalt{token}"

    def found_in(self, text: str) -> list[str]:
        """Which of it stands in `text`, however it is written."""
        lowered = text.lower()
        digits = self.phone.replace(" ", "")
        spelled = {
            "local part": self.local,
            "domain": self.address.partition("@")[2],
            "given name": self.name.split()[0],
            "family name": self.name.split()[1],
            "phone": self.phone,
            "phone without spaces": digits,
            "phone without plus": digits[1:],
            "subject": self.subject,
            "text": self.text,
        }
        return [what for what, value in spelled.items() if value.lower() in lowered]


async def good(desk: Desk, canary: Canary, count: int) -> None:
    """Messages as they should be, by HTTP and by mail."""
    messages = [
        {
            "source_id": f"canary-{number}",
            "sender": {"address": canary.phone if number % 5 == 0 else canary.address, "name": canary.name},
            "channel": "phone" if number % 5 == 0 else "api",
            "subject": f"{canary.subject} {number}",
            "text": f"{canary.text}, call {canary.phone} or write to {canary.address}.",
        }
        for number in range(count)
    ]
    await desk.post("/v1/messages", {"messages": messages}, as_="service", status=202)
    for number in range(20):
        mailed = await desk.mail(
            f"{canary.subject} by mail {number}", canary.text, sender=canary.address, headers={"X-Phone": canary.phone}
        )
        assert mailed.code == 250


async def malformed(desk: Desk, canary: Canary, count: int, seed: int) -> list[str]:
    """Bodies that are refused, each in another way; what was answered."""
    random_ = random.Random(seed)
    whole = json.dumps(
        {"subject": canary.subject, "text": canary.text, "sender": {"address": canary.address, "name": canary.name}}
    )
    answers = []
    for number in range(count):
        body = (
            whole[: random_.randrange(1, len(whole))],
            whole.replace('"text"', f'"{canary.local}"'),
            whole.replace(f'"{canary.address}"', f'["{canary.address}"]'),
            whole.replace(f'"{canary.name}"', f'{{"{canary.subject}": "{canary.phone}"}}'),
            whole[:-1] + f', "channel": "{canary.text}"}}',
        )[number % 5]
        answer = await desk.call(
            "POST", "/v1/messages", as_="service", content=body, headers={"Content-Type": "application/json"}
        )
        assert 400 <= answer.status_code < 500, answer.text
        answers.append(answer.text)
    raw = b"From: " + canary.address.encode() + b"\r\nSubject: =?bogus?Q?" + canary.subject.encode() + b"\r\n"
    for broken in (
        b"Content-Type: text/plain; name*\r\n\r\n",
        b"Content-Type: multipart/mixed\r\n\r\n--x\r\n",
        b"\r\n\xff\xfe",
    ):
        await desk.raw_mail(raw + broken + canary.text.encode(), sender=canary.address)
    await desk.mail("To nobody", sender=canary.address, to=[canary.address])
    return answers


async def work(desk: Desk, canary: Canary) -> None:
    """Every new service is told of the canary by those who may know it: searched for, previewed, escalated, called."""
    words = f"{canary.text}: call {canary.name}, {canary.phone}, {canary.address}"
    ticket = (await desk.tickets(as_="manager"))[0]["id"]
    for status in (204, 500):
        url = f"{desk.installation.url('sink')}/hooks/{canary.local}?status={status}"
        await desk.post("/v1/webhooks", {"url": url, "description": canary.name}, as_="admin")
    asked: list[tuple[str, str, str, dict[str, Any]]] = [
        ("GET", "/v1/search", "agent", {"params": {"q": canary.address}}),
        ("GET", "/v1/search", "agent", {"params": {"q": f'"{canary.name}'}}),
        ("GET", "/v1/search", "agent", {"params": {"q": canary.text, "cursor": canary.local}}),
        ("GET", "/v1/similar", "agent", {"params": {"text": words}}),
        ("GET", "/v1/people", "admin", {"params": {"address": canary.address}}),
        ("POST", "/v1/triage/preview", "lead", {"json": {"subject": canary.subject, "text": words}}),
        ("POST", "/v1/triage/preview", "lead", {"json": {canary.local: canary.text}}),
        ("POST", "/v1/sla/preview", "manager", {"json": {canary.local: canary.text}}),
        ("POST", "/v1/notifications/preview", "admin", {"json": {"template": canary.text, canary.local: 1}}),
        ("POST", "/v1/escalations", "lead", {"json": {"ticket_id": ticket, "reason": words}}),
        ("POST", "/v1/escalations", "lead", {"json": {"ticket_id": canary.address, "reason": words}}),
        ("PUT", "/v1/schedules/primary", "lead", {"json": {"members": [canary.address], "timezone": canary.text}}),
        ("POST", "/v1/suppressions", "admin", {"json": {"address": canary.address}}),
        ("GET", f"/v1/pages/{canary.address}", "agent", {}),
        ("GET", f"/v1/surveys/{canary.local}", "agent", {}),
        ("GET", f"/v1/tickets/{canary.address}/clocks", "agent", {}),
        ("POST", f"/v1/tickets/{ticket}/messages", "lead", {"json": {"text": words}}),
        ("POST", "/v1/alerts", "service", {"json": {"alerts": [{"labels": {"alertname": canary.name}}]}}),
    ]
    for method, path, role, given in asked:
        answer = await desk.call(method, path, as_=role, **given)
        assert answer.status_code < 500, (method, path, answer.text)


async def poison(installation: Installation, topic: Topic, canary: Canary, count: int) -> None:
    """Records on a topic that nobody can read, each full of what must not be repeated."""
    content = {"sender": {"address": canary.address, "name": canary.name}, "subject": canary.subject}
    whole = json.dumps({**content, "tenant_id": canary.local, "text": canary.text, "phone": canary.phone}).encode()
    own = _headers(topic.events[0].TYPE)
    kinds: list[tuple[bytes | None, list[tuple[str, bytes]]]] = [
        (whole[:-3], own),
        (whole, own),
        (whole + b"\xff\xfe", own),
        (whole, _headers("page.response.v1")),
        (whole, []),
    ]
    if not topic.compacted:
        # Where states stand, it deletes one.
        kinds.append((None, own))
    producer = AIOKafkaProducer(bootstrap_servers=installation.engines.kafka_url)
    await producer.start()
    try:
        for number in range(count):
            value, headers = kinds[number % len(kinds)]
            await producer.send_and_wait(
                installation.prefix + topic.name, value, key=canary.address.encode(), headers=headers
            )
    finally:
        await producer.stop()


def _headers(kind: str) -> list[tuple[str, bytes]]:
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", secrets.token_hex(16).encode()),
        ("ce_source", b"/elsewhere"),
        ("ce_type", kind.encode()),
        ("ce_time", b"2026-11-21T12:00:00Z"),
        ("content-type", b"application/json"),
    ]


async def letters(installation: Installation, group: str, topic: Topic, count: int) -> list[list[tuple[str, bytes]]]:
    """Headers of the dead letters of one group, once there are `count`."""
    place = TopicPartition(installation.prefix + topic_name(group, topic.name), 0)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=installation.engines.kafka_url, group_id=None, auto_offset_reset="earliest"
    )
    await consumer.start()
    found: list[list[tuple[str, bytes]]] = []

    async def there() -> bool:
        for records in (await consumer.getmany(timeout_ms=100)).values():
            found.extend(list(record.headers) for record in records)
        return len(found) >= count

    try:
        consumer.assign([place])
        await eventually(there, within=60, what=f"{count} dead letters of {group}")
    finally:
        await consumer.stop()
    return found


async def test_a_canary_in_a_thousand_messages_is_in_no_log_no_metric_no_header_and_no_foreign_answer(
    desk: Desk, open_tenant: Callable[[str], Awaitable[Desk]], dose: Callable[[int, int], int]
) -> None:
    canary, other, installation = Canary(), await open_tenant("nosy"), desk.installation
    await good(desk, canary, 900)
    refusals = await malformed(desk, canary, dose(60, 1000), seed=1)
    for topic, count in ((MESSAGE_RECEIVED, 18), (TICKET_CREATED, 6), (TICKET_STATE, 5)):
        await poison(installation, topic, canary, count)
        for group in topic.consumers:
            for headers in await letters(installation, group, topic, count):
                told = {name: value.decode(errors="replace") for name, value in headers}
                assert any(name.startswith("dlq_") for name in told), "a dead letter says where it came from and why"
                assert canary.found_in(json.dumps(told)) == [], told
    await installation.settled(within=180)
    await work(desk, canary)
    await desk.fact("escalation.started")
    for endpoint in (await desk.get("/v1/webhooks", as_="admin"))["items"]:
        # One that refuses is tried for days, and this installation would never be quiet again.
        gone = await desk.call("DELETE", f"/v1/webhooks/{endpoint['endpoint_id']}", as_="admin")
        assert gone.status_code == 204, gone.text
    assert [ticket for ticket in await other.tickets() if canary.found_in(json.dumps(ticket))] == []
    assert sum(bool(canary.found_in(json.dumps(ticket))) for ticket in await desk.tickets()) >= 900, "it did arrive"

    foreign = [
        await other.call("GET", path, as_="admin", params=params)
        for path in (
            "/v1/tickets",
            "/v1/people",
            "/v1/quarantine",
            "/v1/tenants",
            "/v1/search",
            "/v1/similar",
            "/v1/escalations",
            "/v1/notifications",
            "/v1/webhooks",
            "/v1/suppressions",
            "/v1/triage/corrections",
        )
        for params in (
            {},
            {"limit": "0"},
            {"cursor": "broken"},
            {"address": canary.address},
            {"q": canary.text},
            {"text": canary.text},
        )
    ]
    for answer in foreign:
        said = answer.text.replace(canary.address, "").replace(canary.text, "")
        assert canary.found_in(said) == [], answer.text
    for text in refusals:
        assert canary.text not in text, "a refusal points at a value and does not repeat it"

    for name in SERVICES:
        assert canary.found_in(await installation.metrics(name)) == [], f"/metrics of {name}"
    leaks = [line for line in installation.logs().splitlines() if canary.found_in(line)]
    assert leaks == [], leaks[:3]


async def test_no_key_and_no_token_is_in_any_log(desk: Desk) -> None:
    token = (await desk.post("/v1/tokens", {}, as_="agent"))["token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert (await desk.call("GET", "/v1/tickets", as_=None, headers=headers)).status_code == 200
    await desk.call("GET", "/v1/tickets", as_=None, headers={"Authorization": f"Bearer {token[:-4]}AAAA"})
    await desk.call("GET", f"/v1/tickets/{desk.keys['agent']}", params={"cursor": desk.keys["admin"]})
    await desk.message("With a key in it", f"My key is {desk.keys['service']}")
    await desk.installation.settled()
    logs = desk.installation.logs()
    secret = [*desk.keys.values(), token, desk.installation.master_key, *desk.installation.passwords.values()]
    assert [value[:6] for value in secret if value and value in logs] == []


async def test_every_service_tells_of_its_lag_its_outbox_its_lateness_and_its_parked_keys(desk: Desk) -> None:
    await desk.open("Something to measure")
    told = {name: await desk.installation.metrics(name) for name in WITH_DATABASE}
    for name, text in told.items():
        assert "outbox" in text, f"{name} measures its outbox"
        assert f"{name}@" not in text
    for name in WITH_DATABASE:
        for word in ("lag", "parked", "handler"):
            assert word in told[name], f"{name} measures {word}"
    assert "late" in told["tickets"]
