"""What a message does to its ticket: clocks, triggers, who takes part. Notes and automatic mail move nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from services.tickets.domain import assignment, conversation
from services.tickets.domain.assignment import UNTOUCHED_TIMER, Choice
from services.tickets.domain.work import Work
from shared.contracts import ids
from shared.contracts.message import Body
from shared.contracts.ticket import AuthorKind, LedgerKind, TicketMessage, TicketMessageAdded, Visibility
from tests.unit.tickets.desk import DOCUMENT, PACK, START, act, machine, message, opened, person

LATER = START + timedelta(minutes=5)


def wrote(author: str | None = "rita", kind: AuthorKind = AuthorKind.REQUESTER, **more: Any) -> TicketMessage:
    """A message of the conversation."""
    values: dict[str, Any] = {
        "message_id": ids.message_id("acme", "email", f"{author}-{kind}"),
        "author_kind": kind,
        "author_id": person(author) if author else None,
        "channel": "email",
        "body": Body(text="Hello."),
        "created_at": LATER,
    }
    return TicketMessage(**{**values, **more})


def in_state(status: str, **more: Any) -> Work:
    """A stored ticket of Ann's in that state of the default pack."""
    category = PACK.machine.states[status].category.value
    values: dict[str, Any] = {"status": status, "category": category, "assignee_id": person("ann"), **more}
    return Work.on(opened().ticket.but(**values))


def added(work: Work, written: TicketMessage, **more: Any) -> list[LedgerKind | str]:
    """Add a message; the kinds of the ledger entries it wrote."""
    before = work.ticket.ledger_count
    conversation.add(work, PACK.machine, written, act(at=LATER), **more)
    return [entry.kind for entry in work.ticket.ledger if entry.number > before]


def test_a_requesters_answer_is_in_the_ledger_and_brings_a_pending_ticket_back() -> None:
    work = in_state("pending")
    assert added(work, wrote()) == [LedgerKind.REPLIED, LedgerKind.STATUS]
    assert work.ticket.status == "open"
    assert work.ticket.message_count == 2


@pytest.mark.parametrize("status", ["new", "open", "pending", "escalated", "reopened"])
def test_a_recovered_alert_solves_its_ticket_and_is_no_reply(status: str) -> None:
    work = in_state(status)
    assert added(work, wrote(), resolves=True) == [LedgerKind.STATUS]
    assert work.ticket.status == "solved"
    assert work.facts[-1].model_dump()["trigger"] == "recovered"


@pytest.mark.parametrize("status", ["solved", "closed"])
def test_a_recovery_of_what_is_over_changes_nothing(status: str) -> None:
    work = in_state(status)
    assert added(work, wrote(), resolves=True) == []
    assert (work.ticket.status, work.ticket.cycle) == (status, 1)


def test_an_alert_that_fires_again_reopens_its_solved_ticket_in_a_new_cycle() -> None:
    work = in_state("open")
    added(work, wrote(), resolves=True)
    added(work, wrote())
    assert (work.ticket.status, work.ticket.cycle) == ("reopened", 2)


def test_a_recovery_whose_firing_never_came_opens_a_ticket_that_is_solved() -> None:
    assert opened(resolves=True).ticket.status == "solved"


def test_a_requesters_answer_to_a_solved_ticket_reopens_it_in_a_new_cycle() -> None:
    work = in_state("solved")
    added(work, wrote())
    assert (work.ticket.status, work.ticket.cycle) == ("reopened", 2)


def test_the_first_public_answer_counts_and_a_later_one_does_not_move_its_instant() -> None:
    work = in_state("open")
    assert added(work, wrote("ann", AuthorKind.AGENT)) == [LedgerKind.RESPONDED]
    first = work.ticket.responded_at
    conversation.add(work, PACK.machine, wrote("ann", AuthorKind.AGENT), act(at=LATER + timedelta(hours=1)))
    assert (first, work.ticket.responded_at, work.ticket.answered) == (LATER, LATER, True)


