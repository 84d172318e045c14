"""The checker of the fault tests finds each thing it is there to find, and nothing where nothing is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.faults.check import check
from tests.support.faults.journal import Entry, Journal
from tests.support.faults.world import Letter, Output, World

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ASKED = "fault.asked"


def journal() -> list[Entry]:
    facts = [Entry(topic=ASKED, partition=0, offset=n, key=f"k{n % 2}", id=f"e{n}", seq=n) for n in range(6)]
    return [
        *facts,
        Entry(topic=ASKED, partition=0, offset=6, id="x", expected="dead", reason="json"),
        Entry(topic=ASKED, partition=0, offset=7, key="k9", id="w", expected="away"),
        Entry(topic="fault.state", partition=0, offset=0, key="s", seq=4, expected="state"),
        Entry(topic="fault.state", partition=0, offset=1, key="s", seq=3, expected="state"),
        Entry(topic="fault.rule", partition=0, offset=0, key="r", seq=2, expected="rule"),
        Entry(topic="timer", id="t", expected="timer", due_at=NOW.isoformat()),
        Entry(topic="task", id="j", expected="task"),
    ]


def world() -> World:
    effects = [(ASKED, f"k{n % 2}", n, f"e{n}", NOW) for n in range(6)]
    return World(
        effects=[*effects, ("timer", "t", 0, "t", NOW), ("task", "j", 1, "j", NOW)],
        outputs=[
            *(Output("fault.answered", 0, n, f"k{n % 2}", f"a{n}", f"e{n}") for n in range(6)),
            Output("fault.rang", 0, 0, "t", "r0", ""),
            Output("fault.done", 0, 0, "j", "d0", ""),
        ],
        letters=[Letter(ASKED, 0, 6, "json")],
        waiting=[(ASKED, 0, 7, "not_yet")],
        inbox=[*(f"e{n}" for n in range(6)), "letter"],
        states={"s": 4},
        steps=[("s", 4)],
        rules={"r": 2},
        ledger=[("t", NOW, NOW + timedelta(seconds=1))],
        committed={(ASKED, 0): 8, ("fault.state", 0): 2},
        ends={(ASKED, 0): 8, ("fault.state", 0): 2},
    )


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert check(journal(), world()) == []


def test_a_repeat_on_the_topic_with_the_same_id_is_no_finding() -> None:
    found = world()
    found.outputs.append(replace(found.outputs[0], offset=99))
    assert check(journal(), found) == []


def test_a_fact_that_nobody_knows_was_accepted_may_have_an_effect_or_none() -> None:
    entries = [replace(e, outcome="info", partition=-1, offset=-1) if e.id == "e5" else e for e in journal()]
    assert check(entries, world()) == []
    found = world()
    del found.effects[5], found.outputs[5], found.inbox[5]
    assert check(entries, found) == []


def _swap(items: list[object], one: int, other: int) -> None:
    items[one], items[other] = items[other], items[one]


FAULTS: dict[str, tuple[Callable[[World], object], str]] = {
    "a lost effect": (lambda w: w.effects.pop(2), "e2: 0 effects instead of 1"),
    "a second effect": (lambda w: w.effects.append(w.effects[2]), "e2: 2 effects instead of 1"),
    "an effect of nothing": (lambda w: w.effects.append((ASKED, "k0", 9, "ghost", NOW)), "ghost: an effect that"),
    "effects out of order": (lambda w: _swap(w.effects, 0, 2), "effects of k0 on fault.asked: out of order"),  # type: ignore[arg-type]
    "a lost answer": (lambda w: w.outputs.pop(1), "e1: 0 distinct answers"),
    "a second answer": (lambda w: w.outputs.append(Output("fault.answered", 0, 9, "k1", "b", "e1")), "e1: 2 distinct"),
    "answers out of order": (lambda w: _swap(w.outputs, 1, 3), "answers of k1: out of order"),  # type: ignore[arg-type]
    "an answer to nothing": (
        lambda w: w.outputs.append(Output("fault.answered", 0, 9, "k1", "b", "ghost")),
        "an answer to ghost",
    ),
    "a lost dead letter": (lambda w: w.letters.pop(), "0 dead letters instead of 1"),
    "a second dead letter": (lambda w: w.letters.append(w.letters[0]), "2 dead letters instead of 1"),
    "a wrong reason": (lambda w: w.letters.__setitem__(0, Letter(ASKED, 0, 6, "utf8")), "because of utf8"),
    "a dead letter of a good one": (lambda w: w.letters.append(Letter(ASKED, 0, 0, "json")), "that should not be"),
    "nothing waits": (lambda w: w.waiting.pop(), "waits 0 times"),
    "a good one waits": (lambda w: w.waiting.append((ASKED, 0, 1, "poison")), "waits and should not"),
    "an outbox with rows": (lambda w: w.outbox.append("o"), "o was never published"),
    "an id missing from the inbox": (lambda w: w.inbox.remove("e3"), "e3: handled, and not in the inbox"),
    "an id too many in the inbox": (lambda w: w.inbox.append("w"), "2 ids beside those handled"),
    "an older state": (lambda w: w.states.__setitem__("s", 3), "state s: version 3 instead of 4"),
    "a step down": (lambda w: w.steps.append(("s", 3)), "stepped from 4 to 3"),
    "an older rule": (lambda w: w.rules.__setitem__("r", 1), "replica r: version 1 instead of 2"),
    "a timer fired twice": (lambda w: w.ledger.append(w.ledger[0]), "2 ledger entries"),
    "a timer's effect twice": (lambda w: w.effects.append(w.effects[6]), "timer t: 2 effects"),
    "a timer fired early": (
        lambda w: w.ledger.__setitem__(0, ("t", NOW, NOW - timedelta(milliseconds=1))),
        "early",
    ),
    "a handler run early": (
        lambda w: w.effects.__setitem__(6, ("timer", "t", 0, "t", NOW - timedelta(seconds=1))),
        "its handler ran",
    ),
    "a timer left": (lambda w: w.timers.append("t"), "timer t: left"),
    "a task without a result": (lambda w: w.effects.pop(7), "task j: 0 effects"),
    "a task left": (lambda w: w.tasks.append("j"), "task j: left"),
    "an offset behind": (lambda w: w.committed.__setitem__((ASKED, 0), 5), "offset 5 committed"),
    "an offset ahead": (lambda w: w.committed.__setitem__((ASKED, 0), 9), "offset 9 committed"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_found_by_its_id(name: str) -> None:
    change, said = FAULTS[name]
    found = world()
    change(found)
    findings = check(journal(), found)
    assert any(said in finding for finding in findings), findings


def test_an_offset_committed_before_its_event_was_handled_is_found_at_any_time() -> None:
    found = world()
    del found.effects[4:6], found.outputs[4:6], found.inbox[4:6]
    found.committed[ASKED, 0] = 5
    findings = check(journal(), found, settled=False)
    assert any("below the committed offset and not handled (e4)" in finding for finding in findings)
    assert not any("(e5)" in finding for finding in findings)


def test_the_journal_tells_what_was_written_in_the_order_of_the_topic(tmp_path: Path) -> None:
    kept = Journal(tmp_path / "journal.jsonl")
    kept.write(reversed(journal()[:8]))
    assert kept.read() == journal()[:8]
    kept.expect([(ASKED, 0, 7)], "effect")
    assert [entry.expected for entry in kept.read()][-1] == "effect"
