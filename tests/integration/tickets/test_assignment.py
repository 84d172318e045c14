"""Who gets what: exactly within capacity, most urgent and oldest first, drained when somebody has room."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from shared.contracts.directory import Role
from shared.contracts.message import Hints
from tests.integration.tickets.conftest import Service, build, message, person, reply, ticket_id
from tests.support.databases import ScratchDatabases
from tests.support.engines import Engines

pytestmark = pytest.mark.engines

LOADS = "SELECT assignee_id, count(*) FROM ticket WHERE active AND assignee_id IS NOT NULL GROUP BY 1"


async def test_twenty_assigners_at_once_never_exceed_a_capacity(
    service: Service, engines: Engines, databases: ScratchDatabases
) -> None:
    await service.tenant()
    team = await service.team()
    for n in range(4):
        await service.agent(f"agent{n}", team, capacity=3 + n)
    others = [await build(engines, databases, service.url) for _ in range(3)]
    lead = service.caller("lea", Role.TEAM_LEAD)
    spare = [message(source=f"spare{n}") for n in range(8)]
    await service.rows("UPDATE agent SET available = false")
    await service.handle(*spare)
    # In a queue that nobody serves: only a person gives them to somebody.
    await service.rows("UPDATE ticket SET queue = 'spare'")
    await service.rows("UPDATE agent SET available = true")

    async def by_hand(n: int) -> None:
        body = {"assignee_id": str(person(f"agent{n % 4}"))}
        answer = await service.call(lead, "POST", f"/v1/tickets/{ticket_id(spare[n])}/assignment", body)
        assert answer.status_code in {200, 409}, answer.text

    by_batch = [one.handle(*(message() for _ in range(10))) for one in (service, *others) for _ in range(3)]
    fired = [one.fire() for one in (service, *others)]
    await asyncio.gather(*by_batch, *(by_hand(n) for n in range(8)), *fired)
    await service.fire()
    loads = {row[0]: row[1] for row in await service.rows(LOADS)}
    assert loads == {person(f"agent{n}"): 3 + n for n in range(4)}
    for one in others:
        await one.http.aclose()
        await one.database.close()


async def test_a_freed_agent_gets_the_most_urgent_and_oldest_ticket_of_the_queue(service: Service) -> None:
    await service.tenant()
    team = await service.team()
    await service.agent("ann", team, capacity=1)
    first, low, high = message(), message(hints=Hints(priority="P4")), message(hints=Hints(priority="P1"))
    await service.handle(first)
    await service.handle(low, high)
    assert await _owner(service, high) is None

    solved = await service.call(
        service.caller("ann", Role.AGENT),
        "POST",
        f"/v1/tickets/{ticket_id(first)}/transitions",
        {"to": "solved", "resolution": "Done."},
    )
    assert solved.status_code == 200
    await service.fire()
    assert await _owner(service, high) == person("ann")
    assert await _owner(service, low) is None


async def test_an_agent_who_becomes_available_or_larger_is_given_the_backlog(service: Service) -> None:
    await service.tenant()
    team = await service.team()
    await service.agent("ann", team, capacity=2, available=False)
    await service.handle(*(message() for _ in range(6)))
    assert await service.rows(LOADS) == []
    await service.agent("ann", team, capacity=2)
    await service.fire()
    assert [row[1] for row in await service.rows(LOADS)] == [2]
    await service.agent("ann", team, capacity=4)
    await service.fire()
    assert [row[1] for row in await service.rows(LOADS)] == [4]


async def test_a_new_ticket_does_not_jump_the_queue(service: Service) -> None:
    await service.tenant()
    team = await service.team()
    await service.agent("ann", team, available=False)
    old = message(hints=Hints(priority="P2"))
    await service.handle(old)
    await service.rows("UPDATE agent SET available = true, capacity = 1")
    new = message(hints=Hints(priority="P2"))
    await service.handle(new)
    await service.fire()
    assert await _owner(service, old) == person("ann")
    assert await _owner(service, new) is None


async def test_the_sweep_finds_a_backlog_that_nothing_woke(service: Service) -> None:
    await service.tenant()
    team = await service.team()
    await service.agent("ann", team, available=False)
    first = message()
    await service.handle(first)
    await service.rows("UPDATE agent SET available = true")
    await service.fired.start(service.database)
    await service.forward(timedelta(seconds=6))
    await service.fire()
    assert await _owner(service, first) == person("ann")
    assert await service.one("SELECT count(*) FROM timer WHERE kind = 'sweep'") == 1


async def test_an_untouched_ticket_goes_to_somebody_else_and_a_touched_one_stays(service: Service) -> None:
    await service.tenant()
    team = await service.team()
    await service.agent("ann", team)
    left, kept = message(), message()
    await service.handle(left, kept)
    answer = await service.call(
        service.caller("ann", Role.AGENT), "POST", f"/v1/tickets/{ticket_id(kept)}/messages", {"text": "Looking."}
    )
    assert answer.status_code == 201
    await service.forward(timedelta(minutes=31))
    await service.fire()
    assert await _owner(service, left) == person("ann"), "nobody else has room, so she keeps it"

    await service.agent("bob", team)
    await service.forward(timedelta(minutes=31))
    await service.fire()
    assert await _owner(service, left) == person("bob")
    assert await _owner(service, kept) == person("ann")
    (moved,) = [e for e in await service.published("ticket.assigned") if e["reason"] == "untouched"]
    assert moved["previous_assignee_id"] == str(person("ann"))


async def test_a_reopened_ticket_goes_back_to_the_queue_when_its_owner_is_full(service: Service) -> None:
    await service.tenant()
    team = await service.team()
    await service.agent("ann", team, capacity=1)
    first, second = message(), message()
    await service.handle(first)
    ann = service.caller("ann", Role.AGENT)
    await service.call(
        ann, "POST", f"/v1/tickets/{ticket_id(first)}/transitions", {"to": "solved", "resolution": "Done."}
    )
    await service.handle(second)
    await service.handle(reply(first))
    assert await _owner(service, second) == person("ann")
    assert await _owner(service, first) is None
    assert (await service.published("ticket.assigned"))[-1]["reason"] == "requeued"


async def test_a_timed_transition_happens_once_and_only_if_the_ticket_stayed(service: Service) -> None:
    await service.tenant()
    first, moved = message(), message()
    await service.handle(first, moved)
    lead = service.caller("lea", Role.TEAM_LEAD)
    team = await service.team()
    await service.agent("ann", team)
    await service.fire()
    for one in (first, moved):
        closed = await service.call(
            lead, "POST", f"/v1/tickets/{ticket_id(one)}/transitions", {"to": "closed", "reason": "Spam."}
        )
        assert closed.status_code == 200, closed.text
    await service.rows(
        "UPDATE ticket SET status_since = status_since + interval '1 second' WHERE id = $1", ticket_id(moved)
    )
    await service.forward(timedelta(days=31))
    await service.fire()
    statuses = {r["id"]: r["status"] for r in await service.rows("SELECT id, status FROM ticket")}
    assert statuses == {ticket_id(first): "archived", ticket_id(moved): "closed"}


async def _owner(service: Service, first: object) -> UUID | None:
    owner: UUID | None = await service.one("SELECT assignee_id FROM ticket WHERE id = $1", ticket_id(first))  # type: ignore[arg-type]
    return owner
