"""`deskwire provision`: topics, databases, roles and schemas, made where they are missing.

Safe to run at any time, by several at once, before every start: what is there is left alone.
"""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import timedelta
from typing import Annotated

import typer

from cli import roles
from cli.installation import CliSettings, ServiceDatabase, administrator, databases
from cli.refuse import explained, refuse
from shared import kafka, migrate
from shared.bus import dead
from shared.contracts.event import Topic
from shared.contracts.manifest import TOPICS
from shared.settings import ServiceSettings

DEAD_LETTER_DAYS = 30
"""As long as facts are kept: the inbox remembers both and a week more."""


def provision(
    kafka_only: Annotated[bool, typer.Option("--topics", help="Only the topics.")] = False,
    databases_only: Annotated[bool, typer.Option("--databases", help="Only databases, roles and schemas.")] = False,
) -> None:
    """Make topics, databases and roles that are missing, and bring every schema up to date."""
    began = time.monotonic()
    with explained():
        asyncio.run(_provision(topics=not databases_only, stores=not kafka_only))
    print(f"provisioned in {time.monotonic() - began:.1f} s")


async def _provision(*, topics: bool, stores: bool) -> None:
    settings = CliSettings.load()
    admin = administrator() if stores else ""
    parts = [_topics(settings)] if topics else []
    parts += [_databases(admin)] if stores else []
    # Each to its end, whatever becomes of the other: half a connection cut off says things nobody asked for.
    for outcome in await asyncio.gather(*parts, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


async def _topics(settings: ServiceSettings) -> None:
    """Create what the manifest lists, and a dead-letter topic for every reader of every topic."""
    made: list[str] = []
    by_partitions: dict[int, dict[str, dict[str, str]]] = {}
    for topic in TOPICS:
        by_partitions.setdefault(topic.partitions, {})[settings.topic(topic.name)] = dict(topic.config())
    letters = {settings.topic(name): config for name, config in dead_letter_topics(TOPICS).items()}
    for partitions, wanted in by_partitions.items():
        made += await kafka.ensure_topics(settings, wanted, partitions=partitions)
    made += await kafka.ensure_topics(settings, letters, partitions=1)
    total = len(letters) + sum(map(len, by_partitions.values()))
    print(f"topics      {len(made)} made, {total - len(made)} there")


def dead_letter_topics(topics: tuple[Topic, ...]) -> dict[str, dict[str, str]]:
    """Manifest-style names of the dead-letter topics and their settings."""
    config = {
        "cleanup.policy": "delete",
        "retention.ms": str(int(timedelta(days=DEAD_LETTER_DAYS).total_seconds() * 1000)),
        "max.message.bytes": str(kafka.DEAD_LETTER_BYTES),
    }
    return {dead.topic_name(consumer, topic.name): config for topic in topics for consumer in topic.consumers}


async def _databases(admin: str) -> None:
    """Roles and databases first, for which the administrator is needed; then every schema, side by side."""
    wanted = databases()
    try:
        made = await roles.ensure(admin, wanted)
    except roles.NotAllowedError as error:
        print(error.sql)
        sys.stdout.flush()
        refuse(f"the role {error.role!r} of DATABASE_URL may not create roles; have the SQL above run by one who may")
    except roles.NoPasswordError as error:
        refuse(str(error), status=2)
    for name in made:
        print(f"{name} made")
    lines = await asyncio.gather(*(_migrate(admin, database) for database in wanted))
    for line in lines:
        print(line)


async def _migrate(admin: str, database: ServiceDatabase) -> str:
    """Apply what is missing, as the database's owner."""
    migrations = migrate.of_service(database.service, database.migrations)
    connection = await roles.connect_as_owner(admin, database)
    try:
        # Only when there is something to do: granting anew takes rights away from running services for a moment.
        if await roles.is_migrated(connection, migrations):
            return f"database    {database.name}: up to date"
        applied = await migrate.migrate(connection, migrations, database.user)
    except migrate.MigrationError as error:
        refuse(f"{database.name}: {error}")
    finally:
        await connection.close()
    return f"database    {database.name}: {len(applied)} migrations applied"
