"""Escalations on a real database: started, walked, stopped; nobody asked twice."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import NAMESPACE_DNS, UUID, uuid4, uuid5

import pytest

from shared.contracts.escalation import PageAnswer, PageResponse
from shared.contracts.event import Event
from shared.contracts.notification import DeliveryChannel, NotificationFailed
from shared.contracts.sla import SlaBreached, SlaChanged, SlaChangeKind, SlaWarning
from shared.contracts.ticket import Actor, TicketAssigned, TicketCreated, TicketStatusChanged
from shared.envelope import NotYet, Received, Tombstone
from tests.integration.escalation.conftest import Service, received
from tests.unit.escalation.desk import (
    ADMIN,
    AGENT,
    LEAD,
    MANAGER,
    OTHER,
    colleague,
    message,
    people,
    person,
    policy_event,
    state,
    summary,
    ticket_id,
)

pytestmark = pytest.mark.engines


async def created(service: Service, name: str = "one", *, ago: float = 0, **given: Any) -> Received[Any]:
    """A `ticket.created` of that many minutes ago."""
    at = await service.now() - timedelta(minutes=ago)
    event = TicketCreated(
        tenant_id="acme",
        ticket_id=ticket_id(name),
        ticket=summary(name, at=at, **given),
        actor=colleague(),
        message=message(at),
    )
    return received(event, at=at, identity=uuid5(NAMESPACE_DNS, f"{name}{at}"))


async def clock(service: Service, kind: type[Event], *, clock: str = "first_response", **given: Any) -> Received[Any]:
    """An event of a clock, of now."""
    now = await service.now()
    label = given.pop("label", "P3")
    values: dict[str, Any] = {
        "tenant_id": "acme",
        "ticket_id": ticket_id(),
        "ticket": summary(label=label, at=now),
        "clock": clock,
        "cycle": 1,
        "target_minutes": 60,
        "calendar": "always",
        "policy_version": 1,
        "based_on_version": 1,
        **given,
    }
    if kind is SlaBreached:
        values.setdefault("breached_at", now)
    elif kind is SlaWarning:
        values |= {"share_left": 0.2, "remaining_minutes": 12}
    else:
        values |= {"change": SlaChangeKind.WITHDRAWN, "state": "running", "reason": "late ledger"}
    return received(kind.model_validate(values), at=now)


async def a_page(service: Service, person_id: UUID) -> dict[str, Any]:
    return next(one for one in await service.published("page.requested") if one["person_id"] == str(person_id))


async def answer(service: Service, person_id: UUID, said: str) -> PageResponse:
    page = await a_page(service, person_id)
    return PageResponse(
        tenant_id="acme",
        ticket_id=UUID(page["ticket_id"]),
        page_id=UUID(page["page_id"]),
        escalation_id=UUID(page["escalation_id"]),
        person_id=person_id,
        answer=said,
        channel="link",
        answered_at=await service.now(),
    )


async def undelivered(service: Service, person_id: UUID, channel: str = DeliveryChannel.EMAIL) -> NotificationFailed:
    page = await a_page(service, person_id)
    return NotificationFailed(
        tenant_id="acme",
        ticket_id=UUID(page["ticket_id"]),
        delivery_id=uuid4(),
        channel=channel,
        template="page",
        recipient_id=person_id,
        page_id=UUID(page["page_id"]),
        attempts=3,
        reason="refused",
        failed_at=await service.now(),
    )


async def states(service: Service) -> list[tuple[str, str, str | None]]:
    rows = await service.rows("SELECT path, state, ended_reason FROM escalation ORDER BY started_at, path")
    return [(row["path"], row["state"], row["ended_reason"]) for row in rows]


async def test_a_p1_pages_at_once_and_walks_agent_lead_manager_director(service: Service) -> None:
    await service.staffed()
    await service.handle(await created(service, label="P1"))
    await service.fire()
    assert await service.steps() == [("agent", 1, [str(AGENT)])]
    assert await service.paged() == [(str(AGENT), "high"), (str(MANAGER), "low")]
    for minutes in (16, 15, 30, 30, 40):
        await service.forward(minutes=minutes)
    steps = await service.steps()
    assert [step[0] for step in steps] == ["agent", "team_lead", "manager", "director"]
    assert [step[2] for step in steps] == [[str(AGENT)], [str(LEAD)], [str(MANAGER)], [str(ADMIN)]]
    await service.forward(minutes=60)
    assert [one["reason"] for one in await service.published("escalation.ended")] == ["exhausted"]
    assert not await service.rows("SELECT * FROM timer")


async def test_no_timer_fires_before_its_instant(service: Service) -> None:
    await service.staffed()
    await service.handle(await created(service, label="P1"))
    for minutes in (15, 15, 30, 60):
        await service.forward(minutes=minutes)
    early = await service.rows("SELECT * FROM timer_ledger WHERE fired_at < due_at")
    assert early == []
    assert len(await service.rows("SELECT * FROM timer_ledger")) >= 4


async def test_who_is_on_call_is_paged_before_the_owner(service: Service) -> None:
    await service.staffed()
    lead = service.caller_of_lead()
    wanted = {
        "starts_on": "2026-01-05",
        "handover": {"weekday": "monday", "time": "09:00"},
        "members": [str(OTHER)],
        "timezone": "Europe/Berlin",
    }
    assert (await service.call(lead, "PUT", "/v1/schedules/primary", wanted)).status_code == 201
    await service.handle(await created(service, label="P1"))
    (step,) = await service.published("escalation.stepped")
    assert step["targets"] == [{"person_id": str(OTHER), "via": "on_call:primary"}]


async def test_a_repeated_and_a_replayed_cause_starts_nothing_a_second_time(service: Service) -> None:
    await service.staffed()
    cause = await created(service, label="P1")
    for _ in range(3):
        await service.handle(cause)
    assert len(await service.published("escalation.started")) == 1
    now = await service.now()
    await service.handle(state(label="P1", version=2, at=now, answered=now))
    await service.handle(cause)
    assert await states(service) == [("critical", "acknowledged", None)]
    assert len(await service.published("page.requested")) == 2


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


async def test_triage_makes_it_a_p1_and_back_again(service: Service) -> None:
    await service.staffed()
    now = await service.now()
    await service.handle(await created(service), state(at=now))
    assert await service.steps() == []
    await service.handle(state(version=2, label="P1", at=now + timedelta(milliseconds=100), created=now))
    assert [one["cause"] for one in await service.published("escalation.started")] == ["priority_raised"]
    await service.handle(state(version=3, label="P2", at=now + timedelta(seconds=1), created=now))
    assert await states(service) == [("critical", "ended", "priority_lowered")]
    await service.forward(minutes=60.1)
    # Nobody has handled it: the other path takes over when its agent's hour is over.
    assert await states(service) == [("critical", "ended", "priority_lowered"), ("high", "running", None)]


async def test_an_older_state_is_ignored(service: Service) -> None:
    await service.staffed()
    now = await service.now()
    await service.handle(state(version=5, label="P1", at=now))
    await service.handle(await created(service, label="P1"))
    await service.handle(state(version=4, label="P1", category="solved", at=now))
    assert await states(service) == [("critical", "running", None)]


async def test_what_nobody_has_handled_goes_to_the_team_lead_and_is_silent_before(service: Service) -> None:
    await service.staffed()
    now = await service.now()
    await service.handle(state("one", at=now), state("two", at=now), await created(service))
    await service.forward(minutes=239)
    assert await service.published("escalation.started") == []
    later = await service.now()
    await service.handle(state("two", version=2, at=later, created=now, answered=later))
    await service.forward(minutes=1.1)
    assert [(one["ticket_id"], one["level"]) for one in await service.published("escalation.started")] == [
        (str(ticket_id("one")), 2)
    ]
    assert await service.steps() == [("team_lead", 2, [str(LEAD)])]
    await service.handle(state("one", version=2, at=later, created=now))
    await service.forward(minutes=1)
    assert len(await service.published("escalation.started")) == 1


async def test_a_breach_while_a_path_runs_raises_it(service: Service) -> None:
    await service.staffed()
    await service.handle(await created(service, label="P1"))
    await service.handle(await clock(service, SlaBreached, label="P1"))
    assert len(await service.published("escalation.started")) == 1
    assert await service.steps() == [("agent", 1, [str(AGENT)]), ("team_lead", 2, [str(LEAD)])]
    asked = [(one["person_id"], one["step"]) for one in await service.published("page.requested")]
    assert len(asked) == len(set(asked)) == 3


async def test_a_withdrawn_breach_ends_what_it_started_also_when_it_is_heard_first(service: Service) -> None:
    await service.staffed()
    await service.handle(await clock(service, SlaBreached, provisional=True))
    await service.handle(await clock(service, SlaChanged))
    assert await states(service) == [("medium", "ended", "withdrawn")]
    await service.handle(await clock(service, SlaChanged, clock="resolution"))
    await service.handle(await clock(service, SlaBreached, clock="resolution", provisional=True))
    assert len(await states(service)) == 1


async def test_a_warning_alerts_executives_or_else_the_manager(service: Service) -> None:
    await service.staffed()
    await service.handle(await clock(service, SlaWarning, clock="resolution"))
    assert await service.paged() == [(str(AGENT), "low"), (str(MANAGER), "low")]
    assert [one["level"] for one in await service.published("escalation.started")] == [3]


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


async def test_with_nobody_at_all_every_step_is_told_with_no_targets(service: Service) -> None:
    await service.learn(policy_event())
    await service.handle(await created(service, label="P1"))
    assert [step[2] for step in await service.steps()] == [[], [], [], []]
    assert await service.paged() == []


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
