"""The bare four-hop pipeline that the whole is measured against: nothing in it but the hops.

Kafka `in` → **A**: insert with inbox and outbox, relay → Kafka `created` → **B**: insert of an assignment and a due
instant with inbox and outbox, relay → Kafka `assigned` → **C**: OpenSearch bulk. Three processes, one statement per
batch, no validation, no policies, no permissions, no recovery. `python -m bench.hops PART` is one of the processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import aiohttp
import asyncpg
import orjson
import uuid_utils
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from bench.ground import Ground

EVENTS = 20_000
TOPICS = ("in", "created", "assigned")
LINGER = 0.010
"""Seconds before a poll, unless the last batch was large (`limits` §7.4)."""
LARGE = 200
SCHEMA = """
CREATE TABLE inbox (ce_id uuid PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
CREATE TABLE ticket (id uuid PRIMARY KEY, tenant text NOT NULL, subject text NOT NULL, body text NOT NULL,
    at timestamptz NOT NULL DEFAULT now());
CREATE INDEX ON ticket (tenant, at);
CREATE TABLE assigned (ticket_id uuid PRIMARY KEY, agent text NOT NULL, due_at timestamptz NOT NULL);
CREATE TABLE outbox (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key text NOT NULL, payload bytea NOT NULL);
"""
_TICKETS = """
WITH given AS (SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[]) AS g(id, subject, body, payload)),
fresh AS (INSERT INTO inbox (ce_id) SELECT id FROM given ON CONFLICT DO NOTHING RETURNING ce_id),
made AS (INSERT INTO ticket (id, tenant, subject, body) SELECT id, 'bench', subject, body FROM given
         JOIN fresh ON ce_id = id)
INSERT INTO outbox (key, payload) SELECT id::text, payload FROM given JOIN fresh ON ce_id = id
RETURNING id, key, payload
"""
_ASSIGNED = """
WITH given AS (SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[]) AS g(id, subject, body, payload)),
fresh AS (INSERT INTO inbox (ce_id) SELECT id FROM given ON CONFLICT DO NOTHING RETURNING ce_id),
made AS (INSERT INTO assigned (ticket_id, agent, due_at) SELECT id, 'agent', now() + interval '4 hours' FROM given
         JOIN fresh ON ce_id = id)
INSERT INTO outbox (key, payload) SELECT id::text, payload FROM given JOIN fresh ON ce_id = id
RETURNING id, key, payload
"""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where everything is; handed to the parts as JSON."""

    kafka_url: str
    opensearch_url: str
    prefix: str
    index: str
    first: str
    """Database of A."""
    second: str
    """Database of B."""


async def measure(ground: Ground, say: Callable[[str], None], *, events: int = EVENTS) -> float:
    """Tickets per second from the first record sent to the last document indexed."""
    prefix = f"hops-{os.urandom(3).hex()}."
    databases = [await ground.database(), await ground.database()]
    for database in databases:
        await ground.sql(database, "DROP TABLE IF EXISTS inbox, outbox CASCADE; " + SCHEMA)
    place = Place(
        kafka_url=ground.kafka_url,
        opensearch_url=ground.engines.opensearch_url,
        prefix=prefix,
        index=prefix.rstrip("."),
        first=databases[0],
        second=databases[1],
    )
    admin = AIOKafkaAdminClient(bootstrap_servers=ground.kafka_url)
    await admin.start()
    await admin.create_topics([NewTopic(prefix + name, 4, 1) for name in TOPICS])
    parts: list[subprocess.Popen[bytes]] = []
    try:
        async with aiohttp.ClientSession(place.opensearch_url) as http:
            settings = {"settings": {"number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": "1s"}}
            async with http.put(f"/{place.index}", json=settings) as answer:
                answer.raise_for_status()
            parts += [_start(part, place) for part in ("A", "B", "C")]
            await asyncio.sleep(3.0)  # their groups have joined; an early record would only be read a little later
            began = time.perf_counter()
            await _send(place, events)
            while (done := await _count(http, place.index)) < events:
                if any(part.poll() is not None for part in parts):
                    raise RuntimeError(f"a part of the bare pipeline ended at {done} of {events}")
                await asyncio.sleep(0.05)
            rate = events / (time.perf_counter() - began)
            async with http.delete(f"/{place.index}") as answer:
                answer.raise_for_status()
    finally:
        for running in parts:
            running.kill()
            running.wait()
        with contextlib.suppress(Exception):
            await admin.delete_topics([prefix + name for name in TOPICS])
        await admin.close()
    say(f"bare four hops: {rate:,.0f}/s")
    return rate


