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
        group = settings.topic_prefix + service
        try:
            back = asyncio.run(kafka.rewind(settings, group, [settings.topic(name) for name in topics], since))
        except (CommitFailedError, UnknownMemberIdError):
            refuse(f"{service} runs: stop every instance of it first")
    print(f"{service} will read {back} events again")
