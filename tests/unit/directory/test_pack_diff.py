"""Differences as a support manager reads them."""

from __future__ import annotations

from services.directory.domain.pack_check import check
from services.directory.domain.pack_diff import changed_sections, compare, told
from tests.unit.directory.test_pack_check import DEFAULT, edited

BEFORE = check(DEFAULT).sections


def difference(text: str) -> str:
    return told(compare(BEFORE, check(text).sections))


def test_the_same_pack_has_no_differences() -> None:
    assert difference(DEFAULT + "# a comment\n") == "no changes"


def test_a_changed_value_shows_both_and_where() -> None:
    assert difference(edited("untouched_minutes: 30 ", "untouched_minutes: null ")) == (
        "assignment\n  ~ untouched_minutes: 30 → none"
    )


def test_things_are_called_by_their_names_and_not_by_their_place() -> None:
    text = edited(
        "      first_response: pause     # we wait for the requester, and that is not our time\n",
        "      first_response: run\n",
    )
    assert difference(text) == "workflow\n  ~ states pending: first_response: pause → run"


def test_a_transition_taken_away_is_one_line_and_one_added_another() -> None:
    text = edited("    - {from: open, to: closed, guards: [reason]}\n", "    - {from: escalated, to: solved}\n")
    lines = difference(text).split("\n")
    assert lines[0] == "workflow"
    assert lines[1].startswith("  - transitions open -> closed (manual): ")
    assert lines[2].startswith("  + transitions escalated -> solved (manual): ")
    assert len(lines) == 3


def test_moving_a_line_changes_nothing_that_people_see() -> None:
    one = "    - {from: new, to: open, trigger: assigned}\n"
    two = "    - {from: new, to: open, guards: [assignee]}\n"
    assert difference(DEFAULT.replace(one + two, two + one)) == "no changes"


def test_sections_are_published_only_when_they_changed() -> None:
    after = check(edited("digits: 6", "digits: 8")).sections
    assert changed_sections(BEFORE, after) == ["numbering"]
    assert changed_sections(BEFORE, BEFORE) == []
    assert changed_sections({}, BEFORE) == list(BEFORE)


def test_a_section_that_is_gone_is_withdrawn() -> None:
    after = {name: section for name, section in BEFORE.items() if name != "numbering"}
    assert changed_sections(BEFORE, after) == ["numbering"]
    assert told(compare(BEFORE, after)) == "numbering\n  - prefix: INC\n  - digits: 6"


def test_a_first_pack_is_added_state_by_state() -> None:
    lines = told(compare({}, BEFORE)).split("\n")
    assert "  + states new: name new, label New, category new, first_response run, resolution run" in lines
    assert "  + prefix: INC" in lines
