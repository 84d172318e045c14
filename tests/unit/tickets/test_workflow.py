"""The state machine is the pack's: what it draws is possible, all else is refused with what is missing."""

from __future__ import annotations

from datetime import timedelta

import pytest

from services.tickets.domain import workflow
from services.tickets.domain.ticket import Ticket
from services.tickets.domain.workflow import Given, Move, Mover, Refused
from shared.contracts.pack import Trigger
from tests.unit.tickets.desk import DOCUMENT, PACK, START, act, machine, opened, person, stored

AGENT = Mover(role="agent")
OWNER = Mover(role="customer", own=True)
STRANGER = Mover(role="customer")
EVERYTHING = Given(reason="r", resolution="s", root_cause="c")

DRAWN = [
    ("new", "open", AGENT),
    ("open", "pending", AGENT),
    ("pending", "open", AGENT),
    ("open", "escalated", Mover(role="team_lead")),
    ("escalated", "open", AGENT),
    ("open", "solved", AGENT),
    ("solved", "closed", OWNER),
    ("solved", "closed", AGENT),
    ("solved", "reopened", OWNER),
    ("reopened", "open", AGENT),
    ("open", "closed", AGENT),
]


def _in(state: str, *, assigned: bool = True, answered: bool = True) -> Ticket:
    category = PACK.machine.states[state].category.value
    return opened().ticket.but(
        status=state, category=category, assignee_id=person("ann") if assigned else None, answered=answered
    )


@pytest.mark.parametrize(("source", "target", "mover"), DRAWN)
def test_every_drawn_transition_is_possible(source: str, target: str, mover: Mover) -> None:
    move = workflow.transition(PACK.machine, _in(source), target, mover, EVERYTHING)
    assert isinstance(move, Move)
    assert move.state.name == target


@pytest.mark.parametrize("source", list(PACK.machine.states))
@pytest.mark.parametrize("target", list(PACK.machine.states))
def test_every_other_transition_is_refused(source: str, target: str) -> None:
    drawn = {(s, t) for s, t, _ in DRAWN}
    move = workflow.transition(PACK.machine, _in(source), target, Mover(role="admin", own=True), EVERYTHING)
    assert isinstance(move, Move) == ((source, target) in drawn)
    if isinstance(move, Refused):
        assert move.code == ("same_state" if source == target else "no_transition")


@pytest.mark.parametrize(
    ("source", "target", "given", "missing"),
    [
        ("open", "solved", Given(), ("assignee", "resolution")),
        ("open", "solved", Given(resolution="x"), ("assignee",)),
        ("open", "pending", Given(), ("assignee", "public_reply")),
        ("open", "closed", Given(), ("reason",)),
        ("new", "open", Given(), ("assignee",)),
    ],
)
def test_a_guard_that_does_not_hold_is_named(source: str, target: str, given: Given, missing: tuple[str, ...]) -> None:
    move = workflow.transition(PACK.machine, _in(source, assigned=False, answered=False), target, AGENT, given)
    assert isinstance(move, Refused)
    assert (move.code, move.missing) == ("guard", missing)
    assert move.detail


@pytest.mark.parametrize(
    ("source", "target", "mover"),
    [
        ("open", "escalated", AGENT),
        ("open", "solved", OWNER),
        ("solved", "closed", STRANGER),
        ("new", "open", Mover(role="service")),
    ],
)
def test_the_wrong_role_is_refused_with_the_right_ones(source: str, target: str, mover: Mover) -> None:
    move = workflow.transition(PACK.machine, _in(source), target, mover, EVERYTHING)
    assert isinstance(move, Refused)
    assert move.code == "role"
    assert move.missing


def test_an_unknown_state_is_refused_with_those_there_are() -> None:
    move = workflow.transition(PACK.machine, _in("open"), "moon", AGENT)
    assert isinstance(move, Refused)
    assert move.code == "unknown_state"
    assert "solved" in move.detail


def test_a_merged_ticket_moves_nowhere() -> None:
    ticket = _in("open").but(merged_into=person("x"))
    assert isinstance(workflow.transition(PACK.machine, ticket, "closed", AGENT, EVERYTHING), Refused)
    assert workflow.automatic(PACK.machine, ticket, Trigger.ESCALATED) is None


