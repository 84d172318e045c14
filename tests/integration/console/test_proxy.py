"""The way through: what goes in comes out, nothing else does, and a service that fails is named."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from shared.http.forwarded import address_in
from tests.integration.console.conftest import Edge, service
from tests.support.api import served
from tests.support.sample import edge_key

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def rude(behave: Peer) -> AsyncIterator[str]:
    """A server that speaks for itself."""
    server = await asyncio.start_server(behave, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        yield f"http://127.0.0.1:{port}"


async def connect(client: httpx2.AsyncClient) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A bare connection to the edge."""
    return await asyncio.open_connection(client.base_url.host, client.base_url.port)


def headers_of(answer: httpx2.Response, name: str) -> list[str]:
    return [value for key, value in answer.json()["headers"] if key == name]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("body", [b"", b"x", b"\x00\xff" * 5000])
async def test_method_target_and_body_arrive_as_they_were_sent(edge: Edge, method: str, body: bytes) -> None:
    target = "/v1/tickets/a%2Fb%20c/%C3%A4?q=a+b&q=%2B&empty=&x;y#"
    async with served(service()) as url, edge(tickets_url=url) as client:
        answer = await client.request(method, target, content=body)
        assert answer.json()["method"] == method
        assert answer.json()["target"] == target.rstrip("#")
        assert answer.json()["body"] == body.decode("latin-1")
        if body:
            assert headers_of(answer, "content-length") == [str(len(body))]


async def test_each_path_goes_to_its_own_service(edge: Edge) -> None:
    def named(name: str) -> Starlette:
        async def answer(_: Request) -> Response:
            return Response(name)

        return service(Route("/{path:path}", answer))

    async with (
        served(named("tickets")) as tickets,
        served(named("ingest")) as ingest,
        edge(tickets_url=tickets, ingest_url=ingest) as client,
    ):
        assert (await client.get("/v1/tickets/5/messages")).text == "tickets"
        assert (await client.get("/v1/messages")).text == "ingest"
        assert (await client.get("/v1/messages/5/original")).text == "ingest"
        assert (await client.get("/v1/ticketsandmore")).status_code == 404
        assert (await client.get("/metrics")).status_code == 404
        missing = await client.get("/v1/tenants")
        assert missing.status_code == 503
        assert "directory" in missing.json()["detail"]


async def test_what_a_client_claims_about_itself_is_replaced_by_what_is_known(edge: Edge) -> None:
    forged = {
        "X-Forwarded-For": "192.0.2.66",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "bank.example",
        "X-Forwarded-User": "admin",
        "Forwarded": "for=192.0.2.66",
        "X-Real-IP": "192.0.2.66",
        "X-Original-URL": "/v1/policies",
        "X-HTTP-Method-Override": "DELETE",
        "X-Deskwire-Client": "192.0.2.66 00",
        "Connection": "keep-alive, X-Custom",
        "X-Custom": "dropped with Connection",
        "TE": "trailers",
        "Proxy-Authorization": "Basic x",
        "Authorization": "Bearer kept",
        "Host": "desk.example",
    }
    async with served(service()) as url, edge(tickets_url=url) as client:
        answer = await client.get("/v1/tickets", headers=forged)
        assert "192.0.2.66" not in answer.text
        assert headers_of(answer, "x-forwarded-for") == ["127.0.0.1"]
        assert headers_of(answer, "x-forwarded-proto") == ["http"]
        assert headers_of(answer, "x-forwarded-host") == ["desk.example"]
        assert headers_of(answer, "host") == [url.removeprefix("http://")]
        assert headers_of(answer, "authorization") == ["Bearer kept"]
        for dropped in (
            "x-custom",
            "te",
            "proxy-authorization",
            "x-forwarded-user",
            "x-http-method-override",
            "forwarded",
        ):
            assert headers_of(answer, dropped) == []
        client_header = headers_of(answer, "x-deskwire-client")
        assert [address_in(edge_key(), value.encode()) for value in client_header] == ["127.0.0.1"]


