"""A worker of whatever release is on the path: `python -m tests.support.faults.release`, counting real contracts.

It subscribes to those of two topics of the manifest that its release knows, which is all that tells releases apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import uvloop

from shared import log, process
from shared.bus import Bus, Route
from shared.contracts import manifest
from shared.contracts.event import Topic
from shared.db import Database, Tx
from shared.envelope import Answer, Received
from shared.metrics import for_service
from shared.relay import Relay
from shared.service import Service
from shared.settings import ServiceSettings
from tests.support.faults.service import Settings, apply

NAMES = ("message.received", "ticket.updated")


async def count(tx: Tx, batch: Sequence[Received[Any]]) -> Sequence[Answer]:
    """The effect."""
    await apply(tx, [(one.topic, one.key, 0, one.id) for one in batch])
    return ()


async def build(settings: ServiceSettings) -> Service:
    """A bus and a relay."""
    assert isinstance(settings, Settings)
    topics: dict[str, Topic] = {topic.name: topic for topic in manifest.TOPICS}
    database = await Database.connect(settings.database_url.get_secret_value(), application=settings.SERVICE)
    metrics = for_service(settings.SERVICE)
    relay = Relay(settings, database, metrics=metrics)
    routes: list[Route[Any]] = [Route(topics[name], count) for name in NAMES if name in topics]
    bus = Bus(settings, database, routes, relay=relay, metrics=metrics)
    return Service(
        name=settings.SERVICE,
        settings=settings,
        loops=[*bus.loops(), *relay.loops()],
        checks=bus.checks(),
        stop=[database.close],
    )


def main() -> int:
    """Run until a signal; the exit status."""
    settings = Settings.load()
    log.setup(settings)

    def builder(_name: str) -> object:
        return build

    process._build = builder  # type: ignore[assignment]  # a service that is not below services/
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(process.serve([settings]))


if __name__ == "__main__":
    raise SystemExit(main())
