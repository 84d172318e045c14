"""`/v1/escalations`, `/v1/schedules`, `/v1/on-call`."""

from __future__ import annotations

from fastapi import FastAPI

from services.escalation.api import escalations, linting, schedules
from services.escalation.api.desk import Desk
from services.escalation.settings import Settings
from shared.auth import Authenticator
from shared.http import api


def build(settings: Settings, desk: Desk, authenticator: Authenticator) -> FastAPI:
    """The whole API of the service."""
    app = api(
        title="Deskwire escalation",
        service=settings.SERVICE,
        settings=settings,
        authenticator=authenticator,
        database=desk.database,
        description="Who is called for which ticket, in which order, and who is on call.",
    )
    # The linter first: its path would otherwise be read as an escalation's id.
    for module in (linting, escalations, schedules):
        app.include_router(module.routes(desk))
    return app
