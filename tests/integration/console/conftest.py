"""An edge before services that do what a test says."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.console.app import build
from services.console.settings import Settings
from tests.support.api import MASTER_KEY, served

Edge = Callable[..., AbstractAsyncContextManager[httpx2.AsyncClient]]


async def echo(request: Request) -> Response:
    """Tell what arrived."""
    return JSONResponse(
        {
            "method": request.method,
            "target": (request.scope["raw_path"] + b"?" + request.scope["query_string"]).decode("latin-1"),
            "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in request.scope["headers"]],
            "body": (await request.body()).decode("latin-1"),
        }
    )


def service(*routes: Route) -> Starlette:
    """A service with those routes that echoes everything else."""
    everything = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    return Starlette(routes=[*routes, Route("/{path:path}", echo, methods=everything)])


@pytest.fixture
def edge() -> Edge:
    """Opens an edge with given settings, and a client of it; an `async with`."""

    @asynccontextmanager
    async def open_edge(**settings: Any) -> Any:
        addresses = {"ingest_url": "", "directory_url": "", "tickets_url": ""}
        service = build(Settings(master_key=SecretStr(MASTER_KEY), **(addresses | settings)))
        assert service.routes is not None
        async with served(service.routes) as address, httpx2.AsyncClient(base_url=address) as client:
            yield client
        for stop in service.stop:
            await stop()

    return open_edge
