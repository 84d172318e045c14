"""The parts of the bus that need no engine: headers, rows, hashing, decoding, counting, lingering."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest
from aiokafka.partitioner import murmur2 as reference
from hypothesis import given
from hypothesis import strategies as st

from shared import crash, kafka, outbox
from shared.bus import Bus, FailureLimits, Route
from shared.bus.breaker import Breaker
from shared.bus.decode import Kind, decode
from shared.bus.route import BoundRoute
from shared.contracts import cloudevents
from shared.contracts.event import Event, Topic
from shared.envelope import Answer, Delete, Emit, NotYet, Received
from shared.explain import explain
from shared.linger import Linger
from tests.support.bus import COUNTED, STATE, Counted, State, Told, headers, settings, wire

NOW = datetime(2026, 11, 21, 10, 0, 0, 123456, tzinfo=UTC)
SOURCE = b"/deskwire/test"


async def nothing(tx: Any, batch: Sequence[Any]) -> Sequence[Answer]:
    return []


def received(**more: Any) -> Received[Event]:
    values: dict[str, Any] = {
        "event": Counted(tenant_id="acme", thing="t", number=1),
        "id": uuid4(),
        "type": "test.counted.v1",
        "time": NOW,
        "key": "t",
        "topic": "test.counted",
        "partition": 0,
        "offset": 0,
        **more,
    }
    return Received(**values)


def record(**more: Any) -> Any:
    good = wire(Counted(tenant_id="acme", thing="t", number=1))
    return SimpleNamespace(**{"partition": 1, "offset": 7, "timestamp": 1_700_000_000_000, **good, **more})


@given(st.binary(max_size=200))
def test_keys_go_to_the_partition_the_java_client_chooses(data: bytes) -> None:
    assert kafka.murmur2(data) == reference(data)


def test_what_is_emitted_reads_back_as_it_was_caused() -> None:
    cause = received(hops=3, correlation="c-1", traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01")
    [row] = outbox.rows_of([Emit(Told(tenant_id="acme", thing="ü 7", number=1), cause=cause)], NOW)
    pairs = outbox.unpack(row.headers, SOURCE)
    names = dict(pairs)
    read = cloudevents.read(pairs)
    assert (row.topic, row.key, row.tenant) == ("test.told", "ü 7".encode(), "acme")
    assert (read.type, read.time, read.hops, read.correlation) == ("test.told.v1", NOW, 4, "c-1")
    assert read.traceparent == cause.traceparent
    assert str(read.id) == str(row.id)
    assert names["ce_causationid"] == str(cause.id).encode()
    assert names["ce_source"] == SOURCE
    assert names["ce_subject"] == "ü 7".encode()
    assert names["ce_tenant"] == b"acme"
    assert names["content-type"] == b"application/json"
    assert names["ce_specversion"] == b"1.0"


def test_the_first_event_of_a_chain_is_its_own_correlation() -> None:
    rows = outbox.rows_of(
        [
            Emit(Told(tenant_id="acme", thing="t", number=1)),
            Emit(Told(tenant_id="acme", thing="t", number=1), correlation="request-1"),
        ],
        NOW,
    )
    first, second = (cloudevents.read(outbox.unpack(row.headers, SOURCE)) for row in rows)
    assert first.correlation == str(first.id)
    assert first.hops == 0
    assert second.correlation == "request-1"


def test_a_tombstone_is_a_row_without_payload() -> None:
    [row] = outbox.rows_of([Delete("test.state", "t", "acme", cause=received())], NOW)
    assert row.payload is None
    assert dict(outbox.unpack(row.headers, SOURCE))["ce_hops"] == b"1"


@pytest.mark.parametrize(
    "emit",
    [
        Emit(Told(tenant_id="acme", thing="t", number=1), id=uuid4()),
        Emit(Told(tenant_id="acme", thing="a\x1fb", number=1)),
        Emit(Told(tenant_id="acme", thing="x" * 300_000, number=1)),
    ],
    ids=["id without a time", "separator in the key", "too large"],
)
def test_what_no_reader_could_take_is_refused_where_it_is_written(emit: Emit) -> None:
    with pytest.raises(outbox.NotPublishableError):
        outbox.rows_of([emit], NOW)


async def test_not_yet_is_no_event() -> None:
    with pytest.raises(TypeError):
        await outbox.add(SimpleNamespace(instant=NOW), [NotYet(received(), "policy", "x")])  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.text(max_size=20), st.one_of(st.none(), st.binary(max_size=50))), max_size=8))
def test_foreign_headers_are_kept_byte_for_byte(pairs: list[tuple[str, bytes | None]]) -> None:
    assert outbox.unpack(outbox.pack_any(pairs), SOURCE) == pairs


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("ce_id", None, "ce_id: not a UUID"),
        ("ce_id", b"carol@example.com", "ce_id: not a UUID"),
        ("ce_time", b"yesterday", "ce_time: not an RFC 3339 instant"),
        ("ce_time", b"2026-11-21T10:00:00", "ce_time: no zone"),
        ("ce_time", b"0001-01-01T00:00:00+14:00", "ce_time: out of range"),
        ("ce_type", b"\xff", "ce_type: unreadable"),
        ("ce_hops", b"-1", "ce_hops: not a count"),
        ("ce_hops", b"1" * 5000, "ce_hops: not a count"),
        ("ce_specversion", b"0.3", "ce_specversion: missing or not 1.0"),
    ],
)
def test_a_wrong_header_is_named_but_never_quoted(name: str, value: bytes | None, told: str) -> None:
    given_headers = [(n, v) for n, v in headers("test.counted.v1") if n != name] + [(name, value)]
    with pytest.raises(cloudevents.HeaderError) as caught:
        cloudevents.read(given_headers)
    assert str(caught.value) == told


@pytest.mark.parametrize("missing", ["ce_id", "ce_type", "ce_time"])
def test_a_missing_header_is_named(missing: str) -> None:
    with pytest.raises(cloudevents.HeaderError, match=missing):
        cloudevents.read([(n, v) for n, v in headers("test.counted.v1") if n != missing])


def test_other_zones_are_carried_in_utc() -> None:
    pairs = [("ce_time", b"2026-11-21T12:00:00+02:00") if n == "ce_time" else (n, v) for n, v in headers("a.b.v1")]
    assert cloudevents.read(pairs).time == datetime(2026, 11, 21, 10, tzinfo=UTC)


FACTS = BoundRoute(Route(COUNTED, nothing), "x.test.counted")
STATES = BoundRoute(Route(STATE, nothing), "x.test.state")


def test_a_good_record_becomes_its_event() -> None:
    item = decode(record(), FACTS, 4)
    assert item.kind is Kind.EVENT
    assert isinstance(item.value, Received)
    assert item.value.event == Counted(tenant_id="acme", thing="t", number=1)
    assert (item.value.topic, item.value.partition, item.value.offset, item.position) == ("test.counted", 1, 7, 4)
    assert item.inbox_id == item.value.id


def test_state_has_no_inbox_and_takes_tombstones() -> None:
    stone = decode(record(value=None), STATES, 0)
    assert (stone.kind, stone.inbox_id) == (Kind.TOMBSTONE, None)
    state = decode(record(**wire(State(tenant_id="acme", thing="t", version=1))), STATES, 0)
    assert (state.kind, state.inbox_id) == (Kind.EVENT, None)


@pytest.mark.parametrize(("hops", "kind"), [(b"0", Kind.EVENT), (b"16", Kind.EVENT), (b"17", Kind.LOOP)])
def test_beyond_sixteen_hops_it_is_a_loop(hops: bytes, kind: Kind) -> None:
    caused = [(name, hops if name == "ce_hops" else value) for name, value in record().headers]
    assert decode(record(headers=caused), FACTS, 0).kind is kind


@pytest.mark.parametrize(
    ("ce_type", "kind"),
    [
        ("test.counted.v2", Kind.NEWER_TYPE),
        ("test.counted.v99", Kind.NEWER_TYPE),
        ("test.counted.v0", Kind.MALFORMED),
        ("test.counted", Kind.MALFORMED),
        ("test.other.v2", Kind.MALFORMED),
    ],
)
def test_only_a_later_version_of_its_own_types_waits(ce_type: str, kind: Kind) -> None:
    assert decode(record(headers=headers(ce_type)), FACTS, 0).kind is kind


def test_an_older_version_that_is_still_known_is_read() -> None:
    class Second(Counted):
        TYPE: ClassVar[str] = "test.counted.v2"

    both = Topic(name="test.counted", owner="o", consumers=(), events=(Counted, Second), summary="both")
    item = decode(record(), BoundRoute(Route(both, nothing), "x"), 0)
    assert isinstance(item.value, Received)
    assert type(item.value.event) is Counted


def test_a_dead_letter_is_known_by_where_it_lies() -> None:
    bad = {"value": b"{"}
    first, again = decode(record(**bad), FACTS, 0), decode(record(**bad), FACTS, 3)
    elsewhere = decode(record(**bad, offset=8), FACTS, 0)
    anew = decode(record(**bad, timestamp=1_700_000_000_001), FACTS, 0)
    assert first.inbox_id == again.inbox_id
    assert len({first.inbox_id, elsewhere.inbox_id, anew.inbox_id}) == 3


@given(st.binary(max_size=60), st.binary(max_size=60), st.integers(-(2**62), 2**62))
def test_decoding_never_raises(key: bytes, value: bytes, timestamp: int) -> None:
    decode(record(key=key, value=value, timestamp=timestamp), FACTS, 0)


def test_a_refused_payload_is_explained_without_its_values() -> None:
    for value in (b'{"tenant_id": "carol@example.com"}', b'{"carol@example.com": 1}', b'["carol@example.com"]'):
        item = decode(record(value=value), FACTS, 0)
        assert item.reason == "schema"
        assert item.error
        assert "carol" not in item.error


def test_an_error_is_explained_without_its_message() -> None:
    with pytest.raises(ValueError) as caught:
        int("carol@example.com")
    told = explain(caught.value)
    assert told.startswith("ValueError at test_bus_parts.py:")
    assert "carol" not in told


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def stopped(breaker: Breaker) -> bool:
    return breaker.reason is not None


def test_the_bus_stops_after_so_many_failures_in_a_row_and_not_before() -> None:
    breaker = Breaker(FailureLimits(consecutive=5), Clock())
    breaker.bad(4)
    breaker.good(1)
    breaker.bad(4)
    assert not stopped(breaker)
    assert breaker.room() == 1
    breaker.bad()
    assert stopped(breaker)


def test_the_bus_stops_above_its_share_of_failures_within_the_window() -> None:
    clock = Clock()
    breaker = Breaker(FailureLimits(consecutive=10**6, share=0.01, least=100, window=300), clock)
    for _ in range(99):
        breaker.bad()
        breaker.good(10)
    assert not stopped(breaker), "too few failures to speak of a share"
    breaker.bad()
    assert stopped(breaker)
    patient = Breaker(FailureLimits(consecutive=10**6), clock)
    for _ in range(200):
        patient.good(99)
        patient.bad()
        clock.now += 1
    assert patient.reason is None, "one in a hundred is not more than one in a hundred"


def test_old_failures_are_forgotten() -> None:
    clock = Clock()
    breaker = Breaker(FailureLimits(consecutive=10**6), clock)
    for _ in range(99):
        breaker.bad()
    clock.now += 301
    breaker.good(1)
    for _ in range(99):
        breaker.bad()
        breaker.good(1)
    assert breaker.reason is None


def test_lingering_adapts_to_the_load() -> None:
    clock = Clock()
    linger = Linger(0.01, 500, clock)
    assert linger.pause(3) == 0, "idle"
    linger.handled(3)
    assert linger.pause(2) == 0, "small after small"
    assert linger.pause(50) == pytest.approx(0.01), "under load"
    linger.handled(50)
    assert linger.pause(1) == pytest.approx(0.01), "small after a larger one"
    assert linger.pause(250) == 0, "large already"
    linger.handled(250)
    assert linger.pause(50) == 0, "after a large one"
    clock.now += 1
    assert linger.pause(50) == 0, "idle again"
    assert Linger(0, 500, clock).pause(100) == 0


def test_lingering_waits_for_company_when_single_events_come_fast_enough_to_have_some() -> None:
    clock = Clock()
    slow, fast = Linger(0.01, 500, clock), Linger(0.01, 500, clock)
    for step in range(1, 401):
        clock.now += 0.005
        fast.handled(1)
        if step % 8 == 0:
            slow.handled(1)
            slow.pause(1)
        if step < 400:
            fast.pause(1)
    assert fast.pause(1) > 0, "200 a second: two more are due within ten milliseconds"
    assert slow.pause(1) == 0.0, "25 a second: none is"


def test_lingering_counts_what_events_have_waited_while_the_batch_before_was_handled() -> None:
    clock = Clock()
    linger = Linger(0.01, 500, clock)
    linger.handled(50)
    linger.pause(50)
    clock.now += 0.007
    linger.handled(50)
    assert linger.pause(50) == pytest.approx(0.003), (
        "ten milliseconds from start to start, seven of them spent handling"
    )
    clock.now += 0.05
    linger.handled(50)
    assert linger.pause(50) == 0, "the batch before took longer than the wait"


def test_a_topic_has_one_route() -> None:
    conf = settings("127.0.0.1:1", "postgresql://nowhere", "p.")
    with pytest.raises(ValueError, match="two routes"):
        Bus(conf, None, [Route(COUNTED, nothing), Route(COUNTED, nothing)], relay=None)  # type: ignore[arg-type]


def test_every_crash_point_of_the_bus_is_in_the_source() -> None:
    source = "".join(path.read_text() for path in Path(crash.__file__).parent.rglob("*.py"))
    for point in crash.POINTS:
        if point.split(".")[0] in {"bus", "relay", "drain"}:
            assert f'crash.point("{point}")' in source, point


def test_ids_drawn_with_a_row_are_in_order_of_time() -> None:
    rows = outbox.rows_of([Emit(Told(tenant_id="acme", thing="t", number=n)) for n in range(50)], NOW)
    ids = [UUID(str(row.id)) for row in rows]
    assert ids == sorted(ids)
    assert {one.version for one in ids} == {7}
