"""A visitor chats: the conversation is one ticket, answers come back live, also those missed while away."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from cli.demo.stage import PATIENCE, Stage
from cli.demo.topics import Event


async def talked(stage: Stage) -> None:
    """Question, live answer, a dropped connection, an answer meanwhile, resumed."""
    stage.say("a visitor chats, loses the connection, comes back")
    site = await stage.ask("PUT", "/v1/chat/site", {"enabled": True})
    session = await stage.ask(
        "POST",
        "/v1/chat/sessions",
        {"key": site["key"], "name": "Lena Fuchs", "email": f"lena.{stage.run}@fuchsbau.example"},
    )
    sent = time.monotonic()
    async with connect(_socket(stage)) as socket:
        await _send(socket, type="hello", token=session["token"], after=0)
        await _send(socket, type="message", client_id="1", text="Hello, where do I change the invoice address?")
        taken = await _frame(socket, "ack")
        created = await stage.until(lambda: _opened(stage, taken["message_id"]), "a ticket for the chat")
        ticket_id = created["ticket_id"]
        stage.check("chat → ticket", created["ticket"]["number"], True, stage.since(sent, created))
        answered = time.monotonic()
        await stage.ask("POST", f"/v1/tickets/{ticket_id}/messages", {"text": "Under Settings, then Billing."})
        live = await _answer(socket)
        took = (time.monotonic() - answered) * 1000
        stage.check("the agent's answer arrives live", live["text"], True, took)
    await stage.ask("POST", f"/v1/tickets/{ticket_id}/messages", {"text": "I have attached a screenshot as well."})
    async with connect(_socket(stage)) as socket:
        await _send(socket, type="hello", token=session["token"], after=live["seq"])
        missed = await _answer(socket)
        await _send(socket, type="ack", seq=missed["seq"])
    stage.check("reconnected → gets what it missed", missed["text"], missed["seq"] > live["seq"])


def _socket(stage: Stage) -> str:
    return stage.addresses.origin.replace("http", "ws", 1) + "/v1/chat/socket"


async def _send(socket: ClientConnection, **frame: object) -> None:
    await socket.send(json.dumps(frame))


async def _frame(socket: ClientConnection, kind: str) -> dict[str, Any]:
    """The next frame of that type from the other side."""
    async with asyncio.timeout(PATIENCE):
        while True:
            frame: dict[str, Any] = json.loads(await socket.recv())
            if frame["type"] == kind:
                return frame


async def _answer(socket: ClientConnection) -> dict[str, Any]:
    """The next line an agent wrote."""
    while (line := await _frame(socket, "message"))["from"] != "agent":
        pass
    return line


def _opened(stage: Stage, message_id: str) -> Event | None:
    created = (e for e in stage.topics.of("ticket.created") if e["message"]["message_id"] == message_id)
    return next(created, None)