def test_options_name_every_arrow_by_hand() -> None:
    found = workflow.options(PACK.machine, _in("open"), AGENT)
    names = {o.state.name if isinstance(o, Move) else o.target for o in found}
    assert names == {"pending", "escalated", "solved", "closed"}


def test_reopening_seals_the_cycle_and_forgets_the_resolution() -> None:
    work = stored(opened())
    work.change(status="solved", category="solved", fields={"resolution": "done", "room": 7}, assignee_id=person("ann"))
    move = workflow.automatic(PACK.machine, work.ticket, Trigger.REQUESTER_REPLIED)
    assert move is not None
    workflow.apply(work, PACK.machine, move, act("rita", START + timedelta(hours=1)))
    assert work.ticket.cycle == 2
    assert work.ticket.fields == {"room": 7}
    assert [entry.kind for entry in work.ticket.ledger][:2] == ["cycle", "status"]
    assert work.ticket.sealed[0].entries == len(work.archived)


def test_a_timed_transition_needs_the_ticket_to_have_stayed() -> None:
    work = stored(opened())
    move = workflow.transition(PACK.machine, work.ticket.but(status="open"), "closed", AGENT, EVERYTHING)
    assert isinstance(move, Move)
    workflow.apply(work, PACK.machine, move, act(at=START), EVERYTHING)
    timer = work.arm[workflow.TRANSITION_TIMER]
    assert timer.due_at == START + timedelta(days=30)
    since = str(timer.payload["since"])
    assert workflow.due(PACK.machine, work.ticket, "closed", since) is not None
    assert workflow.due(PACK.machine, work.ticket.but(status_since=START + timedelta(1)), "closed", since) is None


def test_leaving_a_timed_state_cancels_its_timer() -> None:
    document = {**DOCUMENT["workflow"]}
    document["transitions"] = [*document["transitions"], {"from": "closed", "to": "open"}]
    other = machine(**document)
    work = stored(opened())
    work.change(status="closed", category="closed")
    move = workflow.transition(other, work.ticket, "open", AGENT)
    assert isinstance(move, Move)
    workflow.apply(work, other, move, act())
    assert workflow.TRANSITION_TIMER in work.cancel


def test_of_several_timed_transitions_the_soonest_is_armed() -> None:
    later = {"from": "open", "to": "closed", "trigger": "timer", "after_minutes": 60}
    sooner = {"from": "open", "to": "solved", "trigger": "timer", "after_minutes": 30}
    for order in ([later, sooner], [sooner, later]):
        document = {**DOCUMENT["workflow"], "transitions": [*DOCUMENT["workflow"]["transitions"], *order]}
        work = stored(opened())
        work.change(status="open", category="open")
        workflow.arm_timer(work, machine(**document), START)
        timer = work.arm[workflow.TRANSITION_TIMER]
        assert (timer.due_at, timer.payload["target"]) == (START + timedelta(minutes=30), "solved")


def test_a_trigger_moves_a_ticket_only_where_the_guards_hold() -> None:
    guarded: dict[str, object] = {
        "from": "new",
        "to": "pending",
        "trigger": "requester_replied",
        "guards": ["assignee"],
    }
    plain: dict[str, object] = {"from": "new", "to": "open", "trigger": "requester_replied"}
    moves: dict[tuple[str, bool], str | None] = {}
    both: dict[str, list[dict[str, object]]] = {"guarded": [guarded], "both": [guarded, plain]}
    for name, arrows in both.items():
        other = machine(**{**DOCUMENT["workflow"], "transitions": [*DOCUMENT["workflow"]["transitions"], *arrows]})
        for assigned in (False, True):
            ticket = opened().ticket.but(assignee_id=person("ann") if assigned else None)
            move = workflow.automatic(other, ticket, Trigger.REQUESTER_REPLIED)
            moves[name, assigned] = None if move is None else move.state.name
    assert moves == {
        ("guarded", False): None,
        ("guarded", True): "pending",
        ("both", False): "open",
        ("both", True): "pending",
    }
