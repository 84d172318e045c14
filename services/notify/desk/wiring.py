"""Puts the parts of mails, pages and notices together for `app.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import structlog

from services.notify.desk.answering import Answering
from services.notify.desk.handing import Handing
from services.notify.desk.known import Known
from services.notify.desk.links import Links
from services.notify.desk.speaking import Speaking
from services.notify.desk.telling import Telling
from services.notify.desk.writing import Writing
from services.notify.settings import Settings
from services.notify.smtp import address
from services.notify.smtp.server import MailServer
from services.notify.store import deliveries
from shared.blobs import Blobs
from shared.db import Database
from shared.due import is_away
from shared.explain import explain
from shared.metrics import Metrics
from shared.relay import Relay
from shared.replica import Replica
from shared.service import Loop
from shared.tasks import TaskKind

PURGE_SECONDS = 600.0

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mails:
    """What the service is told of mails, pages and notices."""

    known: Known
    links: Links
    telling: Telling
    answering: Answering
    kinds: Sequence[TaskKind[Any]]
    """Empty without a mail server: deliveries wait in their tasks until one is configured."""
    server: MailServer | None
    database: Database
    kept: timedelta = field(default=timedelta(days=90))

    def loops(self) -> Sequence[Loop]:
        """What the process runs."""
        return [Loop(name="purge of deliveries", run=self._purge)]

    async def close(self) -> None:
        """Leave the mail server in good order."""
        if self.server is not None:
            await self.server.close()

    async def _purge(self) -> None:
        while True:
            more = 0
            try:
                more = await deliveries.purge(self.database, self.kept)
            except Exception as error:
                if not is_away(error):
                    raise
                logger.warning("purge waits for the database", reason=explain(error))
            await asyncio.sleep(0.1 if more else PURGE_SECONDS)


def build(
    *, settings: Settings, database: Database, replica: Replica, relay: Relay, metrics: Metrics, master: bytes
) -> Mails:
    """Everything mails bring into a process; close it at the end. Raises SettingsError for a wrong address."""
    configured = address.read(settings.smtp_url.get_secret_value())
    known, links = Known(replica), Links(settings.public_url, master)
    kinds: list[TaskKind[Any]] = []
    server = None
    if configured is None:
        logger.warning("no mail server is configured (NOTIFY_SMTP_URL): mails and pages wait until one is")
    else:
        blobs = Blobs.of(settings) if settings.blobs_url else None
        server = MailServer(configured, settings.smtp_seconds)
        writing = Writing(database, known, links, blobs, master)
        kinds += Handing(database, writing, server, metrics).kinds(settings.smtp_connections)
    return Mails(
        known=known,
        links=links,
        telling=Telling(known, links, Speaking(timedelta(seconds=settings.language_patience_seconds))),
        answering=Answering(database=database, wake=relay.wake),
        kinds=kinds,
        server=server,
        database=database,
        kept=timedelta(days=settings.delivery_days),
    )
