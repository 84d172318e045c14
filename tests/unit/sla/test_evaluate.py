"""A clock is a function of policy, calendar, ledger and now (architecture rule 4)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.sla.domain import history
from services.sla.domain.evaluate import evaluate
from shared.contracts.pack import Calendars
from shared.contracts.sla import ClockName, ClockState
from tests.support.dose import examples
from tests.unit.calendar import oracle
from tests.unit.sla.cases import HOURS, OPENED, PACK, at, clock, ledger, policy, setting

RESOLUTION = ClockName.RESOLUTION
MINUTES = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("tier", "response", "resolution"),
    [("enterprise", 60, 720), ("premium", 120, 1440), ("standard", 240, 2880), ("essential", 480, 4320)],
)
def test_the_default_targets_are_those_of_the_seeds_table(tier: str, response: int, resolution: int) -> None:
    default = policy(sla=PACK["sla"], calendars=PACK["calendars"])
    first = default.terms(ClockName.FIRST_RESPONSE, tier, "P3")
    last = default.terms(RESOLUTION, tier, "P3")
    assert first is not None
    assert last is not None
    assert (first.target / MINUTES, last.target / MINUTES) == (response, resolution)
    assert default.terms(ClockName.FIRST_RESPONSE, None, "P3") is not None


def test_a_clock_starts_at_trusted_receipt_and_runs_in_business_time() -> None:
    one = clock(["16:30 opened", "16:31 status new", "16:31 priority P3"], "16:40")
    assert one.started_at == at("16:30")
    assert one.due_at == at("+1 10:30")
    assert (one.state, one.elapsed) == (ClockState.RUNNING, 10 * MINUTES)


def test_a_warning_is_due_when_a_fifth_of_the_target_is_left() -> None:
    assert clock(OPENED, "10:00").warn_at == at("11:36")
    assert clock(OPENED, "11:40").warn_at == at("11:36")


def test_an_answer_in_time_meets_the_first_response_and_not_the_resolution() -> None:
    lines = [*OPENED, "11:00 responded"]
    assert (clock(lines, "13:00").state, clock(lines, "13:00").finished_at) == (ClockState.MET, at("11:00"))
    assert clock(lines, "13:00", RESOLUTION).state is ClockState.RUNNING


def test_an_answer_at_the_due_instant_itself_is_in_time_and_a_moment_later_is_not() -> None:
    assert clock([*OPENED, "12:00 responded"], "13:00").state is ClockState.MET
    late = clock([*OPENED, "12:00:00.000001 responded"], "13:00")
    assert (late.state, late.breached_at, late.proven) == (ClockState.BREACHED, at("12:00"), True)


def test_a_clock_is_never_breached_before_its_due_instant_has_passed() -> None:
    assert clock(OPENED, "12:00").state is ClockState.RUNNING
    over = clock(OPENED, "12:00:00.000001")
    assert (over.state, over.breached_at, over.proven) == (ClockState.BREACHED, at("12:00"), False)


def test_waiting_for_the_requester_pauses_and_their_answer_resumes() -> None:
    lines = [*OPENED, "10:30 status open", "11:00 status pending"]
    paused = clock(lines, "16:00")
    assert (paused.state, paused.due_at, paused.elapsed) == (ClockState.PAUSED, None, 60 * MINUTES)
    resumed = clock([*lines, "14:00 replied", "14:00 status open"], "14:00")
    assert (resumed.state, resumed.due_at) == (ClockState.RUNNING, at("15:00"))


def test_a_state_may_pause_one_clock_and_let_the_other_run() -> None:
    """Seed 003: waiting for the customer pauses the resolution but not the first response."""
    states = [
        {**state, "first_response": "run"} if state["name"] == "pending" else state
        for state in PACK["workflow"]["states"]
    ]
    on = setting(workflow={**PACK["workflow"], "states": states})
    lines = [*OPENED, "11:00 status pending"]
    assert clock(lines, "11:30", on=on).state is ClockState.RUNNING
    assert clock(lines, "11:30", RESOLUTION, on=on).state is ClockState.PAUSED


def test_solving_meets_both_clocks_and_closing_without_a_solution_judges_neither() -> None:
    solved = [*OPENED, "10:30 status open", "11:00 status solved"]
    assert clock(solved, "16:00").state is ClockState.MET
    assert clock(solved, "16:00", RESOLUTION).state is ClockState.MET
    void = [*OPENED, "10:30 status open", "11:00 status closed"]
    assert clock(void, "+9 16:00").state is ClockState.ENDED
    assert clock(void, "+9 16:00", RESOLUTION).finished_at == at("11:00")


def test_closing_after_a_breach_leaves_the_breach() -> None:
    assert clock([*OPENED, "13:00 status closed"], "16:00").state is ClockState.BREACHED


def test_a_merged_ticket_has_no_verdict_until_that_is_undone() -> None:
    lines = [*OPENED, "11:00 merged 9f0e"]
    assert (clock(lines, "16:00").state, clock(lines, "16:00").reason) == (ClockState.ENDED, "merged")
    undone = clock([*lines, "15:00 merged"], "15:10")
    assert (undone.state, undone.due_at, undone.elapsed) == (ClockState.RUNNING, at("16:00"), 70 * MINUTES)


def test_merging_that_closes_the_ticket_and_undoing_that_opens_it_leave_the_clock_as_it_was() -> None:
    lines = [*OPENED, "11:00 merged 9f0e", "11:00 status closed"]
    assert clock(lines, "16:00").state is ClockState.ENDED
    assert clock([*lines, "15:00 merged", "15:00 status open"], "15:10").due_at == at("16:00")


def test_a_raised_priority_breaches_when_it_was_raised_and_not_before() -> None:
    raised = clock([*OPENED, "11:00 priority P1"], "11:30")
    assert (raised.state, raised.breached_at) == (ClockState.BREACHED, at("11:00"))
    in_time = clock([*OPENED, "10:05 priority P1"], "10:06")
    assert (in_time.due_at, in_time.calendar) == (at("10:15"), "always")


def test_a_breach_stays_one_when_the_priority_is_lowered_afterwards() -> None:
    lines = ["10:00 opened", "10:00 status new", "10:00 priority P1", "11:00 priority P3"]
    assert clock(lines, "11:30").breached_at == at("10:15")


def test_values_of_one_transaction_do_not_breach_in_between() -> None:
    """Triage sets priority and tier at once; the pair in between belongs to nobody."""
    lines = [*OPENED, "10:50 priority P1", "10:50 priority P3", "10:50 tier enterprise"]
    assert clock(lines, "10:55").due_at == at("11:00")


def test_only_machines_have_written_so_no_clock_runs() -> None:
    assert evaluate(setting(), ledger("10:00 status new", "10:00 priority P3"), 1, at("16:00")) == ()


def test_a_person_who_writes_after_the_machine_starts_the_clock_at_their_receipt() -> None:
    lines = ["10:00 status new", "10:00 priority P3", "11:02 status open", "11:01 opened", "11:03 replied"]
    one = clock(lines, "11:05")
    assert (one.started_at, one.due_at) == (at("11:01"), at("13:01"))


def test_an_answer_before_the_requester_wrote_is_none() -> None:
    lines = ["10:00 status new", "10:00 priority P3", "10:30 responded", "11:00 opened", "11:00 replied"]
    assert clock(lines, "11:05").state is ClockState.RUNNING


def test_a_new_cycle_is_a_new_clock() -> None:
    lines = ["+1 09:00 cycle 2", "+1 09:00 status reopened", "+1 09:00 priority P3"]
    one = clock(lines, "+1 09:30", cycle=2)
    assert (one.cycle, one.started_at, one.due_at) == (2, at("+1 09:00"), at("+1 11:00"))


def test_no_line_that_fits_is_no_clock() -> None:
    on = setting(sla={"calendar": "office", "targets": [{"tier": "enterprise", "first_response": 60}]})
    assert evaluate(on, ledger(*OPENED), 1, at("16:00")) == ()
    later = clock([*OPENED, "10:30 tier enterprise"], "10:45", on=on)
    assert (later.state, later.due_at) == (ClockState.RUNNING, at("11:00"))
    gone = clock([*OPENED, "10:30 tier enterprise", "10:40 tier"], "10:45", on=on)
    assert (gone.state, gone.reason) == (ClockState.ENDED, "no_target")


def test_what_commits_later_counts_no_earlier_than_what_committed_before() -> None:
    """Two transactions that waited for each other: numbers order them, whatever their clocks said."""
    lines = [*OPENED, "12:00:01 status open", "11:59:59 responded"]
    assert clock(lines, "12:30").breached_at == at("12:00")


def test_a_calendar_that_follows_the_requester_has_their_zone_and_else_the_tenants() -> None:
    calendars = {"calendars": [{**HOURS["calendars"][0], "zone": "requester"}, HOURS["calendars"][1]]}
    theirs = setting("Europe/Berlin", "America/New_York", calendars=calendars)
    assert clock(OPENED, "10:00", on=theirs).due_at == at("16:00")
    ours = setting("Europe/Berlin", None, calendars=calendars)
    assert clock(OPENED, "10:00", on=ours).due_at == at("12:00")


def test_a_night_shift_has_no_hour_that_the_clocks_skip() -> None:
    night = {"calendars": [{"name": "office", "zone": "Europe/Berlin", "week": [
        {"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "from": "22:00", "to": "06:00"}]},
        {"name": "always", "always": True}]}  # fmt: skip
    on = setting(calendars=night, sla={"calendar": "office", "targets": [{"first_response": 420}]})
    lines = ["2026-03-28T21:00 opened", "2026-03-28T21:00 status new"]
    assert clock(lines, "2026-03-28T21:00", on=on).due_at == at("2026-03-29T04:00")


def test_the_working_shows_every_instant_and_ends_where_the_clock_stands() -> None:
    one = clock([*OPENED, "11:00 status pending", "14:00 status open", "14:30 priority P4"], "15:30")
    assert [(s.at, s.what, s.state) for s in one.steps] == [
        (at("10:00"), "opened", ClockState.RUNNING),
        (at("11:00"), "status", ClockState.PAUSED),
        (at("14:00"), "status", ClockState.RUNNING),
        (at("15:00"), "breached", ClockState.BREACHED),
    ]
    assert [s.elapsed / MINUTES for s in one.steps] == [0, 60, 60, 120]


def test_a_remembered_ledger_fills_what_a_snapshot_leaves_out() -> None:
    whole = ledger(*OPENED, "11:00 status pending", "12:00 status open", "12:30 priority P4")
    window = [whole[0], *whole[-2:]]
    assert list(history.merged(whole[:5], window, most=100)) == whole
    assert [one.number for one in history.merged(whole, (), most=3)] == [1, 6, 7]


STATES = ("new", "open", "pending", "escalated")


@settings(max_examples=examples(30), deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 600), st.sampled_from(STATES)), max_size=6),
    st.integers(0, 3000),
    st.integers(0, 1440),
)
def test_elapsed_and_due_are_what_a_count_of_minutes_says(
    changes: list[tuple[int, str]], until: int, offset: int
) -> None:
    on = setting(sla={"calendar": "office", "targets": [{"resolution": 300}]})
    calendar = policy().calendar("office", on.zones)
    start = at("00:00") + timedelta(minutes=offset)
    now = start
    lines = ledger("10:00 opened", "10:00 status new")
    lines = [one.model_copy(update={"at": start}) for one in lines]
    segments = [(start, "new")]
    for gap, status in changes:
        now += timedelta(minutes=gap)
        lines.append(lines[1].model_copy(update={"number": len(lines) + 1, "at": now, "value": status}))
        segments.append((now, status))
    now += timedelta(minutes=until)
    (one,) = evaluate(on, lines, 1, now)
    office = Calendars.model_validate(HOURS).calendars[0]
    elapsed, due = timedelta(), None
    for (begins, status), (ends, _) in zip(segments, [*segments[1:], (now, "")], strict=True):
        if status == "pending":
            continue
        passed = oracle.between(office, "UTC", begins, ends)
        if due is None and elapsed + passed >= timedelta(minutes=300):
            found = oracle.add(office, "UTC", begins, timedelta(minutes=300) - elapsed)
            due = found if found < ends else None
        elapsed += passed
    assert one.elapsed == elapsed
    assert one.breached_at == due
    assert calendar.name == "office"
