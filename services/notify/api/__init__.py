"""`/v1/notifications`, `/v1/pages`, `/v1/webhooks`, `/v1/events`."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI

from services.notify.settings import Settings
from shared.auth import Authenticator
from shared.db import Database
from shared.http import Router, api


def build(settings: Settings, database: Database, authenticator: Authenticator, routers: Sequence[Router]) -> FastAPI:
    """The whole API of the service."""
    app = api(
        title="Deskwire notify",
        service=settings.SERVICE,
        settings=settings,
        authenticator=authenticator,
        database=database,
        description="Who was told what, over which way, and what became of it.",
    )
    for router in routers:
        app.include_router(router)
    return app
