"""From tickets' own outbox, relay and watermark to a confirmed breach: none early, each once, however they overlap."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from services.tickets.desk.watermark import WatermarkBeat
from services.tickets.settings import Settings
from shared import outbox
from shared.db import Database
from shared.envelope import Emit
from shared.metrics import Metrics
from shared.relay import Relay
from tests.integration.sla.conftest import Desk, Ticket
from tests.support.databases import ScratchDatabases
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines
SECONDS = 3
TARGETS = {"calendar": "always", "targets": [{"first_response": SECONDS / 60}]}


async def test_what_is_answered_in_time_is_met_and_the_rest_breached_never_early(
    desk: Desk, databases: ScratchDatabases
) -> None:
    await desk.policy(sla=TARGETS)
    await desk.settled()
    url = await databases.create("tickets")
    database = await Database.connect(url, application="tickets", max_size=8, stamped=True)
    settings = Settings(kafka_url=desk.engines.kafka_url, database_url=SecretStr(url), topic_prefix=desk.prefix)
    relay = Relay(settings, database, metrics=Metrics("tickets"), beat=WatermarkBeat())
    running = asyncio.create_task(_run(relay))
    try:
        tickets = await asyncio.gather(*(_life(database, relay, number) for number in range(40)))

        async def judged() -> bool:
            words = await desk.words()
            assert words.count("met") + words.count("breached") == len(tickets), words
            return True

        await eventually(judged, what="a verdict on each")
        said = await desk.said()
        answered = {str(ticket.id): ticket.ledger[-1] for ticket in tickets if ticket.ledger[-1].kind == "responded"}
        late = []
        for one in said:
            if one["type"] == "sla.breached.v1":
                due = datetime.fromisoformat(one["breached_at"])
                late.append(one["said_at"] / 1000 - due.timestamp())
                response = answered.get(one["ticket_id"])
                assert response is None or response.at > due, "answered in time"
            if one["type"] == "sla.met.v1":
                assert one["ticket_id"] in answered
        assert len({one["id"] for one in said if one["type"] == "sla.breached.v1"}) == len(late)
        assert min(late) > 0, "told early"
        assert not [one for one in said if one.get("provisional")]
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await database.close()


async def _run(relay: Relay) -> None:
    await relay.loops()[0].run()


async def _life(database: Database, relay: Relay, number: int) -> Ticket:
    """A ticket that is answered well in time, about when it is due, or never; some answers commit slowly."""
    await asyncio.sleep(number * 0.02)
    async with database.begin() as tx:
        ticket = Ticket(tx.instant)
        await outbox.add(tx, [Emit(ticket.state())])
    relay.wake()
    if number % 4 == 3:
        return ticket
    due = ticket.opened_at + timedelta(seconds=SECONDS)
    wait = {0: -1.0, 1: -0.05, 2: 0.05}[number % 4]
    await asyncio.sleep((due - datetime.now(UTC)).total_seconds() + wait)
    async with database.begin() as tx:
        # Decided at this instant, committed a while after it was due.
        ticket.write(tx.instant, responded="")
        await asyncio.sleep(0.3 if number % 8 == 1 else 0.0)
        await outbox.add(tx, [Emit(ticket.state())])
    relay.wake()
    return ticket
