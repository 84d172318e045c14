"""Escalations on a real database: started, walked, stopped; nobody asked twice."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from shared.contracts.ticket import TicketCreated
from tests.integration.escalation.conftest import Service, received
from tests.unit.escalation.desk import ADMIN, AGENT, LEAD, MANAGER, colleague, message, state, summary

pytestmark = pytest.mark.engines


async def created(service: Service, *, ago: float = 0, **given: Any) -> Any:
    """A `ticket.created` of that many minutes ago."""
    at = await service.now() - timedelta(minutes=ago)
    event = TicketCreated(
        tenant_id="acme",
        ticket_id=summary().ticket_id,
        ticket=summary(at=at, **given),
        actor=colleague(),
        message=message(at),
    )
    return received(event, at=at, identity=uuid4())


async def test_a_p1_pages_at_once_and_walks_agent_lead_manager_director(service: Service) -> None:
    await service.staffed()
    await service.handle(await created(service, label="P1"))
    await service.fire()
    assert await service.steps() == [("agent", 1, [str(AGENT)])]
    assert await service.paged() == [(str(AGENT), "high"), (str(MANAGER), "low")]
    for minutes in (16, 15, 30, 30, 40):
        await service.forward(minutes=minutes)
    assert [step[0] for step in await service.steps()] == ["agent", "team_lead", "manager", "director"]
    assert [step[2] for step in await service.steps()] == [[str(AGENT)], [str(LEAD)], [str(MANAGER)], [str(ADMIN)]]
    await service.forward(minutes=60)
    assert [one["reason"] for one in await service.published("escalation.ended")] == ["exhausted"]


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
