"""All of history read again: by services that know it already, and by one that has forgotten everything."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from shared import clock
from shared.contracts.manifest import TOPICS
from tests.support.correspondence import mails_of
from tests.support.desk import Desk
from tests.support.digest import Digest
from tests.support.installation import WITH_DATABASE, Installation
from tests.support.packs import apply
from tests.support.tap import Fact

pytestmark = [pytest.mark.engines, pytest.mark.slow]

CLOCKS_OF = ("ticket_id", "clock", "cycle")


async def a_full_day(desk: Desk) -> None:
    """A little of everything: answers, a pause, a breach, a P1 that is taken, a merge, a solution, a webhook."""
    hook = {"url": f"{desk.installation.url('sink')}/hooks/{desk.tenant}", "event_types": ["ticket.created", "sla.*"]}
    await desk.post("/v1/webhooks", hook, as_="admin")
    await desk.on_call("agent")
    sent = await desk.mail("EMERGENCY: complete outage, data loss", "All systems are down for all our customers.")
    emergency = await desk.ticket_of(sent.message_id)
    await desk.phone("agent").expects(emergency, step="agent")
    await desk.phone("agent").acknowledge(emergency)
    opened = [await desk.open(subject) for subject in ("No invoice came", "The export stops", "Where is my password?")]
    owners = [await desk.owner(one["id"]) for one in opened]
    await desk.reply(opened[0]["id"], "Which month?", as_=owners[0])
    assert (await desk.move(opened[0]["id"], "pending", as_=owners[0])).status_code == 200
    moved = await desk.move(opened[1]["id"], "solved", as_=owners[1], resolution="A newer version.")
    assert moved.status_code == 200, moved.text
    again = await desk.open("The export stops, too")
    await desk.post(f"/v1/tickets/{again['id']}/merge", {"into": opened[2]["id"], "reason": "Same."}, status=200)
    await desk.quiet()
    await desk.forward(minutes=14)
    await desk.fact("sla.warning", ticket_id=opened[2]["id"])
    await desk.forward(minutes=2)
    await desk.fact("sla.breached", ticket_id=opened[2]["id"])
    await desk.phone("lead").expects(opened[2])
    await desk.quiet()


async def all_facts(desk: Desk) -> dict[str, list[Fact]]:
    """Everything of this tenant on every topic by now."""
    return {topic.name: await desk.events(topic.name) for topic in TOPICS}


async def read_again(installation: Installation, services: Iterable[str]) -> None:
    """Have these services' groups, which must be stopped, begin at offset 0 of every topic they read as facts."""
    for service in services:
        group = installation.prefix + service
        consumer = AIOKafkaConsumer(
            bootstrap_servers=installation.engines.kafka_url, group_id=group, enable_auto_commit=False
        )
        places = [
            TopicPartition(installation.prefix + topic.name, number)
            for topic in TOPICS
            if service in topic.consumers
            for number in range(topic.partitions)
        ]
        if not places:
            continue
        consumer.assign(places)
        await consumer.start()
        try:
            known = [place for place in places if await consumer.committed(place) is not None]
            assert known, f"{service} has never read anything"
            await consumer.commit({place: OffsetAndMetadata(0, "") for place in known})
        finally:
            await consumer.stop()


async def replicas_forget(installation: Installation, service: str) -> None:
    """Have a service read its reference topics from offset 0, too."""
    await execute(installation.admin_url(service), "UPDATE replica_offset SET next_offset = 0")


async def execute(address: str, sql: str) -> None:
    connection = await asyncpg.connect(address, timeout=10)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


async def test_every_topic_read_again_by_every_service_changes_no_state_and_tells_nobody_anything(
    desk: Desk, folder: Path
) -> None:
    await apply(desk, folder)
    await a_full_day(desk)
    installation = desk.installation
    before = await Digest.of(installation, desk.tenant, *WITH_DATABASE)
    facts, mails = await all_facts(desk), await mails_of(installation, desk.tenant)
    for service in WITH_DATABASE:
        assert await installation.terminate(service, within=60) == 0
    await read_again(installation, WITH_DATABASE)
    for service in WITH_DATABASE:
        await replicas_forget(installation, service)
        installation.launch(service)
    await installation.ready()
    await desk.quiet()
    before.assert_same(await Digest.of(installation, desk.tenant, *WITH_DATABASE))
    now = await all_facts(desk)
    for topic, known in facts.items():
        new = [(one.key, one.data) for one in now[topic][len(known) :]]
        assert not new, f"{len(new)} new on {topic}: {new[:2]}"
    assert len(await mails_of(installation, desk.tenant)) == len(mails), "nobody hears of it"


async def test_a_new_empty_sla_database_learns_from_the_topics_what_the_old_one_knew(desk: Desk, folder: Path) -> None:
    await apply(desk, folder)
    await a_full_day(desk)
    installation, others = desk.installation, [name for name in WITH_DATABASE if name != "sla"]
    before = await Digest.of(installation, desk.tenant, "sla")
    heard, mails = await Digest.of(installation, desk.tenant, *others), await mails_of(installation, desk.tenant)
    verdicts = await told_verdicts(desk)
    assert await installation.terminate("sla", within=60) == 0
    await execute(installation.engines.database_url, f'DROP DATABASE "sla{installation.suffix}" WITH (FORCE)')
    await installation.provision()
    await clock.forward({name: installation.admin_url(name) for name in WITH_DATABASE}, clock.duration("0s"))
    await read_again(installation, ["sla"])
    await installation.restart("sla")
    await desk.quiet()
    before.assert_same(await Digest.of(installation, desk.tenant, "sla"))
    assert await told_verdicts(desk) == verdicts, "told again, if at all, under the same id"
    # Of the course of a clock: what one batch made one step, another batching may tell as two.
    heard.assert_same(await Digest.of(installation, desk.tenant, *others), apart_from='"type": "sla.changed.v1"')
    assert len(await mails_of(installation, desk.tenant)) == len(mails)


async def told_verdicts(desk: Desk) -> dict[str, set[tuple[Any, ...]]]:
    """Id → which clock it spoke of, of every warning, breach and target met ever told."""
    found: dict[str, set[tuple[Any, ...]]] = {}
    for topic in ("sla.warning", "sla.breached", "sla.met"):
        for fact in await desk.events(topic):
            data = fact.data or {}
            found.setdefault(fact.id, set()).add((topic, *(data[name] for name in CLOCKS_OF)))
    return found
