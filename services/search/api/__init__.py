"""`/v1/search` and `/v1/similar`: finding tickets; and what an operator sees of the index."""

from __future__ import annotations

from fastapi import FastAPI

from services.search.api import operating, searching, similar
from services.search.api.desk import Desk
from services.search.settings import Settings
from shared.auth import Authenticator
from shared.http import api


def build(settings: Settings, desk: Desk, authenticator: Authenticator) -> FastAPI:
    """The whole API of the service."""
    app = api(
        title="Deskwire search",
        service=settings.SERVICE,
        settings=settings,
        authenticator=authenticator,
        database=desk.database,
        description="Tickets by text, with filters and facets; tickets like another one.",
    )
    for module in (operating, searching, similar):
        app.include_router(module.routes(desk))
    return app
