"""Dead letters for people: list them, look at one, publish them again once whoever reads them is repaired.

A dead letter stays on its topic until that topic's retention; replaying it twice is harmless, because the same
`ce_id` meets the inbox.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from shared import kafka
from shared.bus.dead import PREFIX, topic_name
from shared.contracts import cloudevents
from shared.settings import ServiceSettings

_KEPT = "dlq_attempts"
"""The one header of ours that a replay keeps: the next letter of the same event says how often it came to this."""


class NoSuchLetterError(LookupError):
    """There is no dead letter at that place."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a dead letter lies on its topic."""

    partition: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One dead letter. `value` and `headers` are the record as it was received; treat them as personal data."""

    service: str
    """Who could not read it."""
    topic: str
    """The topic it came from, as the manifest names it."""
    place: Place
    at: datetime
    source_partition: int
    source_offset: int
    reason: str
    """json, utf8, schema, type, tombstone, size, headers or key."""
    error: str
    """What exactly; never a value of the payload."""
    attempts: int
    event_id: str | None
    event_type: str | None
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


async def topics(settings: ServiceSettings, service: str) -> list[str]:
    """The manifest's names of the topics for which `service` has a dead-letter topic."""
    start = settings.topic(topic_name(service, ""))
    async with _reader(settings) as consumer:
        return sorted(name.removeprefix(start) for name in await consumer.topics() if name.startswith(start))


async def letters(
    settings: ServiceSettings, service: str, topic: str | None = None, *, limit: int = 1000
) -> list[DeadLetter]:
    """The newest `limit` dead letters of a service (of one source topic, if given), oldest first.

    Raises KafkaError while the broker is away.
    """
    wanted = [topic] if topic is not None else await topics(settings, service)
    found: list[DeadLetter] = []
    async with _reader(settings) as consumer:
        for one in wanted:
            found += [
                _letter(service, one, record) async for record in _records(settings, consumer, service, one, limit)
            ]
    found.sort(key=lambda letter: letter.at)
    return found[-limit:]


async def show(settings: ServiceSettings, service: str, topic: str, place: Place) -> DeadLetter:
    """One dead letter with its bytes. Raises NoSuchLetterError."""
    partition = TopicPartition(settings.topic(topic_name(service, topic)), place.partition)
    async with _reader(settings) as consumer:
        if place.partition not in await _partitions(consumer, partition.topic):
            raise NoSuchLetterError(f"{service} has no dead letters of {topic} in partition {place.partition}")
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        if not 0 <= place.offset < end:
            raise NoSuchLetterError(f"there is no dead letter at {place.partition}:{place.offset}")
        consumer.seek(partition, place.offset)
        async with asyncio.timeout(10):
            record = await consumer.getone(partition)
        if record.offset != place.offset:
            raise NoSuchLetterError(f"the dead letter at {place.partition}:{place.offset} has expired")
        return _letter(service, topic, record)


async def replay(
    settings: ServiceSettings, service: str, topic: str, places: Iterable[Place] | None = None
) -> list[DeadLetter]:
    """Publish dead letters again, all of a topic or those at `places`, to where they came from; what was published.

    The bytes and headers are the original ones, so an event that was handled meanwhile stays handled once, and one
    that is still malformed becomes a new dead letter. Raises NoSuchLetterError before anything is published.
    """
    if places is None:
        chosen: Sequence[DeadLetter] = await letters(settings, service, topic, limit=1_000_000)
    else:
        chosen = [await show(settings, service, topic, place) for place in sorted(set(places))]
    if not chosen:
        return []
    name = settings.topic(topic)
    producer = kafka.producer(settings)
    await kafka.start(producer)
    try:
        count = len(await producer.partitions_for(name))
        for letter in chosen:
            headers = [(key, value) for key, value in letter.headers if not key.startswith(PREFIX) or key == _KEPT]
            await producer.send_and_wait(
                name,
                letter.value,
                key=letter.key,
                partition=0 if letter.key is None else kafka.partition_of(letter.key, count),
                headers=headers,
            )
    finally:
        await producer.stop()
    return list(chosen)


@asynccontextmanager
async def _reader(settings: ServiceSettings) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = kafka.reader(settings, "dlq")
    await kafka.start(consumer)
    try:
        yield consumer
    finally:
        await consumer.stop()


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> list[int]:
    """The partitions of a topic; none when it does not exist."""
    if topic not in await consumer.topics():
        return []
    cluster = await consumer._client.fetch_all_metadata()  # noqa: SLF001 - the public call knows subscribed topics only
    return sorted(cluster.partitions_for_topic(topic) or ())


async def _records(
    settings: ServiceSettings, consumer: AIOKafkaConsumer, service: str, topic: str, limit: int
) -> AsyncIterator[Any]:
    """The newest `limit` records of each partition of one dead-letter topic."""
    name = settings.topic(topic_name(service, topic))
    partitions = [TopicPartition(name, number) for number in await _partitions(consumer, name)]
    if not partitions:
        return
    consumer.assign(partitions)
    begins = await consumer.beginning_offsets(partitions)
    ends = await consumer.end_offsets(partitions)
    for partition in partitions:
        consumer.seek(partition, max(begins[partition], ends[partition] - limit))
    while [one for one in partitions if await consumer.position(one) < ends[one]]:
        for records in (await consumer.getmany(timeout_ms=200)).values():
            for record in records:
                if record.offset < ends[TopicPartition(name, record.partition)]:
                    yield record


def _letter(service: str, topic: str, record: Any) -> DeadLetter:
    headers: tuple[tuple[str, bytes | None], ...] = tuple(record.headers)
    given = dict(headers)

    def text(name: str) -> str | None:
        value = given.get(name)
        return None if value is None else value.decode("utf-8", "replace")

    def number(name: str) -> int:
        value = text(name) or ""
        return int(value) if value.isdigit() else -1

    return DeadLetter(
        service=service,
        topic=topic,
        place=Place(record.partition, record.offset),
        at=datetime.fromtimestamp(record.timestamp / 1000, UTC),
        source_partition=number("dlq_source_partition"),
        source_offset=number("dlq_source_offset"),
        reason=text("dlq_reason") or "unknown",
        error=text("dlq_error") or "",
        attempts=max(1, number(_KEPT)),
        event_id=text(cloudevents.ID),
        event_type=text(cloudevents.TYPE),
        key=record.key,
        value=record.value,
        headers=headers,
    )
