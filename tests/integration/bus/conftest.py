"""A bench per test: its own topics, its own database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer

from tests.support.bus import SCHEMA, TOPICS, Bench
from tests.support.databases import ScratchDatabases
from tests.support.engines import Engines
from tests.support.topics import create_topics


@pytest.fixture
async def bench(engines: Engines, databases: ScratchDatabases, topic_prefix: str) -> AsyncIterator[Bench]:
    """Topics `test.*` with three partitions and an empty database."""
    url = await databases.create("mechanism")
    admin_url = databases.admin(url)
    connection = await asyncpg.connect(admin_url)
    try:
        await connection.execute(SCHEMA)
    finally:
        await connection.close()
    await create_topics(engines.kafka_url, topic_prefix, TOPICS, groups=["mechanism"])
    producer = AIOKafkaProducer(
        bootstrap_servers=engines.kafka_url, enable_idempotence=True, max_request_size=4 * 1024 * 1024
    )
    await producer.start()
    made = Bench(engines.kafka_url, url, admin_url, topic_prefix, producer)
    yield made
    await made.stop()
