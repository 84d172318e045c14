"""The relay: one publishes, in order, whatever happens to it or to the broker's topics."""

from __future__ import annotations

import asyncio
import time
from typing import Self
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer

from shared import outbox
from shared.ahead import Window
from shared.db import Database
from shared.envelope import Emit
from shared.metrics import Metrics
from shared.relay import Relay
from tests.support.bus import Bench, Told, settings
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines


async def write(database: Database, relay: Relay | None, events: list[Told]) -> None:
    """Commit events like an HTTP handler does."""
    async with database.begin() as tx:
        await outbox.add(tx, [Emit(event) for event in events])
    if relay is not None:
        relay.wake()


def told(thing: str, number: int, tenant: str = "acme") -> Told:
    return Told(tenant_id=tenant, thing=thing, number=number)


async def published(bench: Bench) -> list[tuple[str, int]]:
    """Keys and numbers on the topic, each partition in order."""
    found = []
    for record in await bench.read("test.told"):
        event = Told.model_validate_json(record.value)
        found.append((event.thing, event.number))
    return found


async def empty(bench: Bench) -> None:
    async def none() -> bool:
        return bool(await bench.value("SELECT count(*) FROM outbox") == 0)

    await eventually(none, what="an empty outbox")


class Alone:
    """A relay without a bus."""

    def __init__(
        self, bench: Bench, *, fair: bool = False, tenant_rate: int | None = None, window: Window | None = None
    ) -> None:
        self.bench = bench
        self.window = window
        self.fair = fair
        self.tenant_rate = tenant_rate

    async def __aenter__(self) -> Self:
        self.database = await Database.connect(self.bench.database_url, application="mechanism")
        conf = settings(self.bench.kafka_url, self.bench.database_url, self.bench.prefix)
        self.metrics = Metrics("mechanism")
        self.relay = Relay(
            conf,
            self.database,
            metrics=self.metrics,
            fair=self.fair,
            tenant_rate=self.tenant_rate,
            window=self.window,
        )
        self.task = asyncio.create_task(self.work())
        return self

    async def work(self) -> None:
        await self.relay.loops()[0].run()

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        await self.database.close()


async def test_what_is_committed_is_on_the_topic_at_once(bench: Bench) -> None:
    async with Alone(bench) as one:
        await write(one.database, one.relay, [told("warm", 0)])
        await empty(bench)
        began = time.perf_counter()
        for n in range(50):
            await write(one.database, one.relay, [told("t", n)])
            await asyncio.sleep(0.002)
        await empty(bench)
        assert time.perf_counter() - began < 10
    assert [pair for pair in await published(bench) if pair[0] == "t"] == [("t", n) for n in range(50)]


async def test_the_second_relay_follows_and_takes_over_when_the_first_ends(bench: Bench) -> None:
    async with Alone(bench) as first:
        await eventually(lambda: _leads(first.relay))
        async with Alone(bench) as second:
            await asyncio.sleep(0.3)
            assert not await _leads(second.relay)
            # Written where the relay does not lead: the leader hears of it.
            await write(second.database, second.relay, [told("a", 1)])
            await empty(bench)
            await first.stop()
            await write(second.database, second.relay, [told("a", 2)])
            await empty(bench)
            assert await _leads(second.relay)
    assert await published(bench) == [("a", 1), ("a", 2)]


async def test_a_relay_whose_session_is_ended_is_elected_again_and_loses_nothing(bench: Bench) -> None:
    async with Alone(bench) as one:
        for n in range(100):
            await write(one.database, one.relay, [told(f"t{n % 7}", n)])
            if n % 25 == 10:
                await bench.rows(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND application_name = 'mechanism relay'"
                )
        await empty(bench)
    seen: dict[str, list[int]] = {}
    for thing, number in await published(bench):
        if number not in seen.setdefault(thing, []):
            seen[thing].append(number)
    # Repeats are allowed, first appearances are in order and complete.
    assert {t: list(ns) for t, ns in seen.items()} == {f"t{k}": list(range(k, 100, 7)) for k in range(7)}


async def test_a_missing_topic_holds_up_only_its_own_events(bench: Bench) -> None:
    async with Alone(bench) as one:
        async with one.database.begin() as tx:
            await outbox.insert(tx, [_row("not a topic")])
        await write(one.database, one.relay, [told("a", 1)])

        async def only_the_lost_one() -> bool:
            return [row["topic"] for row in await bench.rows("SELECT topic FROM outbox")] == ["not a topic"]

        await eventually(only_the_lost_one)
        await write(one.database, one.relay, [told("a", 2)])
        await eventually(only_the_lost_one)
    assert await published(bench) == [("a", 1), ("a", 2)]


def _row(topic: str) -> outbox.Row:
    return outbox.Row(topic, b"k", "acme", uuid4(), b"{}", outbox.pack_any([]))


async def test_a_stopping_relay_sends_what_is_left(bench: Bench) -> None:
    async with Alone(bench) as one:
        await write(one.database, one.relay, [told("warm", 0)])
        await empty(bench)
        await write(one.database, None, [told("left", n) for n in range(3000)])
        await one.stop()
        assert await bench.value("SELECT count(*) FROM outbox") == 0


