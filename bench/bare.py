"""The bare loop the bus is measured against: no validation, no abstraction, no recovery.

aiokafka `getmany` → inbox, effect and outbox rows in one statement → produce → delete of the outbox rows. What it
shares with the bus is only the shape of the work.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

import asyncpg
import orjson
import uuid_utils
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

SCHEMA = """
CREATE TABLE inbox (ce_id uuid PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
CREATE TABLE effect (id uuid PRIMARY KEY, key text NOT NULL, body text NOT NULL, at timestamptz NOT NULL DEFAULT now());
CREATE TABLE outbox (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key text NOT NULL, payload bytea NOT NULL);
"""

_ROWS = """
WITH given AS (SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[]) AS g(id, key, body, payload)),
fresh AS (INSERT INTO inbox (ce_id) SELECT id FROM given ON CONFLICT DO NOTHING RETURNING ce_id),
done AS (INSERT INTO effect (id, key, body) SELECT g.id, g.key, g.body FROM given g JOIN fresh f ON f.ce_id = g.id)
INSERT INTO outbox (key, payload) SELECT g.key, g.payload FROM given g JOIN fresh f ON f.ce_id = g.id
RETURNING id, key, payload
"""


async def drain(kafka_url: str, database_url: str, source: str, sink: str, expected: int) -> float:
    """Take `expected` events from `source` to `sink`; seconds from the first record to the last acknowledgement."""
    connection = await asyncpg.connect(database_url)
    consumer = AIOKafkaConsumer(
        source,
        bootstrap_servers=kafka_url,
        group_id=f"bare-{source}",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    producer = AIOKafkaProducer(bootstrap_servers=kafka_url, acks="all", enable_idempotence=True, linger_ms=2)
    deleter = await asyncpg.connect(database_url)
    await consumer.start()
    await producer.start()
    started = 0.0
    seen = 0
    publishing: deque[asyncio.Task[None]] = deque()
    try:
        while seen < expected:
            polled = await consumer.getmany(timeout_ms=500, max_records=500)
            records = [record for batch in polled.values() for record in batch]
            if not records:
                continue
            started = started or time.perf_counter()
            ids, keys, bodies, payloads = [], [], [], []
            for record in records:
                event = orjson.loads(record.value)
                ids.append(event["event_id"])
                keys.append(event["subject_id"])
                bodies.append(event["text"])
                payloads.append(record.value)
            rows = await connection.fetch(_ROWS, ids, keys, bodies, payloads)
            while len(publishing) > 1:
                await publishing.popleft()
            publishing.append(asyncio.create_task(_publish(producer, deleter, sink, rows, publishing)))
            seen += len(records)
        while publishing:
            await publishing.popleft()
        await consumer.commit()
        return time.perf_counter() - started
    finally:
        await consumer.stop()
        await producer.stop()
        await connection.close()
        await deleter.close()


_publish_lock = asyncio.Lock()


async def _publish(
    producer: AIOKafkaProducer,
    connection: asyncpg.Connection[asyncpg.Record],
    sink: str,
    rows: list[asyncpg.Record],
    _others: deque[asyncio.Task[None]],
) -> None:
    async with _publish_lock:
        futures = [await producer.send(sink, row["payload"], key=row["key"].encode()) for row in rows]
        await asyncio.gather(*futures)
        await connection.execute("DELETE FROM outbox WHERE id = ANY($1)", [row["id"] for row in rows])


async def statement_rate(
    database_url: str, *, rows: int = 60_000, batch: int = 500, payload_bytes: int = 1035
) -> float:
    """Events per second of the three-row statement alone on one connection: what the bare loop is made of.

    `limits` says 35,245/s for this shape on the machine the targets were set on; a run whose figure is under 70 % of
    that says nothing about the bus, only about the machine that day.
    """
    connection = await asyncpg.connect(database_url)
    try:
        payload = b"x" * payload_bytes
        started = time.perf_counter()
        for _ in range(rows // batch):
            ids = [str(uuid_utils.uuid7()) for _ in range(batch)]
            await connection.fetch(_ROWS, ids, ids, ["text"] * batch, [payload] * batch)
        return rows / (time.perf_counter() - started)
    finally:
        await connection.close()
