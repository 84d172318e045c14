"""The ingest service put together."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from services.ingest import handlers, sweep
from services.ingest import measures as measuring_here
from services.ingest.api import application
from services.ingest.archive import Archive
from services.ingest.channels.alerts import Alerts
from services.ingest.channels.chat import Chats
from services.ingest.channels.chat_hub import Hub
from services.ingest.channels.http import Submissions
from services.ingest.channels.mailbox import Mailboxes
from services.ingest.channels.smtp import Reception
from services.ingest.chat.transcript import MISSED, Transcript
from services.ingest.intake import Intake
from services.ingest.mail.limits import Limits
from services.ingest.mail.parse import Options
from services.ingest.mailroom import Mailroom
from services.ingest.parsing import Parser
from services.ingest.quarantine import Quarantine
from services.ingest.settings import Settings
from shared import metrics as measuring
from shared.ahead import Window
from shared.auth import Authenticator, ReplicaCredentials, mail_token
from shared.blobs import Blobs
from shared.bus import Bus, Route
from shared.contracts.event import Topic
from shared.contracts.manifest import CREDENTIAL_CHANGED, MESSAGE_RECEIVED, TENANT_CHANGED
from shared.db import Database
from shared.http import Cursor, idempotency
from shared.relay import Relay
from shared.replica import Replica
from shared.service import Check, Loop, Service
from shared.settings import master_key
from shared.timers import Timers

ROUTES: tuple[Route[Any], ...] = handlers.routes(Transcript(timedelta(minutes=1)))
"""With the patience of a chat without settings; `build` makes them again with its own."""
REPLICATED: tuple[Topic, ...] = (TENANT_CHANGED, CREDENTIAL_CHANGED)
REAP_SECONDS = 30.0


async def build(settings: Settings) -> Service:
    """The service as a value. Raises SettingsError, and OSError while the database is away."""
    key = master_key(settings)
    database = await Database.connect(settings.database_url.get_secret_value(), application="ingest")
    metrics = measuring.for_service("ingest")
    measures = measuring_here.of(metrics)
    window = (
        Window(MESSAGE_RECEIVED.name, MESSAGE_RECEIVED.paced_by, settings.release_ahead)
        if settings.release_ahead
        else None
    )
    relay = Relay(settings, database, metrics=metrics, fair=True, window=window)
    replica = Replica(
        settings,
        database,
        {"tenant": TENANT_CHANGED, "credential": CREDENTIAL_CHANGED},
        metrics=metrics,
        relay=relay,
        on_change=handlers.on_change,
    )
    blobs = Blobs.of(settings)
    archive = Archive(blobs)
    intake = Intake(database, relay.wake, measures)
    parser = Parser(measures, children=settings.parse_children)
    mailroom = Mailroom(parser, archive, intake, _options(settings))
    mailboxes = Mailboxes(settings, database, mailroom, intake, key)
    hub = Hub(database, blobs, most=settings.chat_connections)
    routes = application(
        settings,
        database=database,
        authenticator=Authenticator(ReplicaCredentials(replica)),
        submissions=Submissions(database, archive, intake),
        alerting=Alerts(database, archive, intake),
        chats=Chats.of(settings, database, intake, hub, key),
        polled=mailboxes,
        quarantine=Quarantine(database, blobs, parser, mailroom, intake),
        blobs=blobs,
        cursors=Cursor(key),
        wake=relay.wake,
    )
    transcript = Transcript(timedelta(seconds=settings.chat_leave_seconds))
    bus = Bus(settings, database, handlers.routes(transcript), relay=relay, replica=replica, metrics=metrics)
    timers = Timers(settings, database, relay, {MISSED: transcript.missed}, metrics)

    async def rest() -> None:
        """Keep the relay until what is under way is stored, and let unused children go."""
        relay.attach()
        try:
            while True:
                await asyncio.sleep(REAP_SECONDS)
                await parser.reap()
        finally:
            await intake.settled()
            relay.detach()

    loops = [
        *replica.loops(),
        *bus.loops(),
        *relay.loops(),
        *timers.loops(),
        hub.loop(),
        Loop(name="mailboxes", run=mailboxes.run),
        Loop(name="intake", run=rest),
        sweep.loop(database, blobs),
    ]
    checks = [*replica.checks(), *bus.checks(), *relay.checks(), *timers.checks(), *blobs.checks()]
    if settings.smtp_port:
        reception = Reception(settings, database, mailroom, measures, token_key=mail_token.key_of(key))
        loops.append(Loop(name="smtp", run=reception.run))
        checks.append(Check(name="smtp", ready=reception.ready))
    return Service(
        name="ingest",
        settings=settings,
        routes=routes,
        loops=[*loops, idempotency.purge_loop(database)],
        checks=checks,
        metrics=metrics,
        openapi=routes.openapi,
        stop=[parser.close, database.close],
    )


def _options(settings: Settings) -> Options:
    return Options(
        limits=Limits(raw_bytes=settings.mail_bytes, seconds=settings.mail_seconds),
        authserv_ids=frozenset(word.strip().lower() for word in settings.authserv_ids.split(",") if word.strip()),
        loop_token=settings.loop_token,
    )
