"""What the bus makes of single events besides handling them: counting, putting away, dead letters, offsets, lag."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from prometheus_client import generate_latest

from shared import outbox
from shared.bus import Route, dead
from shared.bus.account import Account
from shared.bus.breaker import Breaker, FailureLimits
from shared.bus.decode import Item, Kind, decode
from shared.bus.diversion import Diversion, divert_strangers, waiting_row
from shared.bus.lag import Lag
from shared.bus.offsets import Offsets
from shared.bus.route import BoundRoute
from shared.contracts.event import Event, Topic
from shared.metrics import Metrics
from shared.waiting import Waiting
from tests.support.bus import COUNTED, STATE, Counted, wire


async def nothing(tx: Any, batch: Any) -> list[Any]:
    del tx, batch
    return []


FACTS = BoundRoute(Route(COUNTED, nothing), "p.test.counted")
STATES = BoundRoute(Route(STATE, nothing), "p.test.state")


def item(offset: int, *, of: str = "k", route: BoundRoute = FACTS, **more: Any) -> Item:
    """A decoded record at that offset."""
    good = wire(Counted(tenant_id="acme", thing=of, number=offset))
    fields = {"partition": 0, "offset": offset, "timestamp": 1_700_000_000_000, **good, **more}
    return decode(SimpleNamespace(**fields), route, offset)


def broken(offset: int) -> Item:
    return item(offset, value=b"{")


class Counting:
    """An account, its breaker and its counters."""

    def __init__(self, consecutive: int = 3) -> None:
        self.metrics = Metrics("test")
        self.breaker = Breaker(FailureLimits(consecutive=consecutive))
        self.account = Account(self.metrics, self.breaker)

    def count(self, outcome: str, topic: str = "test.counted") -> float:
        counter: Any = self.metrics.events(topic, outcome)
        return float(counter._value.get())


def unpacked(headers: bytes) -> list[tuple[str, bytes | None]]:
    return list(outbox.unpack(headers, b"/test"))


def head(one: Item, reason: Any) -> Waiting:
    return waiting_row(one, Diversion(one.position, reason))


def test_a_batch_of_new_events_is_handled() -> None:
    counting = Counting()
    items = [item(1), item(2)]
    counting.account.settle(items, items, [], [])
    assert counting.count("handled") == 2


def test_each_event_is_counted_as_what_became_of_it() -> None:
    counting = Counting(consecutive=10)
    new, again, letter, repeated, parked, behind, waits = (
        item(1), item(2), broken(3), broken(4), item(5, of="p"), item(6, of="p"), item(7, of="w"),
    )  # fmt: skip
    away = [parked, behind, waits]
    heads = [head(parked, "poison"), head(waits, "not_yet")]
    counting.account.settle([new, again, letter, repeated, *away], [new, letter], away, heads)
    outcomes = {name: counting.count(name) for name in ("handled", "duplicate", "dead", "parked", "waiting")}
    assert outcomes == {"handled": 1, "duplicate": 2, "dead": 1, "parked": 1, "waiting": 2}
    assert b'reason="json"' in generate_latest(counting.metrics.registry)


@pytest.mark.parametrize(("reason", "stops"), [("poison", True), ("hops", True), ("not_yet", False)])
def test_parking_counts_against_the_breaker_and_waiting_does_not(reason: str, stops: bool) -> None:
    counting = Counting(consecutive=3)
    items = [item(n, of=str(n)) for n in range(3)]
    counting.account.settle(items, [], items, [head(one, reason) for one in items])
    assert (counting.breaker.reason is not None) is stops


def test_dead_letters_count_against_the_breaker_and_a_duplicate_between_them_starts_anew() -> None:
    counting = Counting(consecutive=3)
    again = item(9)
    parts = [broken(1), broken(2), again, broken(3), broken(4)]
    counting.account.settle(parts, [one for one in parts if one is not again], [], [])
    assert counting.breaker.reason is None
    counting.account.settle([broken(5)], [], [], [])
    assert counting.breaker.reason is None, "a letter told before is a duplicate"
    more = [broken(6), broken(7), broken(8)]
    counting.account.settle(more, more, [], [])
    assert counting.breaker.reason is not None


def test_state_has_no_duplicates() -> None:
    counting = Counting()
    one = item(1, route=STATES, value=None)
    counting.account.settle([one, broken(2)], [], [], [])
    assert counting.count("handled", "test.state") == 1


def test_what_is_put_away_keeps_the_record_and_only_its_head_has_the_reason() -> None:
    why = Diversion(2, "not_yet", ("policy", "acme/workflow"), attempts=0)
    first, later = waiting_row(item(2), why), waiting_row(item(3), why)
    assert (first.reason, first.missing_kind, first.missing_id) == ("not_yet", "policy", "acme/workflow")
    assert (later.reason, later.missing_kind, later.missing_id, later.error) == ("behind", None, None, None)
    assert waiting_row(item(4), None).reason == "behind"
    poison = waiting_row(item(2), Diversion(2, "poison", error="ValueError", attempts=3))
    assert (poison.error, poison.attempts, poison.topic, poison.offset) == ("ValueError", 3, "test.counted", 2)
    assert first.payload == item(2).record.value


def test_strangers_are_put_away_from_their_first_place_on() -> None:
    newer = item(5, headers=[(n, b"test.counted.v9" if n == "ce_type" else v) for n, v in item(5).record.headers])
    loop = item(3, headers=[(n, b"17" if n == "ce_hops" else v) for n, v in item(3).record.headers])
    assert (newer.kind, loop.kind) == (Kind.NEWER_TYPE, Kind.LOOP)
    diverted: dict[str, Diversion] = {}
    divert_strangers([newer], diverted)
    assert (diverted["k"].reason, diverted["k"].missing) == ("not_yet", ("type", "test.counted.v9"))
    divert_strangers([loop], diverted)
    assert (diverted["k"].reason, diverted["k"].position) == ("hops", 3)
    divert_strangers([newer], diverted)
    assert diverted["k"].position == 3


def test_a_dead_letter_is_the_record_as_it_came_and_says_how_often_it_was_one() -> None:
    one = broken(4)
    assert one.inbox_id is not None
    row = dead.row(one, "tickets", one.inbox_id)
    assert (row.topic, row.payload, row.key) == ("dlq.tickets.test.counted", b"{", one.record.key)
    told = dict(unpacked(row.headers))
    assert (told["dlq_reason"], told["dlq_attempts"], told["dlq_source_offset"]) == (b"json", b"1", b"4")
    assert told["ce_id"] == dict(one.record.headers)["ce_id"]
    again = item(9, value=b"{", headers=[*one.record.headers, ("dlq_attempts", b"3"), ("dlq_reason", b"old")])
    repeated = unpacked(dead.row(again, "tickets", one.inbox_id).headers)
    assert [value for name, value in repeated if name == "dlq_attempts"] == [b"4"]
    assert [value for name, value in repeated if name == "dlq_reason"] == [b"json"]
    odd = item(9, value=b"{", headers=[*one.record.headers, ("dlq_attempts", b"x")])
    assert dict(unpacked(dead.row(odd, "tickets", one.inbox_id).headers))["dlq_attempts"] == b"1"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"key": None}, "key"),
        ({"key": b"\xff"}, "key"),
        ({"key": b""}, "key"),
        ({"key": b"a\x00b"}, "key"),
        ({"value": None}, "tombstone"),
        ({"value": b"x" * (COUNTED.max_bytes + 1)}, "size"),
        ({"value": b"\xff"}, "utf8"),
        ({"value": b"[]"}, "schema"),
        ({"headers": []}, "headers"),
    ],
)
def test_every_malformation_has_its_name(changes: dict[str, Any], reason: str) -> None:
    found = item(1, **changes)
    assert (found.kind, found.reason, found.key) == (Kind.MALFORMED, reason, "")


def test_the_largest_value_is_not_too_large() -> None:
    assert item(1, value=b" " * COUNTED.max_bytes).reason == "json"


def test_an_event_type_is_its_topic_and_a_version() -> None:
    class Odd(Event):
        TYPE = "test.odd"
        KEY = "tenant_id"

    with pytest.raises(ValueError, match=r"<topic>\.v<N>"):
        BoundRoute(Route(Topic(name="test.odd", owner="x", consumers=(), events=(Odd,), summary=""), nothing), "t")


ZERO, ONE = TopicPartition("p.test.counted", 0), TopicPartition("p.test.counted", 1)


class Consumer:
    """A broker that may refuse commits, and takes its time."""

    def __init__(self) -> None:
        self.committed: list[dict[TopicPartition, int]] = []
        self.refuses = False
        self.during: Any = None

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        if self.during is not None:
            self.during()
        if self.refuses:
            raise KafkaError
        self.committed.append(offsets)

    def assignment(self) -> set[TopicPartition]:
        return {ZERO}

    def highwater(self, partition: TopicPartition) -> int | None:
        return {ZERO: 10, ONE: 20}.get(partition)


async def test_offsets_are_committed_once_and_again_only_when_they_moved() -> None:
    consumer: Any = Consumer()
    offsets = Offsets(lambda: consumer)
    await offsets.flush()
    offsets.handled(ZERO, 4)
    offsets.handled(ZERO, 7)
    await offsets.flush()
    await offsets.flush()
    assert consumer.committed == [{ZERO: 8}]


async def test_a_refused_commit_is_tried_again_and_one_overtaken_while_under_way_goes_on() -> None:
    consumer: Any = Consumer()
    offsets = Offsets(lambda: consumer)
    consumer.refuses = True
    offsets.handled(ZERO, 4)
    await offsets.flush()
    consumer.refuses = False
    consumer.during = lambda: offsets.handled(ZERO, 5)
    await offsets.flush()
    consumer.during = None
    await offsets.flush()
    assert consumer.committed == [{ZERO: 5}, {ZERO: 6}]


async def test_offsets_of_partitions_that_went_elsewhere_are_never_committed() -> None:
    consumer: Any = Consumer()
    offsets = Offsets(lambda: consumer)
    offsets.handled(ZERO, 4)
    offsets.forget()
    await offsets.flush()
    away = Offsets(lambda: None)
    away.handled(ZERO, 4)
    await away.flush()
    assert consumer.committed == []


async def test_commits_go_on_in_the_background() -> None:
    consumer: Any = Consumer()
    offsets = Offsets(lambda: consumer)
    running = asyncio.create_task(offsets.run())
    offsets.handled(ZERO, 1)
    async with asyncio.timeout(5):
        while not consumer.committed:  # noqa: ASYNC110 - the commit itself is what is waited for
            await asyncio.sleep(0.01)
    running.cancel()
    assert consumer.committed == [{ZERO: 2}]


def test_lag_is_shown_for_what_is_ours_and_forgotten_when_it_goes() -> None:
    metrics = Metrics("test")
    lag = Lag(metrics, {"p.test.counted": "test.counted"})
    consumer: Any = Consumer()
    lag.handled(ZERO, 3)
    lag.handled(ONE, 3)
    lag.show(consumer)
    lag.show(consumer)

    def shown() -> list[str]:
        lines = generate_latest(metrics.registry).decode().splitlines()
        return [line.rpartition(" ")[2] for line in lines if "lag" in line.split("{")[0] and not line.startswith("#")]

    assert shown() == ["6.0"]
    lag.forget()
    lag._at = 0.0
    lag.show(consumer)
    assert shown() == []
