"""PostgreSQL for one service: a small pool, transactions, and what counts as a lost connection.

Nothing else opens transactions. Every call has a timeout, on our side and on the server's.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import asyncpg
import asyncpg.pool

STATEMENT_TIMEOUT = timedelta(seconds=10)
"""Below the grace after which a breach is told provisionally (30 s), so that no stuck statement outlives it."""

_STAMPED = """
    WITH own AS MATERIALIZED (SELECT pg_current_xact_id() AS id)
    SELECT clock_timestamp() + shift FROM own, clock_offset WHERE own.id IS NOT NULL
"""
"""The clock is read on the row that the transaction's id stands in: after it was drawn."""

logger = logging.getLogger(__name__)

Record = asyncpg.Record
if TYPE_CHECKING:
    Connection = asyncpg.Connection[Record] | asyncpg.pool.PoolConnectionProxy[Record]


class Tx:
    """One open transaction and the instant it began.

    `instant` is the database's clock at the start (UTC, with the test clock's offset): the only "now" that a
    handler may use. With `stamped` it is read once the transaction has its id (ADR 0015).
    """

    __slots__ = ("_connection", "instant")

    def __init__(self, connection: Connection, instant: datetime) -> None:
        self._connection = connection
        self.instant = instant

    async def fetch(self, sql: str, *args: object) -> list[Record]:
        """All rows of one statement."""
        return await self._connection.fetch(sql, *args)

    async def fetchrow(self, sql: str, *args: object) -> Record | None:
        """The first row, or None."""
        return await self._connection.fetchrow(sql, *args)

    async def fetchval(self, sql: str, *args: object) -> Any:
        """The first column of the first row, or None."""
        return await self._connection.fetchval(sql, *args)

    async def execute(self, sql: str, *args: object) -> str:
        """Run one statement; the command tag."""
        return await self._connection.execute(sql, *args)

    async def copy(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Append many rows by COPY."""
        await self._connection.copy_records_to_table(table, records=rows, columns=list(columns))

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """A nested part that can fail without ending the transaction."""
        async with self._connection.transaction():
            yield


async def _nothing_to_reset(_: asyncpg.Connection[Record]) -> None:
    """Sessions of the pool change nothing that outlives a transaction, so the four statements of a reset are saved.

    The driver itself rolls back what was left open, and refuses a listener left behind.
    """


class Database:
    """A service's own database."""

    def __init__(self, pool: asyncpg.Pool[Record], url: str, *, stamped: bool = False) -> None:
        self._pool = pool
        self._url = url
        self._instant = _STAMPED if stamped else "SELECT desk_now()"

    @classmethod
    async def connect(cls, url: str, *, application: str, max_size: int = 4, stamped: bool = False) -> Database:
        """Open the pool; at most `max_size` connections, at least one kept.

        With `stamped` each transaction gets its id before its instant: whoever sees no open transaction with an id
        knows that every later commit bears a later instant. The watermark of `ticket.state` stands on that.

        Raises OSError or asyncpg.PostgresError while the server cannot be reached.
        """
        pool = await asyncpg.create_pool(
            url,
            min_size=1,
            max_size=max_size,
            timeout=5,
            command_timeout=STATEMENT_TIMEOUT.total_seconds() + 2,
            server_settings=_server_settings(application),
            reset=_nothing_to_reset,
        )
        return cls(pool, url, stamped=stamped)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Tx]:
        """One transaction: committed when the block ends, rolled back when it raises."""
        async with self._pool.acquire(timeout=5) as connection:
            try:
                async with connection.transaction():
                    instant = await connection.fetchval(self._instant)
                    yield Tx(connection, instant)
            except asyncpg.ReadOnlySQLTransactionError:
                # After a failover the pool may hold sessions on the former primary.
                await self._pool.expire_connections()
                raise

    async def fetch(self, sql: str, *args: object) -> list[Record]:
        """All rows of one statement in its own transaction."""
        return await self._pool.fetch(sql, *args)

    async def fetchrow(self, sql: str, *args: object) -> Record | None:
        """The first row of one statement in its own transaction, or None."""
        return await self._pool.fetchrow(sql, *args)

    async def fetchval(self, sql: str, *args: object) -> Any:
        """The first column of the first row, or None."""
        return await self._pool.fetchval(sql, *args)

    async def execute(self, sql: str, *args: object) -> str:
        """Run one statement in its own transaction."""
        return await self._pool.execute(sql, *args)

    async def session(self, *, application: str, idle_timeout: timedelta | None = None) -> asyncpg.Connection[Record]:
        """A connection outside the pool, for a listener or an elected loop.

        With `idle_timeout` the server ends a session whose process has stopped talking, which frees its advisory
        locks for a successor.
        """
        settings = _server_settings(application)
        if idle_timeout is not None:
            settings["idle_session_timeout"] = str(int(idle_timeout.total_seconds() * 1000))
        return await asyncpg.connect(
            self._url,
            timeout=5,
            command_timeout=STATEMENT_TIMEOUT.total_seconds() + 2,
            server_settings=settings,
        )

    async def ping(self, timeout: float = 2.0) -> None:
        """Prove that the server answers and takes writes; raises what it raises."""
        await self._pool.fetchval("SELECT 1", timeout=timeout)

    async def close(self) -> None:
        """Give connections up to five seconds to come home, then cut them."""
        try:
            await asyncio.wait_for(self._pool.close(), timeout=5)
        except TimeoutError:
            self._pool.terminate()


def _server_settings(application: str) -> dict[str, str]:
    milliseconds = str(int(STATEMENT_TIMEOUT.total_seconds() * 1000))
    return {
        "application_name": application,
        "statement_timeout": milliseconds,
        "lock_timeout": milliseconds,
        "idle_in_transaction_session_timeout": milliseconds,
        "timezone": "UTC",
    }


CONNECTION_STATES = ("08", "57P", "53", "25006")
"""SQLSTATE prefixes of a lost, refused or read-only connection: nothing is wrong with the statement."""

RETRY_STATES = ("40001", "40P01")
"""Serialisation failure and deadlock: the same transaction again, at once."""


def is_connection_failure(error: BaseException) -> bool:
    """Whether the server, not the statement, failed: roll back, back off, the same batch again."""
    if isinstance(error, asyncpg.PostgresError):
        return bool(error.sqlstate) and error.sqlstate.startswith(CONNECTION_STATES)
    # A certificate that is not trusted, or has run out, is a ValueError too: nothing is wrong with the statement.
    if isinstance(error, ssl.SSLError):
        return True
    # InterfaceError is also raised for a value asyncpg cannot encode: that one is a ValueError, and ours.
    # InternalClientError is how it reports a session that the server ended between two statements.
    driver = (asyncpg.InterfaceError, asyncpg.InternalClientError)
    return isinstance(error, (OSError, TimeoutError, *driver)) and not isinstance(error, ValueError)


def is_retryable(error: BaseException) -> bool:
    """Whether the same transaction may simply be run again."""
    return isinstance(error, asyncpg.PostgresError) and error.sqlstate in RETRY_STATES
