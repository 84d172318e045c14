"""Clients of Kafka that are given up while they start or work."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import warnings
from collections.abc import Iterator
from typing import ClassVar

import pytest
from pydantic import SecretStr

from shared import kafka
from shared.settings import ServiceSettings
from tests.support.engines import Engines

pytestmark = pytest.mark.engines


class Settings(ServiceSettings):
    SERVICE: ClassVar[str] = "clients"


@pytest.fixture
def settings(engines: Engines) -> ServiceSettings:
    return Settings(kafka_url=engines.kafka_url, database_url=SecretStr(engines.database_url))


@contextlib.contextmanager
def left_open() -> Iterator[list[str]]:
    """What was thrown away without being closed, said when it ends."""
    found: list[str] = []
    gc.collect()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", ResourceWarning)
        yield found
        gc.collect()
    found += [str(one.message) for one in seen]


async def test_a_client_whose_start_is_cancelled_at_any_moment_leaves_nothing_open(settings: ServiceSettings) -> None:
    with left_open() as leaks:
        for moment in range(40):
            client = kafka.reader(settings, "test")
            starting = asyncio.create_task(kafka.start(client))
            for _ in range(moment):
                await asyncio.sleep(0)
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await starting
            await kafka.stop(client, 5)
    assert leaks == []
