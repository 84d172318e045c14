"""Starting a service as a process, asking its port, and a way to its database that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx2
import pytest

from tests.support.waiting import eventually

ROOT = Path(__file__).parents[3]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Process:
    """One process under test and everything it said."""

    def __init__(self, child: asyncio.subprocess.Process, port: int) -> None:
        self.child = child
        self.port = port
        self.output = ""
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.child.stdout is not None
        while data := await self.child.stdout.read(65536):
            self.output += data.decode()

    async def get(self, path: str, port: int | None = None) -> httpx2.Response:
        async with httpx2.AsyncClient(timeout=5) as client:
            return await client.get(f"http://127.0.0.1:{port or self.port}{path}")

    async def status(self, path: str, port: int | None = None) -> int:
        """The status, or 0 while nothing answers."""
        try:
            return (await self.get(path, port)).status_code
        except httpx2.HTTPError:
            return 0

    async def becomes(self, path: str, status: int, *, within: float = 20.0, port: int | None = None) -> None:
        async def is_it() -> bool:
            assert await self.status(path, port) == status, self.output[-2000:]
            return True

        await eventually(is_it, within=within, every=0.05, what=f"{path} = {status}")

    async def missing(self) -> list[str]:
        return [item["name"] for item in (await self.get("/readyz")).json()["missing"]]

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.child.send_signal(number)

    async def ended(self, within: float = 20.0) -> int:
        async with asyncio.timeout(within):
            status = await self.child.wait()
            await self._reading
        return status


Start = Callable[..., Coroutine[Any, Any, Process]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start the demo service, or any other command, with extra environment; killed when the test ends."""
    started: list[Process] = []

    async def begin(*arguments: str, module: str = "tests.integration.process.program", **environment: str) -> Process:
        port = free_port()
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            *arguments,
            cwd=ROOT,
            env={**kept, "DEMO_HTTP_PORT": str(port), **environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        started.append(Process(child, port))
        return started[-1]

    yield begin
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            process.child.kill()
        await process.ended()


class Link:
    """A way to a server that can be cut and mended."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self.port = free_port()
        self._server: asyncio.Server | None = None
        self._streams: set[asyncio.StreamWriter] = set()

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)

    async def cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for stream in self._streams:
            stream.transport.abort()
        self._streams.clear()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to_there = await asyncio.open_connection(*self._target)
        self._streams |= {writer, to_there}

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(65536):
                    sink.write(data)
                    await sink.drain()
            sink.transport.abort()

        await asyncio.gather(pump(reader, to_there), pump(there, writer))


@pytest.fixture
async def link(database_url: str) -> AsyncIterator[Link]:
    """A way to this test's database, cut to begin with."""
    parts = urlsplit(database_url)
    assert parts.hostname is not None
    assert parts.port is not None
    made = Link(parts.hostname, parts.port)
    yield made
    await made.cut()


@pytest.fixture
async def linked_url(database_url: str, link: Link) -> str:
    """The database's address by that way."""
    parts = urlsplit(database_url)
    netloc = re.sub(r":\d+$", f":{link.port}", parts.netloc)
    return urlunsplit(parts._replace(netloc=netloc))


@pytest.fixture
async def database_url(databases: Any) -> str:
    made: str = await databases.create("mechanism")
    return made
