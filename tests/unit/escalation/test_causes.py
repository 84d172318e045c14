"""What starts an escalation, what moves it, what ends it; what is too old; what nobody has handled."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from services.escalation.domain import causes
from services.escalation.domain.causes import Act, Case, Circumstances
from services.escalation.domain.escalation import Escalation, State
from services.escalation.domain.policy import UNHANDLED, Occurrence, Policy
from services.escalation.domain.ticket import KnownTicket, of_state
from shared.contracts.escalation import EscalationAcknowledged, EscalationStarted
from shared.contracts.pack import Cause
from tests.unit.escalation.desk import AGENT, OTHER, START, known, policy, staff, state, told

POLICY = policy()


def circumstances(minutes: float = 0, given: Policy = POLICY) -> Circumstances:
    return Circumstances(policy=given, now=START + timedelta(minutes=minutes), staff=staff(primary="other"))


def created(case: Case, minutes: float = 0, **more: Any) -> list[Escalation]:
    what = Occurrence(cause=Cause.TICKET_CREATED, key="", at=START)
    return causes.happened(case, what, circumstances(minutes, **more))


def breached(
    case: Case,
    minutes: float,
    clock: str = "first_response",
    cause: Cause = Cause.SLA_BREACHED,
    found: float | None = None,
) -> list[Escalation]:
    at = START + timedelta(minutes=minutes)
    what = Occurrence(cause=cause, key=f"{clock}:1", at=at, clock=clock)
    return causes.happened(case, what, circumstances(minutes if found is None else found))


def become(case: Case, minutes: float, **given: Any) -> None:
    """A newer state arrives."""
    at = START + timedelta(minutes=minutes)
    before = case.ticket
    after = of_state(state(at=at, created=START, **{"version": before.state_version + 1, **given}), before, 0)
    assert after is not None
    case.know(after)
    causes.follow(case, before, POLICY, at, staff(primary="other"))


def running(case: Case) -> list[tuple[str, int, int]]:
    return [(one.plan.name, one.level, one.step) for one in case.running()]


def test_a_p1_starts_at_once_and_others_at_their_creation_do_not() -> None:
    for label, expected in (("P1", [("critical", 1, 1)]), ("P2", []), ("P3", []), ("P4", [])):
        case = Case(ticket=known(label=label))
        created(case)
        assert running(case) == expected, label


def test_the_same_cause_twice_is_one_escalation() -> None:
    case = Case(ticket=known(label="P1"))
    (one,) = created(case)
    again = Case(ticket=known(label="P1"), ids=frozenset({one.id}))
    assert created(again) == []
    assert created(case) == []


def test_a_ticket_that_triage_finds_to_be_a_p1_starts_when_its_state_says_so() -> None:
    case = Case(ticket=known(label="P3"))
    become(case, 1, label="P1")
    assert running(case) == [("critical", 1, 1)]
    assert case.escalations[0].cause == "priority_raised"


def test_a_p1_that_comes_back_calls_people_again_and_others_do_not() -> None:
    for label, expected in (("P1", [("critical", 1, 1)]), ("P3", [])):
        case = Case(ticket=known(label=label))
        created(case)
        become(case, 10, label=label, category="solved")
        assert running(case) == [], label
        become(case, 60, label=label, category="open", cycle=2)
        assert running(case) == expected, label
    # A ticket of which only a fact has told may be in any cycle.
    case = Case(ticket=replace(known(label="P1"), state_version=0))
    become(case, 1, label="P1", cycle=2, version=5)
    assert running(case) == []


def test_a_p1_first_seen_as_such_starts_once_whichever_comes_first() -> None:
    case = Case(ticket=known(label="P1", version=2))
    causes.follow(case, None, POLICY, START, staff())
    assert running(case) == []
    created(case)
    assert running(case) == [("critical", 1, 1)]


def test_nobody_is_called_for_a_ticket_that_is_over_or_that_somebody_works_on() -> None:
    for ticket in (
        known(label="P1", category="solved"),
        known(label="P1", category="closed"),
        replace(known(label="P1"), merged=True),
        known(label="P1", answered=START + timedelta(minutes=1)),
        known(label="P1").acted(START + timedelta(minutes=1)),
    ):
        case = Case(ticket=ticket)
        created(case, 2)
        assert not case.escalations


def test_a_cause_older_than_its_path_is_recorded_as_expired_and_tells_nobody() -> None:
    case = Case(ticket=known(label="P1"))
    (one,) = created(case, 121)
    assert (one.state, one.facts, one.pages) == (State.EXPIRED, [], {})
    young = Case(ticket=known(label="P1"))
    (one,) = created(young, 119)
    assert one.running


def test_a_breach_during_a_running_path_raises_it_instead_of_starting_a_second() -> None:
    case = Case(ticket=known(label="P1"))
    created(case)
    breached(case, 5)
    assert running(case) == [("critical", 2, 2)]
    breached(case, 40, "resolution", Cause.SLA_WARNING)
    assert running(case) == [("critical", 3, 2)]


def test_a_breach_of_a_quiet_ticket_begins_at_the_team_lead_with_level_2() -> None:
    case = Case(ticket=known(label="P3"))
    (one,) = breached(case, 60)
    assert running(case) == [("medium", 2, 2)]
    assert one.next_at == START + timedelta(minutes=60 + 240)
    started = next(fact for fact in one.facts if isinstance(fact, EscalationStarted))
    assert (started.cause, started.tag, started.steps) == ("sla.breached", "priority_queue", 2)


def test_a_breach_that_somebody_has_answered_since_calls_nobody() -> None:
    case = Case(ticket=known(label="P3", answered=START + timedelta(minutes=61)))
    assert breached(case, 60, found=62) == []


def test_a_withdrawn_breach_ends_what_it_started_and_not_what_it_only_raised() -> None:
    case = Case(ticket=known(label="P3"))
    breached(case, 60)
    causes.withdrawn(case, "first_response:1", START + timedelta(minutes=61), staff())
    assert [one.ended_reason for one in case.escalations] == ["withdrawn"]
    raised = Case(ticket=known(label="P1"))
    created(raised)
    breached(raised, 5)
    causes.withdrawn(raised, "first_response:1", START + timedelta(minutes=6), staff())
    assert running(raised) == [("critical", 2, 2)]


def test_what_happens_to_the_ticket_ends_its_escalation() -> None:
    for given, reason in (
        ({"category": "solved"}, "solved"),
        ({"category": "closed"}, "closed"),
        ({"merged_into": UUID(int=7)}, "merged"),
        ({"label": "P2"}, "priority_lowered"),
    ):
        case = Case(ticket=known(label="P1"))
        created(case)
        become(case, 3, **{"label": "P1", **given})
        assert [one.ended_reason for one in case.escalations] == [reason]


def test_a_public_answer_of_ours_is_an_acknowledgement_and_one_before_the_cause_is_none() -> None:
    case = Case(ticket=known(label="P1"))
    created(case)
    become(case, 3, label="P1", answered=START + timedelta(minutes=3))
    assert case.escalations[0].state is State.ACKNOWLEDGED
    later = Case(ticket=known(label="P3", answered=START + timedelta(minutes=1)))
    breached(later, 60)
    become(later, 70, answered=START + timedelta(minutes=1))
    assert running(later) == [("medium", 2, 2)]


def test_a_raised_priority_goes_on_on_the_other_path_with_the_level_reached() -> None:
    case = Case(ticket=known(label="P4"))
    breached(case, 60)
    become(case, 70, label="P3")
    assert [(one.plan.name, one.ended_reason) for one in case.escalations] == [
        ("low", "priority_raised"),
        ("medium", None),
    ]
    assert running(case) == [("medium", 2, 1)]


def test_a_complaint_and_three_duplicates_have_their_levels() -> None:
    case = Case(ticket=known(label="P3"))
    become(case, 5, tags=("complaint",))
    assert running(case) == [("medium", 4, 1)]
    become(case, 6, tags=("complaint",), duplicates=2)
    assert running(case) == [("medium", 4, 1)]
    become(case, 7, tags=("complaint",), duplicates=3)
    assert running(case) == [("medium", 5, 1)]


def test_a_state_seen_before_changes_nothing() -> None:
    case = Case(ticket=known(label="P3"))
    become(case, 5, tags=("complaint",), version=5)
    told(case.escalations[0])
    for version in (4, 5):
        assert of_state(state(version=version), case.ticket, 0) is None


def test_assigning_by_hand_acknowledges_and_the_owner_or_a_paged_person_moving_the_ticket_does() -> None:
    for person, assigned, taken in ((OTHER, False, True), (AGENT, False, True), (UUID(int=1), True, True), (UUID(int=1), False, False)):  # fmt: skip
        case = Case(ticket=known(label="P1"))
        created(case)
        act = Act(ticket_id=case.ticket.ticket_id, person_id=person, at=START + timedelta(minutes=1), assigned=assigned)
        causes.acted(case, [act], START + timedelta(minutes=1), staff())
        assert (running(case) == []) is taken, (person, assigned)
        if taken:
            fact = next(fact for fact in case.escalations[0].facts if isinstance(fact, EscalationAcknowledged))
            assert (fact.person_id, fact.via) == (person, "ticket")


def test_an_act_before_the_cause_acknowledges_nothing() -> None:
    case = Case(ticket=known(label="P3"))
    breached(case, 60)
    act = Act(ticket_id=case.ticket.ticket_id, person_id=AGENT, at=START + timedelta(minutes=59), assigned=True)
    causes.acted(case, [act], START + timedelta(minutes=61), staff())
    assert running(case)


# -- watches ----------------------------------------------------------------------------------------------------------


def watched(ticket: KnownTicket, minutes: float = 0) -> float | None:
    watch = POLICY.watch(ticket, START + timedelta(minutes=minutes))
    return None if watch is None else (watch[0] - START).total_seconds() / 60


def test_a_ticket_is_looked_at_when_its_agents_time_is_over() -> None:
    assert [watched(known(label=label)) for label in ("P1", "P2", "P3", "P4")] == [None, 60, 240, 480]


def test_a_handled_a_closed_and_a_very_old_ticket_is_not_looked_at() -> None:
    assert watched(known(answered=START + timedelta(minutes=1))) is None
    assert watched(known(category="solved")) is None
    assert watched(known(), minutes=481) is None


def test_nobody_handled_it_so_its_path_begins_at_the_team_lead_once() -> None:
    case = Case(ticket=known(label="P3"))
    assert causes.unhandled(case, circumstances(239)) == []
    (one,) = causes.unhandled(case, circumstances(240))
    assert running(case) == [("medium", 2, 2)]
    assert (one.cause, one.cause_key, one.next_at) == ("ticket.created", UNHANDLED, START + timedelta(minutes=480))
    assert watched(case.ticket, 241) is None
    assert causes.unhandled(case, circumstances(241)) == []


# -- by hand ----------------------------------------------------------------------------------------------------------


def test_a_person_needs_no_trigger_and_chooses_level_path_and_step() -> None:
    case = Case(ticket=known(label="P3", answered=START))
    what = Occurrence(cause=Cause.MANUAL, key="k", at=START, level=4, path="critical", step="manager", reason="VIP")
    (one,) = causes.happened(case, what, circumstances())
    assert (one.plan.name, one.level, one.step, one.cause) == ("critical", 4, 3, "manual")


def test_a_path_that_was_chosen_is_not_ended_by_a_change_of_priority() -> None:
    case = Case(ticket=known(label="P3"))
    what = Occurrence(cause=Cause.MANUAL, key="k", at=START, level=4, path="critical", reason="VIP")
    causes.happened(case, what, circumstances())
    become(case, 1, label="P3")
    become(case, 2, label="P4")
    assert running(case) == [("critical", 4, 1)]


def test_two_triggers_of_one_cause_are_one_escalation_also_when_it_is_too_old() -> None:
    both = [{"level": level, "cause": "ticket_created", "priorities": ["P1"]} for level in (1, 3)]
    doubled = policy(triggers=both)
    case = Case(ticket=known(label="P1"))
    created(case, given=doubled)
    assert running(case) == [("critical", 3, 1)]
    old = Case(ticket=known(label="P1"))
    created(old, 500, given=doubled)
    assert [one.state for one in old.escalations] == [State.EXPIRED]


def test_a_cause_that_is_too_old_raises_nothing_either() -> None:
    case = Case(ticket=known(label="P1"))
    created(case)
    told(case.escalations[0])
    breached(case, -200, found=1)
    assert running(case) == [("critical", 1, 1)]
    assert told(case.escalations[0]) == []
