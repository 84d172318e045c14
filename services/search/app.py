"""Search's wiring."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

from services.search import api
from services.search.api.desk import Desk
from services.search.checking import Checker
from services.search.engine import Engine
from services.search.figures import Figures
from services.search.gaps import Gaps
from services.search.handlers import Handlers
from services.search.indexer import Indexer
from services.search.settings import Settings
from services.search.tasks import text_kind
from shared.auth import Authenticator, ReplicaCredentials
from shared.bus import Bus, Route
from shared.contracts.event import Topic
from shared.contracts.manifest import CREDENTIAL_CHANGED, TICKET_CREATED, TICKET_MESSAGE_ADDED, TICKET_STATE
from shared.db import Database
from shared.http import Cursor
from shared.metrics import Metrics
from shared.relay import Relay
from shared.replica import Replica
from shared.service import Service
from shared.settings import master_key
from shared.tasks import Tasks

ROUTES: tuple[Route[Any], ...] = (
    Route(TICKET_CREATED, cast("Any", Handlers.on_ticket_created)),
    Route(TICKET_MESSAGE_ADDED, cast("Any", Handlers.on_ticket_message_added)),
    Route(TICKET_STATE, cast("Any", Handlers.on_ticket_state)),
)
"""Topic → method of `Handlers`, bound when the service is built. Texts first, so that a state finds them counted."""
REPLICATED: tuple[Topic, ...] = (CREDENTIAL_CHANGED,)


async def build(settings: Settings) -> Service:
    """Everything search brings into a process."""
    master = master_key(settings)
    database = await Database.connect(settings.database_url.get_secret_value(), application=settings.SERVICE)
    metrics = Metrics(settings.SERVICE)
    figures = Figures(metrics)
    engine = Engine(settings)
    relay = Relay(settings, database, metrics=metrics)
    replica = Replica(settings, database, {"credential": CREDENTIAL_CHANGED}, metrics=metrics, relay=relay)
    handlers = Handlers.of(settings)
    bus = Bus(
        settings,
        database,
        [Route(route.topic, partial(cast("Any", route.handler), handlers)) for route in ROUTES],
        relay=relay,
        replica=replica,
        metrics=metrics,
    )
    tasks = Tasks(settings, database, relay, [text_kind(settings)], metrics)
    indexer = Indexer(settings, database, engine, figures)
    checker = Checker(settings, database, engine, relay, figures)
    gaps = Gaps(settings, database, master)
    desk = Desk(database=database, engine=engine, cursor=Cursor(master), settings=settings)
    app = api.build(settings, desk, Authenticator(ReplicaCredentials(replica)))
    return Service(
        name=settings.SERVICE,
        settings=settings,
        routes=app,
        metrics=metrics,
        loops=[
            *replica.loops(),
            *bus.loops(),
            *relay.loops(),
            *tasks.loops(),
            *indexer.loops(),
            *checker.loops(),
            *gaps.loops(),
        ],
        checks=[*bus.checks(), *relay.checks(), *replica.checks(), *tasks.checks(), *indexer.checks()],
        openapi=app.openapi,
        stop=[engine.close, database.close],
    )
