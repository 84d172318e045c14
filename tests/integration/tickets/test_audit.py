"""The chain on the database: the service may only append, and tampering shows."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from shared.contracts.directory import Role
from tests.integration.tickets.conftest import Service, message, reply, ticket_id

pytestmark = pytest.mark.engines


@pytest.mark.parametrize(
    "sql", ["UPDATE audit SET action = 'x'", "DELETE FROM audit", "TRUNCATE audit", "DELETE FROM ledger_archive"]
)
async def test_the_service_can_neither_change_nor_delete_what_it_wrote(service: Service, sql: str) -> None:
    await service.tenant()
    await service.handle(message())
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await service.database.execute(sql)


async def test_values_can_be_erased_and_the_chain_still_verifies(service: Service) -> None:
    await service.tenant()
    first = message(subject="CANARY")
    await service.handle(first)
    await service.database.execute("DELETE FROM audit_value")
    seen = await _audit(service, ticket_id(first))
    assert seen["verified"] is True
    assert "CANARY" not in str(seen["items"])
    assert seen["items"][0]["changes"][0]["new_commitment"]


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE audit SET action = 'quietly' WHERE number = 2",
        "UPDATE audit SET actor_id = 'mallory' WHERE number = 1",
        "DELETE FROM audit WHERE number = 2",
        "DELETE FROM audit WHERE number = 4",
        "UPDATE audit_value SET openings = replace(openings::text, 'fire', 'ice')::json WHERE number = 1",
        "UPDATE ticket SET audit_count = audit_count - 1",
    ],
)
async def test_whoever_changes_the_tables_is_found(service: Service, sql: str) -> None:
    await service.tenant()
    first = message()
    await service.handle(first, *(reply(first) for _ in range(3)))
    assert (await _audit(service, ticket_id(first)))["verified"] is True
    await service.rows(sql)
    seen = await _audit(service, ticket_id(first))
    assert seen["verified"] is False
    assert seen["flaws"]


async def _audit(service: Service, ticket: object) -> dict[str, Any]:
    auditor = service.caller("maya", Role.MANAGER)
    answer = await service.call(auditor, "GET", f"/v1/tickets/{ticket}/audit?verify=true")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found
