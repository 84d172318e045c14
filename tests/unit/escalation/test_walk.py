"""One escalation: its steps, its pages, who stops it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid5

from services.escalation.domain import walk
from services.escalation.domain.escalation import Escalation, PageState, State, escalation_id
from shared.contracts.escalation import EscalationEnded, EscalationStepped, PageCancelled, PageRequested
from shared.contracts.pack import Cause, EscalationPath, EscalationTrigger
from tests.unit.escalation.desk import (
    ADMIN,
    AGENT,
    LEAD,
    MANAGER,
    OTHER,
    START,
    moment,
    policy,
    staff,
    summary,
    told,
)

CRITICAL = policy().section.paths[0]


def escalation(plan: EscalationPath = CRITICAL, **given: Any) -> Escalation:
    ticket = summary()
    values: dict[str, Any] = {
        "id": escalation_id(ticket.ticket_id, plan.name, "ticket_created", ""),
        "tenant_id": "acme",
        "ticket_id": ticket.ticket_id,
        "plan": plan,
        "rank": 1,
        "level": 1,
        "cause": "ticket.created",
        "cause_key": "",
        "cause_at": START,
        "started_at": START,
        "base_at": START,
        "page_minutes": 30,
    }
    return Escalation(**{**values, **given})


def path(*steps: dict[str, Any], repeat: int = 0) -> EscalationPath:
    return EscalationPath.model_validate({"name": "p", "steps": steps, "repeat": repeat})


def started(plan: EscalationPath = CRITICAL, minutes: float = 0, **given: Any) -> Escalation:
    one = escalation(plan, **given)
    walk.start(one, moment(minutes))
    return one


def pages(one: Escalation) -> list[tuple[int, Any, str]]:
    return [(page.step, page.person_id, page.state.value) for page in one.pages.values()]


def test_the_critical_path_walks_agent_lead_manager_director_at_0_15_30_and_60_minutes() -> None:
    one = started()
    assert told(one) == ["Started", "PageRequested", "PageRequested", "Stepped 1 agent"]
    reached = {1: 0.0}
    minutes = 0.0
    while one.running:
        assert one.next_at is not None
        minutes = (one.next_at - START).total_seconds() / 60
        walk.advance(one, moment(minutes))
        if one.running:
            reached.setdefault(one.step, minutes)
    assert reached == {1: 0, 2: 15, 3: 30, 4: 60}
    assert (minutes, one.ended_reason) == (120, "exhausted")


def test_the_people_of_the_first_step_are_paged_again_every_five_minutes_until_it_is_over() -> None:
    one = started()
    told(one)
    for minutes in (5, 10):
        assert one.next_at == START + timedelta(minutes=minutes)
        walk.advance(one, moment(minutes))
        assert told(one) == ["PageRequested"]
    assert one.next_at == START + timedelta(minutes=15)
    assert len({page.page_id for page in one.pages.values() if page.person_id == OTHER}) == 3


def test_nothing_is_done_before_its_time() -> None:
    one = started()
    told(one)
    assert not walk.advance(one, moment(4.999))
    assert not told(one)


def test_on_call_is_paged_loudly_and_the_manager_told_quietly() -> None:
    one = started()
    assert [(page.person_id, page.urgency, page.responsible) for page in one.pages.values()] == [
        (OTHER, "high", True),
        (MANAGER, "low", False),
    ]


def test_a_schedule_without_anybody_falls_through_to_the_next_target_of_the_step() -> None:
    one = escalation()
    walk.start(one, moment(those=staff()))
    assert [page.person_id for page in one.pages.values()] == [AGENT, MANAGER]


def test_a_step_that_reaches_nobody_is_told_and_the_next_follows_at_once() -> None:
    one = escalation()
    alone = staff("agent", "other", "lead")
    walk.start(one, moment(ticket=summary(label="P1", assignee=None), those=alone))
    steps = [fact for fact in one.facts if isinstance(fact, EscalationStepped)]
    assert [(fact.name, [t.person_id for t in fact.targets], fact.cause) for fact in steps] == [
        ("agent", [], "due"),
        ("team_lead", [], "unreachable"),
        ("manager", [MANAGER], "unreachable"),
    ]
    assert one.unreached == 2
    # The manager has the manager's own half hour.
    assert one.next_at == START + timedelta(minutes=30)


def test_with_nobody_at_all_it_is_never_silent() -> None:
    one = escalation()
    walk.start(one, moment(those=staff("agent", "other", "lead", "manager", "admin")))
    assert told(one) == [
        "Started",
        "Stepped 1 agent",
        "Stepped 2 team_lead",
        "Stepped 3 manager",
        "Stepped 4 director",
    ]
    assert one.unreached == 4
    assert one.running
    assert not one.pages


def test_steps_missed_while_away_are_one_step_with_its_whole_time() -> None:
    one = started()
    told(one)
    walk.advance(one, moment(59))
    assert told(one) == ["PageRequested", "Stepped 3 manager"]
    assert one.next_at == START + timedelta(minutes=59 + 30)


def test_after_a_very_long_absence_the_last_step_is_told_before_the_path_is_exhausted() -> None:
    one = started()
    told(one)
    walk.advance(one, moment(600))
    assert told(one) == ["PageRequested", "Stepped 4 director"]
    walk.advance(one, moment(660))
    assert one.ended_reason == "exhausted"


def test_a_cause_found_late_begins_at_the_step_that_is_due() -> None:
    one = started(minutes=40)
    assert told(one) == ["Started", "PageRequested", "Stepped 3 manager"]


def test_a_step_a_little_late_keeps_the_paths_time() -> None:
    one = started()
    walk.advance(one, moment(15.5))
    assert one.next_at == START + timedelta(minutes=30)


def test_a_breach_raises_level_and_step_and_pages_nobody_twice() -> None:
    one = started()
    told(one)
    trigger = EscalationTrigger(level=2, cause=Cause.SLA_BREACHED, step="team_lead")
    assert walk.raise_(one, trigger, "sla.breached", moment(3))
    assert (one.level, one.step, told(one)) == (2, 2, ["PageRequested", "Stepped 2 team_lead"])
    assert one.next_at == START + timedelta(minutes=3 + 15)
    assert not walk.raise_(one, trigger, "sla.breached", moment(4))
    assert not told(one)
    walk.advance(one, moment(18))
    assert one.step == 3
    assert not walk.raise_(one, trigger, "sla.breached", moment(19))


def test_a_breach_heard_after_an_absence_goes_to_whose_turn_it_is_by_then() -> None:
    one = started()
    told(one)
    trigger = EscalationTrigger(level=2, cause=Cause.SLA_BREACHED, step="team_lead")
    assert walk.raise_(one, trigger, "sla.breached", moment(70))
    assert (one.level, told(one)) == (2, ["PageRequested", "Stepped 4 director"])
    assert one.next_at == START + timedelta(minutes=70 + 60), "the director has the whole of that turn"


def test_a_higher_level_alone_tells_the_step_again_and_asks_nobody_again() -> None:
    one = started()
    told(one)
    trigger = EscalationTrigger(level=3, cause=Cause.SLA_WARNING, alert=("role:admin",))
    assert walk.raise_(one, trigger, "sla.warning", moment(3))
    assert told(one) == ["Stepped 1 agent", "PageRequested"]
    assert pages(one)[-1][1] == ADMIN
    walk.advance(one, moment(15))
    assert one.level == 3


def test_an_acknowledgement_stops_it_and_calls_every_other_page_back() -> None:
    one = started()
    page = next(iter(one.pages.values()))
    told(one)
    walk.answered(one, page.page_id, taken=True, channel="email", moment=moment(2))
    assert told(one) == ["Acknowledged", "PageCancelled"]
    assert (one.state, one.acknowledged_by, one.next_at) == (State.ACKNOWLEDGED, OTHER, None)
    assert pages(one) == [(1, OTHER, "acknowledged"), (1, MANAGER, "cancelled")]
    assert not walk.advance(one, moment(60))
    assert not walk.acknowledge(one, moment(3), AGENT, "api")


def test_a_no_brings_the_next_step_at_once_with_its_whole_time() -> None:
    one = started()
    told(one)
    walk.answered(one, next(iter(one.pages)), taken=False, channel="link", moment=moment(2))
    assert told(one) == ["PageRequested", "Stepped 2 team_lead"]
    assert one.next_at == START + timedelta(minutes=2 + 15)


def test_a_no_of_somebody_who_was_only_told_changes_nothing() -> None:
    one = started()
    told(one)
    told_only = next(page for page in one.pages.values() if not page.responsible)
    walk.answered(one, told_only.page_id, taken=False, channel="link", moment=moment(2))
    assert (one.step, told(one)) == (1, [])


def test_a_no_of_one_of_several_waits_for_the_others() -> None:
    one = started(path({"name": "all", "until": 10, "targets": ["queue_team"]}, {"name": "m", "until": 20, "targets": ["role:manager"]}))  # fmt: skip
    told(one)
    first, *others = list(one.pages)
    walk.answered(one, first, taken=False, channel="link", moment=moment(1))
    assert one.step == 1
    for page in others:
        walk.answered(one, page, taken=False, channel="link", moment=moment(2))
    assert one.step == 2


def test_a_no_at_the_last_step_leaves_it_open_until_its_end() -> None:
    one = started(path({"name": "only", "until": 10, "targets": ["role:manager"]}))
    walk.answered(one, next(iter(one.pages)), taken=False, channel="link", moment=moment(1))
    assert (one.running, one.next_at) == (True, START + timedelta(minutes=10))
    walk.advance(one, moment(10))
    assert one.ended_reason == "exhausted"


def test_a_page_that_cannot_be_delivered_goes_to_the_steps_next_target_then_to_the_next_step() -> None:
    one = started()
    told(one)
    walk.failed(one, next(iter(one.pages)), moment(1))
    assert told(one) == ["PageRequested", "Stepped 1 agent"]
    assert pages(one)[-1] == (1, AGENT, "open")
    walk.failed(one, list(one.pages)[-1], moment(2))
    # queue_team: whoever of it was not asked yet.
    assert [page[1] for page in pages(one) if page[2] == "open"] == [MANAGER, LEAD]
    walk.failed(one, list(one.pages)[-1], moment(3))
    assert (one.step, [page[1] for page in pages(one) if page[0] == 2]) == (2, [LEAD])


def test_the_path_is_walked_again_as_often_as_it_says_with_new_pages() -> None:
    one = started(path({"name": "only", "until": 10, "targets": ["role:manager"]}, repeat=2))
    for minutes in (10, 20, 30):
        walk.advance(one, moment(minutes))
    assert (one.lap, one.ended_reason) == (2, "exhausted")
    assert len(one.pages) == 3


def test_a_page_says_who_when_and_until_when_and_its_id_is_made_of_escalation_step_and_person() -> None:
    one = started()
    page = next(fact for fact in one.facts if isinstance(fact, PageRequested))
    assert page.page_id == uuid5(one.id, f"1:{OTHER}")
    assert (page.step, page.path, page.expires_at) == (1, "critical", START + timedelta(minutes=30))
    assert page.reason == "P1 ticket INC-2026-000123 is unacknowledged: step 1 of 4, agent"


def test_an_end_says_why_and_cancels_what_is_open() -> None:
    one = started()
    told(one)
    walk.end(one, moment(2), "solved")
    ended, *cancelled = one.facts
    assert isinstance(ended, EscalationEnded)
    assert ended.reason == "solved"
    assert all(isinstance(fact, PageCancelled) and fact.reason == "solved" for fact in cancelled)
    assert {page.state for page in one.pages.values()} == {PageState.CANCELLED}
    assert not walk.end(one, moment(3), "closed")


def test_who_was_only_told_is_asked_when_the_others_cannot_be_reached() -> None:
    steps = {"name": "a", "until": 10, "targets": ["assignee", "role:manager"], "also": ["role:manager", "assignee"]}
    one = started(path(steps))
    assert [(page.person_id, page.responsible) for page in one.pages.values()] == [(AGENT, True), (MANAGER, False)]
    walk.failed(one, next(iter(one.pages)), moment(1))
    last = list(one.pages.values())[-1]
    assert (last.person_id, last.responsible, last.urgency) == (MANAGER, True, "high")
