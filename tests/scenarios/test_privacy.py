"""What people write to us is in their tickets and nowhere else: no log line, no metric, no header, no other's answer."""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import Awaitable, Callable

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from shared.bus.dead import topic_name
from shared.contracts.manifest import MESSAGE_RECEIVED
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


async def poison(installation: Installation, canary: Canary, count: int) -> None:
    """Records on `message.received` that nobody can read, each full of what must not be repeated."""
    content = {"sender": {"address": canary.address, "name": canary.name}, "subject": canary.subject}
    whole = json.dumps({**content, "tenant_id": canary.local, "text": canary.text, "phone": canary.phone}).encode()
    kinds: list[tuple[bytes | None, list[tuple[str, bytes]]]] = [
        (whole[:-3], _headers(MESSAGE_RECEIVED.events[0].TYPE)),
        (whole, _headers(MESSAGE_RECEIVED.events[0].TYPE)),
        (whole + b"\xff\xfe", _headers(MESSAGE_RECEIVED.events[0].TYPE)),
        (whole, _headers("ticket.created.v1")),
        (whole, []),
        (None, _headers(MESSAGE_RECEIVED.events[0].TYPE)),
    ]
    producer = AIOKafkaProducer(bootstrap_servers=installation.engines.kafka_url)
    await producer.start()
    try:
        for number in range(count):
            value, headers = kinds[number % len(kinds)]
            await producer.send_and_wait(
                installation.prefix + MESSAGE_RECEIVED.name, value, key=canary.address.encode(), headers=headers
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


async def letters(installation: Installation, group: str, count: int) -> list[list[tuple[str, bytes]]]:
    """Headers of the dead letters of one group, once there are `count`."""
    place = TopicPartition(installation.prefix + topic_name(group, MESSAGE_RECEIVED.name), 0)
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
    await poison(installation, canary, 18)
    for group in ("tickets", "directory"):
        for headers in await letters(installation, group, 18):
            told = {name: value.decode(errors="replace") for name, value in headers}
            assert any(name.startswith("dlq_") for name in told), "a dead letter says where it came from and why"
            assert canary.found_in(json.dumps(told)) == [], told
    await installation.settled()
    assert [ticket for ticket in await other.tickets() if canary.found_in(json.dumps(ticket))] == []
    assert sum(bool(canary.found_in(json.dumps(ticket))) for ticket in await desk.tickets()) >= 900, "it did arrive"

    foreign = [
        await other.call("GET", path, as_="admin", params=params)
        for path in ("/v1/tickets", "/v1/people", "/v1/quarantine", "/v1/tenants")
        for params in ({}, {"limit": "0"}, {"cursor": "broken"}, {"address": canary.address})
    ]
    for answer in foreign:
        said = answer.text.replace(canary.address, "")
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
    for name in ("tickets", "directory"):
        for word in ("lag", "parked", "handler"):
            assert word in told[name], f"{name} measures {word}"
    assert "late" in told["tickets"]
