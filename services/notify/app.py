"""Notify's wiring."""

from __future__ import annotations

from services.notify import handlers
from services.notify.api import routes
from services.notify.settings import Settings
from shared.auth import Authenticator, ReplicaCredentials
from shared.bus import Bus, Route
from shared.contracts.event import Topic
from shared.contracts.manifest import CREDENTIAL_CHANGED, TICKET_CREATED
from shared.contracts.ticket import TicketCreated
from shared.db import Database
from shared.http import api
from shared.metrics import Metrics
from shared.relay import Relay
from shared.replica import Replica
from shared.service import Service

ROUTES: tuple[Route[TicketCreated], ...] = (Route(TICKET_CREATED, handlers.on_ticket_created),)
REPLICATED: tuple[Topic, ...] = (CREDENTIAL_CHANGED,)


async def build(settings: Settings) -> Service:
    """Everything notify brings into a process."""
    database = await Database.connect(settings.database_url.get_secret_value(), application=settings.SERVICE)
    metrics = Metrics(settings.SERVICE)
    relay = Relay(settings, database, metrics=metrics)
    replica = Replica(settings, database, {"credential": CREDENTIAL_CHANGED}, metrics=metrics, relay=relay)
    bus = Bus(settings, database, ROUTES, relay=relay, replica=replica, metrics=metrics)
    app = api(
        title="Deskwire notify",
        service=settings.SERVICE,
        settings=settings,
        authenticator=Authenticator(ReplicaCredentials(replica)),
        database=database,
        description="Tickets counted per tenant.",
    )
    app.include_router(routes(database))
    return Service(
        name=settings.SERVICE,
        settings=settings,
        routes=app,
        loops=[*replica.loops(), *bus.loops(), *relay.loops()],
        checks=[*bus.checks(), *relay.checks(), *replica.checks()],
        openapi=app.openapi,
        stop=[database.close],
    )