async def test_the_request_id_and_trace_are_one_along_the_way(edge: Edge) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    async with served(service()) as url, edge(tickets_url=url) as client:
        given = {"X-Request-Id": "shop-1", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
        answer = await client.get("/v1/tickets", headers=given)
        assert headers_of(answer, "x-request-id") == ["shop-1"]
        assert answer.headers.get_list("x-request-id") == ["shop-1"]
        assert headers_of(answer, "traceparent")[0].split("-")[1] == trace
        invented = await client.get("/v1/tickets")
        assert headers_of(invented, "x-request-id") == [invented.headers["x-request-id"]]


async def test_an_answer_comes_back_whole(edge: Edge) -> None:
    async def answer(_: Request) -> Response:
        made = Response(
            b"\x1f\x8bnot really gzip", 418, headers={"ETag": '"7"', "Content-Encoding": "gzip", "Link": "<x>"}
        )
        made.headers.append("Set-Cookie", "a=1")
        made.headers.append("Set-Cookie", "b=2")
        return made

    async def unchanged(_: Request) -> Response:
        return Response(status_code=304, headers={"ETag": '"7"'})

    async def nothing(_: Request) -> Response:
        return Response(status_code=204)

    routes = [Route("/v1/tickets", answer), Route("/v1/tickets/304", unchanged), Route("/v1/tickets/204", nothing)]
    async with served(service(*routes)) as url, edge(tickets_url=url) as client:
        request = client.build_request("GET", "/v1/tickets")
        back = await client.send(request, stream=True)
        assert b"".join([chunk async for chunk in back.aiter_raw()]) == b"\x1f\x8bnot really gzip"
        assert back.status_code == 418
        assert back.headers.get_list("set-cookie") == ["a=1", "b=2"]
        assert (back.headers["etag"], back.headers["link"]) == ('"7"', "<x>")
        assert len(back.headers.get_list("date")) == 1
        head = await client.head("/v1/tickets")
        assert (head.status_code, head.content, head.headers["content-length"]) == (418, b"", "17")
        for status in (304, 204):
            empty = await client.get(f"/v1/tickets/{status}")
            assert (empty.status_code, empty.content) == (status, b"")


async def test_a_redirect_is_handed_back_and_not_followed(edge: Edge) -> None:
    called: list[str] = []

    async def elsewhere(request: Request) -> Response:
        called.append(request.url.path)
        return RedirectResponse("/v1/tickets/inside")

    async with served(service(Route("/v1/tickets", elsewhere))) as url, edge(tickets_url=url) as client:
        answer = await client.get("/v1/tickets")
        assert (answer.status_code, answer.headers["location"]) == (307, "/v1/tickets/inside")
        assert called == ["/v1/tickets"]


async def test_no_cookie_of_one_caller_reaches_another(edge: Edge) -> None:
    async def give(_: Request) -> Response:
        answer = Response()
        answer.set_cookie("session", "secret")
        return answer

    async with served(service(Route("/v1/tickets/login", give))) as url, edge(tickets_url=url) as client:
        await client.get("/v1/tickets/login")
        client.cookies.clear()
        assert headers_of(await client.get("/v1/tickets"), "cookie") == []


async def test_bodies_are_streamed_both_ways(edge: Edge) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def answer(request: Request) -> Response:
        parts = request.stream()
        first = await anext(parts)
        arrived.set()
        rest = b"".join([part async for part in parts])

        async def body() -> AsyncIterator[bytes]:
            yield first
            await go_on.wait()
            yield rest

        return StreamingResponse(body())

    async def upload() -> AsyncIterator[bytes]:
        yield b"one"
        await asyncio.wait_for(arrived.wait(), 5)
        yield b"two"

    async with served(service(Route("/v1/tickets", answer, methods=["POST"]))) as url, edge(tickets_url=url) as client:
        request = client.build_request("POST", "/v1/tickets", content=upload())
        back = await client.send(request, stream=True)
        chunks = back.aiter_raw()
        assert await anext(chunks) == b"one"
        go_on.set()
        assert await anext(chunks) == b"two"


async def test_a_stream_ends_at_the_service_when_its_reader_leaves(edge: Edge) -> None:
    ended = asyncio.Event()

    async def answer(_: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"tick\n"
                    await asyncio.sleep(0.01)
            finally:
                ended.set()

        return StreamingResponse(body())

    async with served(service(Route("/v1/tickets", answer))) as url, edge(tickets_url=url) as client:
        back = await client.send(client.build_request("GET", "/v1/tickets"), stream=True)
        await anext(back.aiter_raw())
        await back.aclose()
        await asyncio.wait_for(ended.wait(), 5)


async def test_a_service_that_is_away_is_named_in_a_503(edge: Edge) -> None:
    async with edge(tickets_url="http://127.0.0.1:1") as client:
        answer = await client.post("/v1/tickets", json={})
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert "tickets" in answer.json()["detail"]
        assert int(answer.headers["retry-after"]) > 0
        assert "127.0.0.1" not in answer.text


async def test_a_service_that_stays_silent_is_named_in_a_504(edge: Edge) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with rude(silent) as url, edge(tickets_url=url, answer_seconds=0.2) as client:
        answer = await client.get("/v1/tickets")
        assert (answer.status_code, "tickets" in answer.json()["detail"]) == (504, True)


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 2", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 999999 x\r\n\r\n"])
async def test_a_service_that_talks_nonsense_is_named_in_a_502(edge: Edge, said: bytes) -> None:
    async def mad(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        writer.close()

    async with rude(mad) as url, edge(tickets_url=url) as client:
        answer = await client.post("/v1/tickets", json={})
        assert (answer.status_code, "tickets" in answer.json()["detail"]) == (502, True)


async def test_an_answer_that_breaks_off_is_not_passed_as_complete(edge: Edge) -> None:
    async def dying(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()
        writer.close()

    async with rude(dying) as url, edge(tickets_url=url) as client:
        with pytest.raises(httpx2.HTTPError):
            await client.get("/v1/tickets")


@pytest.mark.parametrize(("method", "expected"), [("GET", [200, 200]), ("POST", [200, 502])])
async def test_only_what_changes_nothing_is_sent_again_on_a_stale_connection(
    edge: Edge, method: str, expected: list[int]
) -> None:
    seen: list[bytes] = []
    connections = 0

    async def hangs_up_second(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()
        if connections == 1:
            seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    async with rude(hangs_up_second) as url, edge(tickets_url=url) as client:
        statuses = [(await client.request(method, "/v1/tickets")).status_code for _ in range(2)]
    assert statuses == expected
    assert len(seen) == (3 if method == "GET" else 2)


async def test_a_body_past_the_edges_own_limit_is_413(edge: Edge) -> None:
    async with served(service()) as url, edge(tickets_url=url, upload_bytes=10_000) as client:
        assert (await client.post("/v1/tickets", content=b"x" * 10_000)).status_code == 200
        assert (await client.post("/v1/tickets", content=b"x" * 10_001)).status_code == 413


async def test_a_body_without_an_end_is_cut_at_the_limit(edge: Edge) -> None:
    received = 0

    async def counts(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        while data := await reader.read(65536):
            received += len(data)
        writer.close()

    async with rude(counts) as url, edge(tickets_url=url, upload_bytes=10_000) as client:
        reader, writer = await connect(client)
        writer.write(b"POST /v1/tickets HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(20):
                writer.write(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
                await writer.drain()
            assert (await reader.readline()).split()[1] == b"413"
        writer.close()
    assert received < 12_000


async def test_a_body_that_stops_coming_is_408(edge: Edge) -> None:
    async with served(service()) as url, edge(tickets_url=url, upload_seconds=0.2) as client:
        reader, writer = await connect(client)
        writer.write(b"POST /v1/tickets HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx")
        assert (await asyncio.wait_for(reader.readline(), 10)).split()[1] == b"408"
        assert await asyncio.wait_for(reader.read(), 10), "the rest of the answer, then the end"
        writer.close()


async def test_a_service_that_answers_before_it_has_read_all_is_heard(edge: Edge) -> None:
    async def refuses(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = json.dumps({"status": 413}).encode()
        writer.write(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        await asyncio.sleep(0.2)
        writer.close()

    async with rude(refuses) as url, edge(tickets_url=url) as client:
        assert (await client.post("/v1/tickets", content=b"x" * 3_000_000)).status_code in {413, 502}


@pytest.mark.parametrize(
    "target",
    [
        "/v1/tickets/../../metrics",
        "/v1/tickets/%2e%2e/%2E%2E/metrics",
        "/v1/tickets/..%2f..%2fmetrics",
        "/v1/tickets/.%2e/x",
        "/v1/tickets/..\\x",
    ],
)
async def test_a_path_that_climbs_never_reaches_a_service(edge: Edge, target: str) -> None:
    called: list[Any] = []

    async def note(request: Request) -> Response:
        called.append(request.scope["raw_path"])
        return Response()

    async with served(Starlette(routes=[Route("/{path:path}", note)])) as url, edge(tickets_url=url) as client:
        reader, writer = await connect(client)
        writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        status = (await reader.readline()).split()[1]
        writer.close()
        await writer.wait_closed()
    assert status in (b"400", b"404")
    assert called == []


async def test_two_hundred_callers_at_once_each_get_their_own_answer(edge: Edge) -> None:
    async with served(service()) as url, edge(tickets_url=url, connections=20) as client:
        answers = await asyncio.gather(
            *(client.post(f"/v1/tickets/{number}", content=str(number)) for number in range(200))
        )
    assert [answer.json()["body"] for answer in answers] == [str(number) for number in range(200)]
    assert [answer.json()["target"] for answer in answers] == [f"/v1/tickets/{number}?" for number in range(200)]
