"""Kafka clients with every setting that matters written out, and what counts as Kafka being away.

The defaults of the libraries lose events (auto-commit, `latest`, one acknowledgement): nobody else makes a client.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import struct
from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError, KafkaTimeoutError, TopicAlreadyExistsError, for_code

from shared.explain import explain
from shared.settings import ServiceSettings

logger = logging.getLogger(__name__)

REQUEST_TIMEOUT = 10.0
"""Seconds one request to the broker may take."""
MAX_BATCH_BYTES = 512 * 1024
"""A record batch stays below the broker's default limit of 1 MiB."""
DEAD_LETTER_BYTES = 2 * 1024 * 1024
"""`max.message.bytes` of dead-letter topics: what was too large for its own topic must fit."""
LISTED_SECONDS = 30.0
"""How long the broker may take to list topics that its controller has made."""
_START_PATIENCE = 2.0
"""Seconds a cancelled start may go on: a broker that is there answers in milliseconds."""

NOTHING = TopicPartition("deskwire.nothing", 0)
"""A partition nobody has: polling it alone keeps a consumer in its group and touches no fetched record."""


def _connection(settings: ServiceSettings, client: str) -> dict[str, Any]:
    """Addresses, encryption and identity, the same for every kind of client."""
    options: dict[str, Any] = {
        "bootstrap_servers": [server.strip() for server in settings.kafka_url.split(",") if server.strip()],
        "client_id": f"deskwire-{settings.SERVICE}-{client}",
        "request_timeout_ms": int(REQUEST_TIMEOUT * 1000),
        "retry_backoff_ms": 100,
        "metadata_max_age_ms": 60_000,
        "connections_max_idle_ms": 540_000,
    }
    tls = bool(settings.kafka_ca_file)
    sasl = bool(settings.kafka_username)
    if tls:
        options["ssl_context"] = ssl.create_default_context(cafile=settings.kafka_ca_file)
    if sasl:
        options["sasl_mechanism"] = "SCRAM-SHA-512"
        options["sasl_plain_username"] = settings.kafka_username
        options["sasl_plain_password"] = settings.kafka_password.get_secret_value()
    options["security_protocol"] = {
        (False, False): "PLAINTEXT",
        (True, False): "SSL",
        (False, True): "SASL_PLAINTEXT",
        (True, True): "SASL_SSL",
    }[tls, sasl]
    return options


