"""Those who write to a desk and work at it while it is being broken: they repeat what was not accepted, as all do."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import httpx2

from tests.support.desk import CUSTOMER, Desk
from tests.support.waiting import eventually

PATIENCE = 240.0
"""Seconds in which a sender gets its message accepted."""
AGAIN = frozenset({401, 500, 502, 503, 504})
"""What is answered while something is away; 401 while a service does not know the keys yet."""

Act = Callable[[int], Awaitable[None]]


class Senders:
    """Programs, mail servers, customers, monitors and agents of one desk."""

    def __init__(self, desk: Desk, seed: int) -> None:
        self._desk = desk
        self._random = random.Random(seed)
        self._mails: list[str] = []
        """Message-IDs that can be answered."""
        self._taken: set[str] = set()
        """Tickets that somebody is solving, or has solved."""
        self.accepted: dict[str, str] = {}
        """Message id → what was sent."""
        self.solved: set[str] = set()
        """Tickets whose solution was confirmed."""

    async def submit(self, number: int) -> None:
        """One message by HTTP, under one key however often it is repeated."""
        body = {"subject": f"By HTTP {number}", "text": "Body.", "sender": {"address": CUSTOMER}}
        answer = await self._posted("/v1/messages", body, **{"Idempotency-Key": f"crash-{number}"})
        self.accepted[answer["message_id"]] = f"By HTTP {number}"

    async def send(self, number: int) -> None:
        """One mail, under one Message-ID however often it is repeated."""
        await self._mailed(f"By mail {number}")

    async def reply(self, number: int) -> None:
        """An answer to an earlier mail; the first mail of all when there is none."""
        if not self._mails:
            return await self.send(number)
        parent = self._random.choice(self._mails)
        return await self._mailed(f"Re: by mail {number}", **{"In-Reply-To": parent, "References": parent})

    async def alert(self, number: int) -> None:
        """A monitor that fires."""
        body = {
            "version": "4",
            "receiver": "deskwire",
            "status": "firing",
            "alerts": [
                {
                    "status": "firing",
                    "labels": {"alertname": f"Alert {number}", "severity": "warning"},
                    "annotations": {"summary": f"Alert {number}"},
                    "startsAt": "2026-11-21T10:00:00Z",
                    "fingerprint": f"{number:016x}",
                }
            ],
        }
        answer = await self._posted("/v1/alerts", body)
        (result,) = answer["results"]
        self.accepted[result["message_id"]] = f"Alert {number}"

    async def solve(self, number: int) -> None:
        """A lead solves a ticket that somebody works at, which makes room for one that waits; else writes a message."""
        ticket = ""

        async def done() -> bool:
            nonlocal ticket
            try:
                if not ticket:
                    shown = await self._desk.call("GET", "/v1/tickets", as_="lead", params={"category": "open"})
                    assert shown.status_code in {200, *AGAIN}, shown.text
                    items = shown.json()["items"] if shown.status_code == 200 else []
                    free = sorted({item["id"] for item in items if item["assignee_id"]} - self._taken)
                    if shown.status_code != 200 or not free:
                        return shown.status_code == 200
                    ticket = self._random.choice(free)
                    self._taken.add(ticket)
                moved = await self._desk.move(ticket, "solved", as_="lead", resolution="Done.")
            except httpx2.TransportError:
                return False
            if moved.status_code == 409:
                # A former attempt was heard and its answer lost, or the requester wrote meanwhile.
                return True
            assert moved.status_code in {200, *AGAIN}, moved.text
            if moved.status_code == 200:
                self.solved.add(ticket)
            return moved.status_code == 200

        await eventually(done, within=PATIENCE, every=0.2, what=f"{ticket or 'a ticket'} solved")
        if not ticket:
            await self.submit(number)

    async def _posted(self, path: str, body: object, **headers: str) -> dict[str, Any]:
        content: dict[str, Any] = {}

        async def taken() -> bool:
            try:
                answer = await self._desk.call("POST", path, as_="service", json=body, headers=headers)
            except httpx2.TransportError:
                return False
            if answer.status_code != 202:
                assert answer.status_code in AGAIN, answer.text
                return False
            content.update(answer.json())
            return True

        await eventually(taken, within=PATIENCE, every=0.2, what=f"POST {path} accepted")
        return content

    async def _mailed(self, subject: str, **headers: str) -> None:
        header_id = f"<{uuid4()}@acme.example>"

        async def taken() -> bool:
            try:
                mailed = await self._desk.mail(subject, header_id=header_id, headers=headers)
            except OSError:  # smtplib's errors are OSErrors
                return False
            if mailed.code != 250:
                assert mailed.code // 100 == 4, mailed.said
                return False
            self.accepted[mailed.message_id] = subject
            self._mails.append(header_id)
            return True

        await eventually(taken, within=PATIENCE, every=0.2, what=subject)

    async def flow(self, messages: int, *, first: int = 0, at_once: int = 10, pace: float = 0.02) -> None:
        """So many acts, in an order that the seed decides; `first` numbers them on from an earlier flow."""
        acts: list[Act] = [self.alert]
        acts += [self.submit] * 11 + [self.send] * 4 + [self.reply] * 2 + [self.solve] * 2
        room = asyncio.Semaphore(at_once)

        async def one(number: int) -> None:
            async with room:
                # Some pace, so that there is something to interrupt however fast the machine is.
                await asyncio.sleep(pace)
                await acts[number % len(acts)](number)

        order = list(range(first, first + messages))
        self._random.shuffle(order)
        await asyncio.gather(*(one(number) for number in order))
