"""Escalation's wiring."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

from services.escalation import api, measures
from services.escalation.api.desk import Desk
from services.escalation.desk.known import Known
from services.escalation.desk.reference import on_reference_changed
from services.escalation.handlers import Handlers
from services.escalation.settings import Settings
from services.escalation.timers import Fired
from shared.auth import Authenticator, ReplicaCredentials
from shared.bus import Bus, Route
from shared.contracts.event import Topic
from shared.contracts.manifest import (
    CREDENTIAL_CHANGED,
    NOTIFICATION_FAILED,
    PAGE_RESPONSE,
    PERSON_CHANGED,
    POLICY_PUBLISHED,
    SLA_BREACHED,
    SLA_CHANGED,
    SLA_WARNING,
    TEAM_CHANGED,
    TENANT_CHANGED,
    TICKET_ASSIGNED,
    TICKET_CREATED,
    TICKET_STATE,
    TICKET_STATUS_CHANGED,
)
from shared.db import Database
from shared.http import Cursor, idempotency
from shared.metrics import Metrics
from shared.relay import Relay
from shared.replica import Replica
from shared.service import Service
from shared.settings import master_key
from shared.timers import Timers

ROUTES: tuple[Route[Any], ...] = (
    # In this order within a batch: what is known of a ticket before what happened to it, ends before beginnings.
    Route(TICKET_STATE, cast("Any", Handlers.on_ticket_state), watermarks=True),
    Route(TICKET_ASSIGNED, cast("Any", Handlers.on_ticket_assigned)),
    Route(TICKET_STATUS_CHANGED, cast("Any", Handlers.on_ticket_status_changed)),
    Route(PAGE_RESPONSE, cast("Any", Handlers.on_page_response)),
    Route(SLA_CHANGED, cast("Any", Handlers.on_sla_changed)),
    Route(TICKET_CREATED, cast("Any", Handlers.on_ticket_created)),
    Route(SLA_WARNING, cast("Any", Handlers.on_sla_warning)),
    Route(SLA_BREACHED, cast("Any", Handlers.on_sla_breached)),
    Route(NOTIFICATION_FAILED, cast("Any", Handlers.on_notification_failed)),
)
"""Topic → method of `Handlers`, bound when the service is built."""
REPLICATED: tuple[Topic, ...] = (TENANT_CHANGED, PERSON_CHANGED, TEAM_CHANGED, CREDENTIAL_CHANGED, POLICY_PUBLISHED)
"""Each is waited for under the first word of its name: `NotYet(…, "policy", "acme/escalation")`."""


async def build(settings: Settings) -> Service:
    """Everything escalation brings into a process."""
    master = master_key(settings)
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
    known, counted = Known(replica), measures.of(metrics)
    handlers = Handlers(known, counted)
    bus = Bus(
        settings,
        database,
        [Route(one.topic, partial(cast("Any", one.handler), handlers), one.watermarks) for one in ROUTES],
        relay=relay,
        replica=replica,
        metrics=metrics,
    )
    timers = Timers(settings, database, relay, Fired(known, counted).handlers(), metrics)
    desk = Desk(database=database, known=known, wake=relay.wake, cursor=Cursor(master), measures=counted)
    app = api.build(settings, desk, Authenticator(ReplicaCredentials(replica)))
    return Service(
        name=settings.SERVICE,
        settings=settings,
        routes=app,
        loops=[
            *replica.loops(),
            *bus.loops(),
            *relay.loops(),
            *timers.loops(),
            idempotency.purge_loop(database),
        ],
        checks=[*bus.checks(), *relay.checks(), *replica.checks(), *timers.checks()],
        metrics=metrics,
        openapi=app.openapi,
        stop=[database.close],
    )
