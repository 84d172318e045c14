"""One tenant's flood, and a neighbour who writes in the midst of it: how many stand before the neighbour is bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.contracts.manifest import MESSAGE_RECEIVED
from tests.support.desk import Desk
from tests.support.installation import Installation
from tests.support.tap import Fact
from tests.support.waiting import eventually

pytestmark = [pytest.mark.engines, pytest.mark.slow]

PATIENCE = 600.0
FEW = 5
"""Messages of the neighbour."""
BATCH = 500
"""Messages in one request of the flood."""


@pytest.fixture
async def window(installation: Installation, dose: Callable[[int, int], int]) -> AsyncIterator[int]:
    """How many released messages tickets may have before it: small beside the flood, so that the bound says something."""
    events = dose(200, 2_000)
    await installation.terminate("ingest")
    installation.launch("ingest", INGEST_RELEASE_AHEAD=str(events))
    await installation.ready("ingest")
    yield events
    await installation.terminate("ingest")
    installation.launch("ingest")
    await installation.ready("ingest")


@dataclass(frozen=True)
class Passage:
    """One message on its way: accepted by ingest, released to the topic, made a ticket. Unix seconds."""

    accepted: float
    released: float
    handled: float


def instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


async def releases(installation: Installation) -> dict[str, float]:
    """Event id of each message released → when the relay sent it, by the desk's clock, which other tests move on."""
    (clock,) = await installation.rows("ingest", "SELECT extract(epoch FROM shift)::float8 AS ahead FROM clock_offset")
    places = [
        TopicPartition(installation.prefix + MESSAGE_RECEIVED.name, n) for n in range(MESSAGE_RECEIVED.partitions)
    ]
    consumer = AIOKafkaConsumer(bootstrap_servers=installation.engines.kafka_url, group_id=None)
    consumer.assign(places)
    await consumer.start()
    found: dict[str, float] = {}
    try:
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        while [place for place, end in ends.items() if await consumer.position(place) < end]:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    found.setdefault(
                        dict(record.headers).get("ce_id", b"").decode(), record.timestamp / 1000 + clock["ahead"]
                    )
    finally:
        await consumer.stop()
    return found


async def passages(desk: Desk, released: dict[str, float]) -> list[Passage]:
    """Of every message of a tenant."""
    created: dict[str, Fact] = {}
    for fact in await desk.events("ticket.created"):
        assert fact.data is not None
        created.setdefault(fact.data["message"]["message_id"], fact)
    found = []
    for fact in {one.id: one for one in await desk.events("message.received")}.values():
        assert fact.data is not None
        ticket = created[fact.data["message_id"]]
        found.append(Passage(instant(fact.data["received_at"]), released[fact.id], instant(ticket.headers["ce_time"])))
    return found


async def test_a_neighbour_of_a_flood_has_no_more_before_it_than_the_window_promises(
    desk: Desk, open_tenant: Callable[[str], Awaitable[Desk]], window: int, dose: Callable[[int, int], int]
) -> None:
    neighbour, total = await open_tenant("neighbour"), dose(3_000, 20_000)

    async def pour(start: int) -> None:
        body = {
            "messages": [
                {"subject": f"Flood {number}", "text": "Again.", "sender": {"address": f"c{number % 50}@flood.example"}}
                for number in range(start, start + BATCH)
            ]
        }
        answer = await desk.call("POST", "/v1/messages", as_="service", json=body, timeout=PATIENCE)
        assert answer.status_code == 202, answer.text

    pouring = [asyncio.create_task(pour(start)) for start in range(0, total, BATCH)]
    for number in range(FEW):
        # After a part of the flood each: the first in its midst, the last at its end.
        await pouring[(number + 1) * len(pouring) // FEW - 1]
        await neighbour.message(f"In the midst {number}")
    await asyncio.gather(*pouring)

    async def handled() -> bool:
        count = len({fact.key for fact in await desk.events("ticket.created")})
        assert count == total, f"{count} of {total}"
        return len({fact.key for fact in await neighbour.events("ticket.created")}) == FEW

    await eventually(handled, within=PATIENCE, every=1.0, what="every message a ticket")
    released = await releases(desk.installation)
    flood, few = await passages(desk, released), await passages(neighbour, released)
    behind = [sum(one.accepted <= mine.accepted < one.handled for one in flood) for mine in few]
    assert max(behind) > 3 * window, f"no flood: at most {max(behind)} messages were waiting when the neighbour wrote"

    # On message.received: what had been released before the neighbour's and was not handled yet. Handled shows here when
    # the ticket is on its topic, and the group's offset moves on before that: so up to another window may be in between.
    ahead = [sum(one.released <= mine.released < one.handled for one in flood) for mine in few]
    assert max(ahead) <= 2 * window + FEW, f"{ahead} released messages before the neighbour's, the window is {window}"
    # On ticket.created: what was handled between the neighbour's acceptance and its ticket. A window full may be on its
    # way when it is accepted, another be released in the round that it just missed, a third overtake it on the other partitions,
    # and a fourth be between the offset and the topic.
    before = [sum(mine.accepted < one.handled <= mine.handled for one in flood) for mine in few]
    assert max(before) <= 4 * window + FEW, (
        f"{before} tickets of the flood between acceptance and ticket; {behind} were waiting, the window is {window}"
    )
