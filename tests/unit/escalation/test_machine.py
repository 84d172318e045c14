"""Any order of causes, states, answers, failures and instants keeps an escalation's promises."""

from __future__ import annotations

from copy import deepcopy
from datetime import timedelta
from typing import Any
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from typing_extensions import override

from services.escalation.domain import causes, walk
from services.escalation.domain.causes import Act, Case, Circumstances
from services.escalation.domain.escalation import Escalation, PageState
from services.escalation.domain.policy import Occurrence
from services.escalation.domain.targets import Staff
from services.escalation.domain.ticket import of_state
from shared.contracts.escalation import (
    EscalationAcknowledged,
    EscalationEnded,
    EscalationStarted,
    EscalationStepped,
    PageCancelled,
    PageRequested,
)
from shared.contracts.pack import Cause
from tests.support.dose import examples
from tests.unit.escalation.desk import ADMIN, AGENT, DEFAULT, LEAD, START, known, policy, staff, state

# The default paths, the critical one walked twice.
POLICY = policy(paths=[{**path, "repeat": 1 if path["name"] == "critical" else 0} for path in DEFAULT["paths"]])
PEOPLE = ("agent", "other", "lead", "manager", "admin")


class Escalations(RuleBasedStateMachine):
    """One ticket, its escalations, and everything they have told."""

    def __init__(self) -> None:
        super().__init__()
        self.minutes = 0.0
        self.case = Case(ticket=known(label="P3"))
        self.away: set[str] = set()
        self.requested: dict[UUID, PageRequested] = {}
        self.cancelled: set[UUID] = set()
        self.over: set[UUID] = set()
        self.started: set[UUID] = set()
        self.at: dict[UUID, tuple[int, int, int]] = {}

    @property
    def people(self) -> Staff:
        return staff(*self.away, primary="other")

    @property
    def given(self) -> Circumstances:
        return Circumstances(policy=POLICY, now=START + timedelta(minutes=self.minutes), staff=self.people)

    def do(self, work: Any) -> None:
        """One transaction: run twice from the same beginning, as after a crash, it tells the same."""
        rehearsal = deepcopy(self.case)
        work(rehearsal)
        work(self.case)
        assert [one.facts for one in rehearsal.escalations] == [one.facts for one in self.case.escalations]
        for one in self.case.escalations:
            for fact in one.facts:
                self.told(one, fact)
            one.facts.clear()
            assert one.running or all(page.state is not PageState.OPEN for page in one.pages.values())
        self.case.ids |= {one.id for one in self.case.escalations}
        self.case.escalations = [one for one in self.case.escalations if one.running]

    def told(self, one: Escalation, fact: object) -> None:
        assert one.id not in self.over or isinstance(fact, PageCancelled), "told after its end"
        match fact:
            case EscalationStarted():
                assert one.id not in self.started, "started twice"
                self.started.add(one.id)
            case EscalationStepped():
                before = self.at.get(one.id, (-1, 0, 0))
                now = (one.lap, fact.step, fact.level)
                assert now[0] >= before[0]
                assert now[:2] > before[:2] or (now[:2] == before[:2] and (now[2] > before[2] or fact.cause == "unreachable"))  # fmt: skip
                assert fact.level >= before[2], "a level fell"
                self.at[one.id] = (now[0], fact.step, max(fact.level, before[2]))
            case PageRequested():
                assert fact.page_id not in self.requested, "asked twice"
                assert fact.expires_at > self.given.now
                self.requested[fact.page_id] = fact
            case PageCancelled():
                assert fact.page_id in self.requested
                assert fact.page_id not in self.cancelled
                self.cancelled.add(fact.page_id)
            case EscalationAcknowledged() | EscalationEnded():
                self.over.add(one.id)
            case _:
                raise AssertionError(fact)

    # -- what happens -----------------------------------------------------------------------------------------------

    @rule(key=st.sampled_from(["", "a"]), late=st.sampled_from([0.0, 1.0, 200.0]))
    def created(self, key: str, late: float) -> None:
        what = Occurrence(cause=Cause.TICKET_CREATED, key=key, at=self.given.now - timedelta(minutes=late))
        self.do(lambda case: causes.happened(case, what, self.given))

    @rule(
        cause=st.sampled_from([Cause.SLA_WARNING, Cause.SLA_BREACHED]),
        clock=st.sampled_from(["first_response", "resolution"]),
        cycle=st.integers(1, 2),
    )
    def clock(self, cause: Cause, clock: str, cycle: int) -> None:
        what = Occurrence(cause=cause, key=f"{clock}:{cycle}", at=self.given.now, clock=clock)
        self.do(lambda case: causes.happened(case, what, self.given))

    @rule(
        label=st.sampled_from(["P1", "P2", "P3", "P4"]),
        category=st.sampled_from(["open", "open", "open", "pending", "solved"]),
        tags=st.sampled_from([(), ("complaint",)]),
        answered=st.booleans(),
        ahead=st.integers(-1, 2),
    )
    def becomes(self, label: str, category: str, tags: tuple[str, ...], answered: bool, ahead: int) -> None:
        version = self.case.ticket.state_version + ahead
        newer = state(
            label=label,
            version=max(1, version),
            category=category,
            tags=tags,
            at=self.given.now,
            created=START,
            answered=self.given.now if answered else None,
        )

        def work(case: Case) -> None:
            before = case.ticket
            after = of_state(newer, before, 0)
            if after is not None:
                case.know(after)
                causes.follow(case, before, POLICY, self.given.now, self.people)

        self.do(work)

    @rule(person=st.sampled_from([AGENT, LEAD, ADMIN]), assigned=st.booleans())
    def acts(self, person: UUID, assigned: bool) -> None:
        act = Act(ticket_id=self.case.ticket.ticket_id, person_id=person, at=self.given.now, assigned=assigned)
        self.do(lambda case: causes.acted(case, [act], self.given.now, self.people))

    @precondition(lambda self: self.requested)
    @rule(data=st.data(), what=st.sampled_from(["yes", "no", "no", "failed", "failed"]))
    def page_answered(self, data: st.DataObject, what: str) -> None:
        page = data.draw(st.sampled_from(sorted(self.requested)))

        def work(case: Case) -> None:
            for one in case.running():
                moment = case.moment(self.given.now, self.people)
                if what == "failed":
                    walk.failed(one, page, moment)
                else:
                    walk.answered(one, page, taken=what == "yes", channel="link", moment=moment)

        self.do(work)

    @rule(minutes=st.sampled_from([0.0, 0.5, 4.0, 5.0, 15.0, 61.0, 300.0]))
    def time_passes(self, minutes: float) -> None:
        """Timers fire when they are due and some time after, never before."""
        self.minutes += minutes

        def work(case: Case) -> None:
            moment = case.moment(self.given.now, self.people)
            for one in case.running():
                due = one.next_at is not None and one.next_at <= moment.now
                assert walk.advance(one, moment) is due
            causes.unhandled(case, self.given)

        self.do(work)

    @rule(who=st.sampled_from(PEOPLE))
    def comes_or_goes(self, who: str) -> None:
        self.away ^= {who}

    @rule(clock=st.sampled_from(["first_response:1", "resolution:1"]))
    def withdrawn(self, clock: str) -> None:
        self.do(lambda case: causes.withdrawn(case, clock, self.given.now, self.people))

    # -- what holds -------------------------------------------------------------------------------------------------

    @invariant()
    def one_runs_at_a_time_on_a_path(self) -> None:
        paths = [one.plan.name for one in self.case.running()]
        assert len(paths) == len(set(paths))

    @invariant()
    def what_runs_has_something_to_come(self) -> None:
        for one in self.case.running():
            assert one.next_at is not None
            assert one.next_at > self.given.now - timedelta(minutes=301)

    @invariant()
    def nothing_runs_for_a_ticket_that_is_over(self) -> None:
        assert self.case.ticket.active or not self.case.running()

    @invariant()
    def open_pages_belong_to_what_runs(self) -> None:
        mine = {page for one in self.case.running() for page in one.pages}
        settled = {page.page_id for one in self.case.running() for page in one.pages.values() if page.state is not PageState.OPEN}  # fmt: skip
        assert not self.cancelled & mine
        assert settled <= mine

    @override
    def teardown(self) -> None:
        """Whatever was open is called back or answered when everything is over."""
        self.do(lambda case: [walk.end(one, case.moment(self.given.now, self.people), "cancelled") for one in case.running()])  # fmt: skip


TestEscalations = Escalations.TestCase
TestEscalations.settings = settings(max_examples=examples(60), stateful_step_count=25, deadline=None)
