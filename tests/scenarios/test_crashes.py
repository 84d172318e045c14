"""Services killed while work flows, and history replayed into the live database: nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from uuid import uuid4

import httpx2
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from shared.contracts.manifest import MESSAGE_RECEIVED
from tests.scenarios import ledger
from tests.support.desk import CUSTOMER, Desk
from tests.support.installation import SERVICES
from tests.support.waiting import eventually

pytestmark = [pytest.mark.engines, pytest.mark.slow]

PATIENCE = 120.0
"""Seconds in which a sender gets its message accepted."""


class Senders:
    """Programs and mail servers that repeat what was not accepted, as they all do."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.accepted: dict[str, str] = {}
        """Message id → what was sent."""

    async def submit(self, number: int) -> None:
        """One message by HTTP, under one key however often it is repeated."""
        key, subject = f"crash-{number}", f"By HTTP {number}"

        async def taken() -> bool:
            body = {"subject": subject, "text": "Body.", "sender": {"address": CUSTOMER}}
            try:
                answer = await self._desk.call(
                    "POST", "/v1/messages", as_="service", json=body, headers={"Idempotency-Key": key}
                )
            except httpx2.TransportError:
                return False
            if answer.status_code != 202:
                assert answer.status_code in {401, 500, 502, 503, 504}, answer.text
                return False
            self.accepted[answer.json()["message_id"]] = subject
            return True

        await eventually(taken, within=PATIENCE, every=0.2, what=subject)

    async def send(self, number: int) -> None:
        """One mail, under one Message-ID however often it is repeated."""
        header_id = f"<{uuid4()}@acme.example>"

        async def taken() -> bool:
            try:
                mailed = await self._desk.mail(f"By mail {number}", header_id=header_id)
            except OSError:  # smtplib's errors are OSErrors
                return False
            if mailed.code != 250:
                assert mailed.code // 100 == 4, mailed.said
                return False
            self.accepted[mailed.message_id] = f"By mail {number}"
            return True

        await eventually(taken, within=PATIENCE, every=0.2, what=f"mail {number}")


async def flow(senders: Senders, *, messages: int, mails: int) -> None:
    """Everything, ten at a time, mails among the rest."""
    room = asyncio.Semaphore(10)

    async def one(number: int) -> None:
        async with room:
            # Some pace, so that there is something to interrupt however fast the machine is.
            await asyncio.sleep(0.02)
            await (senders.send(number) if number < mails else senders.submit(number))

    order = list(range(messages + mails))
    random.Random(7).shuffle(order)
    await asyncio.gather(*(one(number) for number in order))


async def kill_meanwhile(desk: Desk, senders: Senders, *, seed: int, total: int, rounds: int) -> list[str]:
    """Kill every service once in each round, in random order at random points of the flow; start each again at once."""
    random_ = random.Random(seed)
    victims = [name for _ in range(rounds) for name in random_.sample(SERVICES, len(SERVICES))]
    points = sorted(random_.sample(range(total // 20, total * 9 // 10), len(victims)))
    for victim, point in zip(victims, points, strict=True):

        async def reached(point: int = point) -> bool:
            return len(senders.accepted) >= point

        await eventually(reached, within=PATIENCE, every=0.005, what=f"{point} messages accepted")
        await desk.installation.ready(victim)
        assert len(senders.accepted) < total, "the kill must come while messages flow"
        desk.kill(victim)
        desk.installation.launch(victim)
    return victims


async def test_services_killed_at_random_lose_nothing_and_do_nothing_twice(
    desk: Desk, dose: Callable[[int, int], int]
) -> None:
    senders, total = Senders(desk), dose(600, 12_000)
    killing = asyncio.create_task(kill_meanwhile(desk, senders, seed=20261121, total=total, rounds=dose(1, 10)))
    await flow(senders, messages=dose(500, 10_000), mails=dose(100, 2_000))
    assert set(await killing) == set(SERVICES)
    await desk.installation.ready()

    async def complete() -> bool:
        found = {message for messages in (await ledger.conversations(desk)).values() for message in messages}
        missing = senders.accepted.keys() - found
        assert not missing, f"{len(missing)} of {len(senders.accepted)} are not in a ticket yet"
        return True

    await eventually(complete, within=120, every=0.5, what="every accepted message in a ticket")
    await desk.installation.settled()
    assert len(senders.accepted) == total
    await ledger.assert_each_in_exactly_one_ticket(desk, senders.accepted)
    await ledger.assert_topic_equals_database(desk)
    await ledger.assert_facts_once(desk)
    tickets = sorted(await ledger.conversations(desk))
    await ledger.assert_chains_verify(desk, random.Random(1).sample(tickets, min(50, len(tickets))))


async def test_replaying_all_history_into_the_live_database_changes_nothing(desk: Desk) -> None:
    opened = [await desk.open(f"Told twice {number}") for number in range(20)]
    await desk.post(f"/v1/tickets/{opened[0]['id']}/messages", {"text": "More."}, as_="customer")
    await desk.installation.settled()
    before = await ledger.digest(desk)
    facts = {topic: len(await desk.tap.facts(topic)) for topic in ("ticket.created", "ticket.message_added")}
    assert await desk.installation.terminate("tickets") == 0
    handled = await _to_the_beginning(desk)
    assert handled > 0
    await desk.restart("tickets")
    await eventually(lambda: _caught_up(desk), within=60, every=0.2, what="the group at the end again")
    await desk.installation.settled()
    assert await ledger.digest(desk) == before
    assert {topic: len(await desk.tap.facts(topic)) for topic in facts} == facts, "no new facts"
    await ledger.assert_topic_equals_database(desk)


def _partitions(desk: Desk) -> list[TopicPartition]:
    name = desk.installation.prefix + MESSAGE_RECEIVED.name
    return [TopicPartition(name, number) for number in range(MESSAGE_RECEIVED.partitions)]


def _group(desk: Desk) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        bootstrap_servers=desk.installation.engines.kafka_url,
        group_id=f"{desk.installation.prefix}tickets",
        enable_auto_commit=False,
    )


async def _to_the_beginning(desk: Desk) -> int:
    """Reset the group `tickets` to offset 0; how many events it had handled."""
    consumer = _group(desk)
    consumer.assign(_partitions(desk))
    await consumer.start()
    try:
        committed = [await consumer.committed(place) or 0 for place in _partitions(desk)]
        await consumer.commit({place: OffsetAndMetadata(0, "") for place in _partitions(desk)})
    finally:
        await consumer.stop()
    return sum(committed)


async def _caught_up(desk: Desk) -> bool:
    consumer = _group(desk)
    consumer.assign(_partitions(desk))
    await consumer.start()
    try:
        ends = await consumer.end_offsets(_partitions(desk))
        committed = {place: await consumer.committed(place) or 0 for place in ends}
    finally:
        await consumer.stop()
    return bool(committed == ends)
