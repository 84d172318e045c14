"""What people do and what happens to the ticket stops an escalation or moves it on."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from shared.contracts.escalation import PageAnswer
from shared.contracts.notification import DeliveryChannel
from shared.contracts.sla import SlaBreached, SlaChanged
from shared.contracts.ticket import Actor, TicketAssigned, TicketStatusChanged
from shared.envelope import Tombstone
from tests.integration.escalation.conftest import Service
from tests.integration.escalation.facts import answer, clock, created, states, undelivered
from tests.unit.escalation.desk import (
    AGENT,
    LEAD,
    MANAGER,
    OTHER,
    colleague,
    person,
    state,
    summary,
    ticket_id,
)

pytestmark = pytest.mark.engines


async def test_an_agents_answer_stops_it_and_calls_the_pages_back(service: Service) -> None:
    await service.staffed()
    await service.handle(await created(service, label="P1"))
    now = await service.now()
    await service.handle(state(label="P1", version=2, at=now, answered=now))
    assert [one["via"] for one in await service.published("escalation.acknowledged")] == ["ticket"]
    cancelled = {one["page_id"] for one in await service.published("page.cancelled")}
    assert cancelled == {one["page_id"] for one in await service.published("page.requested")}
    await service.forward(minutes=200)
    assert len(await service.steps()) == 1


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"category": "solved"}, "solved"),
        ({"category": "closed"}, "closed"),
        ({"merged_into": UUID(int=7)}, "merged"),
        ({"label": "P3"}, "priority_lowered"),
    ],
)
async def test_what_happens_to_the_ticket_ends_it(service: Service, given: dict[str, Any], reason: str) -> None:
    await service.staffed()
    await service.handle(await created(service, label="P1"))
    now = await service.now()
    await service.handle(state(**{"label": "P1", "version": 2, "at": now, **given}))
    assert [one["reason"] for one in await service.published("escalation.ended")] == [reason]
    assert len(await service.published("page.cancelled")) == 2
    await service.forward(minutes=200)
    assert len(await service.steps()) == 1


async def test_a_deleted_ticket_needs_nobody(service: Service) -> None:
    await service.staffed()
    now = await service.now()
    await service.handle(state(label="P1", at=now), await created(service, label="P1"))
    gone = Tombstone(key=str(ticket_id()), topic="ticket.state", partition=0, offset=9)
    async with service.database.begin() as tx:
        await service.handlers.on_ticket_state(tx, [gone])
    assert await states(service) == [("critical", "ended", "deleted")]
    assert not await service.rows("SELECT * FROM ticket")
    assert not await service.rows("SELECT * FROM timer")


async def test_a_withdrawn_breach_ends_what_it_started_also_when_it_is_heard_first(service: Service) -> None:
    await service.staffed()
    await service.handle(await clock(service, SlaBreached, provisional=True))
    await service.handle(await clock(service, SlaChanged))
    assert await states(service) == [("medium", "ended", "withdrawn")]
    await service.handle(await clock(service, SlaChanged, clock="resolution"))
    await service.handle(await clock(service, SlaBreached, clock="resolution", provisional=True))
    assert len(await states(service)) == 1


async def test_a_withdrawn_breach_that_proves_true_after_all_starts_again_once(service: Service) -> None:
    await service.staffed()
    await service.handle(await clock(service, SlaChanged, change="confirmed"))
    assert await states(service) == []
    await service.handle(await clock(service, SlaBreached, provisional=True))
    await service.handle(await clock(service, SlaChanged))
    await service.handle(await clock(service, SlaChanged, change="confirmed"))
    await service.handle(await clock(service, SlaChanged, change="confirmed"))
    assert sorted(await states(service)) == [("medium", "ended", "withdrawn"), ("medium", "running", None)]


async def test_a_page_acknowledged_stops_it_and_one_declined_brings_the_next_step(service: Service) -> None:
    await service.staffed()
    await service.handle(await created(service, label="P1"))
    await service.handle(await answer(service, AGENT, PageAnswer.DECLINED))
    assert [step[0] for step in await service.steps()] == ["agent", "team_lead"]
    await service.handle(await answer(service, LEAD, PageAnswer.ACKNOWLEDGED))
    (one,) = await service.published("escalation.acknowledged")
    assert (one["person_id"], one["via"], one["step"]) == (str(LEAD), "page", 2)
    assert {one["person_id"] for one in await service.published("page.cancelled")} == {str(MANAGER)}
    await service.handle(await answer(service, MANAGER, PageAnswer.ACKNOWLEDGED))
    assert len(await service.published("escalation.acknowledged")) == 1


async def test_an_answer_of_another_tenant_or_a_later_release_is_none(service: Service) -> None:
    await service.staffed()
    await service.handle(await created(service, label="P1"))
    page = await answer(service, AGENT, "maybe")
    await service.handle(page, page.model_copy(update={"answer": "acknowledged", "tenant_id": "other"}))
    assert await states(service) == [("critical", "running", None)]


async def test_an_undeliverable_page_goes_to_others_at_once_and_the_app_is_no_way_to_wake_anybody(
    service: Service,
) -> None:
    await service.staffed()
    await service.handle(await created(service, label="P1"))
    await service.handle(await undelivered(service, AGENT, DeliveryChannel.APP))
    assert len(await service.steps()) == 1
    failed = await undelivered(service, AGENT)
    await service.handle(failed)
    await service.handle(failed)
    # The rest of the queue's team; the agent is not asked again.
    assert (await service.steps())[1:] == [("agent", 1, sorted([str(OTHER), str(LEAD)]))]


async def test_assigned_by_hand_is_taken_and_by_the_desk_it_is_not(service: Service) -> None:
    await service.staffed()
    await service.handle(await created(service, label="P1"))
    ticket = summary(label="P1", version=2)
    desk = Actor(kind="service", id="tickets")
    values: dict[str, Any] = {"tenant_id": "acme", "ticket_id": ticket.ticket_id, "ticket": ticket, "queue": "tier1"}
    await service.handle(TicketAssigned(**values, actor=desk, assignee_id=AGENT, reason="least_loaded"))
    assert await states(service) == [("critical", "running", None)]
    await service.handle(TicketAssigned(**values, actor=colleague(LEAD), assignee_id=AGENT, reason="manual"))
    (one,) = await service.published("escalation.acknowledged")
    assert (one["person_id"], one["via"]) == (str(LEAD), "ticket")


async def test_moved_by_its_owner_it_is_taken_and_by_the_customer_it_is_not(service: Service) -> None:
    await service.staffed()
    await service.handle(await created(service, label="P1"))
    ticket = summary(label="P1", version=2)
    values: dict[str, Any] = {
        "tenant_id": "acme",
        "ticket_id": ticket.ticket_id,
        "ticket": ticket,
        "previous": "new",
        "current": "open",
        "trigger": "manual",
    }
    customer = Actor(kind="person", id=str(person("customer")), role="customer")
    await service.handle(TicketStatusChanged(**values, actor=customer))
    await service.handle(TicketStatusChanged(**values, actor=colleague(UUID(int=3))))
    assert await states(service) == [("critical", "running", None)]
    await service.handle(TicketStatusChanged(**values, actor=colleague(AGENT)))
    assert await states(service) == [("critical", "acknowledged", None)]
