"""Clocks of tickets, why they stand where they stand, what they would be, and when a calendar is open."""

from __future__ import annotations

from fastapi import FastAPI

from services.sla.api import clocks, planning
from services.sla.desk.known import Known
from services.sla.settings import Settings
from shared.auth import Authenticator
from shared.db import Database
from shared.http import api


def build(settings: Settings, database: Database, known: Known, authenticator: Authenticator) -> FastAPI:
    """The whole API of the service."""
    app = api(
        title="Deskwire sla",
        service=settings.SERVICE,
        settings=settings,
        authenticator=authenticator,
        database=database,
        description="SLA clocks: where they stand, why, and what they would be; calendars and their hours.",
    )
    app.include_router(clocks.routes(database, known))
    app.include_router(planning.routes(database, known))
    return app