def group_consumer(settings: ServiceSettings, group: str) -> AIOKafkaConsumer:
    """A consumer of a group that loses nothing: explicit offsets, from the earliest.

    The range assignor gives equal-numbered partitions of all topics to one instance, so that a key's events of
    different topics meet in one place. Not started; subscribes to nothing yet.
    """
    return AIOKafkaConsumer(
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_uncommitted",
        partition_assignment_strategy=(RangePartitionAssignor,),
        session_timeout_ms=settings.session_timeout_milliseconds,
        heartbeat_interval_ms=max(settings.session_timeout_milliseconds // 4, 250),
        rebalance_timeout_ms=max(settings.session_timeout_milliseconds, 10_000),
        max_poll_interval_ms=settings.poll_interval_milliseconds,
        fetch_max_wait_ms=200,
        fetch_min_bytes=1,
        fetch_max_bytes=8 * 1024 * 1024,
        max_partition_fetch_bytes=512 * 1024,
        check_crcs=True,
        **_connection(settings, "bus"),
    )


def reader(settings: ServiceSettings, purpose: str) -> AIOKafkaConsumer:
    """A consumer without a group, which assigns itself what it reads and commits nothing. Not started."""
    return AIOKafkaConsumer(
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_uncommitted",
        fetch_max_wait_ms=100,
        fetch_max_bytes=8 * 1024 * 1024,
        max_partition_fetch_bytes=1024 * 1024,
        **_connection(settings, purpose),
    )


def admin(settings: ServiceSettings, purpose: str) -> AIOKafkaAdminClient:
    """A client that asks the broker about topics and groups. Not started."""
    return AIOKafkaAdminClient(**_connection(settings, purpose))


def producer(settings: ServiceSettings) -> AIOKafkaProducer:
    """An idempotent producer that waits for every replica. Not started."""
    return AIOKafkaProducer(
        acks="all",
        enable_idempotence=True,
        linger_ms=0,
        max_batch_size=MAX_BATCH_BYTES,
        max_request_size=DEAD_LETTER_BYTES,
        compression_type=None,
        **_connection(settings, "relay"),
    )


async def start(client: AIOKafkaConsumer | AIOKafkaProducer | AIOKafkaAdminClient) -> None:
    """Start a client so that being cancelled meanwhile leaves no connection open that nobody knows.

    While it is started, the library (aiokafka 0.14) holds its first connection in a local variable and forgets it when
    it is cancelled there. So a cancelled start first goes on to its end, for a moment, and closing the client then
    finds everything. Raises KafkaError, OSError or TimeoutError when no broker answers.
    """
    starting = asyncio.ensure_future(client.start())
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        ended, _ = await asyncio.wait({starting}, timeout=_START_PATIENCE)
        if not ended:
            starting.cancel()
        elif not starting.cancelled():
            # Looked at, lest the loop report it as a failure that nobody knows of.
            starting.exception()
        raise


async def discard(client: AIOKafkaProducer) -> None:
    """Close a producer that may never get rid of what it holds.

    `stop()` waits until everything is delivered, which is for ever while the broker is away. What was handed to it is
    still in the outbox, so it is dropped. Connections go first: that ends the requests its sender would wait for. They
    go once more at the end, for the sender connects anew to try again before it hears that it is over.
    """
    client._closed = True  # noqa: SLF001 - there is no public way to stop without flushing (aiokafka 0.14)
    with contextlib.suppress(Exception):
        await client.client.close()
    with contextlib.suppress(Exception, asyncio.CancelledError):
        async with asyncio.timeout(5):
            await client._sender.close()  # noqa: SLF001 - as above
    with contextlib.suppress(Exception):
        await client.client.close()


async def stop(client: AIOKafkaConsumer, patience: float) -> None:
    """Leave the group and close, or after `patience` seconds close without leaving. Never raises for the broker.

    `stop()` alone waits for its own background work, which after a broker's restart may wait for ever and would go on
    calling for its coordinator ten times a second, in the log and on the wire, until the process ends.
    """
    try:
        async with asyncio.timeout(patience):
            await client.stop()
    except (KafkaError, OSError, TimeoutError) as error:
        logger.warning("consumer not stopped cleanly", extra={"error": explain(error)})
        await _abandon(client)
    except asyncio.CancelledError:
        # A fetch that waits to be tried again is cancelled by stop(), and stop() takes that for its own cancellation.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        await _abandon(client)


async def _abandon(client: AIOKafkaConsumer) -> None:
    """Cancel what a consumer still does and cut its connections; its place in the group expires by itself."""
    coordinator = client._coordinator  # noqa: SLF001 - there is no public way to stop without waiting (aiokafka 0.14)
    names = ("_coordination_task", "_heartbeat_task", "_commit_refresh_task", "_reset_committed_task")
    tasks = [task for name in names if (task := getattr(coordinator, name, None)) is not None and not task.done()]
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=5)
    for part in (client._fetcher, client._client):  # noqa: SLF001 - as above
        if part is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(5):
                    await part.close()


def is_kafka_failure(error: BaseException) -> bool:
    """Whether the broker or the way to it failed, not what was sent."""
    return isinstance(error, (KafkaError, OSError, TimeoutError))


async def ping(consumer: AIOKafkaConsumer, timeout: float = 2.0) -> None:
    """Prove that some broker answers. Raises KafkaError or TimeoutError."""
    async with asyncio.timeout(timeout):
        await consumer.topics()


