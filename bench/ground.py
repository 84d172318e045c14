"""What every measurement stands on: engines, a fresh database, topics of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg

from shared.contracts.event import Topic
from tests.support.databases import ScratchDatabases
from tests.support.engines import Engines, engines
from tests.support.topics import create_topics, delete_topics, new_prefix


@dataclass(kw_only=True)
class Ground:
    """Addresses, and ways to make what a measurement needs."""

    engines: Engines
    databases: ScratchDatabases
    prefixes: list[str] = field(default_factory=list)

    @property
    def kafka_url(self) -> str:
        """Kafka's bootstrap address."""
        return self.engines.kafka_url

    async def database(self, service: str = "mechanism") -> str:
        """A fresh database with the mechanism's tables and the service's own."""
        return await self.databases.create(service)

    async def sql(self, database_url: str, statement: str) -> None:
        """Run a statement as the administrator of that database and let the data role use what it made."""
        admin = await asyncpg.connect(self.databases.admin(database_url))
        try:
            await admin.execute(statement)
            await admin.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO scratch_data")
            await admin.execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO scratch_data")
        finally:
            await admin.close()

    async def topics(self, topics: Sequence[Topic], *, groups: Sequence[str] = (), partitions: int = 4) -> str:
        """Topics under a prefix of their own; the prefix."""
        prefix = new_prefix("bench")
        await create_topics(self.kafka_url, prefix, topics, groups=groups, partitions=partitions)
        self.prefixes.append(prefix)
        return prefix


@asynccontextmanager
async def ground() -> AsyncIterator[Ground]:
    """Engines for the length of the bench; what was made is dropped at its end."""
    found = engines()
    made = Ground(engines=found, databases=ScratchDatabases(found.database_url))
    try:
        yield made
    finally:
        for prefix in made.prefixes:
            await delete_topics(made.kafka_url, prefix)
        await made.databases.drop_all()
