"""A breach is true, then told, once (architecture rule 5); nothing is published unless it changed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from typing_extensions import override

from services.sla.domain import telling
from shared.contracts import ids
from shared.contracts.sla import ClockState
from shared.contracts.ticket import SealedCycle
from tests.support.dose import examples
from tests.unit.sla.cases import TARGETS, TICKET, Told, at, setting, subject, word


def test_a_clock_starts_once_and_is_silent_while_nothing_changes() -> None:
    told = Told()
    assert told.look("10:00") == ["started"]
    assert told.look("10:30") == []
    assert told.look("10:31", None, "10:31 assignee 9f0e", "10:31 replied") == []


def test_a_warning_is_given_once_and_again_only_if_it_never_was() -> None:
    told = Told()
    told.look("10:00")
    assert told.look("11:37") == ["warning"]
    assert told.look("11:40") == []
    assert told.look("11:50", None, "11:45 status pending", "11:46 status open") == ["due_changed"]
    assert told.look("11:52") == []


def test_a_due_instant_that_moves_before_the_warning_moves_the_warning() -> None:
    told = Told()
    told.look("10:00")
    told.look("11:00", None, "11:00 status pending")
    told.look("12:00", None, "12:00 status open")
    assert told.look("12:01") == []
    assert told.look("12:37") == ["warning"]


def test_pausing_and_resuming_are_told_with_the_new_due_instant() -> None:
    told = Told()
    told.look("10:00")
    assert told.look("11:00", None, "11:00 status pending") == ["paused"]
    assert told.look("14:00", None, "14:00 status open") == ["resumed"]
    assert told.kept is not None
    assert told.kept.due_at == at("15:00")


def test_what_the_ticket_caused_bears_the_tickets_instant_however_late_it_is_found() -> None:
    """Readers order what is said of a clock by its time, and sla may be an hour behind."""
    told = Told()
    told.look("10:00")
    told.look("11:50", None, "11:00 status pending")
    told.look("11:51", None, "11:30 status open")
    told.look("11:52", None, "11:40 responded")
    assert [(word(one), one.time) for one in told.said] == [
        ("started", at("10:00")),
        ("paused", at("11:00")),
        ("resumed", at("11:30")),
        ("met", at("11:40")),
    ]


def test_a_breach_waits_until_everything_before_it_is_known() -> None:
    told = Told()
    told.look("10:00")
    assert told.look("12:00:01", "11:59:59") == []
    # What is committed at the due instant itself may be an answer.
    assert told.look("12:00:01", "12:00") == []
    assert told.kept is not None
    assert told.kept.state is ClockState.RUNNING
    assert told.look("12:00:01", "12:00:00.000001") == ["breached"]
    assert told.look("12:00:02") == []


def test_a_breach_has_the_same_id_and_time_however_often_it_is_found() -> None:
    found = []
    for now in ("12:00:01", "15:00"):
        told = Told()
        told.look(now)
        found.append([(one.id, one.time) for one in told.said])
    assert found[0] == found[1] == [(ids.breach_id(TICKET, "first_response", 1), at("12:00"))]


def test_a_late_answer_proves_the_breach_whatever_the_watermark_says() -> None:
    told = Told()
    told.look("10:00")
    assert told.look("12:10", "11:00", "12:05 responded") == ["breached"]


def test_after_the_grace_a_breach_is_provisional_and_confirmed_when_it_proves_true() -> None:
    told = Told()
    told.look("10:00")
    assert told.look("12:00:29", "11:59") == []
    assert told.look("12:00:30", "11:59") == ["provisional"]
    assert told.look("12:00:40", "11:59") == []
    assert told.look("12:01", "12:00:30") == ["confirmed"]
    assert told.look("12:02") == []


def test_a_provisional_breach_is_withdrawn_when_the_answer_arrives() -> None:
    told = Told()
    told.look("10:00")
    told.look("12:00:30", "11:59")
    assert told.look("12:10", "12:09", "11:58 responded") == ["withdrawn", "met"]
    assert told.look("12:11") == []


def test_a_provisional_breach_is_withdrawn_when_the_clock_was_paused_and_the_real_one_is_told_as_a_change() -> None:
    told = Told()
    told.look("10:00")
    told.look("12:00:30", "11:00")
    assert told.look("12:10", "12:09", "11:30 status pending", "12:00 status open") == ["withdrawn", "warning"]
    assert told.kept is not None
    assert told.kept.due_at == at("12:30")
    assert told.look("12:30:01") == ["confirmed"]


def test_an_answer_in_time_is_met_once() -> None:
    told = Told()
    told.look("10:00")
    assert told.look("11:00", None, "11:00 responded") == ["met"]
    assert told.look("16:00", None, "12:00 responded", "13:00 status solved") == []


def test_a_merge_and_a_closing_without_a_solution_end_clocks_without_a_verdict() -> None:
    for line in ("11:00 merged 9f0e", "11:00 status closed"):
        told = Told()
        told.look("10:00")
        assert told.look("11:00", None, line) == ["ended"]
        assert told.look("+3 16:00") == []


def test_an_undone_merge_resumes() -> None:
    told = Told()
    told.look("10:00")
    told.look("11:00", None, "11:00 merged 9f0e")
    assert told.look("12:00", None, "12:00 merged") == ["resumed"]


def test_another_priority_moves_the_due_instant() -> None:
    told = Told()
    told.look("10:00")
    assert told.look("10:05", None, "10:05 priority P1") == ["due_changed"]
    assert told.said[-1].event.due_at == at("10:15")


SHORT: dict[str, Any] = {**TARGETS, "targets": [{"first_response": 30}]}
LONG: dict[str, Any] = {**TARGETS, "targets": [{"first_response": 300}]}


def test_a_stricter_policy_changes_the_verdict_of_what_is_past_and_pages_nobody() -> None:
    told = Told()
    told.look("10:00")
    assert told.look("11:00", on=setting(sla=SHORT, version=2, in_force_at=at("11:00"))) == ["verdict_changed"]
    assert told.look("11:10") == []


def test_a_policys_due_instant_in_the_future_is_a_breach_like_any_other() -> None:
    told = Told()
    told.look("10:00")
    strict = setting(sla=SHORT, version=2, in_force_at=at("10:20"))
    assert told.look("10:20", on=strict) == ["due_changed"]
    assert told.look("10:31") == ["breached"]


def test_what_was_due_under_the_former_policy_too_is_told() -> None:
    """A policy that comes between the due instant and the watermark hides no breach."""
    told = Told()
    told.look("10:00")
    told.look("12:00:00.1", "11:59:59")
    strict = setting(sla=SHORT, version=2, in_force_at=at("12:00:00.15"))
    assert "breached" in told.look("12:00:00.2", "11:59:59", on=strict) + told.look("12:00:01")


def test_a_laxer_policy_takes_a_breach_back_by_a_changed_verdict_and_never_tells_it_twice() -> None:
    told = Told()
    told.look("10:00")
    assert told.look("12:01") == ["breached"]
    assert told.look("12:30", on=setting(sla=LONG, version=2, in_force_at=at("12:30"))) == ["verdict_changed"]
    assert told.look("15:00:01") == ["confirmed"]
    assert [word(one) for one in told.said].count("breached") == 1


def test_a_met_clock_is_judged_anew_by_a_stricter_policy() -> None:
    told = Told()
    told.look("10:00")
    told.look("11:00", None, "11:00 responded")
    assert told.look("11:30", on=setting(sla=SHORT, version=2, in_force_at=at("11:30"))) == ["verdict_changed"]
    assert told.look("11:40", on=setting(sla=LONG, version=3, in_force_at=at("11:40"))) == ["verdict_changed"]


def test_a_policy_without_such_a_target_ends_the_clock() -> None:
    told = Told()
    told.look("10:00")
    none = setting(sla={**TARGETS, "targets": [{"resolution": 60}]}, version=2, in_force_at=at("10:30"))
    assert told.look("10:30", on=none) == ["ended"]
    assert told.kept is None


def test_what_is_first_seen_as_past_is_told_with_the_ids_it_had() -> None:
    """A new empty database: readers' inboxes drop what they were told before."""
    live = Told()
    live.look("10:00")
    live.look("11:50")
    live.look("12:10", None, "11:55 status pending", "12:00 status open", "12:03 responded")
    fresh = Told()
    fresh.lines = live.lines
    fresh.look("12:10")
    told = {(one.id, one.time): word(one) for one in live.said}
    assert [word(one) for one in fresh.said] == ["met"]
    assert all(told[one.id, one.time] == word(one) for one in fresh.said)
    assert (live.kept and live.kept.state) == (fresh.kept and fresh.kept.state)


