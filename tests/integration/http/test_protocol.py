"""Request heads have a size and a time (B11, the slow loris before the body)."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from shared.contracts.directory import Role
from shared.http import edge, protocol
from tests.support.api import caller, served
from tests.support.sample import sample
from tests.support.waiting import eventually

AGENT = caller(Role.AGENT)
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Open = Callable[[], Awaitable[Connection]]
REQUEST = f"GET /v1/notes HTTP/1.1\r\nHost: d\r\nAuthorization: Bearer {AGENT.key}\r\n".encode()


@pytest.fixture
async def connect(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Open]:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.3)
    opened: list[Connection] = []
    async with served(sample(AGENT)) as url:
        host, port = url.removeprefix("http://").split(":")

        async def connect() -> Connection:
            opened.append(await asyncio.open_connection(host, int(port)))
            return opened[-1]

        yield connect
        for _, writer in opened:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for _, writer in opened), return_exceptions=True)


async def answer(reader: asyncio.StreamReader) -> bytes:
    """Everything until the server ends the connection."""
    return await asyncio.wait_for(reader.read(), 10)


async def one_answer(reader: asyncio.StreamReader) -> int:
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length"))
    await reader.readexactly(length)
    return int(head.split()[1])


async def test_a_head_without_end_is_refused_and_not_kept(connect: Open) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reader, writer = await connect()
    writer.write(REQUEST + b"X-Big: ")
    sent = 0
    try:
        while sent < 50_000_000:
            writer.write(b"a" * 65536)
            await writer.drain()
            sent += 65536
    except ConnectionError:
        pass
    assert sent < 10_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000
    del reader


async def test_a_head_a_little_too_long_is_told_so(connect: Open) -> None:
    reader, writer = await connect()
    for number in range(10):
        writer.write((REQUEST if number == 0 else b"") + b"X-Big: " + b"a" * 8000 + b"\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)
    said = await answer(reader)
    assert said.startswith(b"HTTP/1.1 431 ")
    assert b"application/problem+json" in said
    assert b"head-too-large" in said


async def test_a_head_that_stops_is_given_up(connect: Open) -> None:
    reader, writer = await connect()
    writer.write(REQUEST)
    said = await answer(reader)
    assert said.startswith(b"HTTP/1.1 408 ")
    assert b"head-timeout" in said


async def test_a_head_that_drips_is_given_up(connect: Open) -> None:
    _, writer = await connect()
    with pytest.raises(ConnectionError):
        await drip(writer, REQUEST * 100)


async def drip(writer: asyncio.StreamWriter, data: bytes) -> None:
    for byte in data:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.02)


async def test_a_connection_that_says_nothing_is_ended_without_a_word(connect: Open) -> None:
    reader, _ = await connect()
    assert await answer(reader) == b""


async def test_the_second_request_of_a_connection_has_its_own_size_and_time(connect: Open) -> None:
    reader, writer = await connect()
    for _ in range(3):
        writer.write(REQUEST + b"X-Some: " + b"a" * 30_000 + b"\r\n\r\n")
        assert await one_answer(reader) == 200
    await asyncio.sleep(0.5)
    # Idle is allowed; a head begun is not to be left.
    writer.write(REQUEST)
    assert (await answer(reader)).startswith(b"HTTP/1.1 408 ")


async def test_requests_sent_together_are_answered_in_order(connect: Open) -> None:
    reader, writer = await connect()
    writer.write((REQUEST + b"\r\n") * 5)
    assert [await one_answer(reader) for _ in range(5)] == [200] * 5


async def test_a_long_body_is_no_long_head(connect: Open) -> None:
    reader, writer = await connect()
    body = b'[{"subject":"a","text":"' + b"x" * 90_000 + b'"}]'
    head = f"POST /v1/notes HTTP/1.1\r\nHost: d\r\nAuthorization: Bearer {AGENT.key}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    for _ in range(3):
        writer.write(head.encode() + body)
        assert await one_answer(reader) == 202


@pytest.mark.parametrize(
    "said", [b"nonsense\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET / HTTP/9.9\r\n\r\n", b"GET /\x00 HTTP/1.1\r\n\r\n"]
)
async def test_what_is_no_http_gets_a_problem_and_the_end(connect: Open, said: bytes) -> None:
    reader, writer = await connect()
    writer.write(said)
    told = await answer(reader)
    assert told.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in told


async def test_nonsense_after_a_request_does_not_get_into_its_answer(connect: Open) -> None:
    reader, writer = await connect()
    writer.write(REQUEST + b"\r\nnonsense\r\n\r\n")
    told = await answer(reader)
    assert told.count(b"HTTP/1.1 ") <= 1


async def test_a_reader_who_stops_reading_does_not_hold_the_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "WRITE_SECONDS", 0.2)
    ended = asyncio.Event()

    async def endless(scope: object, receive: object, send: Callable[..., Awaitable[None]]) -> None:
        del scope, receive
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
        finally:
            ended.set()

    async with served(edge.Edge(endless)) as url:
        host, port = url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port), limit=1024)
        writer.write(b"GET / HTTP/1.1\r\nHost: d\r\n\r\n")

        async def freed() -> bool:
            return ended.is_set()

        await eventually(freed)
        writer.transport.abort()
