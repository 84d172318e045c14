"""People seen in messages, on a real database: made once, named once, never degraded."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from services.directory.domain.people import Person
from services.directory.handlers import on_message_received
from services.directory.store import people
from shared.contracts import ids
from shared.contracts.directory import PersonChanged, Role
from shared.contracts.message import Channel, MessageReceived, Participant
from shared.envelope import Answer, Emit, NotYet, Received
from tests.integration.directory.conftest import Directory

pytestmark = pytest.mark.engines


def participant(address: str, name: str | None = None, tenant_id: str = "acme") -> Participant:
    return Participant(person_id=ids.person_id(tenant_id, address), address=address, name=name)


def message(
    sender: str, name: str | None = None, *to: str, tenant_id: str = "acme", **more: Any
) -> Received[MessageReceived]:
    """A message as the bus hands it over."""
    event = MessageReceived(
        tenant_id=tenant_id,
        message_id=uuid4(),
        conversation_id=uuid4(),
        channel=Channel.EMAIL,
        received_at=datetime.now(UTC),
        sender=participant(sender, name, tenant_id),
        recipients=tuple(participant(address, tenant_id=tenant_id) for address in to),
        **more,
    )
    return Received(
        event=event,
        id=uuid4(),
        type=MessageReceived.TYPE,
        time=event.received_at,
        key=event.key,
        topic="message.received",
        partition=0,
        offset=0,
    )


async def handle(directory: Directory, *batch: Received[MessageReceived]) -> Sequence[Answer]:
    async with directory.database.begin() as tx:
        return await on_message_received(tx, batch)


async def person(directory: Directory, address: str, tenant_id: str = "acme") -> Person | None:
    async with directory.database.begin() as tx:
        return await people.get(tx, tenant_id, ids.person_id(tenant_id, address))


def events(answers: Sequence[Answer]) -> list[PersonChanged]:
    return [answer.event for answer in answers if isinstance(answer, Emit) and isinstance(answer.event, PersonChanged)]


async def test_a_sender_becomes_a_requester_once_however_often_they_write(directory: Directory) -> None:
    await directory.tenant("acme")
    first = await handle(
        directory, message("Mia@Example.com", "Mia"), message("mia@example.com"), message("mia@example.com ")
    )
    [event] = events(first)
    assert (event.person_id, event.name, event.role) == (ids.person_id("acme", "mia@example.com"), "Mia", Role.CUSTOMER)
    assert event.addresses == ("mia@example.com",)
    assert await handle(directory, message("MIA@example.com", "Mia")) == []


async def test_the_event_is_caused_by_the_message_that_made_the_person(directory: Directory) -> None:
    await directory.tenant("acme")
    batch = [message("a@example.com"), message("b@example.com")]
    answers = await handle(directory, *batch)
    causes = {
        answer.event.name or str(answer.event.addresses): answer.cause
        for answer in answers
        if isinstance(answer, Emit) and isinstance(answer.event, PersonChanged)
    }
    assert causes == {"('a@example.com',)": batch[0], "('b@example.com',)": batch[1]}


async def test_a_name_is_learnt_once_and_then_kept(directory: Directory) -> None:
    await directory.tenant("acme")
    await handle(directory, message("mia@example.com"))
    [named] = events(await handle(directory, message("mia@example.com", "Mia Muster")))
    assert (named.name, named.version) == ("Mia Muster", 2)
    assert await handle(directory, message("mia@example.com", "Somebody Else")) == []


async def test_a_forged_senders_name_is_not_believed(directory: Directory) -> None:
    await directory.tenant("acme")
    [event] = events(await handle(directory, message("boss@example.com", "The Boss", spoofed=True)))
    assert event.name == ""
    [event] = events(await handle(directory, message("boss@example.com", "Real Name")))
    assert event.name == "Real Name"


async def test_an_agent_who_writes_stays_an_agent(directory: Directory) -> None:
    await directory.tenant("acme")
    ana = await directory.person("acme", "ana", Role.TEAM_LEAD, capacity=5, available=True)
    assert await handle(directory, message("ana@acme.example", "Ana the Customer", "ana@acme.example")) == []
    assert await person(directory, "ana@acme.example") == ana


async def test_an_agents_second_address_makes_no_second_person(directory: Directory) -> None:
    await directory.tenant("acme")
    ana = await directory.person("acme", "ana")
    changes = {"addresses": ["ana@acme.example", "ana@home.example"]}
    await directory.call("acme/admin", "PATCH", f"/v1/people/{ana.person_id}", changes, match=1)
    assert await handle(directory, message("ana@home.example", "Ana")) == []
    assert await person(directory, "ana@home.example") is None


async def test_the_tenants_own_addresses_never_become_people(directory: Directory) -> None:
    await directory.tenant("acme", inbound_addresses=("Support@acme.example",))
    answers = await handle(
        directory,
        message("mia@example.com", "Mia", "support@acme.example", "support+t0k3n@acme.example", "max@example.com"),
        message("support@acme.example", "Support"),
    )
    assert {address for event in events(answers) for address in event.addresses} == {
        "mia@example.com",
        "max@example.com",
    }


async def test_the_same_address_is_another_person_for_another_tenant(directory: Directory) -> None:
    await directory.tenant("acme")
    await directory.tenant("other")
    answers = await handle(
        directory, message("mia@example.com", "Mia"), message("mia@example.com", "Private", tenant_id="other")
    )
    assert {(event.tenant_id, event.name) for event in events(answers)} == {("acme", "Mia"), ("other", "Private")}
    assert len({event.person_id for event in events(answers)}) == 2


async def test_a_requester_of_a_verified_domain_has_its_tier_from_the_first_message(directory: Directory) -> None:
    await directory.tenant("acme")
    body = {"name": "Big", "tier": "enterprise", "domains": ["big.example"]}
    await directory.call("acme/admin", "POST", "/v1/organisations", body)
    [event] = events(await handle(directory, message("mia@big.example")))
    assert (event.organisation, event.tier) == ("Big", "enterprise")
    [event] = events(await handle(directory, message("mia@notbig.example")))
    assert (event.organisation, event.tier) == (None, None)


async def test_a_message_of_an_unknown_tenant_waits_for_it(directory: Directory) -> None:
    await directory.tenant("acme")
    unknown: Received[Any] = message("mia@example.com", tenant_id="nobody")
    answers = await handle(directory, message("max@example.com"), unknown)
    assert answers == [NotYet(unknown, "tenant", "nobody")]


@pytest.mark.parametrize(
    "address", ["", "   ", "a\x00b@example.com", "x" * 400 + "@example.com", "a\nb@example.com", "\u202e"]
)
async def test_what_no_person_can_be_called_makes_none(directory: Directory, address: str) -> None:
    await directory.tenant("acme")
    [event] = events(await handle(directory, message(address, "Nobody", "mia@example.com")))
    assert event.addresses == ("mia@example.com",)


async def test_a_message_that_races_an_administrator_makes_no_second_person(directory: Directory) -> None:
    await directory.tenant("acme")
    ana = await directory.person("acme", "ana")
    async with directory.database.begin() as tx:
        await people.save(tx, replace(ana, addresses=(*ana.addresses, "ana@home.example")), tx.instant)
        racing = asyncio.create_task(handle(directory, message("ana@home.example", "Ana")))
        await asyncio.sleep(0.2)
        assert not racing.done()
    assert await racing == []
    assert await person(directory, "ana@home.example") is None


async def test_an_administrator_who_races_a_message_is_told_that_the_address_is_taken(directory: Directory) -> None:
    await directory.tenant("acme")
    ana = await directory.person("acme", "ana")
    changes = {"addresses": ["ana@acme.example", "ana@home.example"]}
    async with directory.database.begin() as tx:
        await on_message_received(tx, [message("ana@home.example", "Ana")])
        racing = asyncio.create_task(
            directory.call("acme/admin", "PATCH", f"/v1/people/{ana.person_id}", changes, match=1)
        )
        await asyncio.sleep(0.2)
        assert not racing.done()
    assert (await racing).status_code == 409
    assert (await directory.call("acme/admin", "GET", f"/v1/people/{ana.person_id}")).json()["version"] == 1


async def test_several_instances_at_once_make_each_person_once_and_tell_of_each_change_once(
    directory: Directory,
) -> None:
    """Every instance sees the same addresses in its own order, some with names, some without."""
    await directory.tenant("acme")
    seed = 7
    chance = random.Random(seed)
    addresses = [f"c{number}@example.com" for number in range(40)]

    async def instance() -> list[PersonChanged]:
        told: list[PersonChanged] = []
        for _ in range(10):
            chosen = chance.sample(addresses, 15)
            batch = [message(address, f"Name {address}" if chance.random() < 0.5 else None) for address in chosen]
            told += events(await handle(directory, *batch))
        return told

    told = [event for events in await asyncio.gather(*(instance() for _ in range(4))) for event in events]
    stored = await directory.rows("SELECT person_id, version, name FROM person WHERE role = 'customer'")
    assert len({(event.person_id, event.version) for event in told}) == len(told), f"seed {seed}"
    assert {(event.person_id) for event in told} == {row["person_id"] for row in stored}
    newest = {row["person_id"]: row["version"] for row in stored}
    assert sum(newest.values()) == len(told)
    assert {row["version"] for row in stored} <= {1, 2}


async def test_known_people_cost_no_write(directory: Directory) -> None:
    """2,000 messages a second come from people we know: their rows must not be rewritten each time."""
    await directory.tenant("acme")
    batch = [message(f"c{number}@example.com", "Known") for number in range(50)]
    await handle(directory, *batch)
    before = await directory.rows(
        "SELECT xmin::text, ctid::text FROM person UNION ALL SELECT xmin::text, ctid::text FROM person_address"
    )
    await handle(directory, *batch)
    after = await directory.rows(
        "SELECT xmin::text, ctid::text FROM person UNION ALL SELECT xmin::text, ctid::text FROM person_address"
    )
    assert sorted(map(tuple, before)) == sorted(map(tuple, after))
