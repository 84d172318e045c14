"""A chat under test: visitors by real sockets, agents by the events that tickets would publish."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from websockets.asyncio.client import ClientConnection, connect

from services.ingest.chat.transcript import MISSED, Transcript
from shared import outbox
from shared.contracts.chat import ChatReplyMissed
from shared.contracts.message import Body
from shared.contracts.ticket import Actor, PriorityLevel, TicketMessage, TicketMessageAdded, TicketSummary
from shared.envelope import Received
from shared.timers import Timer
from tests.integration.ingest.conftest import Ingest
from tests.support.waiting import eventually

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
TRANSCRIPT = Transcript(timedelta(seconds=60))


class Client:
    """A visitor's connection."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.kept: list[dict[str, Any]] = []

    async def say(self, **frame: Any) -> None:
        await self.socket.send(json.dumps(frame))

    async def hear(self, kind: str | None = None) -> dict[str, Any]:
        """The next frame, or the next of that kind; others are kept for later."""
        for number, kept in enumerate(self.kept):
            if kind is None or kept["type"] == kind:
                return self.kept.pop(number)
        async with asyncio.timeout(15):
            while True:
                frame: dict[str, Any] = json.loads(await self.socket.recv())
                if kind is None or frame["type"] == kind:
                    return frame
                self.kept.append(frame)

    async def write(self, client_id: str, text: str) -> dict[str, Any]:
        """Write, and wait until it is acknowledged."""
        await self.say(type="message", client_id=client_id, text=text)
        return await self.hear("ack")


class Chat:
    """An ingest with its port, and the hub at work."""

    def __init__(self, ingest: Ingest, address: str, key: str) -> None:
        self.ingest = ingest
        self.address = address
        self.key = key

    async def session(self, **more: Any) -> str:
        """A visitor's token."""
        answer = await self.ingest.http.post("/v1/chat/sessions", json={"key": self.key, **more})
        assert answer.status_code == 201, answer.text
        token: str = answer.json()["token"]
        return token

    @asynccontextmanager
    async def connected(self, token: str, after: int = 0) -> AsyncIterator[Client]:
        async with connect(self.address.replace("http", "ws") + "/v1/chat/socket", proxy=None) as socket:
            client = Client(socket)
            await client.say(type="hello", token=token, after=after)
            assert (await client.hear())["type"] == "welcome"
            yield client

    async def answer(self, text: str, **more: Any) -> UUID:
        """An agent of the desk answers the first chat's ticket."""
        ticket = more.pop("ticket_id", None)
        if ticket is None:
            ticket = await self.ingest.database.fetchval("SELECT ticket_id FROM message WHERE ticket_id IS NOT NULL")
        event = added(ticket, text, **more)
        async with self.ingest.database.begin() as tx:
            await TRANSCRIPT.hear(tx, [event])
        return event.event.message.message_id

    async def fire(self, later: timedelta = timedelta(0)) -> list[ChatReplyMissed]:
        """What the due timer tells, when nobody was seen for a while."""

        async def gone() -> bool:
            return self.ingest.hub.count == 0

        await eventually(gone, what="everybody gone")
        await self.ingest.database.execute("UPDATE chat_session SET seen_at = seen_at - $1::interval", later)
        rows = await self.ingest.database.fetch("SELECT key, tenant_id, due_at FROM timer WHERE kind = $1", MISSED)
        due = [Timer(kind=MISSED, key=r["key"], tenant_id=r["tenant_id"], due_at=r["due_at"]) for r in rows]
        async with self.ingest.database.begin() as tx:
            told = await TRANSCRIPT.missed(tx, due)
            await outbox.add(tx, told)
        return [one.event for one in told if hasattr(one, "event") and isinstance(one.event, ChatReplyMissed)]


def added(ticket_id: UUID, text: str, **more: Any) -> Received[TicketMessageAdded]:
    """`ticket.message_added` with an agent's public answer."""
    given = {
        "author_kind": "agent",
        "visibility": "public",
        "channel": "chat",
        "tenant_id": "acme",
        "of": "chat",
    } | more
    event = TicketMessageAdded(
        tenant_id=given["tenant_id"],
        ticket_id=ticket_id,
        actor=Actor(kind="person", id=str(uuid4())),
        ticket=TicketSummary(
            ticket_id=ticket_id,
            number="INC-2026-000001",
            version=2,
            subject="x",
            status="open",
            category="open",
            priority=PriorityLevel(rank=3, label="P3"),
            requester_id=uuid4(),
            queue="general",
            channel=given["of"],
            created_at=NOW,
            updated_at=NOW,
        ),
        message=TicketMessage(
            message_id=given.get("message_id") or uuid4(),
            author_kind=given["author_kind"],
            visibility=given["visibility"],
            channel=given["channel"],
            body=given.get("body") or Body(text=text),
            created_at=NOW,
        ),
    )
    return Received(
        event=event,
        id=uuid4(),
        type=event.TYPE,
        time=NOW,
        key=event.key,
        topic="ticket.message_added",
        partition=0,
        offset=0,
    )
