"""Statements of the hot path at a hundred thousand tickets: none reads a table from end to end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from services.search.store.documents import DIRTY
from services.search.store.duplicates import CANDIDATES
from services.search.store.queue import CLEAR
from tests.support.databases import ScratchDatabases

pytestmark = pytest.mark.engines

FILL = """
    INSERT INTO document (ticket_id, tenant_id, revision, changed, head, texts, gist, number, requester_id, channel, opened_at)
    SELECT gen_random_uuid(), 'acme', 1, 1, '{}', 1, 'a | b', 'INC', gen_random_uuid(), 'email', now()
    FROM generate_series(1, 30000);
    INSERT INTO message SELECT ticket_id, gen_random_uuid(), 'acme', now(), false, 'text' FROM document;
    INSERT INTO duplicate_key SELECT (random() * 100000)::bigint, now(), ticket_id FROM document;
    INSERT INTO dirty SELECT ticket_id, 1 FROM document LIMIT 2000;
    ANALYZE;
"""


async def test_no_statement_of_the_hot_path_reads_a_whole_table(databases: ScratchDatabases) -> None:
    url = await databases.create("search")
    connection = await asyncpg.connect(databases.admin(url))
    try:
        await connection.execute(FILL)
        rows = await connection.fetch("SELECT key, at, ticket_id FROM duplicate_key LIMIT 4000")
        statements: dict[str, tuple[str, tuple[Any, ...]]] = {
            "dirty": (DIRTY, (500,)),
            "candidates": (
                CANDIDATES,
                (
                    [row["ticket_id"] for row in rows],
                    [row["key"] for row in rows],
                    [datetime.now(UTC)] * len(rows),
                    timedelta(hours=2),
                ),
            ),
            "clear": (CLEAR, ([uuid4() for _ in range(500)], [1] * 500, [1])),
        }
        for name, (sql, arguments) in statements.items():
            plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {sql}", *arguments))
            for table in ("document", "message", "duplicate_key"):
                assert f"Seq Scan on {table}" not in plan, f"{name}:\n{plan}"
    finally:
        await connection.close()
