"""What the bus promises while nothing goes wrong, and for each kind of trouble once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from shared import waiting
from shared.ahead import KafkaReader, Window
from shared.bus import FailureLimits
from shared.envelope import Answer, NotYet, Received
from shared.health import NotReadyError
from tests.support.bus import COUNTED, EXTRA, Bench, Counted, Extra, count, settings, wire
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines


def facts(things: int, each: int) -> list[dict[str, Any]]:
    return [wire(Counted(tenant_id="acme", thing=f"t{t}", number=n)) for n in range(each) for t in range(things)]


async def test_every_fact_has_its_effect_once_and_tells_of_it_in_order(bench: Bench) -> None:
    await bench.send("test.counted", facts(20, 50))
    await bench.start()

    async def all_there() -> bool:
        return bool(await bench.value("SELECT count(*) FROM effect") == 1000)

    await eventually(all_there)

    async def all_told() -> bool:
        return bool(await bench.value("SELECT count(*) FROM outbox") == 0)

    await eventually(all_told)
    told = await bench.read("test.told")
    assert len(told) == 1000
    by_key: dict[bytes, list[bytes]] = {}
    for record in told:
        by_key.setdefault(record.key, []).append(record.value)
    for key, values in by_key.items():
        numbers = [int(value.split(b'"number":')[1].rstrip(b"}")) for value in values]
        assert numbers == list(range(50)), key
    names = dict(told[0].headers)
    assert names["ce_source"] == b"/deskwire/mechanism"
    assert names["ce_type"] == b"test.told.v1"
    assert names["ce_hops"] == b"1"
    assert names["ce_causationid"] == names["ce_correlationid"]
    assert await bench.value("SELECT count(*) FROM inbox") == 1000


async def effects(bench: Bench, expected: int) -> None:
    """Wait for the count, and see that it stays."""

    async def there() -> bool:
        return bool(await bench.value("SELECT count(*) FROM effect") >= expected)

    await eventually(there, what=f"{expected} effects")
    assert await bench.value("SELECT count(*) FROM effect") == expected


async def settled(bench: Bench) -> None:
    """Wait until everything was published."""

    async def empty() -> bool:
        return bool(await bench.value("SELECT count(*) FROM outbox") == 0)

    await eventually(empty, what="an empty outbox")


async def test_a_repeated_event_has_no_second_effect(bench: Bench) -> None:
    one = wire(Counted(tenant_id="acme", thing="t1", number=1), id=uuid4())
    other = wire(Counted(tenant_id="acme", thing="t1", number=2))
    await bench.send("test.counted", [one, one, other])
    await bench.start()
    await effects(bench, 2)
    await bench.send("test.counted", [one, wire(Counted(tenant_id="acme", thing="t1", number=3))])
    await effects(bench, 3)
    assert await bench.value("SELECT count(*) FROM effect WHERE number = 1") == 1


async def test_a_restarted_instance_goes_on_where_its_offsets_say(bench: Bench) -> None:
    await bench.send("test.counted", facts(5, 20))
    first = await bench.start()
    await effects(bench, 100)
    await first.stop()
    seen: list[int] = []

    async def look(tx: Any, batch: Sequence[Received[Any]]) -> Sequence[Answer]:
        seen.extend(one.offset for one in batch)
        return await count(tx, batch)

    await bench.send("test.counted", facts(5, 1))
    second = await bench.start({"test.counted": look})
    await effects(bench, 105)
    assert len(seen) == 5
    duplicates = second.metrics.events("test.counted", "duplicate")._value.get()
    assert duplicates == 0, "a drained instance left its offsets uncommitted"


MALFORMED: dict[str, dict[str, Any]] = {
    "json": {**wire(Counted(tenant_id="acme", thing="bad", number=1)), "value": b'{"thing": "x'},
    "utf8": {**wire(Counted(tenant_id="acme", thing="bad", number=1)), "value": b'{"thing": "\xff\xfe"}'},
    "schema": {**wire(Counted(tenant_id="acme", thing="bad", number=1)), "value": b'{"thing": "carol@example.com"}'},
    "type": wire(Counted(tenant_id="acme", thing="bad", number=1), type="foreign.thing.v1"),
    "tombstone": {**wire(Counted(tenant_id="acme", thing="bad", number=1)), "value": None},
    "size": {**wire(Counted(tenant_id="acme", thing="bad", number=1)), "value": b"[" + b"1," * 500_000 + b"1]"},
    "headers": {**wire(Counted(tenant_id="acme", thing="bad", number=1)), "headers": [("other", b"\xff\x00")]},
    "key": {**wire(Counted(tenant_id="acme", thing="bad", number=1)), "key": None},
}


async def test_each_malformed_kind_becomes_one_dead_letter_with_its_bytes_unchanged(bench: Bench) -> None:
    for record in MALFORMED.values():
        await bench.send("test.counted", [record, *facts(3, 1)])
    await bench.start()
    await effects(bench, 3 * len(MALFORMED))
    await settled(bench)
    letters = await bench.read("dlq.mechanism.test.counted")
    found = {dict(letter.headers)["dlq_reason"].decode(): letter for letter in letters}
    assert sorted(found) == sorted(MALFORMED)
    assert len(letters) == len(MALFORMED)
    for reason, letter in found.items():
        assert letter.value == MALFORMED[reason]["value"], reason
        assert letter.key == MALFORMED[reason]["key"], reason
        headers = dict(letter.headers)
        for name, value in MALFORMED[reason]["headers"]:
            assert headers[name] == value, reason
        assert headers["dlq_source_topic"] == b"test.counted"
        assert headers["dlq_group"] == b"mechanism"
        assert b"carol" not in headers["dlq_error"]
    assert b"number: missing" in dict(found["schema"].headers)["dlq_error"]


async def test_a_replay_from_the_start_adds_neither_effects_nor_dead_letters(bench: Bench) -> None:
    await bench.send("test.counted", [*facts(3, 5), MALFORMED["json"], MALFORMED["key"]])
    first = await bench.start()
    await effects(bench, 15)
    await settled(bench)
    await first.stop()
    # A new group name reads from the start; the inbox knows the service by its own name.
    second = await bench.start()
    second.bus._group = bench.prefix + "again"
    await bench.send("test.counted", facts(1, 1))
    await effects(bench, 16)

    async def replayed() -> bool:
        return bool(second.metrics.events("test.counted", "duplicate")._value.get() == 17)

    await eventually(replayed, what="the replay")
    await settled(bench)
    assert len(await bench.read("dlq.mechanism.test.counted")) == 2


async def test_a_poison_event_parks_its_key_and_nobody_else(bench: Bench) -> None:
    async def fragile(tx: Any, batch: Sequence[Received[Any]]) -> Sequence[Answer]:
        if any(one.event.number == 13 for one in batch):
            raise ValueError("carol@example.com cannot be thirteen")
        return await count(tx, batch)

    records = facts(50, 4)
    records.insert(57, wire(Counted(tenant_id="acme", thing="t7", number=13)))
    await bench.send("test.counted", records)
    await bench.start({"test.counted": fragile})
    before = [r for r in records[:57] if r["key"] == b"t7"]
    await effects(bench, 49 * 4 + len(before))
    rows = await bench.rows("SELECT * FROM waiting ORDER BY id")
    assert [row["reason"] for row in rows] == ["poison"] + ["behind"] * (4 - len(before))
    assert {row["key"] for row in rows} == {"t7"}
    assert rows[0]["error"].startswith("ValueError at test_bus.py")
    assert "carol" not in rows[0]["error"]
    assert rows[0]["attempts"] == 3
    # Later events of that key go behind it, on the other topic too; the rest goes on.
    await bench.send("test.extra", [wire(Extra(tenant_id="acme", thing=f"t{n}", number=1)) for n in (7, 8)])
    await effects(bench, 49 * 4 + len(before) + 1)

    async def behind() -> bool:
        return bool(await bench.value("SELECT count(*) FROM waiting WHERE topic = 'test.extra' AND key = 't7'") == 1)

    await eventually(behind)


async def test_a_parked_key_is_no_lag_so_that_it_scales_nobody(bench: Bench) -> None:
    async def fragile(tx: Any, batch: Sequence[Received[Any]]) -> Sequence[Answer]:
        if any(one.event.thing == "t7" for one in batch):
            raise ValueError("t7 cannot be handled")
        return await count(tx, batch)

    await bench.send("test.counted", facts(10, 4))
    await bench.start({"test.counted": fragile})
    await effects(bench, 9 * 4)
    assert await bench.value("SELECT count(*) FROM waiting WHERE key = 't7'") == 4
    reader = KafkaReader(settings(bench.kafka_url, "", bench.prefix), Window("test.counted", "mechanism", 1))
    try:

        async def caught_up() -> bool:
            return await reader.lag() == 0

        await eventually(caught_up, what="a group that is at the end of its topic as the broker, and so KEDA, sees it")
    finally:
        await reader.close()


async def test_an_event_waits_with_its_followers_until_what_it_needs_is_there(bench: Bench) -> None:
    async def needy(tx: Any, batch: Sequence[Received[Any]]) -> Sequence[Answer]:
        known = await tx.fetchval("SELECT 1 FROM known WHERE name = 'policy'")
        missing = [NotYet(one, "policy", "acme") for one in batch if one.event.number == 2 and not known]
        return missing or await count(tx, batch)

    async def tell(tx: Any, batch: Sequence[Received[Any]]) -> Sequence[Answer]:
        await tx.execute("INSERT INTO known VALUES ('policy')")
        await waiting.wake(tx, "policy", ["acme"])
        return await count(tx, batch)

    await bench.send("test.counted", facts(10, 5))
    one = await bench.start({"test.counted": needy, "test.extra": tell})
    await effects(bench, 20)
    assert await bench.value("SELECT count(DISTINCT key) FROM waiting") == 10
    # Arrivals append.
    await bench.send("test.counted", [wire(Counted(tenant_id="acme", thing=f"t{n}", number=5)) for n in range(10)])

    async def appended() -> bool:
        return bool(await bench.value("SELECT count(*) FROM waiting") == 40)

    await eventually(appended)
    await bench.send("test.extra", [wire(Extra(tenant_id="acme", thing="policy", number=9))])
    await effects(bench, 61)
    await settled(bench)
    assert await bench.value("SELECT count(*) FROM waiting") == 0
    for n in range(10):
        rows = await bench.rows("SELECT number FROM effect WHERE key = $1 ORDER BY id", f"t{n}")
        assert [row["number"] for row in rows] == [0, 1, 2, 3, 4, 5]
    assert one.metrics.events("test.counted", "drained")._value.get() == 40


async def test_a_newer_version_waits_for_a_release_that_knows_it(bench: Bench) -> None:
    newer = wire(Counted(tenant_id="acme", thing="t1", number=1), type="test.counted.v2")
    await bench.send("test.counted", [newer, *facts(2, 2)])
    first = await bench.start()
    await effects(bench, 2)

    async def away() -> list[tuple[str, str | None]]:
        rows = await bench.rows("SELECT reason, missing_id FROM waiting ORDER BY id")
        return [(row["reason"], row["missing_id"]) for row in rows if len(rows) == 3]

    assert (await eventually(away))[0] == ("not_yet", "test.counted.v2")
    await first.stop()

    class Second(Counted):
        TYPE = "test.counted.v2"

    await bench.start(topics=(replace(COUNTED, events=(Counted, Second)), EXTRA))
    await effects(bench, 5)


async def test_a_chain_of_too_many_events_is_parked(bench: Bench) -> None:
    await bench.send(
        "test.counted",
        [
            wire(Counted(tenant_id="acme", thing="t1", number=1), hops=16),
            wire(Counted(tenant_id="acme", thing="t1", number=2), hops=17),
            wire(Counted(tenant_id="acme", thing="t1", number=3)),
            wire(Counted(tenant_id="acme", thing="t2", number=1)),
        ],
    )
    await bench.start()
    await effects(bench, 2)
    rows = await bench.rows("SELECT reason FROM waiting ORDER BY id")
    assert [row["reason"] for row in rows] == ["hops", "behind"]


async def test_lost_database_connections_repeat_the_same_batch_until_it_commits(bench: Bench) -> None:
    killed = 0

    async def interrupted(tx: Any, batch: Sequence[Received[Any]]) -> Sequence[Answer]:
        nonlocal killed
        answers = await count(tx, batch)
        if killed < 3:
            killed += 1
            await bench.rows(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                " AND usename <> current_user"  # not those this test itself looks through
            )
        return answers

    await bench.send("test.counted", facts(10, 10))
    await bench.start({"test.counted": interrupted})
    await effects(bench, 100)
    await settled(bench)
    assert await bench.value("SELECT count(*) FROM waiting") == 0
    assert len(await bench.read("test.told")) == 100


async def test_too_many_failures_in_a_row_stop_the_bus_and_say_so(bench: Bench) -> None:
    await bench.send("test.counted", [MALFORMED["json"]] * 30)
    one = await bench.start(limits=FailureLimits(consecutive=10))

    async def stopped() -> str:
        try:
            await one.bus.checks()[0].ready()
        except NotReadyError as error:
            return str(error) if "stopped" in str(error) else ""
        return ""

    assert "10 events in a row" in await eventually(stopped)
    await settled(bench)
    assert len(await bench.read("dlq.mechanism.test.counted")) == 10
    await bench.send("test.counted", facts(1, 1))
    assert await bench.value("SELECT count(*) FROM effect") == 0


async def test_a_handler_slower_than_the_poll_interval_keeps_its_partitions(bench: Bench) -> None:
    rounds = 0

    async def slow(tx: Any, batch: Sequence[Received[Any]]) -> Sequence[Answer]:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            await asyncio.sleep(4)
        return await count(tx, batch)

    await bench.send("test.counted", facts(5, 2))
    one = await bench.start({"test.counted": slow}, poll_interval_milliseconds=1500)
    await effects(bench, 10)
    await bench.send("test.counted", facts(5, 1))
    await effects(bench, 15)
    assert one.bus._generation == 1, "the consumer was thrown out of its group"


async def test_a_healthy_run_has_nothing_to_warn_of(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    await bench.send("test.counted", facts(5, 5))
    one = await bench.start()
    await effects(bench, 25)
    await settled(bench)
    for check in [*one.bus.checks(), *one.relay.checks()]:
        await check.ready()
    await one.stop()
    ours = [record for record in caplog.records if record.name.startswith("shared")]
    assert [record.message for record in ours if record.levelname not in {"INFO", "DEBUG"}] == []
