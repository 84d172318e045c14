"""The whole on a real broker with TLS, users and rights: every service can do all it needs, and nothing else."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    TopicAuthorizationFailedError,
)
from faststream.kafka import KafkaBroker
from faststream.security import SASLScram512

from deploy.local.secured import ADMINISTRATOR
from shared import access, kafka
from shared.access import Grant, Operation, Resource
from shared.contracts.manifest import TOPICS
from tests.support.desk import Desk, open_desk
from tests.support.engines import Engines
from tests.support.installation import WITH_DATABASE, log_lines
from tests.support.secured import Broker, SecuredInstallation, secured_broker, secured_server
from tests.support.tap import Tap
from tests.support.waiting import eventually

pytestmark = [pytest.mark.engines, pytest.mark.slow]

REFUSED = re.compile(r"Authoriz\w+Failed", re.IGNORECASE)


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with secured_broker() as started:
        yield started


@pytest.fixture(scope="module")
async def installation(
    engines: Engines, broker: Broker, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[SecuredInstallation]:
    with secured_server() as server:
        made = SecuredInstallation(engines, tmp_path_factory.mktemp("secured"), broker, server)
        try:
            await made.start()
            yield made
        finally:
            await made.stop()


async def publish(broker: Broker, installation: SecuredInstallation, user: str, topic: str) -> None:
    client = kafka.producer(broker.settings(user, prefix=installation.prefix))
    try:
        await client.start()
        await client.send_and_wait(installation.prefix + topic, b"{}", key=b"k", partition=0)
    finally:
        await kafka.discard(client)


async def read(broker: Broker, installation: SecuredInstallation, user: str, topic: str, group: str = "") -> None:
    """One fetch, in a group if one is named."""
    settings = broker.settings(user, prefix=installation.prefix)
    name = installation.prefix + topic
    client = kafka.group_consumer(settings, installation.prefix + group) if group else kafka.reader(settings, "test")
    try:
        await client.start()
        if group:
            client.subscribe([name])
            await client.getmany(timeout_ms=5000)
        else:
            client.assign([TopicPartition(name, 0)])
            await client.seek_to_beginning()
            await client.getmany(timeout_ms=1000)
    finally:
        await kafka.stop(client, 5)


async def test_a_message_becomes_a_triaged_searchable_ticket_with_a_clock_and_an_answer(
    installation: SecuredInstallation,
) -> None:
    tap = Tap("", installation.prefix)
    desk = await open_desk(installation, tap, "closed")
    try:
        accepted = await desk.message("Cannot log in", "The session expires at once.")

        async def whole() -> bool:
            ticket = await ticket_of(desk, accepted["ticket_id"])
            assert ticket["queue"], "triage names the queue"
            assert ticket["assignee_id"]
            clocks = await desk.get(f"/v1/tickets/{ticket['id']}/clocks")
            assert clocks["clocks"]
            found = await desk.get("/v1/search", params={"q": "session expires"})
            assert found["items"]
            return True

        await eventually(whole, within=60, every=0.2, what="a ticket that every service has touched")
        # Notify has told somebody, and every relay could publish all it had.
        await eventually(lambda: told(installation), within=30, every=0.2, what="a delivery")
        await installation.settled()
    finally:
        await desk.close()
    for service in WITH_DATABASE:
        status, body = await installation.health(service, "readyz")
        assert status == 200, body
    for service in WITH_DATABASE:
        (mine,) = await installation.rows(
            service,
            "SELECT count(*) AS open, count(*) FILTER (WHERE ssl) AS closed FROM pg_stat_ssl JOIN pg_stat_activity"
            " USING (pid) WHERE datname = current_database() AND usename = $1",
            f"{service}{installation.suffix}",
        )
        assert mine["open"] == mine["closed"] > 0
    refused = [line for line in log_lines(installation.logs()) if REFUSED.search(str(line))]
    assert refused == []


async def ticket_of(desk: Desk, ticket_id: str) -> dict[str, object]:
    answer = await desk.call("GET", f"/v1/tickets/{ticket_id}")
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found


async def told(installation: SecuredInstallation) -> bool:
    (found,) = await installation.rows("notify", "SELECT count(*) AS rows FROM delivery")
    return bool(found["rows"])


@pytest.mark.parametrize("user", WITH_DATABASE)
async def test_a_service_cannot_write_any_topic_of_another(
    user: str, broker: Broker, installation: SecuredInstallation
) -> None:
    foreign = [topic.name for topic in TOPICS if topic.owner != user]
    client = kafka.producer(broker.settings(user, prefix=installation.prefix))
    await client.start()
    try:
        for name in foreign:
            with pytest.raises(TopicAuthorizationFailedError):
                await client.send_and_wait(installation.prefix + name, b"{}", key=b"k", partition=0)
    finally:
        await kafka.discard(client)


async def test_triage_may_decide_but_not_create(broker: Broker, installation: SecuredInstallation) -> None:
    await publish(broker, installation, "triage", "dlq.triage.ticket.created")
    for topic in ("ticket.created", "dlq.tickets.ticket.triaged"):
        with pytest.raises(TopicAuthorizationFailedError):
            await publish(broker, installation, "triage", topic)


async def test_a_service_reads_neither_foreign_topics_nor_in_foreign_groups(
    broker: Broker, installation: SecuredInstallation
) -> None:
    await read(broker, installation, "triage", "ticket.created")
    with pytest.raises(TopicAuthorizationFailedError):
        await read(broker, installation, "triage", "ticket.triaged")
    client = kafka.reader(broker.settings("triage", prefix=installation.prefix), "test")
    await client.start()
    try:
        seen = await client.topics()
    finally:
        await client.stop()
    mine = [one for one in access.grants(prefix=installation.prefix) if one.user == f"{installation.prefix}triage"]
    topics = {one.name for one in mine if one.resource is Resource.TOPIC}
    assert seen == topics, "of what does not concern it, it does not even see the names"
    with pytest.raises(GroupAuthorizationFailedError):
        await read(broker, installation, "triage", "ticket.created", group="escalation")


async def test_nobody_but_provision_makes_a_topic(broker: Broker, installation: SecuredInstallation) -> None:
    name = f"{installation.prefix}not.in.the.manifest"
    for user in ("tickets", "operator", "provision"):
        with pytest.raises(KafkaError, match=REFUSED):
            await kafka.ensure_topics(broker.settings(user, prefix=installation.prefix), {name: {}})


async def test_without_its_password_or_the_brokers_authority_nobody_comes_in(
    broker: Broker, installation: SecuredInstallation, engines: Engines
) -> None:
    del engines
    for wrong in ({"kafka_password": "guessed"}, {"kafka_username": ""}, {"kafka_ca_file": ""}):
        client = kafka.reader(broker.settings("tickets", prefix=installation.prefix, **wrong), "test")
        with pytest.raises(KafkaConnectionError):
            await client.start()
        await client.stop()
    said = await installation.cli("dlq", "list", "triage", told={"KAFKA_CA_FILE": "/nowhere/ca.pem"}, status=2)
    assert "KAFKA_CA_FILE: " in said
    assert "No such file" in said


async def test_a_right_given_by_hand_is_taken_away_and_one_taken_away_is_given_again(
    installation: SecuredInstallation, broker: Broker
) -> None:
    from shared import broker as protocol  # noqa: PLC0415 - beside the fixture of that name

    prefix = installation.prefix
    settings = broker.settings("tickets", prefix="", kafka_username=ADMINISTRATOR, kafka_password=broker.administrator)
    extra = Grant(
        user=f"{prefix}triage", resource=Resource.TOPIC, name=f"{prefix}ticket.created", operation=Operation.WRITE
    )
    admin = kafka.admin(settings, "test")
    await admin.start()
    try:
        there = await protocol.granted(admin, [f"{prefix}triage"])
        lost = next(entry for entry, one in there.items() if one is not None and one.operation is Operation.WRITE)
        await protocol.grant(admin, [extra])
        await protocol.revoke(admin, [lost])
        said = await installation.cli("access", "apply", told=installation.as_user(ADMINISTRATOR))
        assert "1 given, 1 taken away" in said
        assert set((await protocol.granted(admin, [f"{prefix}triage"])).values()) == {
            one for one in access.grants(prefix=prefix) if one.user == f"{prefix}triage"
        }
    finally:
        await admin.close()


async def test_a_service_cannot_give_itself_a_right(installation: SecuredInstallation) -> None:
    said = await installation.cli("access", "apply", told=installation.as_user("provision"), status=1)
    assert "KAFKA_USERNAME may not alter the cluster" in said


async def test_an_outsider_reads_what_the_operator_lets_it_and_the_next_apply_leaves_it_alone(
    installation: SecuredInstallation, broker: Broker
) -> None:
    from shared import broker as protocol  # noqa: PLC0415 - beside the fixture of that name

    team, topic = "my-team", f"{installation.prefix}message.received"
    rights = [
        Grant(user=team, resource=Resource.TOPIC, name=topic, operation=Operation.READ),
        Grant(user=team, resource=Resource.GROUP, name=team, operation=Operation.READ),
    ]
    settings = broker.settings("tickets", prefix="", kafka_username=ADMINISTRATOR, kafka_password=broker.administrator)
    admin = kafka.admin(settings, "test")
    await admin.start()
    try:
        await protocol.put_users(admin, {team: "their own"})
        await protocol.grant(admin, rights)
        said = await installation.cli("access", "apply", told=installation.as_user(ADMINISTRATOR))
        assert "0 given, 0 taken away" in said
        assert set((await protocol.granted(admin, [team])).values()) == set(rights)
    finally:
        await admin.close()

    heard = asyncio.Event()
    context = ssl.create_default_context(cafile=str(broker.ca_file))
    security = SASLScram512(username=team, password="their own", use_ssl=True, ssl_context=context)
    outside = KafkaBroker(broker.url, security=security)

    @outside.subscriber(topic, group_id=team, auto_offset_reset="earliest")
    async def on_message(event: dict[str, Any]) -> None:
        assert event["message_id"]
        heard.set()

    async with outside:
        await outside.start()
        async with asyncio.timeout(60):
            await heard.wait()
