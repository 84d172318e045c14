"""A process that hands mails over until a crash point kills it: `python -m tests.integration.notify.mail_worker`."""

from __future__ import annotations

import asyncio
from typing import Any

from services.notify.app import REPLICATED
from services.notify.desk import wiring
from services.notify.settings import Settings
from shared import crash
from shared.db import Database
from shared.metrics import Metrics
from shared.replica import Replica
from shared.settings import master_key
from shared.tasks import Tasks


async def main() -> None:
    """Work for ever."""
    crash.arm_from_environment()
    settings = Settings.load()
    database = await Database.connect(settings.database_url.get_secret_value(), application="worker")
    metrics = Metrics("notify")
    topics = {topic.name.partition(".")[0]: topic for topic in REPLICATED}
    replica = Replica(settings, database, topics, metrics=metrics)
    relay: Any = _Relay()
    mails = wiring.build(
        settings=settings,
        database=database,
        replica=replica,
        relay=relay,
        metrics=metrics,
        master=master_key(settings),
    )
    tasks = Tasks(settings, database, None, mails.kinds, metrics)
    await asyncio.gather(*(loop.run() for loop in tasks.loops()))


class _Relay:
    """Nobody sends the outbox."""

    def wake(self) -> None: ...


if __name__ == "__main__":
    asyncio.run(main())
