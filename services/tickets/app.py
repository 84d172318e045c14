"""Tickets' wiring."""

from __future__ import annotations

import os
from datetime import timedelta
from functools import partial
from typing import Any, cast

from services.tickets import api
from services.tickets.api.desk import Desk
from services.tickets.desk.deciding import Deciding
from services.tickets.desk.hearing import Hearing
from services.tickets.desk.intake import Intake
from services.tickets.desk.known import Known
from services.tickets.desk.numbers import Numbers
from services.tickets.desk.watermark import WatermarkBeat
from services.tickets.handlers import Handlers, on_reference_changed
from services.tickets.settings import Settings
from services.tickets.timers import Fired
from shared.auth import Authenticator, ReplicaCredentials, survey_token
from shared.bus import Bus, Route
from shared.contracts.event import Topic
from shared.contracts.manifest import (
    CREDENTIAL_CHANGED,
    ESCALATION_ACKNOWLEDGED,
    ESCALATION_ENDED,
    ESCALATION_STARTED,
    ESCALATION_STEPPED,
    MESSAGE_RECEIVED,
    NOTIFICATION_FAILED,
    PERSON_CHANGED,
    POLICY_PUBLISHED,
    SLA_BREACHED,
    SLA_CHANGED,
    SLA_MET,
    SLA_WARNING,
    TEAM_CHANGED,
    TENANT_CHANGED,
    TICKET_DUPLICATES_FOUND,
    TICKET_TRIAGED,
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
    Route(MESSAGE_RECEIVED, cast("Any", Handlers.on_message_received)),
    Route(TICKET_TRIAGED, cast("Any", Handlers.on_ticket_triaged)),
    Route(TICKET_DUPLICATES_FOUND, cast("Any", Handlers.on_ticket_duplicates_found)),
    *(Route(topic, cast("Any", Handlers.on_sla)) for topic in (SLA_WARNING, SLA_BREACHED, SLA_MET, SLA_CHANGED)),
    *(
        Route(topic, cast("Any", Handlers.on_escalation))
        for topic in (ESCALATION_STARTED, ESCALATION_STEPPED, ESCALATION_ACKNOWLEDGED, ESCALATION_ENDED)
    ),
    Route(NOTIFICATION_FAILED, cast("Any", Handlers.on_notification_failed)),
)
"""Topic → method of `Handlers`, bound when the service is built."""
REPLICATED: tuple[Topic, ...] = (TENANT_CHANGED, PERSON_CHANGED, TEAM_CHANGED, CREDENTIAL_CHANGED, POLICY_PUBLISHED)
"""Each is waited for under the first word of its name: `NotYet(…, "policy", "acme/workflow")`."""


async def build(settings: Settings) -> Service:
    """Everything tickets brings into a process."""
    master = master_key(settings)
    database = await Database.connect(
        settings.database_url.get_secret_value(), application=settings.SERVICE, stamped=True
    )
    metrics = Metrics(settings.SERVICE)
    relay = Relay(settings, database, metrics=metrics, beat=WatermarkBeat())
    replica = Replica(
        settings,
        database,
        {topic.name.partition(".")[0]: topic for topic in REPLICATED},
        metrics=metrics,
        relay=relay,
        on_change=on_reference_changed,
    )
    known, numbers = Known(replica), Numbers(database)
    patience = timedelta(minutes=settings.parent_minutes)
    intake = Intake(known, numbers, os.urandom, patience)
    handlers = Handlers(intake, Deciding(known, os.urandom), Hearing(known, os.urandom))
    bus = Bus(
        settings,
        database,
        [Route(route.topic, partial(cast("Any", route.handler), handlers)) for route in ROUTES],
        relay=relay,
        replica=replica,
        metrics=metrics,
    )
    fired = Fired(known, os.urandom, sweep=timedelta(seconds=settings.sweep_seconds), parent_patience=patience)
    timers = Timers(settings, database, relay, fired.handlers(), metrics)
    desk = Desk(
        database=database,
        known=known,
        intake=intake,
        numbers=numbers,
        wake=relay.wake,
        cursor=Cursor(master),
        draw=os.urandom,
        survey_key=survey_token.key_of(master),
    )
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
        start=[partial(fired.start, database)],
        stop=[database.close],
    )
