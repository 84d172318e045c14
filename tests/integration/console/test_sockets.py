"""WebSockets through the edge: frames both ways, both ends told how it ended, and only where there is one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from shared.http.forwarded import address_in, key_of
from tests.integration.console.conftest import Edge
from tests.support.api import MASTER_KEY, served
from tests.support.waiting import eventually

PATH = "/v1/chat/socket"


class Echo:
    """A service that says what it was told, and remembers."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.left: list[int] = []

    async def serve(self, socket: WebSocket) -> None:
        self.headers = dict(socket.headers)
        if socket.query_params.get("refuse"):
            await socket.close()
            return
        offered = socket.scope["subprotocols"]
        await socket.accept(subprotocol=offered[0] if offered else None)
        try:
            while True:
                text = await socket.receive_text()
                if text == "bye":
                    await socket.close(4401, "go")
                    return
                await socket.send_text(text * 2)
        except WebSocketDisconnect as error:
            self.left.append(error.code)


@pytest.fixture
async def echo() -> AsyncIterator[tuple[Echo, str]]:
    """The service and its address."""
    told = Echo()
    app = Starlette(routes=[WebSocketRoute(PATH, told.serve), WebSocketRoute("/v1/tickets/socket", told.serve)])
    async with served(app) as address:
        yield told, address


def _at(client: Any, path: str = PATH) -> str:
    return str(client.base_url).replace("http", "ws").rstrip("/") + path


async def test_frames_pass_both_ways_with_what_the_service_must_know(edge: Edge, echo: tuple[Echo, str]) -> None:
    told, address = echo
    async with edge(ingest_url=address) as client:
        headers = {"X-Forwarded-For": "6.6.6.6", "X-Deskwire-Client": "6.6.6.6 abc", "Origin": "https://shop.example"}
        async with connect(_at(client), additional_headers=headers, subprotocols=["a.b"], proxy=None) as socket:  # type: ignore[list-item]
            assert socket.subprotocol == "a.b"
            for text in ("ab", "ü" * 10_000):
                await socket.send(text)
                assert await socket.recv() == text * 2
    assert told.headers["origin"] == "https://shop.example"
    assert told.headers["x-forwarded-for"] == "127.0.0.1"
    assert address_in(key_of(bytes.fromhex(MASTER_KEY)), told.headers["x-deskwire-client"].encode()) == "127.0.0.1"
    assert told.headers["x-request-id"]


async def test_each_side_hears_how_the_other_ended_it(edge: Edge, echo: tuple[Echo, str]) -> None:
    told, address = echo
    async with edge(ingest_url=address) as client:
        async with connect(_at(client), proxy=None) as socket:
            await socket.send("bye")
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4401, "go")
        async with connect(_at(client), proxy=None) as socket:
            await socket.send("x")
            await socket.recv()
            await socket.close(4000)

        async def heard() -> bool:
            return told.left == [4000]

        await eventually(heard)


async def test_a_service_that_is_away_or_refuses_is_answered_in_the_handshake(
    edge: Edge, echo: tuple[Echo, str]
) -> None:
    _, address = echo
    for settings, path, status in (
        ({}, PATH, 503),
        ({"ingest_url": "http://127.0.0.1:9"}, PATH, 503),
        ({"ingest_url": address}, PATH + "?refuse=1", 403),
        ({"tickets_url": address}, "/v1/tickets/socket", 403),
        ({"ingest_url": address}, "/v1/nowhere", 403),
    ):
        async with edge(**settings) as client:
            with pytest.raises(InvalidStatus) as refused:
                await connect(_at(client, path), proxy=None)
            assert refused.value.response.status_code == status, path


async def test_sockets_are_bounded_and_given_back(edge: Edge, echo: tuple[Echo, str]) -> None:
    _, address = echo
    async with edge(ingest_url=address, sockets=1) as client:
        async with connect(_at(client), proxy=None):
            with pytest.raises(InvalidStatus):
                await connect(_at(client), proxy=None)

        async def again() -> bool:
            try:
                async with connect(_at(client), proxy=None) as socket:
                    await socket.send("a")
                    return await socket.recv() == "aa"
            except InvalidStatus:
                return False

        await eventually(again)


async def test_a_frame_too_large_ends_the_connection_and_nothing_else(edge: Edge, echo: tuple[Echo, str]) -> None:
    _, address = echo
    async with edge(ingest_url=address) as client:
        async with connect(_at(client), proxy=None) as socket:
            with pytest.raises(ConnectionClosed):  # noqa: PT012 - the connection ends somewhere in it
                await socket.send("x" * 100_000)
                await socket.recv()
        async with connect(_at(client), proxy=None) as socket, asyncio.timeout(10):
            await socket.send("a")
            assert await socket.recv() == "aa"
