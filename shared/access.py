"""Who may do what on the broker, derived from the manifest: a topic's owner writes it, its consumers read it.

One user per service, named like its consumer group, and three that are no service: `provision` makes topics,
`operator` is the command line (it reads, and publishes dead letters again), `lag` sees how far the groups are. Nobody
has more than is listed here; a right is added by declaring the topic's owner or consumer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from shared.bus import dead
from shared.contracts.event import Topic
from shared.contracts.manifest import TOPICS

PROVISION = "provision"
OPERATOR = "operator"
LAG = "lag"
REPLICA = "replica"
"""Behind a service's name: the group in which it reads reference data."""


class Resource(IntEnum):
    """What a right is about; the numbers are Kafka's."""

    TOPIC = 2
    GROUP = 3


class Operation(IntEnum):
    """What may be done; the numbers are Kafka's. Reading and writing include describing."""

    READ = 3
    WRITE = 4
    CREATE = 5
    DESCRIBE = 8


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Grant:
    """One right of one user on one topic or group, named in full."""

    user: str
    resource: Resource
    name: str
    operation: Operation


def users(topics: Iterable[Topic] = TOPICS, *, prefix: str = "") -> list[str]:
    """Every user there has to be: the services that touch a topic, then the three others."""
    topics = tuple(topics)
    services = {topic.owner for topic in topics} | {name for topic in topics for name in topic.consumers}
    return [prefix + name for name in (*sorted(services), PROVISION, OPERATOR, LAG)]


def grants(topics: Iterable[Topic] = TOPICS, *, prefix: str = "") -> frozenset[Grant]:
    """Every right there has to be. `prefix` stands before topics, groups and users, as `TOPIC_PREFIX` does."""
    found = {grant for topic in topics for grant in _of(topic)}
    return frozenset(
        Grant(user=prefix + one.user, resource=one.resource, name=prefix + one.name, operation=one.operation)
        for one in found
    )


def _of(topic: Topic) -> Iterator[Grant]:
    letters = [dead.topic_name(consumer, topic.name) for consumer in topic.consumers]
    yield _topic(topic.owner, topic.name, Operation.WRITE)
    for consumer, letter in zip(topic.consumers, letters, strict=True):
        yield _topic(consumer, topic.name, Operation.READ)
        yield _topic(consumer, letter, Operation.WRITE)
        # Only a compacted topic can be replicated.
        for group in (consumer, f"{consumer}.{REPLICA}") if topic.compacted else (consumer,):
            yield _group(consumer, group, Operation.READ)
            yield _group(LAG, group, Operation.DESCRIBE)
    if topic.paced_by:
        yield _group(topic.owner, topic.paced_by, Operation.DESCRIBE)
    for name in (topic.name, *letters):
        yield _topic(PROVISION, name, Operation.CREATE)
        yield _topic(PROVISION, name, Operation.DESCRIBE)
        yield _topic(OPERATOR, name, Operation.READ)
    if topic.consumers:
        # `deskwire dlq replay` publishes what could not be read to where it came from.
        yield _topic(OPERATOR, topic.name, Operation.WRITE)
        yield _topic(LAG, topic.name, Operation.DESCRIBE)


def _topic(user: str, name: str, operation: Operation) -> Grant:
    return Grant(user=user, resource=Resource.TOPIC, name=name, operation=operation)


def _group(user: str, name: str, operation: Operation) -> Grant:
    return Grant(user=user, resource=Resource.GROUP, name=name, operation=operation)
