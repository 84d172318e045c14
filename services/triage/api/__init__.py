"""`/v1/triage`: try the rules, and see what was decided and what people corrected."""

from __future__ import annotations

from fastapi import FastAPI

from services.triage.api import history, preview
from services.triage.desk.known import Known
from services.triage.settings import Settings
from shared.auth import Authenticator
from shared.db import Database
from shared.http import Cursor, api


def build(
    settings: Settings, database: Database, known: Known, cursor: Cursor, authenticator: Authenticator
) -> FastAPI:
    """The whole API of the service."""
    app = api(
        title="Deskwire triage",
        service=settings.SERVICE,
        settings=settings,
        authenticator=authenticator,
        database=database,
        description="What tickets are about, how bad and how soon, and why that was decided.",
    )
    app.include_router(preview.routes(known))
    app.include_router(history.routes(database, cursor))
    return app