async def ends(consumer: AIOKafkaConsumer, topics: Iterable[str]) -> Mapping[TopicPartition, int]:
    """Where each partition of those topics ends now. Raises TimeoutError while a topic has no partitions yet."""
    partitions = []
    everything = None
    for topic in topics:
        numbers = consumer.partitions_for_topic(topic)
        if not numbers:
            if everything is None:
                # topics() drops the partitions, and asking for a topic by its name may create it.
                everything = await consumer._client.fetch_all_metadata()  # noqa: SLF001 - there is no public way
            numbers = everything.partitions_for_topic(topic)
        if not numbers:
            raise TimeoutError(f"{topic}: no partitions yet")
        partitions += [TopicPartition(topic, number) for number in numbers]
    return await end_offsets(consumer, partitions)


async def end_offsets(consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]:
    """Where each of these partitions, which exist, ends now.

    Asked for offsets of topics that it does not know, the library (aiokafka 0.14) looks them up one after another and
    waits a tenth of a second after each: here it learns of all of them first, in one request.
    """
    wanted = list(partitions)
    client = consumer._client  # noqa: SLF001 - assign() would do it, and fetch
    await client.set_topics(client._topics | {place.topic for place in wanted})  # noqa: SLF001 - as above
    found: Mapping[TopicPartition, int] = await consumer.end_offsets(wanted)
    return found


async def ensure_topics(
    settings: ServiceSettings, wanted: Mapping[str, Mapping[str, str]], *, partitions: int = 1
) -> list[str]:
    """Create the topics (broker's names, with their settings) that do not exist; the names created.

    Returns once the broker lists them: it hears of them from its controller a moment after that has agreed.
    Raises KafkaError when the broker refuses, is away, or does not list them in time.
    """
    admin = AIOKafkaAdminClient(**_connection(settings, "admin"))
    try:
        await start(admin)
        existing = set(await admin.list_topics())
        missing = [name for name in wanted if name not in existing]
        if not missing:
            return []
        brokers = len((await admin.describe_cluster())["brokers"])
        answer = await admin.create_topics(
            [NewTopic(name, partitions, min(3, brokers), topic_configs=dict(wanted[name])) for name in missing]
        )
        for name, code, *_ in answer.topic_errors:
            error = for_code(code)
            if code and error is not TopicAlreadyExistsError:
                raise error(f"topic {name}")
        await _listed(admin, set(missing))
        return missing
    finally:
        await admin.close()


async def _listed(admin: AIOKafkaAdminClient, names: set[str]) -> None:
    try:
        async with asyncio.timeout(LISTED_SECONDS):
            while not names <= set(await admin.list_topics()):  # noqa: ASYNC110 - a broker tells nobody
                await asyncio.sleep(0.05)
    except TimeoutError as error:
        raise KafkaTimeoutError(f"topics were made and are not listed after {LISTED_SECONDS:.0f} s") from error


_M = 0x5BD1E995
_MASK = 0xFFFFFFFF
_words: dict[int, struct.Struct] = {}


def murmur2(data: bytes) -> int:
    """Kafka's key hash (the Java client's), so that we and outsiders agree where a key lives.

    The library's own takes 5.5 microseconds for a UUID, this one a third of that; a test holds them together.
    """
    length = len(data)
    h = 0x9747B28C ^ length
    full = length & ~3
    words = _words.get(full)
    if words is None:
        words = _words[full] = struct.Struct(f"<{full >> 2}I")
    for word in words.unpack_from(data):
        k = (word * _M) & _MASK
        h = ((h * _M) & _MASK) ^ (((k ^ (k >> 24)) * _M) & _MASK)
    rest = length - full
    if rest:
        h = ((h ^ int.from_bytes(data[full:], "little")) * _M) & _MASK
    h = ((h ^ (h >> 13)) * _M) & _MASK
    return h ^ (h >> 15)


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def servers(settings: ServiceSettings) -> Iterable[str]:
    """The bootstrap servers, for messages to people."""
    return tuple(settings.kafka_url.split(","))
