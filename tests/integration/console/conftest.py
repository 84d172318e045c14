"""An edge before services that do what a test says."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from services.console.app import build
from services.console.settings import Settings
from tests.support.api import MASTER_KEY, served

Edge = Callable[..., AbstractAsyncContextManager[httpx2.AsyncClient]]


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
