"""One installation for all scenarios that leave it whole; a tenant of its own for each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.support.desk import Desk, open_desk
from tests.support.engines import Engines
from tests.support.installation import Installation
from tests.support.tap import Tap


@pytest.fixture(scope="session")
async def installation(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Installation]:
    """Four services, one process each, on the engines of the suite."""
    made = Installation(engines, tmp_path_factory.mktemp("installation"))
    try:
        await made.start()
        # The first tenant runs the installation and sees the others; the tests' own are to be ordinary ones.
        url = {"DIRECTORY_DATABASE_URL": made.database_url("directory")}
        assert "export DESKWIRE_API_KEY=" in await made.cli("seed", "--tenant", "operator", told=url)
        yield made
    finally:
        await made.stop()


@pytest.fixture(scope="session")
async def tap(installation: Installation) -> AsyncIterator[Tap]:
    """Everything the installation has published."""
    made = Tap(installation.engines.kafka_url, installation.prefix)
    yield made
    await made.close()


@pytest.fixture
async def open_tenant(installation: Installation, tap: Tap) -> AsyncIterator[Callable[[str], Awaitable[Desk]]]:
    """A maker of further desks, called with a name."""
    made: list[Desk] = []

    async def make(name: str) -> Desk:
        desk = await open_desk(installation, tap, name)
        made.append(desk)
        return desk

    yield make
    for desk in made:
        await desk.close()


@pytest.fixture
async def desk(open_tenant: Callable[[str], Awaitable[Desk]]) -> Desk:
    """A tenant that no other test knows."""
    return await open_tenant("desk")


@pytest.fixture(params=["usual", pytest.param("full", marks=pytest.mark.soak)])
def dose(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """`dose(usual, full)`: how much of something is tried; a test that asks for it has a long form for `make soak`."""
    whole = request.param == "full"
    return lambda usual, full: full if whole else usual


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of this test's own."""
    return tmp_path
