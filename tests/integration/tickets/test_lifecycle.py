"""What happens by itself: solved tickets close, replies reopen or follow, alerts recover, untouched ones move."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from shared.contracts.directory import Role
from shared.contracts.message import MessageReceived
from tests.integration.tickets.conftest import Service, build, message, person, reply, ticket_id
from tests.support.api import Caller
from tests.support.databases import ScratchDatabases
from tests.support.engines import Engines

pytestmark = pytest.mark.engines


async def _solved(service: Service) -> tuple[MessageReceived, UUID, Caller]:
    await service.tenant()
    await service.agent("ann", await service.team(), capacity=50)
    ann = service.caller("ann", Role.AGENT)
    first = message("rita")
    await service.handle(first)
    solve = {"to": "solved", "resolution": "replaced the fuse"}
    answer = await service.call(ann, "POST", f"/v1/tickets/{ticket_id(first)}/transitions", solve)
    assert answer.status_code == 200, answer.text
    return first, ticket_id(first), ann


async def _status(service: Service, ticket: UUID) -> tuple[str, int]:
    (row,) = await service.rows("SELECT status, cycle FROM ticket WHERE id = $1", ticket)
    return row["status"], row["cycle"]


async def test_a_solved_ticket_closes_after_seven_silent_days_and_a_later_reply_opens_one_that_follows(
    service: Service,
) -> None:
    first, ticket, _ = await _solved(service)
    await service.forward(timedelta(days=7) - timedelta(minutes=1))
    await service.fire()
    assert await _status(service, ticket) == ("solved", 1), "never early"
    await service.forward(timedelta(minutes=2))
    await service.fire()
    assert await _status(service, ticket) == ("closed", 1)
    assert (await service.published("ticket.status_changed"))[-1]["trigger"] == "timer"

    late = reply(first, "rita")
    await service.handle(late)
    state = await service.state(ticket_id(late))
    assert [(link.kind, link.ticket_id, link.suggested) for link in state.links] == [("follows", ticket, False)]
    assert await service.one("SELECT follows_id FROM ticket WHERE id = $1", ticket_id(late)) == ticket


async def test_a_reply_in_time_reopens_in_a_new_cycle_and_nothing_closes_any_more(service: Service) -> None:
    first, ticket, _ = await _solved(service)
    await service.forward(timedelta(days=6))
    await service.handle(reply(first, "rita"))
    assert await _status(service, ticket) == ("reopened", 2)
    await service.forward(timedelta(days=2))
    await service.fire()
    assert await _status(service, ticket) == ("reopened", 2)
    state = await service.state(ticket)
    assert (state.ledger[0].kind, state.ledger[0].value) == ("cycle", "2")
    assert len(state.sealed) == 1


async def test_closing_and_reopening_at_once_have_one_outcome_and_lose_no_message(
    service: Service, engines: Engines, databases: ScratchDatabases
) -> None:
    """The timer fires while replies arrive: before it they reopen, after it they open a ticket that follows."""
    await service.tenant()
    await service.agent("ann", await service.team(), capacity=50)
    ann = service.caller("ann", Role.AGENT)
    sent = [message("rita") for _ in range(12)]
    await service.handle(*sent)
    for one in sent:
        await service.call(
            ann, "POST", f"/v1/tickets/{ticket_id(one)}/transitions", {"to": "solved", "resolution": "done"}
        )
    await service.forward(timedelta(days=8))
    other = await build(engines, databases, service.url)
    try:
        await asyncio.gather(
            service.fire(), other.fire(), *(service.handle(reply(one, "rita")) for one in sent), service.fire()
        )
    finally:
        await other.http.aclose()
        await other.database.close()
    await service.fire()
    assert await service.one("SELECT count(*) FROM message") == 24
    for one in sent:
        status, cycle = await _status(service, ticket_id(one))
        followers = await service.one("SELECT count(*) FROM ticket WHERE follows_id = $1", ticket_id(one))
        assert (status, cycle, followers) in {("closed", 1, 1), ("reopened", 2, 0)}


async def test_an_alert_that_recovers_solves_its_ticket_and_firing_again_reopens_it(service: Service) -> None:
    await service.tenant()
    await service.agent("ann", await service.team())
    firing = message("prometheus", channel="alert", subject="DiskFull on db1")
    await service.handle(firing)
    ticket = ticket_id(firing)
    recovered = reply(firing, "prometheus", channel="alert", resolves=True)
    await service.handle(recovered)
    assert await _status(service, ticket) == ("solved", 1)
    assert (await service.published("ticket.status_changed"))[-1]["trigger"] == "recovered"
    await service.handle(reply(firing, "prometheus", channel="alert", resolves=True))
    assert await _status(service, ticket) == ("solved", 1), "a second recovery reopens nothing"
    await service.handle(reply(recovered, "prometheus", channel="alert"))
    assert await _status(service, ticket) == ("reopened", 2)


async def test_an_untouched_ticket_goes_to_somebody_else_and_stays_where_nobody_else_has_room(
    service: Service,
) -> None:
    await service.tenant()
    team = await service.team()
    await service.agent("ann", team)
    first = message("rita")
    await service.handle(first)
    ticket = ticket_id(first)
    for _ in range(3):
        await service.forward(timedelta(minutes=31))
        await service.fire()
    assigned = await service.published("ticket.assigned")
    assert [(one["assignee_id"], one["reason"]) for one in assigned] == [
        (str(person("ann")), "least_loaded"),
        (str(person("ann")), "nobody_else"),
    ], "it stays, and that is told once"
    bob = await service.agent("bob", team)
    await service.forward(timedelta(minutes=31))
    await service.fire()
    last = (await service.published("ticket.assigned"))[-1]
    assert (last["previous_assignee_id"], last["assignee_id"], last["reason"]) == (
        str(person("ann")),
        str(bob),
        "untouched",
    )
    answer = service.caller("bob", Role.AGENT)
    await service.call(answer, "POST", f"/v1/tickets/{ticket}/messages", {"text": "On it."})
    await service.forward(timedelta(minutes=61))
    await service.fire()
    assert await service.one("SELECT assignee_id FROM ticket") == bob, "who touched it keeps it"
