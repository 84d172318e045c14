"""Live chat: what is acknowledged is stored, what is sent is numbered, and an answer reaches its visitor once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from services.ingest import sweep
from shared.contracts.message import Body, Channel, Parent
from tests.integration.ingest.chatting import Chat
from tests.integration.ingest.conftest import Ingest, person
from tests.support.api import served
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines


@pytest.fixture
async def chat(ingest: Ingest) -> AsyncIterator[Chat]:
    """A chat that is open for acme."""
    made = await ingest.call("acme/admin", "PUT", "/v1/chat/site", {})
    assert made.status_code == 200, made.text
    running = asyncio.ensure_future(ingest.hub.loop().run())
    async with served(ingest.app) as address:
        yield Chat(ingest, address, made.json()["key"])
    running.cancel()
    await asyncio.wait([running])


async def test_what_a_visitor_writes_is_one_conversation_and_acknowledged_after_the_commit(chat: Chat) -> None:
    token = await chat.session(name="Ann", email="ann@customer.example", language="de")
    async with chat.connected(token) as client:
        first = await client.write("1", "Hello, I cannot pay.\nPlease help.")
        second = await client.write("2", "It says error 12.")
        lines = [await client.hear("message") for _ in range(2)]
    events = await chat.ingest.received()
    assert [str(event.message_id) for event in events] == [first["message_id"], second["message_id"]]
    assert [line["seq"] for line in lines] == [1, 2]
    opening, following = events
    assert (opening.channel, opening.parent, following.parent) == (Channel.CHAT, Parent.NONE, Parent.KNOWN)
    assert opening.conversation_id == following.conversation_id
    assert following.parent_message_id == opening.message_id
    assert opening.subject == "Hello, I cannot pay. Please help."
    assert (opening.sender.person_id, opening.sender.name) == (person("acme", "ann@customer.example"), "Ann")
    assert opening.hints.language == "de"


async def test_nothing_is_acknowledged_before_the_commit(chat: Chat, admin: asyncpg.Connection[asyncpg.Record]) -> None:
    async with chat.connected(await chat.session()) as client:
        async with admin.transaction():
            await admin.execute("LOCK TABLE message IN SHARE MODE")
            await client.say(type="message", client_id="1", text="Hello")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.4):
                    await client.hear("ack")
        assert (await client.hear("ack"))["client_id"] == "1"


async def test_a_message_sent_again_is_stored_once_and_another_text_under_its_id_is_refused(chat: Chat) -> None:
    token = await chat.session()
    async with chat.connected(token) as client:
        first = await client.write("1", "Hello")
    async with chat.connected(token) as client:
        again = await client.write("1", "Hello")
        await client.say(type="message", client_id="1", text="Other")
        refused = await client.hear("error")
    assert (again["message_id"], again["duplicate"]) == (first["message_id"], True)
    assert (refused["pointer"], refused["client_id"]) == ("/client_id", "1")
    assert len(await chat.ingest.received()) == 1


async def test_an_answer_arrives_live_and_what_was_missed_comes_after_a_dropped_connection(chat: Chat) -> None:
    token = await chat.session()
    async with chat.connected(token) as client:
        await client.write("1", "Hello")
        own = await client.hear("message")
        await chat.answer("Good morning!")
        live = await client.hear("message")
    assert (own["seq"], own["from"], own["client_id"]) == (1, "visitor", "1")
    assert (live["seq"], live["from"], live["text"]) == (2, "agent", "Good morning!")
    await chat.answer("Are you there?")
    await chat.answer("Hello?")
    async with chat.connected(token, after=2) as client:
        missed = [await client.hear("message") for _ in range(2)]
        await client.write("2", "I am back.")
        assert (await client.hear("message"))["seq"] == 5
    assert [(one["seq"], one["text"]) for one in missed] == [(3, "Are you there?"), (4, "Hello?")]


async def test_only_public_answers_to_this_chat_reach_its_visitor(chat: Chat) -> None:
    async with chat.connected(await chat.session()) as client:
        await client.write("1", "Hello")
        await client.hear("message")
        await chat.answer("Between us: he is angry.", visibility="internal")
        await chat.answer("Somebody else's", ticket_id=uuid4())
        ticket = await chat.ingest.database.fetchval("SELECT ticket_id FROM message")
        await chat.answer("Of another tenant", ticket_id=ticket, tenant_id="beta")
        await chat.answer("An echo", author_kind="requester")
        await chat.answer("For you")
        assert (await client.hear("message"))["text"] == "For you"


async def test_the_conversation_is_followed_to_the_ticket_that_its_messages_come_to(chat: Chat) -> None:
    async with chat.connected(await chat.session()) as client:
        await client.write("1", "Hello")
        second = await client.write("2", "Still there?")
        for _ in range(2):
            await client.hear("message")
        other = uuid4()
        await chat.answer("", ticket_id=other, author_kind="requester", message_id=UUID(second["message_id"]))
        await chat.answer("From the ticket it was merged into", ticket_id=other, of="email")
        assert (await client.hear("message"))["seq"] == 3
    assert await chat.fire(timedelta(hours=1)) == []


async def test_a_long_answer_comes_whole(chat: Chat) -> None:
    blob = await chat.ingest.blobs.put("acme", ("long " * 8_000).encode(), "text/plain")
    async with chat.connected(await chat.session()) as client:
        await client.write("1", "Hello")
        await client.hear("message")
        await chat.answer("", body=Body(text_blob=blob))
        assert len((await client.hear("message"))["text"]) == 40_000


async def test_an_answer_nobody_saw_is_told_once_when_the_visitor_has_left(chat: Chat) -> None:
    token = await chat.session(email="ann@customer.example")
    async with chat.connected(token) as client:
        await client.write("1", "Hello")
    first = await chat.answer("Good morning!")
    second = await chat.answer("Are you there?")
    assert await chat.fire() == []
    told = await chat.fire(timedelta(seconds=61))
    assert [one.message_id for one in told] == [first, second]
    assert told[0].address == "ann@customer.example"
    assert told[0].person_id == person("acme", "ann@customer.example")
    assert told[0].ticket_id == await chat.ingest.database.fetchval("SELECT ticket_id FROM message")
    assert await chat.fire(timedelta(hours=1)) == []


async def test_a_visitor_without_an_address_is_told_of_all_the_same(chat: Chat) -> None:
    async with chat.connected(await chat.session()) as client:
        await client.write("1", "Hello")
    await chat.answer("Good morning!")
    (told,) = await chat.fire(timedelta(seconds=61))
    assert told.address is None


async def test_an_answer_that_was_acknowledged_is_never_told(chat: Chat) -> None:
    async with chat.connected(await chat.session()) as client:
        await client.write("1", "Hello")
        await chat.answer("Good morning!")
        last = 0
        while last < 2:
            last = (await client.hear("message"))["seq"]
        await client.say(type="ack", seq=2)

        async def written() -> bool:
            return bool(await chat.ingest.database.fetchval("SELECT acked_seq = 2 FROM chat_session"))

        await eventually(written)
        await chat.answer("And this one not")
        await client.hear("message")
    (told,) = await chat.fire(timedelta(minutes=5))
    assert told.left_at < datetime.now(UTC) - timedelta(minutes=4)


async def test_a_transcript_is_dropped_a_month_after_its_visitor_was_last_there(chat: Chat) -> None:
    async with chat.connected(await chat.session()) as client:
        await client.write("1", "Hello")
    await chat.fire()
    for days, left in ((20, 1), (11, 0)):
        await chat.ingest.database.execute("UPDATE chat_session SET seen_at = seen_at - $1 * interval '1 day'", days)
        await sweep.once(chat.ingest.database, chat.ingest.blobs)
        for table in ("chat_session", "chat_line"):
            assert await chat.ingest.database.fetchval(f"SELECT count(*) FROM {table}") == left  # noqa: S608
    assert len(await chat.ingest.received()) == 1


async def test_a_frame_that_cannot_be_taken_is_answered_with_its_place_and_the_chat_goes_on(chat: Chat) -> None:
    async with chat.connected(await chat.session()) as client:
        for frame, pointer in (
            ("no json", ""),
            ("[]", ""),
            ('{"type": "dance"}', "/type"),
            ('{"type": "hello"}', "/type"),
            ('{"type": "message", "client_id": "a"}', "/text"),
            ('{"type": "message", "client_id": "a b", "text": "x"}', "/client_id"),
            ('{"type": "message", "client_id": "a", "text": " "}', "/text"),
            ('{"type": "ack", "seq": -1}', "/seq"),
            (json.dumps({"type": "message", "client_id": "a", "text": "x" * 17_000}), ""),
        ):
            await client.socket.send(frame)
            told = await client.hear()
            assert (told["type"], told["code"], told["pointer"]) == ("error", "invalid", pointer), frame
        await client.say(type="ping")
        assert await client.hear() == {"type": "pong"}
        await client.write("1", "Hello")
    assert len(await chat.ingest.received()) == 1


async def test_who_has_no_token_of_ours_is_let_go(chat: Chat) -> None:
    token = await chat.session()
    for bad in ("", "dwv_abc.def", token[:-2] + "AA", token.replace("dwv_", "dwk_")):
        with pytest.raises(ConnectionClosed) as closed:  # noqa: PT012 - the connection ends somewhere in it
            async with connect(chat.address.replace("http", "ws") + "/v1/chat/socket", proxy=None) as socket:
                await socket.send(json.dumps({"type": "hello", "token": bad}))
                assert json.loads(await socket.recv())["pointer"] == "/token"
                await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4401


async def test_a_token_may_come_as_a_subprotocol(chat: Chat) -> None:
    offered: Any = ["deskwire.chat.v1", f"token.{await chat.session()}"]
    address = chat.address.replace("http", "ws") + "/v1/chat/socket"
    async with connect(address, subprotocols=offered, proxy=None) as socket:
        assert socket.subprotocol == "deskwire.chat.v1"
        await socket.send('{"type": "hello"}')
        assert json.loads(await socket.recv())["type"] == "welcome"


async def test_a_visitor_who_floods_is_slowed_and_not_dropped(chat: Chat) -> None:
    async with chat.connected(await chat.session()) as client:
        answers: list[dict[str, Any]] = []
        for n in range(30):
            await client.say(type="message", client_id=f"{n}", text=f"{n}")
        while len(answers) < 30:
            frame = await client.hear()
            if frame["type"] != "message":
                answers.append(frame)
    refused = [one for one in answers if one["type"] == "error"]
    assert {one["code"] for one in refused} == {"too-many-requests"}
    assert refused[0]["retry_after"] > 0
    assert len(await chat.ingest.received()) == 30 - len(refused) >= 10


async def test_connections_of_one_session_are_bounded(chat: Chat) -> None:
    token = await chat.session()
    sockets = [await connect(chat.address.replace("http", "ws") + "/v1/chat/socket", proxy=None) for _ in range(6)]
    try:
        for socket in sockets:
            await socket.send(json.dumps({"type": "hello", "token": token}))
        for socket in sockets[:5]:
            assert json.loads(await socket.recv())["type"] == "welcome"
        with pytest.raises(ConnectionClosed) as closed:
            await sockets[5].recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1013
    finally:
        for socket in sockets:
            await socket.close()


async def test_without_a_socket_the_same_chat_goes_by_requests(chat: Chat) -> None:
    http, bearer = chat.ingest.http, {"Authorization": f"Bearer {await chat.session()}"}
    body = {"client_id": "1", "text": "Hello"}
    first = await http.post("/v1/chat/messages", json=body, headers=bearer)
    again = await http.post("/v1/chat/messages", json=body, headers=bearer)
    assert (first.status_code, again.json()) == (202, {**first.json(), "duplicate": True})
    waiting = asyncio.create_task(http.get("/v1/chat/messages?after=1&wait=20", headers=bearer))
    await asyncio.sleep(0.1)
    await chat.answer("Good morning!")
    told = (await waiting).json()
    assert [(one["seq"], one["from"], one["text"]) for one in told["items"]] == [(2, "agent", "Good morning!")]
    assert (await http.get(f"/v1/chat/messages?after={told['last']}", headers=bearer)).json()["items"] == []
    assert await chat.fire(timedelta(hours=1)) == []
    assert (await http.get("/v1/chat/messages")).status_code == 401


async def test_a_chat_is_opened_with_the_tenants_key_from_the_tenants_pages(chat: Chat) -> None:
    http = chat.ingest.http
    assert (await http.post("/v1/chat/sessions", json={"key": "dwc_wrong"})).status_code == 403
    site = {"origins": ["https://shop.acme.example"]}
    await chat.ingest.call("acme/admin", "PUT", "/v1/chat/site", site)
    body = {"key": chat.key}
    good = await http.post("/v1/chat/sessions", json=body, headers={"Origin": "https://shop.acme.example"})
    assert good.status_code == 201
    assert good.headers["access-control-allow-origin"] == "https://shop.acme.example"
    for headers in ({}, {"Origin": "https://evil.example"}):
        assert (await http.post("/v1/chat/sessions", json=body, headers=headers)).status_code == 403
    rotated = await chat.ingest.call("acme/admin", "PUT", "/v1/chat/site", {"rotate_key": True})
    assert rotated.json()["key"] != chat.key
    assert (await http.post("/v1/chat/sessions", json=body)).status_code == 403
    assert (await chat.ingest.call("acme/agent", "GET", "/v1/chat/site")).status_code == 403
    assert (await chat.ingest.call("beta/admin", "GET", "/v1/chat/site")).status_code == 404


async def test_a_session_of_nonsense_is_refused_by_name(chat: Chat) -> None:
    answer = await chat.ingest.http.post(
        "/v1/chat/sessions", json={"key": chat.key, "email": "not an address", "language": "??"}
    )
    assert {error["pointer"] for error in answer.json()["errors"]} == {"/email", "/language"}
