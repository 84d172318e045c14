"""Triage's wiring."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

from services.triage import api
from services.triage.desk.known import Known
from services.triage.desk.triaging import Triaging
from services.triage.handlers import Handlers
from services.triage.settings import Settings
from services.triage.tasks import Texts
from shared.auth import Authenticator, ReplicaCredentials
from shared.blobs import Blobs
from shared.bus import Bus, Route
from shared.contracts.event import Topic
from shared.contracts.manifest import (
    CREDENTIAL_CHANGED,
    PERSON_CHANGED,
    POLICY_PUBLISHED,
    TENANT_CHANGED,
    TICKET_CREATED,
    TICKET_MESSAGE_ADDED,
    TICKET_UPDATED,
)
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
    Route(TICKET_UPDATED, cast("Any", Handlers.on_ticket_updated)),
)
"""Topic → method of `Handlers`, bound when the service is built."""
REPLICATED: tuple[Topic, ...] = (TENANT_CHANGED, PERSON_CHANGED, CREDENTIAL_CHANGED, POLICY_PUBLISHED)
"""Each is waited for under the first word of its name: `NotYet(…, "policy", "acme/triage")`."""


async def build(settings: Settings) -> Service:
    """Everything triage brings into a process."""
    master = master_key(settings)
    database = await Database.connect(settings.database_url.get_secret_value(), application=settings.SERVICE)
    metrics = Metrics(settings.SERVICE)
    relay = Relay(settings, database, metrics=metrics)
    known = Known()
    triaging = Triaging(known)
    handlers = Handlers(triaging)
    replica = Replica(
        settings,
        database,
        {topic.name.partition(".")[0]: topic for topic in REPLICATED},
        metrics=metrics,
        relay=relay,
        on_change=handlers.on_reference_changed,
    )
    known.read(replica)
    bus = Bus(
        settings,
        database,
        [Route(route.topic, partial(cast("Any", route.handler), handlers)) for route in ROUTES],
        relay=relay,
        replica=replica,
        metrics=metrics,
    )
    blobs = Blobs.of(settings)
    tasks = Tasks(settings, database, relay, [Texts(blobs, triaging).kind()], metrics)
    app = api.build(settings, database, known, Cursor(master), Authenticator(ReplicaCredentials(replica)))
    return Service(
        name=settings.SERVICE,
        settings=settings,
        routes=app,
        loops=[*replica.loops(), *bus.loops(), *relay.loops(), *tasks.loops()],
        checks=[*bus.checks(), *relay.checks(), *replica.checks(), *tasks.checks()],
        metrics=metrics,
        openapi=app.openapi,
        stop=[database.close],
    )
