"""Chats and alerts through the one origin: a person waits on one, a machine talks on the other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from websockets.asyncio.client import ClientConnection, connect

from tests.support.desk import Desk
from tests.support.waiting import eventually


async def open_chat(desk: Desk, **visitor: str) -> str:
    """A visitor's token, through the tenant's public key."""
    site = await desk.call("PUT", "/v1/chat/site", as_="admin", json={})
    assert site.status_code == 200, site.text
    opened = await desk.call("POST", "/v1/chat/sessions", as_=None, json={"key": site.json()["key"], **visitor})
    assert opened.status_code == 201, opened.text
    token: str = opened.json()["token"]
    return token


@asynccontextmanager
async def chatting(desk: Desk, token: str, after: int = 0) -> AsyncIterator[ClientConnection]:
    address = str(desk.http.base_url).rstrip("/").replace("http", "ws") + "/v1/chat/socket"
    async with connect(address, proxy=None) as socket:
        await socket.send(json.dumps({"type": "hello", "token": token, "after": after}))
        assert (await heard(socket, "welcome"))["after"] == after
        yield socket


async def heard(socket: ClientConnection, kind: str, **wanted: Any) -> dict[str, Any]:
    """The next frame of a kind that says this."""
    async with asyncio.timeout(30):
        while True:
            frame: dict[str, Any] = json.loads(await socket.recv())
            if frame["type"] == kind and all(frame.get(name) == value for name, value in wanted.items()):
                return frame


async def test_a_chat_is_one_ticket_and_its_answers_come_back_live_and_after_a_dropped_connection(desk: Desk) -> None:
    token = await open_chat(desk, name="Vera", email="vera@visitor.example")
    async with chatting(desk, token) as socket:
        for number, text in enumerate(("I cannot pay.", "It says error 12.")):
            await socket.send(json.dumps({"type": "message", "client_id": f"{number}", "text": text}))
            stored = await heard(socket, "ack", client_id=f"{number}")
        ticket = await desk.ticket_of(stored["message_id"])
        assert (ticket["channel"], ticket["subject"]) == ("chat", "I cannot pay.")
        path = f"/v1/tickets/{ticket['id']}/messages"
        await desk.post(path, {"text": "Between us: again.", "visibility": "internal"})
        await desk.post(path, {"text": "Which card is it?"})
        answer = await heard(socket, "message", **{"from": "agent"})
        assert answer["text"] == "Which card is it?"
    await desk.post(path, {"text": "Are you there?"})

    async def twice() -> bool:
        return len(await desk.events("ticket.message_added", ticket_id=ticket["id"])) >= 4

    await eventually(twice)
    async with chatting(desk, token, after=answer["seq"]) as socket:
        missed = await heard(socket, "message", **{"from": "agent"})
        assert (missed["text"], missed["seq"]) == ("Are you there?", answer["seq"] + 1)
        await socket.send(json.dumps({"type": "ack", "seq": missed["seq"]}))


async def test_an_alert_opens_one_ticket_that_its_repetitions_leave_alone_and_its_recovery_solves(desk: Desk) -> None:
    def alert(status: str, summary: str = "5xx above 5 %") -> dict[str, Any]:
        return {
            "version": "4",
            "receiver": "deskwire",
            "status": status,
            "alerts": [
                {
                    "status": status,
                    "labels": {"alertname": "HighErrorRate", "severity": "warning"},
                    "annotations": {"summary": summary},
                    "startsAt": "2026-11-21T10:00:00Z",
                    "endsAt": "2026-11-21T10:30:00Z",
                    "fingerprint": fingerprint,
                }
            ],
        }

    fingerprint = uuid4().hex[:16]
    first = await desk.post("/v1/alerts", alert("firing"), as_="service", status=202)
    assert (await desk.post("/v1/alerts", alert("firing"), as_="service", status=202))["duplicate"] == 1
    ticket = await desk.ticket(first["results"][0]["ticket_id"])
    assert (ticket["channel"], ticket["subject"]) == ("alert", "HighErrorRate: 5xx above 5 %")
    await desk.post("/v1/alerts", alert("firing", "5xx above 50 %"), as_="service", status=202)
    await desk.post("/v1/alerts", alert("resolved"), as_="service", status=202)

    async def solved() -> bool:
        return bool((await desk.ticket(ticket["id"]))["status"] == "solved")

    await eventually(solved, what="the ticket solved by the recovery")
    assert len(await desk.tickets()) == 1
