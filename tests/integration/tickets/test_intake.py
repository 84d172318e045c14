"""Messages become tickets, or go on with one."""

from __future__ import annotations

from tests.integration.tickets.conftest import Service, message, reply, ticket_id


async def test_a_message_becomes_a_ticket_with_an_owner(service: Service) -> None:
    await service.tenant()
    team = await service.team()
    agent = await service.agent("ann", team)
    first = message()

    await service.handle(first)

    (row,) = await service.rows("SELECT * FROM ticket")
    assert row["id"] == ticket_id(first)
    assert row["assignee_id"] == agent
    assert row["status"] == "open"
    assert [e["topic"] for e in await service.published()] == [
        "ticket.created",
        "ticket.assigned",
        "ticket.status_changed",
        "ticket.state",
    ]


async def test_a_reply_joins_the_ticket_of_its_parent_in_the_same_batch(service: Service) -> None:
    await service.tenant()
    first = message()
    await service.handle(first, reply(first))
    assert await service.one("SELECT message_count FROM ticket") == 2
