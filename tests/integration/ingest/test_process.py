"""The real process: killed while it works, drained while it works, its engines known to its readiness."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import httpx2
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from shared.auth import new_api_key
from shared.contracts import cloudevents
from shared.contracts.directory import CredentialChanged, CredentialKind, Role, TenantChanged
from tests.integration.ingest.conftest import aside, message
from tests.integration.ingest.test_smtp import mail
from tests.support.bus import wire
from tests.support.engines import Engines
from tests.support.installation import Installation
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines


class Running:
    """An installation of ingest alone, with the tenant acme and a key."""

    def __init__(self, installation: Installation, key: str) -> None:
        self.installation = installation
        self.key = key
        self.http = httpx2.AsyncClient(base_url=installation.url("ingest"), timeout=10.0, trust_env=False)

    async def submit(self, body: object, key: str) -> dict[str, str]:
        """Hand in until it is answered 202, through crashes."""
        while True:
            try:
                answer = await self.http.post(
                    "/v1/messages",
                    json=body,
                    headers={"Authorization": f"Bearer {self.key}", "Idempotency-Key": key},
                )
            except httpx2.TransportError:
                await asyncio.sleep(0.05)
                continue
            if answer.status_code == 202:
                found: dict[str, str] = answer.json()
                return found
            assert answer.status_code in {401, 503}, answer.text
            await asyncio.sleep(0.05)

    async def mail(self, number: int) -> None:
        """Send one mail until it is answered 250, as every mail server does."""

        def send() -> bool:
            try:
                with smtplib.SMTP("127.0.0.1", self.installation.ports["smtp"], timeout=20) as client:
                    return client.sendmail("ann@customer.example", ["support@acme.example"], mail(number)) == {}
            except (smtplib.SMTPException, OSError):
                return False

        async def sent() -> bool:
            return await aside(send)

        await eventually(sent, within=60, every=0.1, what=f"mail {number} taken")

    async def published(self, count: int) -> list[tuple[str, str]]:
        """The event ids and message ids on the topic, at least `count` of them."""
        consumer = AIOKafkaConsumer(
            f"{self.installation.prefix}message.received",
            bootstrap_servers=self.installation.engines.kafka_url,
            auto_offset_reset="earliest",
        )
        await consumer.start()
        found: list[tuple[str, str]] = []

        async def enough() -> bool:
            for records in (await consumer.getmany(timeout_ms=300)).values():
                for record in records:
                    headers = dict(record.headers)
                    body = record.value.decode()
                    found.append((headers[cloudevents.ID].decode(), body.partition('"message_id":"')[2][:36]))
            return len({one for _, one in found}) >= count

        try:
            await eventually(enough, within=40, what=f"{count} messages published")
        finally:
            await consumer.stop()
        return found


@pytest.fixture
async def running(engines: Engines, tmp_path: Path) -> AsyncIterator[Running]:
    """Ingest as a process, ready, with its reference data."""
    installation = Installation(engines, tmp_path, processes=(("ingest",),))
    (tmp_path / "blobs").mkdir()
    await installation.provision()
    key, credential_id = new_api_key()
    events = [
        TenantChanged(tenant_id="acme", version=1, name="Acme", inbound_addresses=("support@acme.example",)),
        CredentialChanged(
            tenant_id="acme",
            credential_id=credential_id,
            kind=CredentialKind.API_KEY,
            version=1,
            role=Role.SERVICE,
            person_id=uuid4(),
        ),
    ]
    producer = AIOKafkaProducer(bootstrap_servers=engines.kafka_url)
    await producer.start()
    for event in events:
        await producer.send_and_wait(installation.prefix + cloudevents.topic_name(event.TYPE), **wire(event))
    await producer.stop()
    installation.launch("ingest")
    try:
        await installation.ready("ingest")
        running = Running(installation, key)
        yield running
        await running.http.aclose()
    finally:
        await installation.stop()


async def test_whatever_was_answered_survives_kill_9_and_is_published_once(running: Running) -> None:
    installation = running.installation
    bodies = {f"key-{n}": message(n) for n in range(400)}

    async def client(keys: list[str]) -> dict[str, UUID]:
        return {key: UUID((await running.submit(bodies[key], key))["message_id"]) for key in keys}

    keys = list(bodies)
    clients = [asyncio.create_task(client(keys[n::16])) for n in range(16)]
    mails = [asyncio.create_task(running.mail(n)) for n in range(30)]
    for pause in (0.3, 0.5, 0.2):
        await asyncio.sleep(pause)
        installation.kill("ingest")
        installation.launch("ingest")
        await installation.ready("ingest")
    told = {key: one for part in await asyncio.gather(*clients) for key, one in part.items()}
    await asyncio.gather(*mails)
    rows = await installation.rows("ingest", "SELECT message_id, channel FROM message")
    stored = {row["message_id"] for row in rows}
    assert set(told.values()) <= stored
    assert len(stored) == len(rows) == 430
    assert sum(row["channel"] == "email" for row in rows) == 30
    again = {key: UUID((await running.submit(bodies[key], key))["message_id"]) for key in keys[:20]}
    assert again == {key: told[key] for key in keys[:20]}
    published = await running.published(430)
    events: dict[str, set[str]] = {}
    for ce_id, message_id in published:
        events.setdefault(message_id, set()).add(ce_id)
    assert {UUID(one) for one in events} == stored
    assert all(len(ce_ids) == 1 for ce_ids in events.values())


async def test_a_drain_loses_nothing_and_ends_in_peace(running: Running) -> None:
    installation = running.installation

    async def client(number: int) -> None:
        for step in range(20):
            await running.submit(message(number, subject=f"{number}-{step}"), f"{number}-{step}")

    clients = [asyncio.create_task(client(n)) for n in range(8)]
    await asyncio.sleep(0.3)
    assert await installation.terminate("ingest") == 0
    installation.launch("ingest")
    await installation.ready("ingest")
    await asyncio.gather(*clients)
    (row,) = await installation.rows("ingest", "SELECT count(*) AS rows FROM message")
    assert row["rows"] == 160


async def test_readiness_names_the_smtp_listener_and_metrics_name_nobody(running: Running) -> None:
    await running.mail(1)
    await running.submit(message(1), "k")
    text = await running.installation.metrics("ingest")
    assert 'deskwire_ingest_messages_total{channel="email",outcome="accepted",service="ingest"} 1.0' in text
    assert 'deskwire_ingest_messages_total{channel="api",outcome="accepted",service="ingest"} 1.0' in text
    assert "deskwire_ingest_parse_seconds_count" in text
    for secret in ("customer.example", "acme"):
        assert secret not in text
        assert secret not in running.installation.logs()
