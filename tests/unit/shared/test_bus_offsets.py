"""Offsets are told to the broker in the end, whatever the client does when the broker went away and came back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError

from shared import kafka
from shared.bus import offsets
from shared.bus.offsets import Offsets
from tests.support.waiting import eventually

PLACE = TopicPartition("t", 0)


class Client:
    """A consumer whose first commits go wrong."""

    def __init__(self, *wrong: Exception | None) -> None:
        self.wrong = list(wrong)
        self.told: list[dict[TopicPartition, int]] = []

    async def commit(self, given: dict[TopicPartition, int]) -> None:
        if self.wrong:
            error = self.wrong.pop(0)
            if error is None:
                await asyncio.Event().wait()
            else:
                raise error
        self.told.append(dict(given))


Start = Callable[[Client], tuple[Offsets, asyncio.Task[None]]]


@pytest.fixture
async def start(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    monkeypatch.setattr(offsets, "EVERY", 0.001)
    running: list[asyncio.Task[None]] = []

    def begin(client: Client) -> tuple[Offsets, asyncio.Task[None]]:
        consumer: Any = client
        made = Offsets(lambda: consumer)
        task = asyncio.create_task(made.run())
        running.append(task)
        return made, task

    yield begin
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


@pytest.mark.parametrize("error", [CommitFailedError("rebalanced"), KeyError("a connection that is gone")])
async def test_a_commit_that_fails_is_tried_again_although_nothing_more_arrives(error: Exception, start: Start) -> None:
    client = Client(error, error)
    made, _ = start(client)
    made.handled(PLACE, 41)

    async def told() -> bool:
        return client.told == [{PLACE: 42}]

    await eventually(told, within=5)


async def test_a_commit_without_an_answer_ends_the_consumer_and_the_next_one_commits(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offsets, "STUCK", 0.05)
    monkeypatch.setattr(offsets, "LONGEST", 0.01)
    client = Client(None)
    made, task = start(client)
    made.handled(PLACE, 41)
    with pytest.raises(TimeoutError, match="no answer"):
        await asyncio.wait_for(asyncio.shield(task), 5)
    made.forget()
    made.handled(PLACE, 43)
    again = asyncio.create_task(made.run())
    try:

        async def told() -> bool:
            return client.told == [{PLACE: 44}]

        await eventually(told, within=5)
    finally:
        again.cancel()


async def test_a_consumer_that_cannot_be_stopped_leaves_nothing_running() -> None:
    """Its coordinator would otherwise be called for ten times a second until the process ends."""

    async def for_ever() -> None:
        await asyncio.Event().wait()

    class Part:
        closed = False

        async def close(self) -> None:
            self.closed = True

    class Stuck:
        def __init__(self) -> None:
            self._coordinator = type("Coordinator", (), {})()
            self._coordinator._coordination_task = asyncio.create_task(for_ever())
            self._coordinator._heartbeat_task = asyncio.create_task(for_ever())
            self._fetcher, self._client = Part(), Part()

        async def stop(self) -> None:
            await asyncio.shield(self._coordinator._coordination_task)

    client: Any = Stuck()
    await kafka.stop(client, 0.05)
    assert client._coordinator._coordination_task.cancelled()
    assert client._coordinator._heartbeat_task.cancelled()
    assert client._fetcher.closed
    assert client._client.closed
