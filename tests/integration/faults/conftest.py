"""A lab per test; the seed, told when a test fails; long doses only when asked for."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

import asyncpg
import pytest

from tests.support.databases import ScratchDatabases
from tests.support.engines import Engines
from tests.support.faults.contracts import SCHEMA, TOPICS
from tests.support.faults.ground import Thread
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


@pytest.fixture(scope="module")
async def machine_url(databases: ScratchDatabases) -> str:
    """One database for all examples of a state machine; each begins with empty tables."""
    made = await databases.create("mechanism", lasting=True)
    connection = await asyncpg.connect(databases.admin(made))
    try:
        await connection.execute(SCHEMA)
    finally:
        await connection.close()
    return made


@pytest.fixture
def thread() -> Iterator[Thread]:
    """An event loop for a state machine."""
    made = Thread()
    yield made
    made.stop()


async def new_lab(
    engines: Engines, databases: ScratchDatabases, folder: Path, name: str, *, kafka_url: str, seed: int
) -> Lab:
    """Topics with three partitions, an empty database (which several tests may look at)."""
    url = await databases.create("mechanism", lasting=True)
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


class Case(Protocol):
    """One of several runs of the same shape, most of which is waiting: for sessions to expire, for leases to end."""

    @property
    def name(self) -> str:
        """For people, and for the topics' prefix."""

    @property
    def seed(self) -> int:
        """What its random choices come from."""

    async def play(self, lab: Lab, databases: ScratchDatabases) -> None:
        """Do it, and raise what is wrong."""


AT_ONCE = 5


@pytest.fixture(scope="module")
async def side_by_side(
    request: pytest.FixtureRequest,
    engines: Engines,
    databases: ScratchDatabases,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Mapping[str, asyncio.Task[None]]]:
    """Every case of this module that was asked for (a parameter named `case`), a few at a time; by name."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(case: Case) -> None:
        async with gate:
            print(f"FAULTS_SEED={case.seed}")  # noqa: T201 - captured, shown on failure
            folder = tmp_path_factory.mktemp("case")
            lab = await new_lab(engines, databases, folder, case.name, kafka_url=engines.kafka_url, seed=case.seed)
            try:
                await case.play(lab, databases)
            finally:
                await close(lab)

    here = [item for item in request.session.items if item.path == request.node.path]
    cases: dict[str, Case] = {}
    for item in here:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        if "case" in parameters:
            cases[parameters["case"].name] = parameters["case"]
    tasks = {name: asyncio.create_task(one(case), name=name) for name, case in cases.items()}
    yield tasks
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)
