"""Directory's wiring."""

from __future__ import annotations

from datetime import UTC, datetime

from services.directory import api, handlers, tasks
from services.directory.api.desk import Desk
from services.directory.commands import credentials
from services.directory.commands.caller import bootstrap
from services.directory.domain.tenancy import INSTALLATION
from services.directory.settings import Settings
from shared import metrics as measuring
from shared.bus import Bus, Route
from shared.contracts.event import Topic
from shared.contracts.manifest import MESSAGE_RECEIVED
from shared.contracts.message import MessageReceived
from shared.db import Database
from shared.http import Cursor
from shared.relay import Relay
from shared.service import Check, Service
from shared.settings import master_key

ROUTES: tuple[Route[MessageReceived], ...] = (Route(MESSAGE_RECEIVED, handlers.on_message_received),)
REPLICATED: tuple[Topic, ...] = ()
"""Directory owns all reference data, so it replicates none."""


async def build(settings: Settings) -> Service:
    """Everything directory brings into a process."""
    master = master_key(settings)
    database = await Database.connect(settings.database_url.get_secret_value(), application=settings.SERVICE)
    metrics = measuring.for_service(settings.SERVICE)
    relay = Relay(settings, database, metrics=metrics)
    bus = Bus(settings, database, ROUTES, relay=relay, metrics=metrics)
    desk = Desk(database=database, wake=relay.wake, master=master, cursors=Cursor(master))
    app = api.build(settings, desk)

    async def sign() -> None:
        async with database.begin() as tx:
            await credentials.ensure_signing_key(tx, bootstrap(INSTALLATION), master, datetime.now(UTC))

    return Service(
        name=settings.SERVICE,
        settings=settings,
        routes=app,
        loops=[*bus.loops(), *relay.loops(), tasks.upkeep(database, relay.wake)],
        checks=[*bus.checks(), *relay.checks(), Check(name="postgresql", ready=database.ping)],
        metrics=metrics,
        openapi=app.openapi,
        start=[sign],
        stop=[database.close],
    )
