"""A lab per test; the seed, told when a test fails; long doses only when asked for."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest

from tests.support.databases import ScratchDatabases
from tests.support.engines import Engines
from tests.support.faults.contracts import SCHEMA, TOPICS
from tests.support.faults.lab import Lab
from tests.support.topics import create_topics, delete_topics, new_prefix

SEED = int(os.environ.get("FAULTS_SEED", "20261121"))
"""Overridable by the environment; every random choice of a test comes from it."""

MakeLab = Callable[..., Awaitable[Lab]]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the full doses to `make soak`."""
    if os.environ.get("DESKWIRE_DOSE") == "full":
        return
    here = Path(__file__).parent
    full = [item for item in items if here in item.path.parents and item.get_closest_marker("soak")]
    config.hook.pytest_deselected(items=full)
    left = set(full)
    items[:] = [item for item in items if item not in left]


@pytest.fixture
def seed() -> int:
    """The seed; pytest shows what is printed when the test fails."""
    print(f"FAULTS_SEED={SEED} repeats this run")  # noqa: T201 - captured, shown on failure
    return SEED


@pytest.fixture
async def make_lab(
    request: pytest.FixtureRequest, engines: Engines, databases: ScratchDatabases, tmp_path: Path, seed: int
) -> AsyncIterator[MakeLab]:
    """Make labs, each with topics, a database and a folder of its own."""
    async with AsyncExitStack() as stack:

        async def make(name: str = "lab", *, kafka_url: str = engines.kafka_url, seed: int = seed) -> Lab:
            lab = await new_lab(engines, databases, tmp_path / name, request.node.name, kafka_url=kafka_url, seed=seed)
            stack.push_async_callback(close, lab)
            return lab

        yield make


@pytest.fixture
async def lab(make_lab: MakeLab) -> Lab:
    """The one lab of most tests."""
    return await make_lab()


async def new_lab(
    engines: Engines, databases: ScratchDatabases, folder: Path, name: str, *, kafka_url: str, seed: int
) -> Lab:
    """Topics with three partitions, an empty database."""
    url = await databases.create("mechanism")
    connection = await asyncpg.connect(databases.admin(url))
    try:
        await connection.execute(SCHEMA)
    finally:
        await connection.close()
    prefix = new_prefix(name)
    await create_topics(kafka_url, prefix, TOPICS, groups=["faults"])
    folder.mkdir(parents=True, exist_ok=True)
    return Lab(kafka_url, url, databases.admin(url), prefix, folder, seed)


async def close(lab: Lab) -> None:
    """End its processes, delete its topics."""
    await lab.stop()
    await delete_topics(lab.kafka_url, lab.prefix)
