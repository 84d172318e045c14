"""What people do with dead letters and parked keys, and how the inbox grows old."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from shared import dlq, inbox, parked
from shared.db import Database
from shared.envelope import Answer, NotYet, Received
from tests.support.bus import Bench, Counted, count, settings, wire
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines


async def reaches(bench: Bench, sql: str, value: object) -> None:
    async def there() -> bool:
        return bool(await bench.value(sql) == value)

    await eventually(there, what=f"{sql} = {value}")


async def test_a_repaired_dead_letter_is_handled_once_however_often_it_is_replayed(bench: Bench) -> None:
    good = wire(Counted(tenant_id="acme", thing="t1", number=1), id=uuid4())
    await bench.send(
        "test.counted", [{**good, "value": b"not yet JSON"}, wire(Counted(tenant_id="acme", thing="t2", number=2))]
    )
    await bench.start()
    await reaches(bench, "SELECT count(*) FROM effect", 1)
    await reaches(bench, "SELECT count(*) FROM outbox", 0)
    conf = settings(bench.kafka_url, bench.database_url, bench.prefix)
    assert "test.counted" in await dlq.topics(conf, "mechanism")
    [letter] = await dlq.letters(conf, "mechanism")
    assert (letter.reason, letter.attempts, letter.value) == ("json", 1, b"not yet JSON")
    assert await dlq.show(conf, "mechanism", "test.counted", letter.place) == letter
    # Still malformed: another letter, which says that it is the second.
    assert len(await dlq.replay(conf, "mechanism", "test.counted")) == 1

    async def two() -> list[int]:
        attempts = [one.attempts for one in await dlq.letters(conf, "mechanism", "test.counted")]
        return attempts if len(attempts) == 2 else []

    assert await eventually(two) == [1, 2]
    # The event itself, repaired by its producer under the same id, is not taken for handled.
    await bench.send("test.counted", [good, good])
    await reaches(bench, "SELECT count(*) FROM effect", 2)
    with pytest.raises(dlq.NoSuchLetterError):
        await dlq.show(conf, "mechanism", "test.counted", dlq.Place(0, 99))


async def test_a_released_key_goes_on_and_a_discarded_event_stays_away(bench: Bench) -> None:
    broken = True

    async def fragile(tx: Any, batch: Sequence[Received[Any]]) -> Sequence[Answer]:
        if broken and any(one.event.number == 1 for one in batch):
            raise ValueError
        return await count(tx, batch)

    records = [wire(Counted(tenant_id="acme", thing=f"t{t}", number=n)) for n in range(3) for t in range(2)]
    await bench.send("test.counted", records)
    one = await bench.start({"test.counted": fragile})
    await reaches(bench, "SELECT count(*) FROM waiting", 4)
    keys = await parked.keys(one.database, "mechanism")
    assert {key.key for key in keys} == {"t0", "t1"}
    assert {(key.reason, key.events) for key in keys} == {("poison", 2)}
    assert len(await parked.events(one.database, "mechanism", "t0")) == 2
    assert await parked.discard(one.database, "mechanism", "t0") == 1
    await reaches(bench, "SELECT count(*) FROM effect WHERE key = 't0'", 2)
    broken = False
    assert await parked.release(one.database, "mechanism", "t1")
    await reaches(bench, "SELECT count(*) FROM effect WHERE key = 't1'", 3)
    assert await bench.value("SELECT count(*) FROM waiting") == 0
    assert not await parked.release(one.database, "mechanism", "t1")
    # Neither comes back when everything is delivered again.
    await bench.send("test.counted", records)
    await bench.send("test.counted", [wire(Counted(tenant_id="acme", thing=f"end{n}", number=9)) for n in range(3)])
    await reaches(bench, "SELECT count(*) FROM effect WHERE number = 9", 3)
    assert await bench.value("SELECT count(*) FROM effect") == 5 + 3


async def test_a_key_that_nobody_wakes_is_tried_again_and_told_after_five_minutes(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    async def needy(tx: Any, batch: Sequence[Received[Any]]) -> Sequence[Answer]:
        if await tx.fetchval("SELECT 1 FROM known"):
            return await count(tx, batch)
        return [NotYet(one, "policy", "acme") for one in batch]

    await bench.send("test.counted", [wire(Counted(tenant_id="acme", thing="t1", number=1))])
    one = await bench.start({"test.counted": needy})
    await reaches(bench, "SELECT attempts FROM waiting", 1)
    await bench.rows("UPDATE waiting SET since = since - interval '6 minutes'")
    await one.bus._drain.report()
    assert one.metrics.waiting_alarm._value.get() == 1
    assert [record for record in caplog.records if "five minutes" in record.message]
    # Stored by somebody who forgot to wake it.
    await bench.rows("INSERT INTO known VALUES ('policy')")
    await bench.rows("UPDATE waiting SET due_at = due_at - interval '1 minute'")
    await reaches(bench, "SELECT count(*) FROM effect", 1)


async def test_the_inbox_forgets_by_age_and_keeps_what_came_with_odd_times(bench: Bench) -> None:
    database = await Database.connect(bench.database_url, application="test")
    today = datetime.now(UTC).date()
    ids = [uuid4() for _ in range(4)]
    days = [today, today - timedelta(days=5), today + timedelta(days=60), today - timedelta(days=400)]
    try:
        await inbox.maintain(database, 67)
        async with database.begin() as tx:
            for identity, day in zip(ids, days, strict=True):
                assert await inbox.record(tx, "mechanism", identity, day)
                assert not await inbox.record(tx, "mechanism", identity, day)
        assert await bench.value("SELECT count(*) FROM inbox_default") == 2
        await inbox.maintain(database, 67)
        assert await bench.value("SELECT count(*) FROM inbox") == 3, "older than the oldest week kept"
        # A month later the week ahead gets its partition, and what lay in the default one comes along.
        await bench.rows("UPDATE clock_offset SET shift = interval '30 days'")
        made, dropped = await inbox.maintain(database, 67)
        assert made >= 4
        assert dropped == 0
        assert await bench.value("SELECT count(*) FROM inbox_default") == 0
        async with database.begin() as tx:
            assert not await inbox.record(tx, "mechanism", ids[2], days[2])
        await bench.rows("UPDATE clock_offset SET shift = interval '85 days'")
        _, dropped = await inbox.maintain(database, 67)
        assert dropped >= 1
        assert await bench.value("SELECT array_agg(ce_id) FROM inbox") == [ids[2]]
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await database.execute("DROP TABLE inbox_default")
    finally:
        await database.close()
