"""Reads an installation at rest from outside: its topics, databases, index and sink."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import asyncpg
import httpx2
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from shared import kafka
from shared.contracts.manifest import TOPICS
from tests.support.databases import address
from tests.support.invariants import rows
from tests.support.invariants.checks import Finding, check
from tests.support.invariants.world import Offset, World
from tests.support.tap import Tap

if TYPE_CHECKING:
    from tests.support.installation import Installation

_PAGE = 1000
PATIENCE = 30.0
"""Seconds that groups get to commit what stood on their topics when we asked."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where the parts of an installation answer."""

    kafka_url: str
    database_url: str
    """The administrator's; every service's database is derived from it."""
    opensearch_url: str = ""
    """Empty: the index is not looked at."""
    sink_url: str = ""
    """Empty: what arrived is not counted."""
    hooks_url: str = ""
    """The sink as services call it, where that is another address."""
    prefix: str = ""
    suffix: str = ""
    index_prefix: str = ""

    @classmethod
    def of(cls, installation: Installation) -> Places:
        """Those of an installation under test."""
        return cls(
            kafka_url=installation.engines.kafka_url,
            database_url=installation.engines.database_url,
            opensearch_url=installation.engines.opensearch_url,
            sink_url=installation.url("sink"),
            hooks_url=installation.hooks_url,
            prefix=installation.prefix,
            suffix=installation.suffix,
            index_prefix=installation.index_prefix,
        )

    @asynccontextmanager
    async def database(self, service: str) -> AsyncIterator[asyncpg.Connection]:
        """A service's database."""
        connection = await asyncpg.connect(address(self.database_url, database=f"{service}{self.suffix}"), timeout=10)
        try:
            yield connection
        finally:
            await connection.close()


@dataclass(frozen=True, kw_only=True)
class Told:
    """What only the outside knows."""

    accepted: Collection[str] = ()
    """Ids of messages that senders were told are safe."""
    canaries: Mapping[str, str] = field(default_factory=dict)
    """String → the one tenant in which it may stand."""
    tenants: Collection[str] = ()
    """The only ones looked at; empty: all."""


async def violations(
    places: Places,
    *,
    tap: Tap | None = None,
    accepted: Collection[str] = (),
    canaries: Mapping[str, str] | None = None,
    tenants: Collection[str] = (),
    only: Collection[str] = (),
) -> list[Finding]:
    """Look and check. A `tap` that has read the topics already spares reading them again."""
    world = await look(places, Told(accepted=accepted, canaries=canaries or {}, tenants=tenants), tap)
    return check(world, only)


async def look(places: Places, told: Told | None = None, tap: Tap | None = None) -> World:
    """The installation as values. It must be at rest: what moves meanwhile is found as a violation."""
    told = told or Told()
    world = World(accepted=frozenset(told.accepted), canaries=told.canaries)
    # Offsets first: what is handled later cannot be missing then.
    world.offsets = await _offsets(places)
    await _facts(places, told, tap, world)
    await rows.ingest(places, told.tenants, world)
    await rows.tickets(places, told.tenants, world)
    await rows.sla(places, told.tenants, world)
    await rows.notify(places, told.tenants, world)
    await rows.search(places, told.tenants, world)
    for service in rows.SERVICES:
        await rows.mechanism(places, service, told.tenants, world)
    if places.sink_url:
        await _arrived(places, world)
    if places.opensearch_url:
        await _index(places, told.tenants, world)
    return world


async def _facts(places: Places, told: Told, tap: Tap | None, world: World) -> None:
    reading = tap or Tap(places.kafka_url, places.prefix)
    try:
        for topic in TOPICS:
            facts = await reading.facts(topic.name)
            world.facts[topic.name] = [fact for fact in facts if not told.tenants or fact.tenant in told.tenants]
    finally:
        if tap is None:
            await reading.close()
    for fact in world.facts["policy.published"]:
        document = (fact.data or {}).get("document", {})
        arrows = document.get("transitions", ()) if (fact.data or {}).get("section") == "workflow" else ()
        world.arrows.setdefault(fact.tenant, set()).update(
            (arrow.get("from", arrow.get("source")), arrow.get("to", arrow.get("target"))) for arrow in arrows
        )


async def _offsets(places: Places) -> list[Offset]:
    """Of every group that handles facts or states; replicas keep theirs in their own databases.

    Watermarks come for ever, so the ends are asked for first and the groups given the time to come there.
    """
    parts = [TopicPartition(places.prefix + topic.name, n) for topic in TOPICS for n in range(topic.partitions)]
    consumer = AIOKafkaConsumer(bootstrap_servers=places.kafka_url, group_id=None)
    await consumer.start()
    try:
        ends = await kafka.end_offsets(consumer, parts)
    finally:
        await consumer.stop()
    admin = AIOKafkaAdminClient(bootstrap_servers=places.kafka_url)
    await admin.start()
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            found = [offset for service in rows.SERVICES for offset in await _of(admin, places, service, ends)]
            if all(one.committed >= one.end for one in found) or time.monotonic() > deadline:
                return found
            await asyncio.sleep(0.2)
    finally:
        await admin.close()


async def _of(
    admin: AIOKafkaAdminClient, places: Places, service: str, ends: Mapping[TopicPartition, int]
) -> list[Offset]:
    told = await admin.list_consumer_group_offsets(places.prefix + service)
    committed = {place: at.offset for place, at in told.items() if at.offset >= 0}
    # A topic of which this group never committed anything is read by its replica, or had nothing yet.
    read = {place.topic for place in committed}
    return [
        Offset(
            group=service,
            topic=place.topic.removeprefix(places.prefix),
            partition=place.partition,
            committed=committed.get(place, 0),
            end=end,
        )
        for place, end in ends.items()
        if end and place.topic in read
    ]


async def _arrived(places: Places, world: World) -> None:
    async with httpx2.AsyncClient(timeout=60.0, trust_env=False) as client:
        mails = (await client.get(f"{places.sink_url}/mails")).json()["items"]
        calls = (await client.get(f"{places.sink_url}/hooks")).json()["items"]
    world.mails = dict(Counter(mail["message_id"] for mail in mails))
    world.answered = dict(
        Counter((call["name"], call["headers"].get("webhook-id", "")) for call in calls if call["status"] < 300)
    )


async def _index(places: Places, tenants: Collection[str], world: World) -> None:
    alias, after = f"{places.opensearch_url}/{places.index_prefix}tickets", None
    wanted: dict[str, Any] = {"terms": {"tenant_id": sorted(tenants)}} if tenants else {"match_all": {}}
    async with httpx2.AsyncClient(timeout=60.0, trust_env=False) as client:
        (await client.post(f"{alias}/_refresh")).raise_for_status()
        while True:
            body: dict[str, Any] = {
                "size": _PAGE,
                "query": wanted,
                "sort": [{"ticket_id": "asc"}],
                "_source": {"excludes": ["public_text", "internal_text", "gist"]},
            }
            if after is not None:
                body["search_after"] = after
            answer = await client.post(f"{alias}/_search", json=body)
            answer.raise_for_status()
            hits = answer.json()["hits"]["hits"]
            world.documents |= {hit["_source"]["ticket_id"]: hit["_source"] for hit in hits}
            if len(hits) < _PAGE:
                return
            after = hits[-1]["sort"]
