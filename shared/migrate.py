"""Plain SQL migrations: forward only, one transaction each, never edited once applied.

A service's database gets the mechanism's files (`shared/migrations`) first, then its own. Files are named
`0001_create_inbox.sql`; expand in one release, contract in a later one. They run under the service's migration
role; the data role gets what `GRANTS` says and cannot change the schema.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg

MECHANISM = Path(__file__).parent / "migrations"
_NAME = re.compile(r"^\d{4}_[a-z0-9_]+\.sql$")
_LOCK = 0x6465736B  # "desk": one migrator per database at a time

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One file: where it comes from, its name, its text."""

    origin: str
    name: str
    sql: str

    @property
    def digest(self) -> str:
        """SHA-256 of the text; an applied file whose digest changed is refused."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


class MigrationError(Exception):
    """The database and the migration files disagree."""


def read(origin: str, folder: Path) -> list[Migration]:
    """The files of one folder in their order. Raises MigrationError for a misnamed one."""
    found = []
    for path in sorted(folder.glob("*.sql")):
        if not _NAME.match(path.name):
            msg = f"{path}: a migration is named like 0001_create_clock.sql"
            raise MigrationError(msg)
        found.append(Migration(origin=origin, name=path.name, sql=path.read_text()))
    return found


def of_service(name: str, folder: Path) -> list[Migration]:
    """Everything a service's database needs: the mechanism's tables, then its own."""
    return [*read("shared", MECHANISM), *read(name, folder)]


async def migrate(
    connection: asyncpg.Connection[asyncpg.Record], migrations: Sequence[Migration], role: str
) -> list[str]:
    """Apply what is missing and let `role` use the tables; the names applied.

    Raises MigrationError when an applied file was edited, or the database is ahead of this release's files in an
    unknown way (a file applied that no longer exists).
    """
    await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
    try:
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS migration (origin text, name text, digest text NOT NULL,"
            " applied_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (origin, name))"
        )
        rows = await connection.fetch("SELECT origin, name, digest FROM migration")
        applied = {(row["origin"], row["name"]): row["digest"] for row in rows}
        for known in migrations:
            digest = applied.get((known.origin, known.name))
            if digest not in (None, known.digest):
                msg = f"{known.origin}/{known.name} was edited after it was applied; add a new file instead"
                raise MigrationError(msg)
        done = []
        for missing in migrations:
            if (missing.origin, missing.name) in applied:
                continue
            async with connection.transaction():
                await connection.execute("SET LOCAL lock_timeout = '5s'")
                await connection.execute(missing.sql)
                await connection.execute(
                    "INSERT INTO migration (origin, name, digest) VALUES ($1, $2, $3)",
                    missing.origin,
                    missing.name,
                    missing.digest,
                )
            done.append(f"{missing.origin}/{missing.name}")
            logger.info("migrated", extra={"migration": done[-1]})
        await _grant(connection, role)
        return done
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)


async def _grant(connection: asyncpg.Connection[asyncpg.Record], role: str) -> None:
    """Let the data role use every table and sequence; a migration revokes what it must not touch.

    `clock_offset` stays read-only outside tests and append-only tables stay append-only: a table whose comment
    starts with `read-only` or `append-only` gets fewer rights.
    """
    name = '"' + role.replace('"', '""') + '"'
    tables = await connection.fetch(
        "SELECT c.relname AS name, coalesce(obj_description(c.oid, 'pg_class'), '') AS comment FROM pg_class c"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')"
    )
    for table in tables:
        quoted = '"' + table["name"].replace('"', '""') + '"'
        if table["name"] == "migration" or table["comment"].startswith("read-only"):
            rights = "SELECT"
        elif table["comment"].startswith("append-only"):
            rights = "SELECT, INSERT"
        else:
            rights = "SELECT, INSERT, UPDATE, DELETE"
        await connection.execute(f"REVOKE ALL ON {quoted} FROM {name}")
        await connection.execute(f"GRANT {rights} ON {quoted} TO {name}")
    await connection.execute(f"GRANT USAGE ON SCHEMA public TO {name}")
    await connection.execute(f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {name}")
    await connection.execute(f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {name}")
