"""What every step of the story works with, and how it waits for what must happen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx2

from cli.demo.sink import Sink
from cli.demo.topics import Event, Topics

PATIENCE = 30.0
"""Seconds a step waits for what must happen; nothing here takes that long on a working system."""
AGAIN = frozenset({502, 503, 504})
"""Statuses of a service that is busy, starting or away: ask again."""
T = TypeVar("T")


class MissingError(Exception):
    """Something did not happen in time."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that must have happened."""

    step: str
    outcome: str
    """What was seen, or what was missing."""
    passed: bool
    milliseconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Where the installation answers."""

    origin: str
    smtp_host: str
    smtp_port: int
    sink: str
    """The sink's HTTP address."""
    hooks: str
    """The same as the services reach it: another where they run in containers."""
    tenant: str
    support: str
    """The mail address of the demo's desk."""
    key: str
    """The administrator's API key."""


@dataclass(kw_only=True)
class Stage:
    """The installation as the story sees it: ways in, topics, sink; and the checks so far."""

    addresses: Addresses
    client: httpx2.AsyncClient
    topics: Topics
    sink: Sink
    say: Callable[[str], None]
    run: str
    """Marks this play's messages, so that it can be played again and again."""
    secrets: dict[str, str] = field(default_factory=dict)
    """Signing secrets of the webhook endpoints made for this play, by name."""
    checks: list[Check] = field(default_factory=list)

    def check(self, step: str, outcome: str, passed: bool, milliseconds: float | None = None) -> None:
        """Note what came out of a step."""
        self.checks.append(Check(step=step, outcome=outcome, passed=passed, milliseconds=milliseconds))

    async def until(self, find: Callable[[], T | None], what: str, patience: float = PATIENCE) -> T:
        """Look at the topics until `find` finds. Raises MissingError."""
        deadline = time.monotonic() + patience
        while (found := find()) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise MissingError(f"no {what} within {patience:.0f} s")
            await self.topics.more(min(left, 1.0))
        return found

    async def eventually(self, ask: Callable[[], Awaitable[T | None]], what: str, patience: float = PATIENCE) -> T:
        """Ask an API or the sink, again and again, until it has an answer.

        Raises MissingError, and HTTPStatusError for a refusal; for 502 to 504 only when they do not end.
        """
        deadline = time.monotonic() + patience
        while True:
            over = time.monotonic() > deadline
            try:
                if (found := await ask()) is not None:
                    return found
            except httpx2.HTTPStatusError as error:
                if over or error.response.status_code not in AGAIN:
                    raise
            if over:
                raise MissingError(f"no {what} within {patience:.0f} s")
            await asyncio.sleep(0.1)

    async def fact(self, topic: str, patience: float = PATIENCE, **fields: object) -> Event:
        """The first event of a topic with these values, once it is there. Raises MissingError."""
        told = ", ".join(f"{name}={str(value)[:8]}" for name, value in fields.items())
        return await self.until(lambda: self.topics.find(topic, **fields), f"{topic} ({told})", patience)

    def since(self, sent: float, event: Event) -> float:
        """Milliseconds from an instant of ours to the reading of an event."""
        return (self.topics.read_at(event) - sent) * 1000

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> dict[str, Any]:
        """Call the API; raises for anything but success."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await self.client.request(method, path, json=body, headers=named)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json() if answer.content else {}
        return found

    async def follow_link(self, url: str, form: Mapping[str, str]) -> None:
        """Fill in the form behind a link in a mail, as its reader would: without a login."""
        async with httpx2.AsyncClient(timeout=10, trust_env=False) as browser:
            (await browser.get(url)).raise_for_status()
            (await browser.post(url, data=dict(form))).raise_for_status()

    async def submit(self, message: Mapping[str, Any], key: str) -> dict[str, Any]:
        """Hand in one message by HTTP."""
        return await self.ask("POST", "/v1/messages", dict(message), Idempotency_Key=f"{self.run}-{key}")
