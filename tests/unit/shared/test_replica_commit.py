"""The replica's offsets at the broker are for lag monitors only: a client that loses its tongue does not stop it."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError

from shared import replica as replica_module
from shared.contracts.manifest import TENANT_CHANGED
from shared.metrics import Metrics
from shared.replica import Replica
from shared.settings import ServiceSettings

PLACE = TopicPartition("tenant.changed", 0)


class Settings(ServiceSettings):
    SERVICE: ClassVar[str] = "reader"


class Client:
    def __init__(self, error: Exception | None) -> None:
        self._error = error

    def assignment(self) -> set[TopicPartition]:
        return {PLACE}

    async def commit(self, offsets: object) -> None:
        if self._error is not None:
            raise self._error
        await asyncio.Event().wait()


def replica() -> Replica:
    database: Any = None
    made = Replica(Settings(), database, {"tenant": TENANT_CHANGED}, metrics=Metrics("reader"))
    made._uncommitted = {PLACE: 7}
    return made


async def test_a_refused_commit_is_left_to_the_next_one() -> None:
    client: Any = Client(CommitFailedError("rebalanced"))
    await replica()._commit(client)


async def test_a_commit_without_an_answer_ends_the_consumer_so_that_another_takes_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replica_module, "COMMIT_PATIENCE", 0.02)
    client: Any = Client(None)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(replica()._commit(client), 5)
