"""Notify's wiring."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

from services.notify import api
from services.notify.api import notifications, pages, preferences, preview
from services.notify.api import stream as stream_api
from services.notify.api import webhooks as webhooks_api
from services.notify.api.desk import Desk
from services.notify.desk import recording
from services.notify.desk import wiring as mailing
from services.notify.desk.reference import on_reference_changed
from services.notify.desk.tail import Tail
from services.notify.handlers import Handlers, Tell
from services.notify.settings import Settings
from services.notify.webhooks import wiring as webhooks
from shared.auth import Authenticator, ReplicaCredentials
from shared.bus import Bus, Route
from shared.contracts.event import Topic
from shared.contracts.manifest import (
    CHAT_REPLY_MISSED,
    CREDENTIAL_CHANGED,
    ESCALATION_ACKNOWLEDGED,
    ESCALATION_ENDED,
    ESCALATION_STARTED,
    ESCALATION_STEPPED,
    PAGE_CANCELLED,
    PAGE_REQUESTED,
    PERSON_CHANGED,
    POLICY_PUBLISHED,
    SLA_BREACHED,
    SLA_CHANGED,
    SLA_MET,
    SLA_WARNING,
    SUPPRESSION_CHANGED,
    TEAM_CHANGED,
    TENANT_CHANGED,
    TICKET_ASSIGNED,
    TICKET_CREATED,
    TICKET_DECISION_APPLIED,
    TICKET_MERGED,
    TICKET_MESSAGE_ADDED,
    TICKET_RATED,
    TICKET_STATUS_CHANGED,
    TICKET_TRANSFER_CHANGED,
    TICKET_UNMERGED,
    TICKET_UPDATED,
)
from shared.db import Database
from shared.http import Cursor, Router, idempotency
from shared.metrics import Metrics
from shared.relay import Relay
from shared.replica import Replica
from shared.service import Service
from shared.settings import master_key
from shared.tasks import TaskKind, Tasks

FACTS: tuple[Topic, ...] = (
    TICKET_CREATED,
    TICKET_MESSAGE_ADDED,
    TICKET_STATUS_CHANGED,
    TICKET_ASSIGNED,
    TICKET_UPDATED,
    TICKET_DECISION_APPLIED,
    TICKET_MERGED,
    TICKET_UNMERGED,
    TICKET_TRANSFER_CHANGED,
    TICKET_RATED,
    SLA_WARNING,
    SLA_BREACHED,
    SLA_MET,
    SLA_CHANGED,
    ESCALATION_STARTED,
    ESCALATION_STEPPED,
    ESCALATION_ACKNOWLEDGED,
    ESCALATION_ENDED,
    PAGE_REQUESTED,
    PAGE_CANCELLED,
    CHAT_REPLY_MISSED,
)
ROUTES: tuple[Route[Any], ...] = tuple(Route(topic, cast("Any", Handlers.on_fact)) for topic in FACTS)
"""Topic → method of `Handlers`, bound when the service is built; what is told of a topic is each teller's affair."""
REPLICATED: tuple[Topic, ...] = (
    TENANT_CHANGED,
    PERSON_CHANGED,
    TEAM_CHANGED,
    CREDENTIAL_CHANGED,
    POLICY_PUBLISHED,
    SUPPRESSION_CHANGED,
)
"""Each is waited for under the first word of its name: `NotYet(…, "policy", "acme/notifications")`."""


async def build(settings: Settings) -> Service:
    """Everything notify brings into a process."""
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
    mails = mailing.build(
        settings=settings, database=database, replica=replica, relay=relay, metrics=metrics, master=master
    )
    hooks = webhooks.build(settings=settings, database=database, relay=relay, metrics=metrics, master=master)
    # First what may answer NotYet: the others' work would be rolled back with it.
    tellers: list[Tell] = [
        mails.telling.tell,
        hooks.fanout.tell,
        recording.record,
    ]
    kinds: list[TaskKind[Any]] = [*mails.kinds]
    authenticator, tail = Authenticator(ReplicaCredentials(replica)), Tail(database)
    desk = Desk(
        database=database,
        known=mails.known,
        links=mails.links,
        answering=mails.answering,
        cursor=Cursor(master),
        wake=relay.wake,
    )
    routers: list[Router] = [
        preferences.routes(desk),
        preview.routes(desk),
        notifications.routes(desk),
        pages.routes(desk),
        webhooks_api.routes(
            webhooks_api.Desk(
                database=database, registry=hooks.registry, cursor=Cursor(master), wake=hooks.dispatcher.wake
            )
        ),
        stream_api.routes(tail, authenticator),
    ]
    handlers = Handlers(tellers)
    bus = Bus(
        settings,
        database,
        [Route(route.topic, partial(cast("Any", route.handler), handlers)) for route in ROUTES],
        relay=relay,
        replica=replica,
        metrics=metrics,
    )
    tasks = Tasks(settings, database, relay, kinds, metrics)
    app = api.build(settings, database, authenticator, routers)
    return Service(
        name=settings.SERVICE,
        settings=settings,
        routes=app,
        loops=[
            *replica.loops(),
            *bus.loops(),
            *relay.loops(),
            *tasks.loops(),
            *mails.loops(),
            *hooks.dispatcher.loops(),
            *tail.loops(),
            idempotency.purge_loop(database),
        ],
        checks=[
            *bus.checks(),
            *relay.checks(),
            *replica.checks(),
            *tasks.checks(),
            *hooks.dispatcher.checks(),
            *tail.checks(),
        ],
        metrics=metrics,
        openapi=app.openapi,
        start=[tail.start],
        stop=[mails.close, hooks.sender.close, database.close],
    )
