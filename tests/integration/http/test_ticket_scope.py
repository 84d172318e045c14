"""The scope of tickets in SQL sees exactly what the rule at hand sees, on PostgreSQL (bad input B8)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import product
from uuid import UUID

import asyncpg
import pytest

from shared.auth import Principal, TicketScope
from shared.contracts.directory import Role
from tests.support.databases import ScratchDatabases

PEOPLE = [UUID(int=number) for number in (1, 2, 3)]
TENANTS = ["acme", "other"]

pytestmark = pytest.mark.engines


@pytest.fixture
async def connection(databases: ScratchDatabases) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    url = await databases.create("httptest")
    opened = await asyncpg.connect(databases.admin(url))
    await opened.execute(
        "CREATE TABLE ticket (id bigint GENERATED ALWAYS AS IDENTITY, tenant_id text NOT NULL, requester_id uuid);"
        "CREATE TABLE watcher (ticket_id bigint, person_id uuid)"
    )
    for tenant, person in product(TENANTS, [*PEOPLE, None]):
        await opened.execute("INSERT INTO ticket (tenant_id, requester_id) VALUES ($1, $2)", tenant, person)
    yield opened
    await opened.close()


PRINCIPALS = [
    Principal(tenant, person, role, "c")
    for tenant, person, role in product([*TENANTS, "third"], [PEOPLE[0], None], Role)
]


@pytest.mark.parametrize("principal", PRINCIPALS, ids=str)
async def test_sql_and_rule_agree(connection: asyncpg.Connection[asyncpg.Record], principal: Principal) -> None:
    scope = TicketScope.of(principal)
    condition, arguments = scope.sql(2)
    rows = await connection.fetch(f"SELECT * FROM ticket WHERE id >= $1 AND {condition}", 0, *arguments)  # noqa: S608
    expected = [
        row
        for row in await connection.fetch("SELECT * FROM ticket")
        if scope.sees(row["tenant_id"], row["requester_id"])
    ]
    assert {row["id"] for row in rows} == {row["id"] for row in expected}
    assert all(row["tenant_id"] == principal.tenant_id for row in rows)


async def test_a_watcher_sees_the_ticket_in_their_own_tenant_only(
    connection: asyncpg.Connection[asyncpg.Record],
) -> None:
    await connection.execute(
        "INSERT INTO watcher SELECT id, $1 FROM ticket WHERE requester_id = $2", PEOPLE[0], PEOPLE[1]
    )
    scope = TicketScope.of(Principal("acme", PEOPLE[0], Role.CUSTOMER, "c"))
    condition, arguments = scope.sql(1, table="t", watchers="watcher")
    rows = await connection.fetch(f"SELECT * FROM ticket t WHERE {condition}", *arguments)  # noqa: S608
    assert {(row["tenant_id"], row["requester_id"]) for row in rows} == {("acme", PEOPLE[0]), ("acme", PEOPLE[1])}
