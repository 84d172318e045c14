"""The ledger and the ticket's own rules: numbers never repeat, cycles are sealed, loads and backlogs are noticed."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from services.tickets.domain import ledger, snapshot
from services.tickets.domain.ticket import MAX_TAG, MAX_TAGS, Ticket, clean_tags, clean_text, joined
from services.tickets.domain.work import Timer, Work
from shared.contracts.message import Hints
from shared.contracts.pack import StateCategory
from shared.contracts.ticket import LedgerKind
from tests.unit.tickets.desk import START, agent_id, opened, person

LATER = START + timedelta(hours=1)


def work(**values: object) -> Work:
    return Work.on(opened().ticket.but(**values))


def test_entries_are_numbered_on_and_the_window_keeps_the_first_and_the_newest() -> None:
    one = work()
    start = one.ticket.ledger_count
    for n in range(ledger.WINDOW + 10):
        ledger.write(one, LedgerKind.PRIORITY, f"P{n}", LATER)
        assert len(one.ticket.ledger) <= ledger.WINDOW
    kept = [entry.number for entry in one.ticket.ledger]
    assert len(kept) == ledger.WINDOW
    assert kept[0] == 1
    assert kept[1:] == list(range(kept[1], start + ledger.WINDOW + 11))
    assert sorted(kept + [entry.number for entry in one.archived]) == list(range(1, start + ledger.WINDOW + 11))
    assert one.ticket.cycle_entries == one.ticket.ledger_count == start + ledger.WINDOW + 10


def test_the_values_in_force_are_those_that_are_set() -> None:
    bare = work(tier=None, product=None, organisation_id=None, assignee_id=None).ticket
    assert [kind for kind, _ in ledger.standing(bare)] == [LedgerKind.STATUS, LedgerKind.PRIORITY, LedgerKind.QUEUE]
    org = UUID(int=5)
    full = work(tier="gold", product="portal", organisation_id=org, assignee_id=person("ann")).ticket
    assert ledger.standing(full)[3:] == [
        (LedgerKind.TIER, "gold"),
        (LedgerKind.PRODUCT, "portal"),
        (LedgerKind.ORGANISATION, str(org)),
        (LedgerKind.ASSIGNEE, str(person("ann"))),
    ]


def test_clocks_are_started_once() -> None:
    one = work()
    before = one.ticket
    assert before.opened
    ledger.mark_opened(one, LATER)
    assert one.ticket is before


def test_only_solving_sets_the_instant_of_solving() -> None:
    one = work()
    ledger.status(one, StateCategory.PENDING, LATER)
    assert one.ticket.solved_at is None
    ledger.status(one, StateCategory.SOLVED, LATER)
    assert one.ticket.solved_at == LATER


def test_a_new_cycle_seals_the_old_one_and_begins_with_what_is_in_force() -> None:
    one = work()
    ledger.responded(one, START)
    ledger.status(one, StateCategory.SOLVED, START)
    entries, numbers = one.ticket.cycle_entries, [entry.number for entry in one.ticket.ledger]
    ledger.new_cycle(one, LATER)
    (seal,) = one.ticket.sealed
    assert (seal.cycle, seal.responded_at, seal.solved_at, seal.entries) == (1, START, START, entries)
    assert (one.ticket.responded_at, one.ticket.solved_at, one.ticket.cycle_opened_at) == (None, None, LATER)
    assert [entry.number for entry in one.archived] == numbers
    first = one.ticket.ledger[0]
    assert (first.kind, first.value, first.number) == (LedgerKind.CYCLE, "2", numbers[-1] + 1)
    assert one.ticket.cycle_entries == len(one.ticket.ledger)


def test_so_many_sealed_cycles_are_kept() -> None:
    one = work()
    for _ in range(ledger.MAX_SEALED + 3):
        ledger.new_cycle(one, LATER)
    assert [seal.cycle for seal in one.ticket.sealed] == list(range(4, ledger.MAX_SEALED + 4))


@pytest.mark.parametrize(
    ("before", "after", "frees", "joins"),
    [
        ({"assignee_id": agent_id(1)}, {"assignee_id": agent_id(2)}, True, False),
        ({"assignee_id": agent_id(1)}, {"assignee_id": None}, True, True),
        ({"assignee_id": agent_id(1)}, {"category": "solved"}, True, False),
        ({"assignee_id": agent_id(1)}, {"category": "pending"}, False, False),
        ({"assignee_id": agent_id(1)}, {"merged_into": agent_id(9)}, True, False),
        ({"assignee_id": agent_id(1), "category": "solved"}, {"assignee_id": agent_id(2)}, False, False),
        ({"assignee_id": None}, {"subject": "x"}, False, False),
        ({"assignee_id": None}, {"queue": "billing"}, False, True),
        ({"assignee_id": None, "category": "solved"}, {"category": "open"}, False, True),
        ({"assignee_id": None}, {"category": "closed"}, False, False),
    ],
)
def test_whose_load_falls_and_what_waits_for_an_owner(
    before: dict[str, object], after: dict[str, object], frees: bool, joins: bool
) -> None:
    one = work(**before)
    one.change(**after)
    assert (one.frees_an_agent, one.joins_a_backlog) == (frees, joins)


def test_a_new_ticket_frees_nobody_and_joins_by_being_given_out() -> None:
    fresh = opened()
    assert (fresh.frees_an_agent, fresh.joins_a_backlog, fresh.changed) == (False, False, True)
    assert not work().changed


def test_an_input_counts_once_and_never_goes_back_in_time() -> None:
    one = work()
    version = one.ticket.version
    assert one.begin(LATER) == LATER
    assert one.begin(START) == LATER
    assert (one.ticket.version, one.ticket.updated_at) == (version + 2, LATER)


def test_the_last_word_on_a_timer_wins() -> None:
    one = work()
    one.timer(Timer(kind="a", due_at=LATER))
    one.no_timer("a")
    assert (one.arm, one.cancel) == ({}, {"a"})
    one.timer(Timer(kind="a", due_at=LATER))
    assert (list(one.arm), one.cancel) == (["a"], set())


def test_requester_assignee_participants_and_watchers_take_part_and_nobody_else() -> None:
    ticket: Ticket = work(
        assignee_id=person("ann"), participant_ids=(person("carl"),), watcher_ids=(person("wim"),)
    ).ticket
    assert all(ticket.participates(person(name)) for name in ("rita", "ann", "carl", "wim"))
    assert not ticket.participates(person("eve"))


def test_beyond_the_limit_the_first_participant_stays_and_the_oldest_others_go() -> None:
    a, b, c, d = (agent_id(n) for n in range(4))
    assert joined((a, b), (b, c, c), 5) == (a, b, c)
    assert joined((a, b), (b,), 1) == (a, b)
    assert joined((a, b, c), (d,), 3) == (a, c, d)


def test_texts_and_tags_are_one_line_within_their_limits() -> None:
    assert clean_text(" a\tb\u202e\n c ", 100) == "a b c"
    assert clean_text("abcdef", 3) == "abc"
    assert clean_tags(["B", "b", "", " \n", "c" * 99]) == ("b", "c" * MAX_TAG)
    assert len(clean_tags([str(n) for n in range(MAX_TAGS + 5)])) == MAX_TAGS


def test_hints_become_fields_and_tags_and_odd_ones_are_told_as_they_are() -> None:
    hints = Hints(environment="prod\n1", version="2.1", error_code="E" * 300, product="Portal", tags=("A", "a"))
    ticket = opened(hints=hints).ticket
    assert ticket.fields == {"environment": "prod 1", "version": "2.1", "error_code": "E" * 200}
    assert (ticket.product, ticket.tags) == ("Portal", ("a",))
    assert opened(subject=" \u200b\n").ticket.subject == "(no subject)"
    assert [r.entry.action for r in opened().records] == ["created"]


def test_a_snapshot_stays_within_its_limit_and_keeps_the_newest_references() -> None:
    one = opened()
    one.change(fields={"text": "x" * 50_000})
    references = [
        snapshot.reference(one.messages[0].model_copy(update={"message_id": UUID(int=n)})) for n in range(200)
    ]
    state = snapshot.publish(one, references)
    assert len(state.to_bytes()) <= snapshot.MAX_BYTES
    assert 0 < len(state.messages) < snapshot.MAX_REFERENCES
    assert state.messages[-1].message_id == one.messages[0].message_id
    small = snapshot.publish(opened(), references)
    assert len(small.messages) == snapshot.MAX_REFERENCES
    assert (small.revision, state.revision) == (1, 1)
