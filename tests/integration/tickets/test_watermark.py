"""The watermark of ticket.state on real engines: never ahead of what is out, behind it by little (architecture rule 5)."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from pydantic import SecretStr

from services.tickets.desk.watermark import WatermarkBeat
from services.tickets.settings import Settings
from services.tickets.store import watermark as store
from shared import kafka, outbox
from shared.bus import Bus, Route
from shared.contracts import golden, watermark
from shared.contracts.manifest import TICKET_STATE
from shared.contracts.ticket import TicketState
from shared.db import Database, Tx
from shared.envelope import Answer, Emit, Received, Tombstone, Watermark
from shared.metrics import Metrics
from shared.relay import Relay
from tests.support.databases import ScratchDatabases
from tests.support.engines import Engines
from tests.support.topics import create_topics
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines
PARTITIONS = 3
Line = tuple[str, datetime]
"""`state` or `mark`, and the instant it bears."""


class Place:
    """A database of tickets with its relay, and what is on the topic."""

    def __init__(self, engines: Engines, prefix: str, url: str, admin_url: str) -> None:
        self.engines, self.prefix, self.url, self.admin_url = engines, prefix, url, admin_url
        self.settings = Settings(kafka_url=engines.kafka_url, database_url=SecretStr(url), topic_prefix=prefix)
        self.database: Database
        self.relay: Relay
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.relay = Relay(self.settings, self.database, metrics=Metrics("tickets"), beat=WatermarkBeat())
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        await self.relay.loops()[0].run()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def write(self, tx: Tx) -> None:
        """A state whose ledger bears the transaction's instant."""
        state = TicketState.model_validate(golden.examples(TicketState)["minimal"])
        summary = state.ticket.model_copy(update={"updated_at": tx.instant})
        await outbox.add(tx, [Emit(state.model_copy(update={"ticket_id": uuid4(), "ticket": summary}))])

    async def lines(self) -> list[list[Line]]:
        """What stands in each partition, in order."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.engines.kafka_url, enable_auto_commit=False)
        await consumer.start()
        try:
            ends = await kafka.ends(consumer, [self.prefix + "ticket.state"])
            consumer.assign(list(ends))
            for partition in ends:
                consumer.seek(partition, 0)
            found: dict[int, list[Line]] = {partition.partition: [] for partition in ends}
            left = {partition for partition, end in ends.items() if end}
            while left:
                for partition, records in (await consumer.getmany(timeout_ms=200)).items():
                    found[partition.partition] += [_line(record) for record in records]
                    if records and records[-1].offset + 1 >= ends[partition]:
                        left.discard(partition)
            return [found[number] for number in sorted(found)]
        finally:
            await consumer.stop()

    async def reached(self, instant: datetime) -> None:
        """Every partition has a watermark behind that instant."""

        async def there() -> bool:
            newest = [max((at for what, at in lines if what == "mark"), default=None) for lines in await self.lines()]
            assert all(at is not None and at > instant for at in newest), newest
            return True

        await eventually(there, what=f"watermarks behind {instant}", every=0.1)


def _line(record: Any) -> Line:
    if record.key == watermark.KEY:
        return "mark", watermark.until(record.value)
    return "state", TicketState.model_validate_json(record.value).ticket.updated_at


def assert_true(partitions: Sequence[Sequence[Line]]) -> None:
    """No state stands behind a watermark that claimed to be past it."""
    for lines in partitions:
        until = datetime(2000, 1, 1, tzinfo=UTC)
        for what, at in lines:
            if what == "mark":
                until = max(until, at)
            else:
                assert at >= until, f"a state of {at} behind a watermark of {until}"


@pytest.fixture
async def place(engines: Engines, databases: ScratchDatabases, topic_prefix: str) -> AsyncIterator[Place]:
    await create_topics(engines.kafka_url, topic_prefix, [TICKET_STATE], groups=["tickets"], partitions=PARTITIONS)
    url = await databases.create("tickets")
    made = Place(engines, topic_prefix, url, databases.admin(url))
    made.database = await Database.connect(url, application="tickets", max_size=12, stamped=True)
    await made.start()
    yield made
    await made.stop()
    await made.database.close()


async def test_no_state_ever_stands_behind_a_watermark_that_is_past_it(place: Place) -> None:
    """Many transactions at once, some slow before they write, some after."""
    draw = random.Random(5)

    async def one() -> None:
        async with place.database.begin() as tx:
            await asyncio.sleep(draw.random() * 0.1)
            await place.write(tx)
            await asyncio.sleep(draw.choice([0, 0, 0.02, 0.4]) * draw.random())
        place.relay.wake()

    for _ in range(15):
        await asyncio.gather(*(one() for _ in range(10)))
    async with place.database.begin() as tx:
        last = tx.instant
    await place.reached(last)
    lines = await place.lines()
    assert sum(what == "state" for part in lines for what, _ in part) == 150
    assert all(sum(what == "mark" for what, _ in part) > 5 for part in lines)
    assert_true(lines)


async def test_an_open_transaction_holds_the_watermark_at_its_begin_and_its_commit_lets_it_go(place: Place) -> None:
    async with place.database.begin() as tx:
        held = tx.instant
        await asyncio.sleep(0.7)
        await place.write(tx)
        lines = await place.lines()
        assert all(at <= held for part in lines for what, at in part if what == "mark")
    await place.reached(held)
    assert_true(await place.lines())


async def test_a_transaction_draws_its_id_before_its_instant(place: Place) -> None:
    """Between the two nobody can mistake it for one that will bear a later instant."""
    admin = await asyncpg.connect(place.admin_url)
    try:
        async with place.database.begin() as tx:
            began = await tx.fetchval("SELECT now() + shift FROM clock_offset")
            assert tx.instant > began
            before = await store.oldest(admin)
            assert before <= began
        assert await store.oldest(admin) > tx.instant
    finally:
        await admin.close()


async def test_rows_that_are_not_out_hold_the_watermark(place: Place) -> None:
    await place.stop()
    async with place.database.begin() as tx:
        held = tx.instant
        await place.write(tx)
    before = await place.lines()
    beat = WatermarkBeat()
    session = await place.database.session(application="test")
    try:
        await beat(session, _NoPublisher())  # type: ignore[arg-type]  # it must not be asked for anything
        assert await place.lines() == before
    finally:
        await session.close()
    await place.start()
    await place.reached(held)
    assert_true(await place.lines())


class _NoPublisher:
    rows = 0

    async def control(self, *_: object) -> bool:
        raise AssertionError("a watermark was written although a row is not out")


async def test_another_databases_slow_query_holds_nothing(place: Place, databases: ScratchDatabases) -> None:
    other = await Database.connect(await databases.create("mechanism"), application="other", stamped=True)
    try:
        async with other.begin() as tx:
            held = tx.instant
            await place.reached(held + timedelta(milliseconds=300))
    finally:
        await other.close()


async def test_the_watermark_follows_the_desks_clock(place: Place) -> None:
    admin = await asyncpg.connect(place.admin_url)
    try:
        await admin.execute("UPDATE clock_offset SET shift = interval '3 days'")
    finally:
        await admin.close()
    await place.reached(datetime.now(UTC) + timedelta(days=2))


@pytest.mark.parametrize("asked", [True, False])
async def test_the_bus_hands_watermarks_in_order_to_who_asks_and_to_nobody_else(
    place: Place, databases: ScratchDatabases, *, asked: bool
) -> None:
    seen: dict[int, list[str]] = {}
    marks: list[Watermark] = []

    async def handler(tx: Tx, batch: Sequence[Received[TicketState] | Tombstone | Watermark]) -> Sequence[Answer]:
        del tx
        for one in batch:
            seen.setdefault(one.partition, []).append("mark" if isinstance(one, Watermark) else "state")
            if isinstance(one, Watermark):
                marks.append(one)
        return ()

    written = datetime.now(UTC)
    for _ in range(6):
        async with place.database.begin() as tx:
            await place.write(tx)
            written = tx.instant
        place.relay.wake()
        await asyncio.sleep(0.1)
    await place.reached(written)
    await place.stop()
    lines = await place.lines()
    database = await Database.connect(await databases.create("mechanism"), application="reader")
    bus = Bus(
        place.settings, database, [Route(TICKET_STATE, handler, asked)], relay=place.relay, metrics=Metrics("tickets")
    )
    running = [asyncio.ensure_future(loop.run()) for loop in bus.loops()]
    try:

        async def read() -> bool:
            assert sum(map(len, seen.values())) >= sum(asked or what == "state" for part in lines for what, _ in part)
            return True

        await eventually(read, what="the whole topic")
        for number, part in enumerate(lines):
            assert seen.get(number, []) == [what for what, _ in part if asked or what == "state"]
        if asked:
            assert [mark.until for mark in marks if mark.partition == 0] == [
                at for what, at in lines[0] if what == "mark"
            ]
        assert await database.fetchval("SELECT count(*) FROM inbox") == 0
        assert await database.fetchval("SELECT count(*) FROM waiting") == 0
        assert await database.fetchval("SELECT count(*) FROM outbox") == 0, "a dead letter"

        async def committed() -> bool:
            return await _committed(place) == [len(part) for part in lines]

        await eventually(committed, what="offsets behind the watermarks")
    finally:
        for task in running:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*running, return_exceptions=True)
        await database.close()


async def test_a_watermark_that_fails_is_passed_over_and_the_states_behind_it_are_handled(
    place: Place, databases: ScratchDatabases
) -> None:
    handled: list[datetime] = []

    async def handler(tx: Tx, batch: Sequence[Received[TicketState] | Tombstone | Watermark]) -> Sequence[Answer]:
        del tx
        if any(isinstance(one, Watermark) for one in batch):
            raise RuntimeError("a watermark cannot be handled")
        handled.extend(one.event.ticket.updated_at for one in batch if isinstance(one, Received))
        return ()

    written = datetime.now(UTC)
    for _ in range(4):
        async with place.database.begin() as tx:
            await place.write(tx)
            written = tx.instant
        place.relay.wake()
        await asyncio.sleep(0.25)
    await place.reached(written)
    await place.stop()
    lines = await place.lines()
    database = await Database.connect(await databases.create("mechanism"), application="reader")
    bus = Bus(
        place.settings, database, [Route(TICKET_STATE, handler, True)], relay=place.relay, metrics=Metrics("tickets")
    )
    running = [asyncio.ensure_future(loop.run()) for loop in bus.loops()]
    try:

        async def all_of_it() -> bool:
            assert await _committed(place) == [len(part) for part in lines]
            return True

        await eventually(all_of_it, what="offsets behind everything")
        assert set(handled) == {at for part in lines for what, at in part if what == "state"}
        assert await database.fetchval("SELECT count(*) FROM waiting") == 0
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await database.close()


async def _committed(place: Place) -> list[int]:
    admin = AIOKafkaAdminClient(bootstrap_servers=place.engines.kafka_url)
    await admin.start()
    try:
        found = await admin.list_consumer_group_offsets(place.settings.group())
        offsets = {place.partition: told.offset for place, told in found.items()}
        return [offsets.get(number, 0) for number in range(PARTITIONS)]
    finally:
        await admin.close()
