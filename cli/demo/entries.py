"""The ways in, as anybody outside has them: SMTP, HTTP through the one origin, and the topics to read from."""

from __future__ import annotations

import asyncio
import smtplib
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import orjson
from aiokafka import AIOKafkaConsumer, ConsumerRecord

SAMPLES = Path(__file__).parents[2] / "tests/samples/demo"
TOPICS = ("ticket.created", "ticket.message_added", "ticket.status_changed", "ticket.assigned")


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Where the installation answers."""

    origin: str
    kafka: str
    prefix: str
    smtp_host: str
    smtp_port: int
    support: str
    """The mail address of the demo's desk."""
    key: str
    """The administrator's API key."""


@dataclass
class Topics:
    """Everything read from the topics since the demo began, and when it was read."""

    events: list[tuple[float, str, Mapping[str, Any]]] = field(default_factory=list)
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    def of(self, topic: str) -> list[Mapping[str, Any]]:
        """The events of one topic, in the order they were read."""
        return [event for _, name, event in self.events if name == topic]

    def find(self, topic: str, **fields: object) -> Mapping[str, Any] | None:
        """The first event of a topic with these top-level values."""
        for event in self.of(topic):
            if all(event.get(name) == value for name, value in fields.items()):
                return event
        return None

    def read_at(self, wanted: Mapping[str, Any]) -> float:
        """When an event was read, on the demo's own clock."""
        return next(at for at, _, event in self.events if event is wanted)

    def note(self, name: str, record: ConsumerRecord) -> None:
        """Keep one record."""
        self.events.append((time.monotonic(), name, orjson.loads(record.value)))
        self._more.set()

    async def more(self, timeout: float) -> bool:
        """Wait for another event; False when none came in time."""
        self._more.clear()
        try:
            async with asyncio.timeout(timeout):
                await self._more.wait()
        except TimeoutError:
            return False
        return True


@asynccontextmanager
async def reading(addresses: Addresses) -> AsyncIterator[Topics]:
    """Read the ticket topics from now on, as any subscriber would."""
    consumer = AIOKafkaConsumer(
        *(addresses.prefix + name for name in TOPICS), bootstrap_servers=addresses.kafka, auto_offset_reset="latest"
    )
    await consumer.start()
    # A position is settled lazily: ask for it now, so that nothing sent from here on is missed.
    for partition in consumer.assignment():
        await consumer.position(partition)
    topics = Topics()

    async def follow() -> None:
        async for record in consumer:
            topics.note(record.topic.removeprefix(addresses.prefix), record)

    following = asyncio.create_task(follow())
    try:
        yield topics
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await consumer.stop()


def api(addresses: Addresses) -> httpx2.AsyncClient:
    """HTTP through the origin with the administrator's key."""
    return httpx2.AsyncClient(
        base_url=addresses.origin,
        headers={"Authorization": f"Bearer {addresses.key}"},
        timeout=10,
        trust_env=False,
    )


async def mail(addresses: Addresses, name: str, **values: str) -> str:
    """Send a sample by SMTP, its placeholders filled in; the server's answer."""
    text = (SAMPLES / name).read_text(encoding="utf-8")
    for placeholder, value in {"support": addresses.support, **values}.items():
        text = text.replace("{" + placeholder + "}", value)
    raw = text.replace("\n", "\r\n").encode()
    sender = text.split("From:", 1)[1].split("<", 1)[1].split(">", 1)[0]
    return await asyncio.to_thread(_send, addresses, sender, raw)


async def raw_mail(addresses: Addresses, sender: str, raw: bytes) -> str:
    """Send any mail's bytes by SMTP; the server's answer."""
    return await asyncio.to_thread(_send, addresses, sender, raw)


def _send(addresses: Addresses, sender: str, raw: bytes) -> str:
    with smtplib.SMTP(addresses.smtp_host, addresses.smtp_port, timeout=15) as server:
        server.ehlo("demo.example")
        server.mail(sender)
        server.rcpt(addresses.support)
        code, answer = server.data(raw)
    return f"{code} {answer.decode(errors='replace')}"