def _start(part: str, place: Place) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "bench.hops", part, json.dumps(asdict(place))])


async def _send(place: Place, events: int) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=place.kafka_url, acks="all", enable_idempotence=True, linger_ms=2)
    await producer.start()
    text = "It stops after about ten thousand rows, every night since Monday. " * 12
    for first in range(0, events, 2000):
        futures = []
        for number in range(first, min(first + 2000, events)):
            event = {"id": str(uuid_utils.uuid7()), "subject": f"The nightly export stopped {number}", "text": text}
            futures.append(await producer.send(f"{place.prefix}in", orjson.dumps(event), key=event["id"].encode()))
        await asyncio.gather(*futures)
    await producer.stop()


async def _count(http: aiohttp.ClientSession, index: str) -> int:
    """Documents written, whether or not a refresh has made them visible yet."""
    async with http.get(f"/{index}/_stats/indexing") as answer:
        answer.raise_for_status()
        return int((await answer.json())["_all"]["primaries"]["indexing"]["index_total"])


async def insert(place: Place, source: str, sink: str, database: str, statement: str) -> None:
    """A or B: one statement per batch, then produce and delete, one batch behind."""
    connection, deleter = await asyncpg.connect(database), await asyncpg.connect(database)
    consumer = _consumer(place, source)
    producer = AIOKafkaProducer(bootstrap_servers=place.kafka_url, acks="all", enable_idempotence=True, linger_ms=2)
    await asyncio.gather(consumer.start(), producer.start())
    publishing: asyncio.Task[None] | None = None
    size = 0
    while True:
        if size < LARGE:
            await asyncio.sleep(LINGER)
        records = [one for batch in (await consumer.getmany(timeout_ms=500, max_records=500)).values() for one in batch]
        size = len(records)
        if not records:
            continue
        events = [orjson.loads(record.value) for record in records]
        rows = await connection.fetch(
            statement,
            [event["id"] for event in events],
            [event["subject"] for event in events],
            [event["text"] for event in events],
            [record.value for record in records],
        )
        if publishing is not None:
            await publishing
            await consumer.commit()
        publishing = asyncio.create_task(_publish(producer, deleter, place.prefix + sink, rows))


async def _publish(
    producer: AIOKafkaProducer, deleter: asyncpg.Connection[asyncpg.Record], sink: str, rows: list[asyncpg.Record]
) -> None:
    await asyncio.gather(*[await producer.send(sink, row["payload"], key=row["key"].encode()) for row in rows])
    await deleter.execute("DELETE FROM outbox WHERE id = ANY($1)", [row["id"] for row in rows])


async def index(place: Place) -> None:
    """C: bulk requests of up to 500 documents."""
    consumer = _consumer(place, "assigned")
    await consumer.start()
    size = 0
    async with aiohttp.ClientSession(place.opensearch_url) as http:
        while True:
            if size < 2 * LARGE:
                await asyncio.sleep(0.2)
            polled = await consumer.getmany(timeout_ms=500, max_records=500)
            records = [one for batch in polled.values() for one in batch]
            size = len(records)
            if not records:
                continue
            lines = []
            for record in records:
                lines.append(b'{"index":{"_id":"' + record.key + b'"}}')
                lines.append(record.value)
            body = b"\n".join(lines) + b"\n"
            async with http.post(
                f"/{place.index}/_bulk", data=body, headers={"Content-Type": "application/x-ndjson"}
            ) as answer:
                answer.raise_for_status()
                await answer.read()
            await consumer.commit()


def _consumer(place: Place, source: str) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        place.prefix + source,
        bootstrap_servers=place.kafka_url,
        group_id=place.prefix + source,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )


async def part(name: str, place: Place) -> None:
    """One of the processes, until killed."""
    match name:
        case "A":
            await insert(place, "in", "created", place.first, _TICKETS)
        case "B":
            await insert(place, "created", "assigned", place.second, _ASSIGNED)
        case _:
            await index(place)


if __name__ == "__main__":
    uvloop.run(part(sys.argv[1], Place(**json.loads(sys.argv[2]))))
