"""Away, late, twice, at once: one step, one page, nothing before its instant and nothing false."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from shared.contracts.sla import SlaBreached
from shared.envelope import NotYet
from tests.integration.escalation.conftest import Service
from tests.integration.escalation.facts import clock, created, states
from tests.unit.escalation.desk import (
    people,
    policy_event,
    state,
    ticket_id,
)

pytestmark = pytest.mark.engines


async def test_no_timer_fires_before_its_instant(service: Service) -> None:
    await service.staffed()
    await service.handle(await created(service, label="P1"))
    for minutes in (15, 15, 30, 60):
        await service.forward(minutes=minutes)
    early = await service.rows("SELECT * FROM timer_ledger WHERE fired_at < due_at")
    assert early == []
    assert len(await service.rows("SELECT * FROM timer_ledger")) >= 4


async def test_an_hour_away_is_one_step_and_no_burst(service: Service) -> None:
    await service.staffed()
    await service.handle(await created(service, label="P1"))
    before = len(await service.published("page.requested"))
    await service.forward(minutes=55)
    assert [step[0] for step in await service.steps()] == ["agent", "manager"]
    assert len(await service.published("page.requested")) == before + 1
    await service.forward(minutes=10)
    assert len(await service.steps()) == 2


async def test_facts_of_an_hour_away_begin_at_the_step_that_is_due_and_old_ones_page_nobody(service: Service) -> None:
    await service.staffed()
    await service.handle(await created(service, "late", ago=50, label="P1"))
    assert [step[0] for step in await service.steps()] == ["manager"]
    old = await created(service, "old", ago=300, label="P1")
    await service.handle(old)
    assert sorted(await states(service), key=str) == [
        ("critical", "expired", "expired"),
        ("critical", "running", None),
    ]
    assert len(await service.published("escalation.started")) == 1
    await service.handle(old)
    assert len(await states(service)) == 2


async def test_a_tenant_without_the_section_waits_for_it_but_not_for_tickets_that_are_over(service: Service) -> None:
    await service.learn(*people())
    cause = await created(service, label="P1")
    now = await service.now()
    over = state("over", category="closed", at=now)
    answers = await service.handle(cause, state(label="P1", at=now), over)
    missing = [(a.missing_kind, a.missing_id, a.received.key) for a in answers if isinstance(a, NotYet)]
    assert missing == [("policy", "acme/escalation", str(ticket_id()))] * 2
    assert await service.handle(over) == []
    await service.learn(policy_event())
    await service.handle(cause)
    assert await states(service) == [("critical", "running", None)]


async def test_a_later_policy_does_not_alter_what_runs(service: Service) -> None:
    await service.staffed()
    await service.handle(await created(service, label="P1"))
    other = {"name": "critical", "priorities": ["P1"], "steps": [{"name": "x", "until": 1, "targets": ["role:admin"]}]}
    await service.learn(policy_event(paths=[other], triggers=[]))
    await service.forward(minutes=16)
    assert [step[0] for step in await service.steps()] == ["agent", "team_lead"]


async def test_a_batch_of_many_tickets_needs_few_statements(service: Service) -> None:
    await service.staffed()
    now = await service.now()
    labels = ("P1", "P2", "P3", "P4")
    causes = [await created(service, f"t{n}", label=labels[n % 4]) for n in range(60)]
    batch: list[Any] = [state(f"t{n}", label=labels[n % 4], at=now) for n in range(60)]
    await service.handle(*batch, *causes)
    assert len(await states(service)) == 15
    assert len(await service.rows("SELECT * FROM timer WHERE kind = 'watch'")) == 45


async def test_two_instances_with_the_same_ticket_start_it_once(service: Service) -> None:
    await service.staffed()
    now = await service.now()
    one, other = await created(service, label="P1"), await clock(service, SlaBreached, label="P1")
    await asyncio.gather(
        *(service.handle(one) for _ in range(3)),
        *(service.handle(other) for _ in range(3)),
        service.handle(state(label="P1", at=now)),
    )
    assert await states(service) == [("critical", "running", None)]
    pages = [one["page_id"] for one in await service.published("page.requested")]
    assert len(pages) == len(set(pages))


async def test_a_step_and_an_answer_at_once_are_one_or_the_other(service: Service) -> None:
    await service.staffed()
    for number in range(5):
        name = f"race{number}"
        await service.handle(await created(service, name, label="P1"))
        await service.rows("UPDATE clock_offset SET shift = shift + interval '16 minutes'")
        now = await service.now()
        await asyncio.gather(
            service.handle(state(name, label="P1", version=2, at=now, answered=now)), service.timers._round()
        )
    assert {row[1] for row in await states(service)} == {"acknowledged"}
    requested = {one["page_id"] for one in await service.published("page.requested")}
    assert {one["page_id"] for one in await service.published("page.cancelled")} == requested


async def test_a_step_waits_for_what_tickets_committed_before_it_so_that_an_answer_in_time_counts(
    service: Service,
) -> None:
    await service.staffed()
    await service.handle(await created(service, label="P1"))
    start = await service.now()
    await service.knows(start)
    # This service was away; it finds its timers due before it has read what happened meanwhile.
    await service.forward(minutes=40)
    assert [step[0] for step in await service.steps()] == ["agent"]
    answered = start + timedelta(minutes=20)
    await service.knows(start + timedelta(minutes=16))
    await service.forward(minutes=0.02)
    assert [step[0] for step in await service.steps()] == ["agent"]
    await service.handle(state(label="P1", version=2, at=answered, answered=answered))
    await service.knows(await service.now())
    await service.forward(minutes=1)
    assert [step[0] for step in await service.steps()] == ["agent"]
    assert await states(service) == [("critical", "acknowledged", None)]


async def test_a_step_whose_instant_is_known_of_is_told(service: Service) -> None:
    await service.staffed()
    await service.handle(await created(service, label="P1"))
    await service.knows(await service.now())
    await service.forward(minutes=16)
    await service.knows(await service.now())
    await service.forward(minutes=0.05)
    assert [step[0] for step in await service.steps()] == ["agent", "team_lead"]


async def test_knowledge_that_stays_behind_is_waited_for_thirty_seconds_and_no_longer(service: Service) -> None:
    await service.staffed()
    now = await service.now()
    await service.handle(await created(service, label="P1"), state("two", at=now))
    await service.knows(now)
    await service.forward(minutes=241)
    assert [step[0] for step in await service.steps()] == ["agent"]
    await service.forward(minutes=0.4)
    assert [step[0] for step in await service.steps()] == ["agent"]
    await service.forward(minutes=0.2)
    assert sorted(step[0] for step in await service.steps()) == ["agent", "director", "team_lead"]


async def test_an_older_watermark_takes_nothing_back(service: Service) -> None:
    now = await service.now()
    await service.knows(now)
    await service.knows(now - timedelta(minutes=5))
    assert [row["until"] for row in await service.rows("SELECT until FROM knowledge")] == [now]