@pytest.mark.parametrize("kind", [AuthorKind.REQUESTER, AuthorKind.AGENT])
@pytest.mark.parametrize("quiet", [{"visibility": Visibility.INTERNAL}, {"automatic": True}], ids=["note", "automatic"])
def test_notes_and_automatic_mail_move_no_clock_and_no_state(kind: AuthorKind, quiet: dict[str, Any]) -> None:
    for status in ("pending", "solved"):
        work = in_state(status)
        assert added(work, wrote("rita", kind, **quiet)) == []
        assert (work.ticket.status, work.ticket.answered, work.ticket.message_count) == (status, False, 2)


def test_the_system_moves_nothing() -> None:
    work = in_state("pending")
    assert added(work, wrote(None, AuthorKind.SYSTEM)) == []
    assert (work.ticket.status, work.ticket.answered) == ("pending", False)
    assert work.ticket.participant_ids == (person("rita"),)


def test_a_ticket_that_automatic_mail_opened_starts_its_clocks_with_the_first_person() -> None:
    work = Work.on(opened(automatic=True).ticket)
    assert not work.ticket.opened
    received_at = START + timedelta(minutes=2)
    assert added(work, wrote(automatic=True), received_at=received_at) == []
    assert added(work, wrote(), received_at=received_at) == [LedgerKind.OPENED, LedgerKind.REPLIED]
    assert (work.ticket.opened, work.ticket.cycle_opened_at) == (True, received_at)


def test_clocks_start_at_the_act_where_nobody_says_when_it_was_received() -> None:
    work = Work.on(opened(automatic=True).ticket)
    added(work, wrote())
    assert work.ticket.cycle_opened_at == LATER


def test_who_writes_and_who_is_addressed_takes_part_but_not_by_a_note() -> None:
    work = in_state("open")
    added(work, wrote("carl"), addressed=(person("dora"),))
    assert work.ticket.participant_ids == (person("rita"), person("carl"), person("dora"))
    added(work, wrote("emil", visibility=Visibility.INTERNAL), addressed=(person("fred"),))
    assert work.ticket.participant_ids == (person("rita"), person("carl"), person("dora"))


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (wrote("ann", AuthorKind.AGENT), False),
        (wrote("ann", AuthorKind.AGENT, visibility=Visibility.INTERNAL), False),
        (wrote(), True),
    ],
    ids=["answer", "note", "requester"],
)
def test_an_agent_who_writes_has_touched_the_ticket(written: TicketMessage, kept: bool) -> None:
    work = opened()
    choice = Choice(person_id=person("ann"), team_id=None, load=1, capacity=5)
    assignment.apply(work, PACK.machine, choice, "least_loaded", act(), untouched_minutes=30)
    added(work, written)
    assert (UNTOUCHED_TIMER in work.arm) is kept


def test_the_fact_and_the_audit_say_what_was_added() -> None:
    work = in_state("open")
    note, answer = wrote("ann", AuthorKind.AGENT, visibility=Visibility.INTERNAL), wrote()
    added(work, note)
    added(work, answer)
    facts = [fact for fact in work.facts if isinstance(fact, TicketMessageAdded)]
    assert [fact.message for fact in facts] == [note, answer]
    assert [fact.ticket.version for fact in facts] == [work.ticket.version] * 2
    assert [record.entry.action for record in work.records][:2] == ["noted", "message_added"]
    assert work.messages == [note, answer]


def test_a_closed_ticket_takes_replies_only_where_its_workflow_reopens_it() -> None:
    closed = in_state("closed").ticket
    assert not conversation.takes_replies(closed, PACK.machine)
    assert conversation.takes_replies(in_state("solved").ticket, PACK.machine)
    reopening = {"from": "closed", "to": "reopened", "trigger": "requester_replied", "new_cycle": True}
    workflow = {**DOCUMENT["workflow"], "transitions": [*DOCUMENT["workflow"]["transitions"], reopening]}
    assert conversation.takes_replies(closed, machine(**workflow))


def test_a_message_from_outside_keeps_its_own_name_on_one_line() -> None:
    given = message(external_id="a\nb" + "x" * 2000, automatic=True)
    kept = conversation.received(given, AuthorKind.REQUESTER, LATER)
    assert kept.external_id is not None
    assert (kept.external_id[:3], len(kept.external_id), kept.automatic) == ("a b", 1000, True)
    assert conversation.received(message(), AuthorKind.REQUESTER, LATER).external_id is None
