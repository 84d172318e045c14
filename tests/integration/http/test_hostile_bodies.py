"""Hostile requests over a real port: bad inputs B5, B9, B11 and B13 of an API built with `api()`.

Raw sockets, because a good client library refuses to be this rude.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import quote

import httpx2
import pytest

from shared.contracts.directory import Role
from shared.http import HttpSettings
from tests.support.api import caller, served
from tests.support.sample import sample

AGENT = caller(Role.AGENT)
BODY_SECONDS = 0.6


@pytest.fixture(scope="module")
async def address() -> AsyncIterator[str]:
    async with served(
        sample(AGENT, body_seconds=BODY_SECONDS, failures_per_minute=100_000, failures_burst=100_000)
    ) as url:
        yield url


class Raw:
    """A connection that sends exactly what it is told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def head(self, *lines: str, path: str = "/v1/notes") -> bytes:
        given = ["Host: desk", "Content-Type: application/json", f"Authorization: Bearer {AGENT.key}", *lines]
        return "\r\n".join([f"POST {path} HTTP/1.1", *given, "", ""]).encode()

    async def status(self, seconds: float = 5.0) -> int:
        line = await asyncio.wait_for(self.reader.readline(), seconds)
        return int(line.split()[1]) if line else 0

    async def closed(self, seconds: float = 5.0) -> bool:
        """Whether the server ends the connection."""
        try:
            await asyncio.wait_for(self.reader.read(), seconds)
        except (TimeoutError, ConnectionError) as error:
            return isinstance(error, ConnectionError)
        return True


Open = Callable[[], Awaitable[Raw]]


@pytest.fixture
async def connect(address: str) -> AsyncIterator[Open]:
    """Opens connections to the API, and closes them when the test is over."""
    opened: list[Raw] = []
    host, port = address.removeprefix("http://").split(":")

    async def connect() -> Raw:
        opened.append(Raw(*await asyncio.open_connection(host, int(port))))
        return opened[-1]

    yield connect
    for raw in opened:
        raw.writer.close()
    await asyncio.gather(*(raw.writer.wait_closed() for raw in opened), return_exceptions=True)


async def post(address: str, body: bytes, path: str = "/v1/notes", **headers: str) -> httpx2.Response:
    given = {"Content-Type": "application/json", **AGENT.headers, **headers}
    async with httpx2.AsyncClient() as client:
        return await client.post(address + path, content=body, headers=given)


# -- B11: size, depth, speed ------------------------------------------------------------------------------------------


async def test_ten_megabytes_are_refused_before_they_are_sent(connect: Open) -> None:
    raw = await connect()
    await raw.send(raw.head("Content-Length: 10000000"))
    assert await raw.status() == 413
    assert await raw.closed()


async def test_ten_megabytes_in_chunks_are_refused_on_the_way(connect: Open) -> None:
    raw = await connect()
    await raw.send(raw.head("Transfer-Encoding: chunked"))
    sent = 0
    chunk = b"%x\r\n" % 65536 + b" " * 65536 + b"\r\n"
    try:
        while sent < 10_000_000 and not raw.reader._buffer:  # type: ignore[attr-defined]
            await raw.send(chunk)
            sent += 65536
            await asyncio.sleep(0)
    except ConnectionError:
        pass
    assert sent < 3_000_000
    assert await raw.status() == 413


