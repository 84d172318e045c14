"""`deskwire rewind`: a service reads again what was published since an instant, after its database was restored."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import typer

from cli.installation import CliSettings
from cli.refuse import explained, refuse
from shared import kafka
from shared.contracts.manifest import TOPICS

FORMATS = ["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S%z"]


def rewind(
    service: Annotated[str, typer.Argument(help="The service, which is stopped.")],
    since: Annotated[datetime, typer.Option(formats=FORMATS, help="An instant before the backup was taken, UTC.")],
) -> None:
    """Let a stopped service read its topics again from an instant on; what it remembers it does not do twice."""
    from aiokafka.errors import CommitFailedError, UnknownMemberIdError

    if since.tzinfo is None:
        since = since.replace(tzinfo=UTC)
    topics = [topic.name for topic in TOPICS if service in topic.consumers]
    if not topics:
        refuse(f"no service that reads topics is named {service!r}", status=2)
    with explained():
        settings = CliSettings.load()
        try:
            back = asyncio.run(_rewind(settings, service, [settings.topic(name) for name in topics], since))
        except (CommitFailedError, UnknownMemberIdError):
            refuse(f"{service} runs: stop every instance of it first")
    print(f"{service} will read {back} events again")


async def _rewind(settings: CliSettings, service: str, topics: list[str], since: datetime) -> int:
    """By how many events the service's group went back: only where it has read, and never forward.

    Raises CommitFailedError or UnknownMemberIdError while somebody is in the group.
    """
    consumer = kafka.group_consumer(settings, settings.topic_prefix + service)
    back = 0
    try:
        await kafka.start(consumer)
        partitions = list(await kafka.ends(consumer, topics))
        consumer.assign(partitions)
        reached = {one: at for one in partitions if (at := await consumer.committed(one)) is not None}
        found = await consumer.offsets_for_times(dict.fromkeys(reached, int(since.timestamp() * 1000)))
        wanted = {one: min(found[one].offset, at) for one, at in reached.items() if found.get(one) is not None}
        back = sum(reached[one] - at for one, at in wanted.items())
        if back:
            await consumer.commit(wanted)
    finally:
        await kafka.stop(consumer, 5)
    return back
