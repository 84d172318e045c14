"""Fixtures of the whole suite: engines started once, everything else made per test."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.databases import ScratchDatabases
from tests.support.engines import Engines
from tests.support.engines import engines as start_engines
from tests.support.topics import delete_topics, new_prefix


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long doses take hours: they run where DESKWIRE_DOSE=full asks for them (`make soak`)."""
    if os.environ.get("DESKWIRE_DOSE") != "full":
        long = [item for item in items if item.get_closest_marker("soak")]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.fixture(scope="session")
def engines() -> Engines:
    """Addresses of Kafka, PostgreSQL and OpenSearch; started on first use, taken over when they run already."""
    return start_engines()


_databases = pytest.StashKey[ScratchDatabases]()


@pytest.fixture(scope="session")
async def databases(engines: Engines, pytestconfig: pytest.Config) -> AsyncIterator[ScratchDatabases]:
    """Makes fresh databases: `await databases.create("tickets")`."""
    made = pytestconfig.stash[_databases] = ScratchDatabases(engines.database_url)
    yield made
    await made.drop_all()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """After a test's own fixtures have ended, its databases may go."""
    try:
        yield
    finally:
        if (made := item.config.stash.get(_databases, None)) is not None:
            made.test_over()


@pytest.fixture
async def topic_prefix(request: pytest.FixtureRequest, engines: Engines) -> AsyncIterator[str]:
    """A prefix of this test's own; its topics are deleted afterwards."""
    prefix = new_prefix(request.node.name)
    yield prefix
    await delete_topics(engines.kafka_url, prefix)
