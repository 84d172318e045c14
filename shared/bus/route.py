"""Which handler takes which topic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic

from shared.contracts import cloudevents
from shared.contracts.event import Event, EventT, Topic
from shared.envelope import FactHandler, MarkedHandler, StateHandler


@dataclass(frozen=True, slots=True)
class Route(Generic[EventT]):
    """One subscription.

    The handler of a fact topic gets each event once, by its id. The handler of a compacted topic gets `Received` and
    `Tombstone`, possibly again, and keeps the highest version itself.
    """

    topic: Topic
    handler: FactHandler[EventT] | StateHandler[EventT] | MarkedHandler[EventT]
    watermarks: bool = False
    """Whether the handler wants the topic's watermarks too; otherwise they are passed over."""


class BoundRoute:
    """A route as the loop uses it: the broker's topic name, the event classes by type."""

    __slots__ = ("base", "classes", "compacted", "handler", "max_bytes", "name", "newest", "watermarks", "wire_name")

    def __init__(self, route: Route[Any], wire_name: str) -> None:
        topic = route.topic
        self.name = topic.name
        self.wire_name = wire_name
        self.handler: Any = route.handler  # called with a batch of what this topic carries
        self.compacted = topic.compacted
        self.watermarks = route.watermarks
        self.max_bytes = topic.max_bytes
        self.classes: dict[str, type[Event]] = {event.TYPE: event for event in topic.events}
        self.newest: dict[str, int] = {}
        """Newest version known of each base name of the topic's types."""
        for name in self.classes:
            parts = cloudevents.split_type(name)
            if parts is None:
                raise ValueError(f"{name}: an event type is <topic>.v<N>")
            self.newest[parts[0]] = max(self.newest.get(parts[0], 0), parts[1])

    def is_newer(self, ce_type: str) -> bool:
        """Whether this is a version of one of the topic's types that a later release knows."""
        parts = cloudevents.split_type(ce_type)
        return parts is not None and parts[0] in self.newest and parts[1] > self.newest[parts[0]]
