"""Every problem of a pack, with its line; the default pack says what seed 000 says."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.directory.domain.pack_check import Pack, PackRefusedError, check
from services.directory.domain.pack_rules import MOST_ITEMS
from shared.contracts.pack import Assignment, ClockEffect, Numbering, Priorities, StateCategory, Trigger, Workflow

DEFAULT = (Path(__file__).parents[3] / "deploy" / "policies" / "default.yaml").read_text()


def problems(text: str) -> dict[str, tuple[int, str]]:
    """Line and message by pointer."""
    with pytest.raises(PackRefusedError) as refused:
        check(text)
    return {problem.pointer: (problem.mark.line, problem.message) for problem in refused.value.problems}


def edited(old: str, new: str) -> str:
    """The default pack with one thing changed."""
    assert DEFAULT.count(old) == 1, old
    return DEFAULT.replace(old, new)


def line_of(text: str, part: str) -> int:
    assert text.count(part) == 1, part
    return text[: text.index(part)].count("\n") + 1


@pytest.fixture(scope="module")
def default() -> Pack:
    return check(DEFAULT)


def test_the_default_pack_is_fine_without_a_warning(default: Pack) -> None:
    assert (default.name, default.warnings) == ("default", ())


def test_the_default_workflow_has_every_arrow_of_the_diagram_and_no_other(default: Pack) -> None:
    """Seed 000 §2.1; Deleted is erasure, said in a comment."""
    workflow = Workflow.model_validate(default.sections["workflow"])
    drawn = [arrow for arrow in workflow.transitions if arrow.trigger is not Trigger.RECOVERED]
    assert {(arrow.source, arrow.target) for arrow in drawn} == {
        ("new", "open"),
        ("open", "pending"),
        ("pending", "open"),
        ("open", "escalated"),
        ("escalated", "open"),
        ("open", "solved"),
        ("solved", "closed"),
        ("solved", "reopened"),
        ("reopened", "open"),
        ("open", "closed"),
        ("closed", "archived"),
    }


def test_a_recovered_alert_solves_its_ticket_from_every_state_that_is_not_over(default: Pack) -> None:
    workflow = Workflow.model_validate(default.sections["workflow"])
    over = (StateCategory.SOLVED, StateCategory.CLOSED)
    recovered = {(a.source, a.target) for a in workflow.transitions if a.trigger is Trigger.RECOVERED}
    assert recovered == {(state.name, "solved") for state in workflow.states if state.category not in over}


def test_the_default_clocks_follow_the_sla_impact_of_each_state(default: Pack) -> None:
    """Seed 000 §2.3."""
    workflow = Workflow.model_validate(default.sections["workflow"])
    effects = {state.name: state.resolution for state in workflow.states}
    run, pause, stop = ClockEffect.RUN, ClockEffect.PAUSE, ClockEffect.STOP
    assert effects == {
        "new": run,
        "open": run,
        "pending": pause,
        "escalated": run,
        "solved": stop,
        "reopened": run,
        "closed": stop,
        "archived": stop,
    }
    assert all(arrow.new_cycle is (arrow.target == "reopened") for arrow in workflow.transitions)


def test_the_default_pack_reopens_when_the_requester_writes_and_archives_after_thirty_days(default: Pack) -> None:
    workflow = Workflow.model_validate(default.sections["workflow"])
    by_trigger = {(arrow.source, arrow.trigger): arrow for arrow in workflow.transitions}
    assert by_trigger["solved", Trigger.REQUESTER_REPLIED].target == "reopened"
    assert by_trigger["pending", Trigger.REQUESTER_REPLIED].target == "open"
    assert by_trigger["closed", Trigger.TIMER].after_minutes == 30 * 24 * 60
    assert (by_trigger["solved", Trigger.TIMER].target, by_trigger["solved", Trigger.TIMER].after_minutes) == (
        "closed",
        7 * 24 * 60,
    )


def test_the_default_assignment_priorities_and_numbers_are_the_seeds(default: Pack) -> None:
    """Seed 000 §5.2, §4.1, §3.3."""
    assignment = Assignment.model_validate(default.sections["assignment"])
    assert (assignment.strategy, assignment.default_capacity, assignment.untouched_minutes) == ("least_loaded", 5, 30)
    priorities = Priorities.model_validate(default.sections["priorities"])
    assert [(level.rank, level.label) for level in priorities.levels] == [(1, "P1"), (2, "P2"), (3, "P3"), (4, "P4")]
    assert Numbering.model_validate(default.sections["numbering"]).prefix == "INC"


@pytest.mark.parametrize(
    ("old", "new", "pointer", "marked", "says"),
    [
        (
            "to: archived",
            "to: archved",
            "/workflow/transitions/23/to",
            "to: archved",
            "'archved' is not one of the states",
        ),
        ("initial: new", "initial: fresh", "/workflow/initial", "initial: fresh", "'fresh' is not one of the states"),
        ("category: pending", "category: waiting", "/workflow/states/2/category", "category: waiting", "'pending'"),
        ("default: P3", "default: P9", "/priorities/default", "default: P9", "'P9' is none of the priorities"),
        ("label: P2", "label: P1 ", "/priorities/levels/1/label", "label: P1 }", "given twice; it is also number 1"),
        ("{rank: 2,", "{rank: 1 ,", "/priorities/levels/1/rank", "rank: 1 ,", "the rank 1 is given twice"),
        ("digits: 6", "digit: 6", "/numbering/digit", "digit: 6", "did you mean 'digits'?"),
        ("digits: 6", "digits: 60", "/numbering/digits", "digits: 60", "less than or equal to 12"),
        ("prefix: INC", "prefix: inc", "/numbering/prefix", "prefix: inc", "pattern"),
        ("default_queue: tier1", "default_queu: tier1", "/assignment/default_queu", "default_queu:", "unknown field"),
        ("numbering:\n", "numberin:\n", "/numberin", "numberin:", "did you mean 'numbering'?"),
        (
            "after_minutes: 43200",
            "guards: []",
            "/workflow/transitions/23/trigger",
            "guards: []}",
            "needs after_minutes",
        ),
        (
            "trigger: timer, after_minutes: 43200",
            "after_minutes: 43200",
            "/workflow/transitions/23/after_minutes",
            "after_minutes: 43200",
            "timer only",
        ),
        ("    - name: pending\n", "    - name: open\n", "/workflow/states/2/name", "label: Pending", "defined twice"),
        ("trigger: escalated}", "trigger: alarm}", "/workflow/transitions/5/trigger", "trigger: alarm", "'manual'"),
        ("pack: default", "pack: My Pack!", "/pack", "My Pack!", "lower case letters"),
        (
            "untouched_minutes: 30 ",
            "untouched_minutes: soon ",
            "/assignment/untouched_minutes",
            "minutes: soon",
            "number",
        ),
    ],
)
def test_a_mistake_is_told_with_its_line(old: str, new: str, pointer: str, marked: str, says: str) -> None:
    text = edited(old, new)
    found = problems(text)
    assert pointer in found, found
    line, message = found[pointer]
    assert says in message
    assert abs(line - line_of(text, marked)) <= (1 if "label: Pending" in marked else 0)


def test_all_mistakes_are_told_at_once_in_the_order_of_their_lines() -> None:
    text = edited("to: archived", "to: archved").replace("default: P3", "default: P9").replace("digits: 6", "digit: 6")
    with pytest.raises(PackRefusedError) as refused:
        check(text)
    lines = [problem.mark.line for problem in refused.value.problems]
    assert len(lines) >= 3
    assert lines == sorted(lines)


@pytest.mark.parametrize("section", ["workflow", "priorities", "assignment", "numbering"])
def test_a_missing_section_is_named(section: str) -> None:
    found = problems(edited(f"\n{section}:\n", "\ndescription:\n"))
    assert "missing" in found[f"/{section}"][1]


def test_a_missing_field_is_told_at_the_thing_that_lacks_it() -> None:
    text = edited("    - name: pending\n      label: Pending\n", "    - name: pending\n")
    line, message = problems(text)["/workflow/states/2/label"]
    assert (line, message) == (line_of(text, "- name: pending"), "the field 'label' is missing")


def test_a_state_that_nothing_leads_to_is_told() -> None:
    found = problems(edited("    - {from: closed, to: archived, trigger: timer, after_minutes: 43200}\n", ""))
    assert found["/workflow/states/7"][1] == "no transition leads to 'archived' from 'new'"


def test_two_transitions_that_no_machine_could_choose_between_are_told() -> None:
    twice = "    - {from: pending, to: open, trigger: requester_replied}\n"
    text = edited(twice, twice + "    - {from: pending, to: solved, trigger: requester_replied}\n")
    assert "which one would it be?" in problems(text)["/workflow/transitions/4"][1]
    for_both = "    - {from: solved, to: closed, roles: [customer]}\n"
    text = edited(for_both, for_both + "    - {from: solved, to: closed, roles: [customer, agent], guards: [reason]}\n")
    assert "the same transition for the same role" in problems(text)["/workflow/transitions/16"][1]


def test_a_state_that_nobody_leaves_keeps_its_tickets_open_for_ever() -> None:
    text = edited("    - {from: escalated, to: open, trigger: escalation_ended}\n", "")
    text = text.replace(
        "    - {from: escalated, to: open, roles: [agent, team_lead, manager, admin], guards: [assignee]}\n", ""
    ).replace("    - {from: escalated, to: solved, trigger: recovered}\n", "")
    assert "never be closed" in problems(text)["/workflow/states/3"][1]


def test_automatic_assignment_needs_an_arrow_out_of_the_first_state() -> None:
    text = edited("    - {from: new, to: open, trigger: assigned}\n", "")
    line, message = problems(text)["/assignment/strategy"]
    assert line == line_of(text, "  strategy: least_loaded")
    assert "would stay there" in message
    check(text.replace("strategy: least_loaded ", "strategy: manual "))


def test_a_pending_state_that_ignores_the_requester_is_worth_a_warning() -> None:
    pack = check(edited("    - {from: pending, to: open, trigger: requester_replied}\n", ""))
    [warning] = pack.warnings
    assert warning.warning
    assert "nothing happens when they reply" in warning.message


def test_lists_longer_than_any_desk_has_are_refused_at_once() -> None:
    arrows = "".join("    - {from: new, to: open}\n" for _ in range(MOST_ITEMS["transitions"] + 1))
    found = problems(edited("  transitions:\n", f"  transitions:\n{arrows}"))
    assert list(found) == ["/workflow/transitions"]


def test_every_default_is_written_out_in_what_is_published() -> None:
    pack = check(edited("  prefix: INC\n", ""))
    assert pack.sections["numbering"] == {"prefix": "INC", "digits": 6}


def test_a_pack_is_no_list() -> None:
    assert problems("- a\n- b\n") == {"": (1, "a pack is a mapping of sections")}