@pytest.mark.parametrize("how", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
async def test_a_body_that_stops_coming_is_given_up_and_its_connection_closed(connect: Open, how: str) -> None:
    raw = await connect()
    begun = time.monotonic()
    await raw.send(raw.head(how))
    assert await raw.status() == 408
    assert BODY_SECONDS * 0.9 < time.monotonic() - begun < BODY_SECONDS + 5
    assert await raw.closed()


async def test_a_body_that_drips_is_given_up_too(connect: Open) -> None:
    raw = await connect()
    begun = time.monotonic()
    await raw.send(raw.head("Content-Length: 1000"))

    async def drip() -> None:
        while True:
            await raw.send(b" ")
            await asyncio.sleep(0.05)

    dripping = asyncio.create_task(drip())
    try:
        assert await raw.status() == 408
    finally:
        dripping.cancel()
    assert time.monotonic() - begun < BODY_SECONDS + 5


async def test_a_hundred_slow_bodies_do_not_delay_an_honest_one(address: str, connect: Open) -> None:
    slow = [await connect() for _ in range(100)]
    async with httpx2.AsyncClient(headers=AGENT.headers) as client:
        await client.get(address + "/v1/notes")
        for raw in slow:
            await raw.send(raw.head("Content-Length: 1000") + b"[")
        honest = asyncio.create_task(client.post(address + "/v1/notes", json=[]))
        given_up = asyncio.create_task(slow[0].status())
        done, _ = await asyncio.wait({honest, given_up}, return_when=asyncio.FIRST_COMPLETED)
        assert honest in done
        assert (await honest).status_code == 202
    assert await given_up == 408
    assert [await raw.status() for raw in slow[1:]] == [408] * 99


async def test_a_client_that_leaves_in_the_middle_harms_nobody(address: str, connect: Open) -> None:
    for _ in range(20):
        raw = await connect()
        await raw.send(raw.head("Content-Length: 1000") + b"[")
        raw.writer.transport.abort()
    assert (await post(address, b"[]")).status_code == 202


async def test_the_default_is_ten_seconds_and_one_megabyte() -> None:
    fields = HttpSettings.model_fields
    assert (fields["body_seconds"].default, fields["body_limit"].default) == (10.0, 1_000_000)


@pytest.mark.parametrize(
    ("body", "statuses"),
    [
        (b"[" * 10_000, {400}),
        (b"[" * 10_000 + b"]" * 10_000, {400}),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, {400}),
        (b'[{"subject":"a","subject":"b"}]', {400}),
        (b'[{"subject":"a","data":NaN}]', {400}),
        (b'[{"subject":"a","data":Infinity}]', {400}),
        (b'[{"subject":"a","data":1e400}]', {400}),
        (b'[{"subject":"a","weight":' + b"9" * 300 + b"}]", {422}),
        (b'[{"subject":"a","weight":9223372036854775808}]', {422}),
        (b'[{"subject":"a","weight":-1}]', {422}),
        (b'[{"subject":"a","weight":1.5}]', {422}),
        (b'[{"subject":"a","weight":"1; DROP TABLE note"}]', {422}),
        (b'[{"subject":"\xff\xfe"}]', {400}),
        (b'[{"subject":"\\ud800"}]', {400}),
        ('[{"subject":"a"}]'.encode("utf-16"), {400}),
        (b"\x00" * 100, {400}),
        (b"null", {422}),
        (b"{}", {422}),
        (b"5", {422}),
        (json.dumps([{"subject": "a" * 1001}]).encode(), {422}),
        (json.dumps([{"subject": "a", "text": "b" * 100_001}]).encode(), {422}),
    ],
)
async def test_a_hostile_body_is_a_problem_in_little_time(address: str, body: bytes, statuses: set[int]) -> None:
    begun = time.monotonic()
    answer = await post(address, body)
    assert answer.status_code in statuses, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert time.monotonic() - begun < 5


async def test_a_compressed_bomb_is_refused_unopened(address: str) -> None:
    bomb = gzip.compress(b"[" + b" " * 50_000_000 + b"]")
    assert len(bomb) < 100_000
    assert (await post(address, bomb, **{"Content-Encoding": "gzip"})).status_code == 415


async def test_a_megabyte_made_to_be_slow_takes_no_second(address: str) -> None:
    empty = b"[" + b"[]," * 330_000 + b"[]]"
    colons = json.dumps([{"subject": ":" * 900} for _ in range(1000)]).encode()
    keys = json.dumps([{f"k{number}:": 1 for number in range(60_000)}]).encode()
    errors = json.dumps([{} for _ in range(200_000)]).encode()
    for body in (empty, colons, keys, errors):
        assert len(body) < 1_000_000
        begun = time.monotonic()
        assert (await post(address, body)).status_code in {202, 400, 422}
        assert time.monotonic() - begun < 10


# -- B5: line breaks where headers are made ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["a\r\nBcc: x@example.org", "a\nb", "a\rb", "a\0b", "a\x0bb", "a\x85b", "a\u2028b", "\x7f", "\x1b[2J"]
)
async def test_control_characters_in_a_line_are_refused_with_its_pointer(address: str, text: str) -> None:
    answer = await post(address, json.dumps([{"subject": text}]).encode())
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/0/subject"


@pytest.mark.parametrize("name", ["X-Request-Id", "traceparent", "Idempotency-Key"])
@pytest.mark.parametrize("value", [b"a\x01b", b"a\x7fb", b"a\xffb", b"a\tb", b"x" * 5000])
async def test_a_header_is_never_echoed_with_what_could_split_it(connect: Open, name: str, value: bytes) -> None:
    raw = await connect()
    await raw.send(
        b"POST /v1/notes HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
        + f"Authorization: Bearer {AGENT.key}\r\n{name}: ".encode()
        + value
        + b"\r\nConnection: close\r\n\r\n[]"
    )
    answer = await asyncio.wait_for(raw.reader.read(), 5)
    assert value not in answer
    assert int(answer.split(b" ")[1]) in {202, 400, 422}


# -- B9: identifiers and addresses ------------------------------------------------------------------------------------

INJECTIONS = [
    "'; DROP TABLE note; --",
    "$1",
    "1 OR 1=1",
    '"',
    "age;",
    "age DESC",
    "(SELECT 1)",
    "age\0",
    "%",
    "../../etc/passwd",
    "\\",
    "ä",
    "\u202e",
]


