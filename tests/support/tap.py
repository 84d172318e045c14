"""What stands on the topics of an installation, read from outside as any subscriber would."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from shared import kafka
from shared.contracts import watermark
from shared.contracts.manifest import TOPICS


@dataclass(frozen=True, slots=True)
class Fact:
    """One record of a topic."""

    topic: str
    partition: int
    offset: int
    key: str
    headers: dict[str, str]
    data: dict[str, Any] | None
    """The event's content; None for a tombstone."""

    @property
    def id(self) -> str:
        """The event's `ce_id`."""
        return self.headers.get("ce_id", "")

    @property
    def tenant(self) -> str:
        """The tenant it belongs to."""
        return str((self.data or {}).get("tenant_id", ""))


class Tap:
    """Reads every topic of the manifest and remembers what it saw."""

    def __init__(self, kafka_url: str, prefix: str) -> None:
        self._kafka_url = kafka_url
        self._prefix = prefix
        self._consumer: AIOKafkaConsumer | None = None
        self._partitions: list[TopicPartition] = []
        self._facts: defaultdict[str, list[Fact]] = defaultdict(list)
        self._lock = asyncio.Lock()

    async def facts(self, topic: str, tenant: str | None = None) -> list[Fact]:
        """Everything that is on a topic by now, each partition in order; of one tenant if given."""
        async with self._lock:
            await self._catch_up()
        return [fact for fact in self._facts[topic] if tenant is None or fact.tenant == tenant]

    async def close(self) -> None:
        """Leave the broker."""
        if self._consumer is not None:
            await kafka.stop(self._consumer, patience=10)
            self._consumer = None

    async def _catch_up(self) -> None:
        consumer = self._consumer or await self._connect()
        ends = await consumer.end_offsets(self._partitions)
        while [place for place, end in ends.items() if await consumer.position(place) < end]:
            for records in (await consumer.getmany(timeout_ms=100)).values():
                for record in records:
                    if record.key == watermark.KEY:
                        continue
                    fact = self._fact(record)
                    self._facts[fact.topic].append(fact)

    async def _connect(self) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(bootstrap_servers=self._kafka_url, group_id=None, auto_offset_reset="earliest")
        await consumer.start()
        known = {self._prefix + topic.name: topic.partitions for topic in TOPICS}
        self._partitions = [TopicPartition(name, n) for name, count in known.items() for n in range(count)]
        consumer.assign(self._partitions)
        await consumer.seek_to_beginning(*self._partitions)
        self._consumer = consumer
        return consumer

    def _fact(self, record: Any) -> Fact:
        return Fact(
            topic=record.topic.removeprefix(self._prefix),
            partition=record.partition,
            offset=record.offset,
            key=(record.key or b"").decode(errors="replace"),
            headers={name: (value or b"").decode(errors="replace") for name, value in record.headers},
            data=None if record.value is None else _json(record.value),
        )


def _json(value: bytes) -> dict[str, Any]:
    try:
        content = json.loads(value)
    except ValueError:
        # Scenarios publish rubbish on purpose.
        return {}
    return content if isinstance(content, dict) else {}
