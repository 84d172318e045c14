"""Again, in another order, to another instance, too slowly: every event has its effect once, each key in order."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter

import pytest
from aiokafka import AIOKafkaConsumer, OffsetAndMetadata, TopicPartition

from tests.support.faults.lab import Lab
from tests.support.faults.records import asked, rule, state, traffic
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines

SHORT = 8.0
FULL = 60.0


async def test_a_fifth_of_everything_sent_twice_has_no_second_effect(lab: Lab) -> None:
    sent = traffic(lab.random, 40, 40, duplicates=0.2)
    repeats = sum(n - 1 for n in Counter(one.id for one in sent).values())
    assert repeats > 200, "too few duplicates for a proof"
    half = len(sent) // 2
    await lab.send(sent[:half])
    await lab.start()
    await lab.send(sent[half:])
    await lab.verify()
    # And all of it again, long after it was handled.
    await lab.send([one for one in sent if one.expected == "effect"])
    await lab.verify()


async def rewind(lab: Lab) -> None:
    """Have the group, which has no members now, begin at the start."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=lab.kafka_url, group_id=lab.prefix + "faults", enable_auto_commit=False
    )
    await consumer.start()
    try:
        places = (await lab.look()).committed
        partitions = {TopicPartition(lab.prefix + topic, number): OffsetAndMetadata(0, "") for topic, number in places}
        consumer.assign(list(partitions))
        await consumer.commit(partitions)
    finally:
        await consumer.stop()


async def test_a_replay_from_offset_zero_into_the_live_group_changes_nothing(lab: Lab) -> None:
    await lab.send(traffic(lab.random, 30, 20, duplicates=0.05))
    await lab.send([state(f"t{n % 30}", 100 + n) for n in range(60)])
    first = await lab.start()
    before = await lab.verify()
    assert await first.terminate() == 0
    await rewind(lab)
    assert set((await lab.look()).committed.values()) == {0}
    await lab.start()
    after = await lab.verify()
    assert after.digest() == before.digest()
    assert len(after.outputs) == len(before.outputs), "the replay published something"


async def test_older_states_and_facts_of_other_keys_in_any_order_end_in_the_newest_state(lab: Lab) -> None:
    """Snapshots arrive reordered within a window, and again; facts only between keys, as their topic promises."""
    snapshots = [state(f"s{n % 7}", n) for n in range(400)]
    rules = [rule(f"r{n % 5}", n) for n in range(100)]
    facts = traffic(lab.random, 20, 10)
    window = 50
    for part in (snapshots, rules):
        ranks = {id(one): place + lab.random.randint(0, window) for place, one in enumerate(part)}
        part.sort(key=lambda one: ranks[id(one)])
    older = snapshots[: len(snapshots) // 3]
    await lab.start(parts="bus,relay,replica")
    for start in range(0, 400, 100):
        await lab.send(snapshots[start : start + 100])
        await lab.send(rules[start // 4 : start // 4 + 25])
        await lab.send(facts[start // 2 : start // 2 + 50])
        await lab.verify()
    # A woken relay repeats old versions after newer ones, long after they were committed.
    await lab.send(older)
    await lab.send(rules[:20])
    found = await lab.verify()
    assert found.states == {f"s{n}": max(v for v in range(400) if v % 7 == n) for n in range(7)} | {
        key: version for key, version in found.states.items() if key.startswith("t")
    }


@pytest.mark.parametrize("seconds", [SHORT, pytest.param(FULL, marks=pytest.mark.soak)])
async def test_instances_come_and_go_every_few_seconds_and_nothing_is_lost(lab: Lab, seconds: float) -> None:
    every = 1.5 if seconds == SHORT else 5.0
    await (await lab.start(batch_pause=0.02)).joined()
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    sending = asyncio.create_task(_send_until(lab, until))
    gone = 0
    while loop.time() < until:
        other = await lab.start(batch_pause=0.02)
        await other.joined()
        await asyncio.sleep(every)
        assert await other.terminate() == 0
        gone += 1
    await sending
    await lab.verify()
    assert gone >= 2
    joined = sum("partitions assigned" in line for line in lab.workers[0].log.read_text().splitlines())
    assert joined > gone, "no rebalance took place"


async def _send_until(lab: Lab, until: float) -> None:
    first = 0
    while asyncio.get_running_loop().time() < until:
        await lab.send(traffic(lab.random, 20, 2, duplicates=0.1, first=first))
        first += 2
        await asyncio.sleep(0.2)


async def test_a_handler_slower_than_the_poll_interval_is_not_given_its_batch_again(lab: Lab) -> None:
    calls = lab.folder / "calls"
    await lab.send([asked(f"t{n}", 0) for n in range(5)])
    await lab.send([asked("slow", 1, kind="slow", pause=4.0), *(asked(f"t{n}", 2) for n in range(5))])
    await lab.start(poll_interval_milliseconds=1500, calls=calls)
    await lab.send([asked("slow", 3), *(asked(f"t{n}", 4) for n in range(5))])
    await lab.verify()
    given = Counter(identity for line in calls.read_text().splitlines() for identity in json.loads(line))
    assert {identity: n for identity, n in given.items() if n > 1} == {}, "livelock: handed out again and again"
    log = lab.workers[0].log.read_text()
    assert log.count("partitions assigned") == 1, "thrown out of its group"


async def test_an_instance_that_is_frozen_loses_its_partitions_and_not_their_events(lab: Lab) -> None:
    """Frozen for longer than its session: another takes the partitions; woken, it joins again."""
    await lab.start(stop_at="bus.after_commit:3")
    frozen = lab.workers[0]

    async def asleep() -> bool:
        await lab.send(traffic(lab.random, 10, 2))
        return await frozen.stopped()

    await eventually(asleep, every=0.3, what="the stop")
    await lab.start()
    await lab.verify()
    frozen.signal(signal.SIGCONT)
    await lab.send(traffic(lab.random, 10, 2))
    await lab.verify()
    assert frozen.process.returncode is None