async def test_a_flood_of_one_tenant_does_not_stand_before_another(bench: Bench) -> None:
    await bench.rows("CREATE INDEX outbox_tenant ON outbox (tenant, id)")
    database = await Database.connect(bench.database_url, application="mechanism")
    await write(database, None, [told("flood", n, "big") for n in range(20_000)])
    await write(database, None, [told("emergency", n, "small") for n in range(3)])
    async with Alone(bench, fair=True):

        async def out() -> bool:
            return bool(await bench.value("SELECT count(*) FROM outbox WHERE tenant = 'small'") == 0)

        await eventually(out, every=0.005)
        assert await bench.value("SELECT count(*) FROM outbox") > 15_000, "the flood went first"
        await empty(bench)
    await database.close()
    numbers = [number for thing, number in await published(bench) if thing == "flood"]
    assert numbers == list(range(20_000))


async def test_the_backlog_of_a_paced_tenant_stays_in_the_table_and_its_neighbour_passes(bench: Bench) -> None:
    await bench.rows("CREATE INDEX outbox_tenant ON outbox (tenant, id)")
    async with Alone(bench, fair=True, tenant_rate=500) as one:
        # Before the write: the relay is woken by its commit, which a busy machine tells us of later.
        began = time.monotonic()
        await write(one.database, one.relay, [told("flood", n, "big") for n in range(3000)])

        async def some() -> bool:
            return bool(await bench.value("SELECT count(*) FROM outbox") < 3000)

        await eventually(some)
        await write(one.database, one.relay, [told("emergency", 1, "small")])

        async def out() -> bool:
            return bool(await bench.value("SELECT count(*) FROM outbox WHERE tenant = 'small'") == 0)

        await eventually(out)
        left = await bench.value("SELECT count(*) FROM outbox")
        assert left >= 3000 - 500 - 500 * (time.monotonic() - began) - 1, "faster than its pace"
        await asyncio.sleep(1.0)
        assert await bench.value("SELECT count(*) FROM outbox") < left - 300, "slower than its pace"
        # A stopping process sends what is left without pace.
        await one.stop()
        assert await bench.value("SELECT count(*) FROM outbox") == 0


async def test_a_transaction_that_commits_late_is_published_though_later_ids_went_before(bench: Bench) -> None:
    async with Alone(bench) as one:
        async with one.database.begin() as late:
            await outbox.add(late, [Emit(told("late", 1))])
            for n in range(12):
                await write(one.database, one.relay, [told("early", n * 1000 + k) for k in range(1000)])
            await eventually(lambda: _rows_visible(bench, 0))
        await empty(bench)
    assert ("late", 1) in await published(bench)


async def _leads(relay: Relay) -> bool:
    return relay.is_leader


async def _rows_visible(bench: Bench, count: int) -> bool:
    return bool(await bench.value("SELECT count(*) FROM outbox") == count)


async def test_a_flood_stays_in_the_table_while_its_reader_is_behind_and_a_neighbour_does_not_wait_for_it(
    bench: Bench,
) -> None:
    reader = AIOKafkaConsumer(
        bootstrap_servers=bench.kafka_url,
        group_id=f"{bench.prefix}reader",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    reader.subscribe([f"{bench.prefix}test.told"])
    await reader.start()

    async def handle() -> int:
        """One batch of the slow reader."""
        batch = await reader.getmany(timeout_ms=1000, max_records=300)
        if batch:
            await reader.commit()
        return sum(map(len, batch.values()))

    # It is there, and has read nothing yet.
    await handle()
    try:
        async with Alone(bench, fair=True, window=Window("test.told", "reader", 500)) as one:
            await bench.rows("CREATE INDEX IF NOT EXISTS outbox_tenant ON outbox (tenant, id)")
            await write(one.database, one.relay, [told(f"flood{n % 50}", n, "flood") for n in range(5_000)])

            async def held() -> bool:
                left = await bench.value("SELECT count(*) FROM outbox")
                return bool(left <= 4_500)

            await eventually(held)
            await asyncio.sleep(0.6)
            out = 5_000 - int(await bench.value("SELECT count(*) FROM outbox"))
            assert 400 <= out <= 520
            await write(one.database, one.relay, [told("small", n, "small") for n in range(3)])

            async def neighbour() -> bool:
                await handle()
                return bool(await bench.value("SELECT count(*) FROM outbox WHERE tenant = 'small'") == 0)

            await eventually(neighbour)
            before = 5_000 - int(await bench.value("SELECT count(*) FROM outbox WHERE tenant = 'flood'"))
            assert before < 2_000

            async def done() -> bool:
                await handle()
                return bool(await bench.value("SELECT count(*) FROM outbox") == 0)

            await eventually(done, within=60)
    finally:
        await reader.stop()
    order = await published(bench)
    assert len(order) == len(set(order)) == 5_003


async def test_without_a_reader_nothing_is_held(bench: Bench) -> None:
    async with Alone(bench, window=Window("test.told", "nobody", 10)) as one:
        await write(one.database, one.relay, [told("t", n) for n in range(200)])
        await empty(bench)


async def test_a_relay_that_ends_leaves_what_it_holds_in_the_table(bench: Bench) -> None:
    reader = AIOKafkaConsumer(bootstrap_servers=bench.kafka_url, group_id=f"{bench.prefix}reader")
    reader.subscribe([f"{bench.prefix}test.told"])
    await reader.start()
    try:
        async with Alone(bench, window=Window("test.told", "reader", 50)) as one:
            await write(one.database, one.relay, [told("t", n) for n in range(300)])

            async def some() -> bool:
                return bool(await bench.value("SELECT count(*) FROM outbox") < 300)

            await eventually(some)
            began = time.monotonic()
            await one.stop()
            assert time.monotonic() - began < 10
        assert await bench.value("SELECT count(*) FROM outbox") >= 200
    finally:
        await reader.stop()
