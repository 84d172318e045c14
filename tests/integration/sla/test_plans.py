"""What decides clocks costs the same with a hundred tickets and with many: it stays on its indexes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from services.sla.store import knowledge
from tests.support.databases import ScratchDatabases

pytestmark = pytest.mark.engines


async def test_due_work_is_found_by_index_with_and_without_statistics(databases: ScratchDatabases) -> None:
    connection = await asyncpg.connect(databases.admin(await databases.create("sla")))
    try:
        await connection.execute(
            "INSERT INTO sla_ticket (ticket_id, tenant_id, partition, version)"
            " SELECT gen_random_uuid(), 'acme', n % 12, 1 FROM generate_series(1, 10000) n"
        )
        await connection.execute(
            "INSERT INTO clock SELECT ticket_id, name, partition, 1, 'running', now(), interval '1 h', 1, 'a', 'UTC',"
            " now() + random() * interval '99 h', now() + random() * interval '90 h', NULL, NULL, 1,"
            " false, false, false, false FROM sla_ticket, unnest(ARRAY['first_response', 'resolution']) name"
        )
        await connection.execute("INSERT INTO knowledge SELECT n, now() FROM generate_series(0, 11) n")
        marks = ([*range(12)], [datetime.now(UTC)] * 12)
        for statistics in (False, True):
            if statistics:
                await connection.execute("ANALYZE")
            for sql, args in (
                (knowledge._DECIDED, (*marks, knowledge.GROUP, 1000)),
                (knowledge._OVERDUE, (timedelta(seconds=30), 500)),
            ):
                plan = "\n".join(row[0] for row in await connection.fetch("EXPLAIN (COSTS OFF) " + sql, *args))
                assert "Seq Scan on clock" not in plan, plan
                assert "clock_due" in plan
    finally:
        await connection.close()
