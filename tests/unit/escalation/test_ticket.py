"""What escalation keeps of a ticket."""

from __future__ import annotations

from datetime import timedelta

from services.escalation.domain.ticket import of_fact, of_state
from tests.unit.escalation.desk import START, known, state, summary


def test_the_highest_version_is_kept_and_a_lower_one_ignored() -> None:
    newest = of_state(state(version=5), known(version=4), 3)
    assert newest is not None
    assert (newest.state_version, newest.partition) == (5, 3)
    assert of_state(state(version=5), newest, 3) is None
    assert of_state(state(version=4), newest, 3) is None


def test_a_fact_of_a_newer_version_is_believed_until_its_state_has_come() -> None:
    quick = of_fact("acme", summary(label="P1", version=3), 0)
    behind = of_state(state(label="P3", version=2), quick, 0)
    assert behind is not None
    assert (behind.summary.priority.label, behind.state_version) == ("P1", 2)
    even = of_state(state(label="P2", version=3), behind, 0)
    assert even is not None
    assert even.summary.priority.label == "P2"


def test_an_answer_stays_known_when_its_reference_has_left_the_snapshot_and_so_does_an_act() -> None:
    answered = of_state(state(version=2, answered=START), known().acted(START), 0)
    assert answered is not None
    later = of_state(state(version=3), answered, 0)
    assert later is not None
    assert later.responded_at == later.acted_at == START
    assert not later.handled_since(START)
    assert later.handled_since(START - timedelta(seconds=1))


def test_an_older_act_takes_nothing_back() -> None:
    ticket = known().acted(START)
    assert ticket.acted(START - timedelta(minutes=1)) is ticket