def test_a_cycle_known_by_its_summary_only_is_never_confirmed_as_breached() -> None:
    told = Told()
    told.look("10:00")
    assert told.kept is not None
    in_time = SealedCycle(cycle=1, opened_at=at("10:00"), responded_at=at("11:00"), solved_at=at("12:00"), entries=9)
    late = in_time.model_copy(update={"responded_at": at("13:00")})
    assert [word(one) for one in telling.seal(told.kept, in_time, subject())] == ["met"]
    assert [word(one) for one in telling.seal(told.kept, late, subject())] == ["ended"]
    told.look("12:00:30", "11:00")
    assert [word(one) for one in telling.seal(told.kept, in_time, subject())] == ["withdrawn"]


class AnyStory(RuleBasedStateMachine):
    """Whatever happens, in whatever order it becomes known: true, then told, once, never early."""

    @initialize()
    def begin(self) -> None:
        self.told = Told()
        self.minute = 0
        self.known = 0
        self.hidden: list[tuple[int, str]] = []

    def _at(self, minute: int) -> str:
        return (at("10:00") + timedelta(minutes=minute)).isoformat().removesuffix("+00:00")

    def _look(self, **more: Any) -> None:
        shown = [line for minute, line in self.hidden if minute < self.known]
        self.hidden = [(minute, line) for minute, line in self.hidden if minute >= self.known]
        before = len(self.told.said)
        self.told.look(self._at(self.minute), self._at(self.known), *shown, **more)
        for said in self.told.said[before:]:
            if word(said) in ("breached", "provisional", "confirmed"):
                due = said.event.due_at
                assert due is not None
                assert due < at(self._at(self.minute)), "told early"
                if word(said) != "provisional":
                    assert all(at(self._at(minute)) > due for minute, _ in self.hidden), "not everything was known"

    @rule(minutes=st.integers(1, 90))
    def time_passes(self, minutes: int) -> None:
        self.minute += minutes
        self._look()

    @rule()
    def everything_becomes_known(self) -> None:
        self.known = self.minute
        self._look()

    @rule(what=st.sampled_from(["responded", "status pending", "status open", "priority P1", "priority P3", "replied"]))
    def something_happens(self, what: str) -> None:
        self.minute += 1
        self.hidden.append((self.minute, f"{self._at(self.minute)} {what}"))

    @invariant()
    def told_once(self) -> None:
        words = [word(one) for one in getattr(self, "told", Told()).said]
        assert words.count("breached") + words.count("provisional") <= 1
        assert words.count("warning") <= 1
        assert words.count("met") <= 1
        assert words.count("started") <= 1

    @invariant()
    def confirmed_breaches_stand(self) -> None:
        """Without another policy a confirmed breach is never taken back, and what is told is what is kept."""
        if not hasattr(self, "told"):
            return
        words = [word(one) for one in self.told.said]
        assert "verdict_changed" not in words
        kept = self.told.kept
        if kept is not None and kept.state is ClockState.BREACHED and not kept.provisional:
            assert {"breached", "confirmed"} & set(words)

    @override
    def teardown(self) -> None:
        """In the end, when all is known, the story told late ends where one told at once does."""
        if not hasattr(self, "told"):
            return
        self.minute += 1000
        self.known = self.minute
        self._look()
        prompt = Told()
        prompt.lines = self.told.lines
        prompt.look(self._at(self.minute))
        assert self.told.kept is not None
        assert prompt.kept is not None
        assert (self.told.kept.state, self.told.kept.breached_at) == (prompt.kept.state, prompt.kept.breached_at)


TestAnyStory = AnyStory.TestCase
TestAnyStory.settings = settings(max_examples=examples(30), stateful_step_count=20, deadline=None)
