"""Distribution: within capacity, least loaded, most urgent first, nobody avoided gets it back."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.tickets.domain.assignment import Agent, Waiting, distribute, untouched
from tests.unit.tickets.desk import START, agent_id, opened


def _agent(n: int, capacity: int, load: int = 0, queues: tuple[str, ...] = ("q",)) -> Agent:
    return Agent(person_id=agent_id(n), queues=frozenset(queues), capacity=capacity, load=load)


def _waiting(n: int, rank: int = 3, queue: str = "q", avoid: int | None = None) -> Waiting:
    return Waiting(
        ticket_id=agent_id(1000 + n),
        queue=queue,
        rank=rank,
        since=START + timedelta(minutes=n),
        avoid=None if avoid is None else agent_id(avoid),
    )


def test_the_least_loaded_agent_gets_it() -> None:
    chosen = distribute([_waiting(1)], [_agent(1, 5, 3), _agent(2, 5, 1), _agent(3, 5, 2)])
    (choice,) = chosen.values()
    assert (choice.person_id, choice.load, choice.capacity) == (agent_id(2), 2, 5)


def test_the_most_urgent_and_then_the_oldest_come_first() -> None:
    chosen = distribute([_waiting(1, 3), _waiting(2, 1), _waiting(3, 1)], [_agent(1, 1)])
    assert list(chosen) == [agent_id(1002)]


def test_whoever_is_avoided_does_not_get_it_back() -> None:
    assert distribute([_waiting(1, avoid=1)], [_agent(1, 5)]) == {}
    (choice,) = distribute([_waiting(1, avoid=1)], [_agent(1, 5), _agent(2, 5, 4)]).values()
    assert choice.person_id == agent_id(2)


@given(
    agents=st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 4), st.sets(st.sampled_from("abc"), min_size=1)), max_size=6
    ),
    waiting=st.lists(st.tuples(st.integers(1, 4), st.sampled_from("abc"), st.none() | st.integers(0, 5)), max_size=25),
)
def test_nobody_exceeds_their_capacity_and_nobody_idles_beside_work(
    agents: list[tuple[int, int, set[str]]], waiting: list[tuple[int, str, int | None]]
) -> None:
    staff = [_agent(n, capacity, load, tuple(queues)) for n, (capacity, load, queues) in enumerate(agents)]
    tickets = [_waiting(n, rank, queue, avoid) for n, (rank, queue, avoid) in enumerate(waiting)]
    chosen = distribute(tickets, staff)
    loads = {agent.person_id: agent.load for agent in staff}
    for choice in chosen.values():
        loads[choice.person_id] += 1
    by_id = {agent.person_id: agent for agent in staff}
    for ticket in tickets:
        choice_ = chosen.get(ticket.ticket_id)
        if choice_ is not None:
            assert ticket.queue in by_id[choice_.person_id].queues
            assert choice_.person_id != ticket.avoid
        else:
            free = [a for a in staff if ticket.queue in a.queues and loads[a.person_id] < a.capacity]
            assert all(a.person_id == ticket.avoid for a in free)
    for agent in staff:
        assert loads[agent.person_id] <= max(agent.capacity, agent.load)
    assert distribute(list(reversed(tickets)), list(reversed(staff))) == chosen


def test_a_ticket_is_untouched_while_it_is_active_and_its_owner_the_same() -> None:
    ticket = opened().ticket.but(assignee_id=agent_id(1))
    assert untouched(ticket, str(agent_id(1)))
    assert not untouched(ticket, str(agent_id(2)))
    assert not untouched(ticket.but(category="solved"), str(agent_id(1)))
    assert not untouched(ticket.but(merged_into=agent_id(9)), str(agent_id(1)))
