"""Answers that do not end: passed on as they come, on connections of their own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from tests.integration.console.conftest import Edge, service
from tests.support.api import served


async def test_events_pass_one_by_one_for_longer_than_an_answer_may_be_silent(edge: Edge) -> None:
    told = asyncio.Event()

    async def events(_: Request) -> Response:
        async def stream() -> AsyncIterator[bytes]:
            yield b"data: first\n\n"
            await told.wait()
            for _ in range(8):
                await asyncio.sleep(0.1)
                yield b": still here\n\n"
            yield b"data: last\n\n"

        return StreamingResponse(stream(), media_type="text/event-stream")

    app = service(Route("/v1/events", events))
    async with (
        served(app) as url,
        edge(notify_url=url, answer_seconds=0.5) as client,
        client.stream("GET", "/v1/events", timeout=10) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.aiter_lines()
        assert await anext(lines) == "data: first"
        told.set()
        assert [line async for line in lines if line.startswith("data")] == ["data: last"]


async def test_listeners_take_no_connection_from_requests(edge: Edge) -> None:
    async def events(_: Request) -> Response:
        async def stream() -> AsyncIterator[bytes]:
            yield b": here\n\n"
            await asyncio.Event().wait()

        return StreamingResponse(stream(), media_type="text/event-stream")

    app = service(Route("/v1/events", events))
    async with (
        served(app) as url,
        edge(notify_url=url, connections=1, streams=2, connect_seconds=0.3) as client,
        contextlib.AsyncExitStack() as open_streams,
    ):
        for _ in range(2):
            answer = await open_streams.enter_async_context(client.stream("GET", "/v1/events"))
            assert answer.status_code == 200
        assert (await client.get("/v1/webhooks")).status_code == 200
        assert (await client.get("/v1/events")).status_code == 503
