"""Sla's wiring."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any, cast

from services.sla import api
from services.sla.desk.keeping import Keeping
from services.sla.desk.known import Known
from services.sla.handlers import Handlers, on_reference_changed
from services.sla.settings import Settings
from services.sla.timers import Fired
from shared.auth import Authenticator, ReplicaCredentials
from shared.bus import Bus, Route
from shared.contracts.event import Topic
from shared.contracts.manifest import (
    CREDENTIAL_CHANGED,
    PERSON_CHANGED,
    POLICY_PUBLISHED,
    TENANT_CHANGED,
    TICKET_STATE,
)
from shared.db import Database
from shared.metrics import Metrics
from shared.relay import Relay
from shared.replica import Replica
from shared.service import Service
from shared.timers import Timers

ROUTES: tuple[Route[Any], ...] = (Route(TICKET_STATE, cast("Any", Handlers.on_ticket_state), watermarks=True),)
"""Topic → method of `Handlers`, bound when the service is built."""
REPLICATED: tuple[Topic, ...] = (TENANT_CHANGED, PERSON_CHANGED, CREDENTIAL_CHANGED, POLICY_PUBLISHED)
"""Each is waited for under the first word of its name: `NotYet(…, "policy", "acme/sla")`."""


async def build(settings: Settings) -> Service:
    """Everything sla brings into a process."""
    database = await Database.connect(settings.database_url.get_secret_value(), application=settings.SERVICE)
    metrics = Metrics(settings.SERVICE)
    relay = Relay(settings, database, metrics=metrics)
    replica = Replica(
        settings,
        database,
        {topic.name.partition(".")[0]: topic for topic in REPLICATED},
        metrics=metrics,
        relay=relay,
        on_change=on_reference_changed,
    )
    grace = timedelta(seconds=settings.grace_seconds)
    known = Known(replica)
    keeping = Keeping(known, grace)
    handlers = Handlers(keeping)
    bus = Bus(
        settings,
        database,
        [Route(one.topic, partial(cast("Any", one.handler), handlers), one.watermarks) for one in ROUTES],
        relay=relay,
        replica=replica,
        metrics=metrics,
    )
    fired = Fired(keeping, metrics, grace=grace, sweep=timedelta(seconds=settings.sweep_seconds))
    timers = Timers(settings, database, relay, fired.handlers(), metrics)
    app = api.build(settings, database, known, Authenticator(ReplicaCredentials(replica)))
    return Service(
        name=settings.SERVICE,
        settings=settings,
        routes=app,
        loops=[*replica.loops(), *bus.loops(), *relay.loops(), *timers.loops()],
        checks=[*bus.checks(), *relay.checks(), *replica.checks(), *timers.checks()],
        metrics=metrics,
        openapi=app.openapi,
        start=[partial(fired.start, database)],
        stop=[database.close],
    )