@pytest.mark.parametrize("text", INJECTIONS)
async def test_a_sort_field_is_one_of_a_list_or_refused(address: str, text: str) -> None:
    async with httpx2.AsyncClient(headers=AGENT.headers) as client:
        answer = await client.get(f"{address}/v1/notes?sort={quote(text)}")
        assert answer.status_code in {400, 422}
        assert (await client.get(f"{address}/v1/notes?cursor={quote(text)}")).status_code in {400, 422}
        assert (await client.get(f"{address}/v1/notes/{quote(text, safe='')}")).status_code in {400, 404, 422}
        assert (await client.get(f"{address}/v1/notes?limit={quote(text)}")).status_code in {400, 422}


@pytest.mark.parametrize("number", ["99999999999999999999999", "-1", "1e3", "0x10", "٣", " 5", "5 ", "1_000", "NaN"])
async def test_a_number_in_an_address_is_a_number_in_range(address: str, number: str) -> None:
    async with httpx2.AsyncClient(headers=AGENT.headers) as client:
        assert (await client.get(f"{address}/v1/notes/{quote(number)}")).status_code in {200, 404, 422}
        assert (await client.get(f"{address}/v1/notes?limit={quote(number)}")).status_code in {200, 422}


# -- B13: forged tokens, over the wire --------------------------------------------------------------------------------


def part(data: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(data).encode()).rstrip(b"=").decode()


CLAIMS = {"iss": "deskwire", "aud": "deskwire", "tenant": "acme", "role": "admin", "iat": 0, "exp": 2**40}


@pytest.mark.parametrize(
    "token",
    [
        f"{part({'alg': 'none'})}.{part(CLAIMS)}.",
        f"{part({'alg': 'none', 'kid': 'x'})}.{part(CLAIMS)}.AAAA",
        f"{part({'alg': 'HS256', 'kid': AGENT.credential.credential_id})}.{part(CLAIMS)}.AAAA",
        f"{part({'alg': 'Ed25519', 'kid': '../../x', 'typ': 'JWT'})}.{part(CLAIMS)}.AAAA",
        f"{part({'alg': 'Ed25519', 'kid': 'x', 'jku': 'http://127.0.0.1:1/'})}.{part(CLAIMS)}.AAAA",
        f"{part({'alg': 'Ed25519', 'kid': 'x', 'crit': ['a'], 'a': 1})}.{part(CLAIMS)}.AAAA",
        f"{part({'alg': 'Ed25519', 'kid': AGENT.credential.credential_id})}.{part(CLAIMS)}.{'A' * 86}",
        "....",
        "x" * 8000,
        AGENT.key + "x",
        AGENT.key[:-1],
        AGENT.key.upper(),
        AGENT.credential.credential_id,
    ],
)
async def test_a_forged_credential_is_401_and_all_are_answered_alike(address: str, token: str) -> None:
    answer = await post(address, b"[]", Authorization=f"Bearer {token}")
    assert answer.status_code == 401
    assert answer.json()["detail"] == "Send an API key or a token as Authorization: Bearer …"
    assert token not in answer.text


async def test_two_authorizations_are_not_better_than_one(connect: Open) -> None:
    raw = await connect()
    await raw.send(
        f"GET /v1/notes HTTP/1.1\r\nHost: d\r\nAuthorization: Bearer wrong\r\nAuthorization: Bearer {AGENT.key}\r\n\r\n".encode()
    )
    assert await raw.status() == 401


# -- framing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: -1",),
        ("Content-Length: x",),
        ("Content-Length: 2", "Content-Length: 3"),
        ("Content-Length: 99999999999999999999",),
        ("Transfer-Encoding: chunked", "Content-Length: 2"),
        ("Transfer-Encoding: gzip",),
        ("Transfer-Encoding: chunked, identity",),
    ],
    ids=" + ".join,
)
async def test_an_ambiguous_length_never_gives_two_requests(connect: Open, lines: tuple[str, ...]) -> None:
    raw = await connect()
    smuggled = b"GET /v1/faults/bug HTTP/1.1\r\nHost: d\r\n\r\n"
    await raw.send(raw.head(*lines) + b"0\r\n\r\n" + smuggled)
    answer = b""
    try:
        async with asyncio.timeout(BODY_SECONDS + 1.5):
            while chunk := await raw.reader.read(65536):
                answer += chunk
    except (TimeoutError, ConnectionError):
        pass
    assert b" 500 " not in answer
    assert b" 202 " not in answer


async def test_an_unreadable_address_is_no_server_error(connect: Open) -> None:
    for target in (
        "/%",
        "/%zz",
        "/%ff%fe",
        "/" + "a" * 7000,
        "//",
        "/v1//notes",
        "/v1/notes/%2e%2e/audit",
        "/v1/notes?%",
        "/v1/notes?=&&==",
        "/v1/notes?limit=1&limit=x",
    ):
        raw = await connect()
        await raw.send(
            f"GET {target} HTTP/1.1\r\nHost: d\r\nAuthorization: Bearer {AGENT.key}\r\nConnection: close\r\n\r\n".encode()
        )
        assert await raw.status() in {200, 400, 404, 414, 422}, target
