"""Lanes: order within an endpoint, bounds, nobody waiting for a slow neighbour."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from services.notify.store.webhook_queue import Head, Leased
from services.notify.webhooks.lanes import Bounds, Lane, Lanes

BOUNDS = Bounds(endpoint=2, tenant=5, process=7, taken=100)


def head(endpoint_id: UUID, tenant: str = "acme", *, failures: int = 0, due_in: float = 0.0) -> Head:
    return Head(
        endpoint_id=endpoint_id,
        tenant_id=tenant,
        due_in=due_in,
        version=1,
        url="https://example.org/",
        active=True,
        failures=failures,
    )


def leased(endpoint_id: UUID, count: int, tenant: str = "acme") -> list[Leased]:
    return [
        Leased(
            id=uuid4(),
            tenant_id=tenant,
            endpoint_id=endpoint_id,
            event_id=uuid4(),
            type="ticket.created.v1",
            ticket_id=None,
            body=b"{}",
            attempts=1,
            queued_at=datetime(2026, 11, 21, tzinfo=UTC),
            token=uuid4(),
        )
        for _ in range(count)
    ]


def test_a_lane_begins_its_deliveries_in_their_order_and_no_more_than_it_may_at_once() -> None:
    lanes, endpoint = Lanes(BOUNDS), uuid4()
    lanes.rooms([head(endpoint)])
    given_ones = leased(endpoint, 5)
    lanes.take({}, given_ones, 100.0)
    begun = list(lanes.next(0.0))
    assert [one.id for _, one in begun] == [one.id for one in given_ones[:2]]
    lanes.ended(begun[0][0], success=True, seconds=0.01)
    assert [one.id for _, one in lanes.next(0.0)] == [given_ones[2].id]


def test_a_slow_endpoint_holds_up_nobody() -> None:
    lanes, slow, quick = Lanes(BOUNDS), uuid4(), uuid4()
    lanes.rooms([head(slow), head(quick)])
    lanes.take({}, leased(slow, 50), 100.0)
    lanes.take({}, leased(quick, 2), 100.0)
    assert [lane.head.endpoint_id for lane, _ in lanes.next(0.0)].count(quick) == 2


def test_one_tenant_does_not_take_every_place() -> None:
    lanes = Lanes(BOUNDS)
    many, other = [uuid4() for _ in range(10)], uuid4()
    lanes.rooms([*(head(one) for one in many), head(other, "small")])
    for one in many:
        lanes.take({}, leased(one, 2), 100.0)
    lanes.take({}, leased(other, 2, "small"), 100.0)
    tenants = [lane.head.tenant_id for lane, _ in lanes.next(0.0)]
    assert tenants.count("acme") == BOUNDS.tenant
    assert tenants.count("small") == 2


def test_an_open_circuit_lets_one_through_and_waits_for_what_became_of_it() -> None:
    lanes, endpoint = Lanes(BOUNDS), uuid4()
    assert lanes.rooms([head(endpoint, failures=5)]) == {endpoint: 1}
    lanes.take({}, leased(endpoint, 1), 100.0)
    assert lanes.rooms([head(endpoint, failures=5)]) == {}
    [(lane, _)] = lanes.next(0.0)
    lanes.ended(lane, success=False, seconds=1.0)
    assert lanes.rooms([head(endpoint, failures=5)]) == {}
    lane.unsettled -= 1
    assert lanes.rooms([head(endpoint, failures=6)]) == {endpoint: 1}


def test_a_circuit_that_opens_gives_back_what_it_has_not_begun() -> None:
    lanes, endpoint = Lanes(BOUNDS), uuid4()
    lanes.rooms([head(endpoint)])
    lanes.take({}, leased(endpoint, 10), 100.0)
    for _ in range(5):
        [*begun] = lanes.next(0.0)
        for lane, _leased in begun:
            lanes.ended(lane, success=False, seconds=0.1)
    assert lanes[endpoint].is_open
    given_back = lanes.stale(0.0)
    assert len(given_back) + lanes[endpoint].unsettled == 10
    assert given_back


def test_what_could_not_be_begun_under_its_lease_is_given_back() -> None:
    lanes, endpoint = Lanes(BOUNDS), uuid4()
    lanes.rooms([head(endpoint)])
    lanes.take({}, leased(endpoint, 3), 10.0)
    assert list(lanes.next(11.0)) == []
    assert len(lanes.stale(11.0)) == 3


def test_a_quick_endpoint_is_given_more_at_once_than_a_slow_one() -> None:
    quick, slow = Lane(head=head(uuid4()), pace=0.002), Lane(head=head(uuid4()), pace=5.0)
    assert quick.room(BOUNDS) > 100
    assert slow.room(BOUNDS) == BOUNDS.endpoint


def test_an_endpoint_held_or_switched_off_is_not_asked_for() -> None:
    lanes = Lanes(BOUNDS)
    assert lanes.rooms([head(uuid4(), due_in=3.0)]) == {}


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 6), st.booleans(), st.booleans()), max_size=40))
def test_bounds_hold_and_nothing_is_lost_or_begun_twice(steps: list[tuple[int, int, bool, bool]]) -> None:
    lanes, endpoints = Lanes(BOUNDS), [uuid4() for _ in range(4)]
    tenant = {one: f"t{place % 2}" for place, one in enumerate(endpoints)}
    running: list[tuple[Lane, Leased]] = []
    taken: set[UUID] = set()
    begun: list[UUID] = []
    back: list[UUID] = []
    for which, count, success, settle in steps:
        endpoint = endpoints[which]
        rooms = lanes.rooms([head(endpoint, tenant[endpoint])])
        if endpoint in rooms:
            fresh = leased(endpoint, min(count, rooms[endpoint]), tenant[endpoint])
            taken |= {one.id for one in fresh}
            lanes.take(rooms, fresh, 100.0)
        for pair in lanes.next(0.0):
            running.append(pair)
            begun.append(pair[1].id)
        per_endpoint: dict[UUID, int] = defaultdict(int)
        per_tenant: dict[str, int] = defaultdict(int)
        for lane, _ in running:
            per_endpoint[lane.head.endpoint_id] += 1
            per_tenant[lane.head.tenant_id] += 1
        assert all(number <= BOUNDS.endpoint for number in per_endpoint.values())
        assert all(number <= BOUNDS.tenant for number in per_tenant.values())
        assert lanes.under_way == len(running) <= BOUNDS.process
        if running:
            lane, _ = running.pop(0)
            lanes.ended(lane, success=success, seconds=0.01)
            if settle:
                lane.unsettled -= 1
        back += [one.id for one in lanes.stale(0.0)]
    back += [one.id for one in lanes.drain()]
    assert len(begun) == len(set(begun))
    assert set(begun) | set(back) == taken
    assert not set(begun) & set(back)


def test_a_lane_knows_whether_there_was_more_than_it_took() -> None:
    lanes, endpoint = Lanes(BOUNDS), uuid4()
    rooms = lanes.rooms([head(endpoint)])
    lanes.take(rooms, leased(endpoint, rooms[endpoint]), 100.0)
    assert lanes[endpoint].more
    lanes.rooms([head(endpoint, due_in=5.0)])
    lanes.take(rooms, leased(endpoint, 1), 100.0)
    assert not lanes[endpoint].more
