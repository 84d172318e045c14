"""Stopping a consumer ends, whatever its library makes of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from shared import kafka


class Client:
    """A consumer whose `stop` does as it is told."""

    def __init__(self, *, waits: bool = False) -> None:
        self._waits = waits
        self._coordinator = None
        self._fetcher = self._client = self
        self.closed = 0

    async def stop(self) -> None:
        if self._waits:
            await asyncio.Event().wait()
        raise asyncio.CancelledError

    async def close(self) -> None:
        self.closed += 1


async def test_a_stop_that_calls_itself_cancelled_is_no_cancellation_and_everything_is_closed() -> None:
    client: Any = Client()
    await kafka.stop(client, 5)
    assert client.closed == 2


async def test_a_stop_that_never_ends_is_given_up() -> None:
    client: Any = Client(waits=True)
    await kafka.stop(client, 0.01)
    assert client.closed == 2


async def test_who_is_cancelled_while_stopping_is_cancelled() -> None:
    client: Any = Client(waits=True)
    task = asyncio.create_task(kafka.stop(client, 60))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
