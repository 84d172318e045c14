"""Services killed while work flows, and history replayed into the live database: nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from shared.contracts.manifest import MESSAGE_RECEIVED
from tests.scenarios import ledger
from tests.scenarios.senders import PATIENCE, Senders
from tests.support.desk import Desk
from tests.support.installation import SERVICES
from tests.support.invariants import Places, Told, check, look, told
from tests.support.waiting import eventually

pytestmark = [pytest.mark.engines, pytest.mark.slow]


async def kill_meanwhile(desk: Desk, senders: Senders, *, seed: int, total: int, rounds: int) -> list[str]:
    """Kill every service once in each round, in random order at random points of the flow; start each again at once."""
    random_ = random.Random(seed)
    victims = [name for _ in range(rounds) for name in random_.sample(SERVICES, len(SERVICES))]
    points = sorted(random_.sample(range(total // 20, total * 8 // 10), len(victims)))
    for victim, point in zip(victims, points, strict=True):

        async def reached(point: int = point) -> bool:
            return len(senders.accepted) >= point

        await eventually(reached, within=PATIENCE, every=0.005, what=f"{point} messages accepted")
        await desk.installation.ready(victim)
        assert len(senders.accepted) < total, "the kill must come while messages flow"
        desk.kill(victim)
        desk.installation.launch(victim)
    return victims


async def test_each_of_nine_services_killed_at_random_loses_nothing_and_does_nothing_twice(
    desk: Desk, dose: Callable[[int, int], int]
) -> None:
    senders, acts, rounds = Senders(desk, seed=7), dose(400, 12_000), dose(1, 10)
    subscribed = {"url": f"{desk.installation.url('sink')}/hooks/{desk.tenant}", "event_types": ["ticket.created"]}
    await desk.post("/v1/webhooks", subscribed, as_="admin")
    killing = asyncio.create_task(kill_meanwhile(desk, senders, seed=20261121, total=acts * 9 // 10, rounds=rounds))
    await senders.flow(acts)
    assert set(await killing) == set(SERVICES)
    await desk.installation.ready()
    await desk.installation.quiet()
    world = await look(
        Places.of(desk.installation), Told(accepted=senders.accepted, tenants={desk.tenant}), tap=desk.tap
    )
    assert not check(world), told(check(world))
    unseen = {name for name, seen in vars(world).items() if not seen} - {"canaries", "left", "aside"}
    assert not unseen, f"nothing was seen of {unseen}, so nothing was judged"
    await ledger.assert_each_in_exactly_one_ticket(desk, senders.accepted)
    await ledger.assert_topic_equals_database(desk)
    await ledger.assert_facts_once(desk)
    told_solved = {fact.key for fact in await desk.events("ticket.status_changed", current="solved")}
    assert senders.solved <= told_solved, "what was confirmed as solved happened"
    assert senders.solved, "tickets were solved meanwhile"


async def test_replaying_all_history_into_the_live_database_changes_nothing(desk: Desk) -> None:
    opened = [await desk.open(f"Told twice {number}") for number in range(20)]
    await desk.post(f"/v1/tickets/{opened[0]['id']}/messages", {"text": "More."}, as_="customer")
    await desk.quiet()
    before = await ledger.digest(desk)
    facts = {topic: len(await desk.tap.facts(topic)) for topic in ("ticket.created", "ticket.message_added")}
    assert await desk.installation.terminate("tickets") == 0
    handled = await _to_the_beginning(desk)
    assert handled > 0
    await desk.restart("tickets")
    await eventually(lambda: _caught_up(desk), within=60, every=0.2, what="the group at the end again")
    await desk.quiet()
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
