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
from tests.support.tap import Fact
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
        stored: dict[str, Any] = {}
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


async def test_an_answer_nobody_is_there_to_read_is_told_once_when_the_visitor_has_left(desk: Desk) -> None:
    token = await open_chat(desk, email="vera@visitor.example")
    async with chatting(desk, token) as socket:
        await socket.send(json.dumps({"type": "message", "client_id": "1", "text": "Hello?"}))
        stored = await heard(socket, "ack")
        ticket = await desk.ticket_of(stored["message_id"])
    answer = await desk.post(f"/v1/tickets/{ticket['id']}/messages", {"text": "Here we are."})

    async def told() -> list[Fact]:
        return await desk.events("chat.reply_missed", ticket_id=ticket["id"])

    async def answered() -> bool:
        return len(await desk.events("ticket.message_added", ticket_id=ticket["id"])) >= 1

    await eventually(answered)
    assert await told() == []
    await desk.forward(minutes=2)
    (missed,) = await eventually(told, what="chat.reply_missed")
    assert missed.data is not None
    assert (missed.data["message_id"], missed.data["address"]) == (answer["id"], "vera@visitor.example")
    await desk.forward(minutes=10)
    await desk.quiet()
    assert len({fact.id for fact in await told()}) == 1


async def test_our_own_mail_is_known_when_it_is_answered_without_a_token_and_when_it_bounces(desk: Desk) -> None:
    sent = await desk.mail("Printer on fire", "Smoke.", sender="joe@globex.example")
    ticket = await desk.ticket_of(sent.message_id)

    async def delivered() -> list[str]:
        facts = await desk.events("notification.delivered", ticket_id=ticket["id"], channel="email")
        found = [fact.data for fact in facts if fact.data is not None]
        joe = ticket["requester_id"]
        return [one["external_id"] for one in found if one.get("recipient_id") == joe and one.get("external_id")]

    ours = (await eventually(delivered, what="a mail to the requester"))[0]
    # ingest hears of it when everybody does, and an answer takes a person longer than this.
    await desk.quiet()
    answer = await desk.mail("AW: Printer", "Still.", sender="joe@globex.example", headers={"In-Reply-To": f"<{ours}>"})
    assert (await desk.ticket_of(answer.message_id))["id"] == ticket["id"]
    report = (
        f"From: MAILER-DAEMON@mx.globex.example\r\nTo: {desk.support}\r\nSubject: Undelivered\r\n"
        f"Message-ID: <{uuid4()}@mx.globex.example>\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"
        "--b\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n"
        "Reporting-MTA: dns; mx.globex.example\r\n\r\nFinal-Recipient: rfc822; joe@globex.example\r\n"
        "Action: failed\r\nStatus: 5.1.1\r\n\r\n"
        f"--b\r\nContent-Type: message/rfc822\r\n\r\nMessage-ID: <{ours}>\r\nSubject: x\r\n\r\nx\r\n--b--\r\n"
    )
    bounced = await desk.raw_mail(report.encode(), sender="")
    assert bounced.code == 250

    async def suppressed() -> list[Fact]:
        return await desk.events("suppression.changed", person_id=ticket["requester_id"])

    (event,) = await eventually(suppressed, what="suppression.changed")
    assert event.data is not None
    assert (event.data["reason"], event.data["detail"]) == ("bounced", "5.1.1")
