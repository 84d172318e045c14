"""`/v1/tickets`: what agents, customers and programs do with tickets."""

from __future__ import annotations

from fastapi import FastAPI

from services.tickets.api import (
    creating,
    export,
    history,
    links,
    listing,
    merging,
    messages,
    surveys,
    tickets,
    transfers,
    workflow,
)
from services.tickets.api.desk import Desk
from services.tickets.settings import Settings
from shared.auth import Authenticator
from shared.http import api


def build(settings: Settings, desk: Desk, authenticator: Authenticator) -> FastAPI:
    """The whole API of the service."""
    app = api(
        title="Deskwire tickets",
        service=settings.SERVICE,
        settings=settings,
        authenticator=authenticator,
        database=desk.database,
        body_limits={"/v1/surveys/": surveys.MAX_BODY},
        description="Tickets: their conversation, their workflow, their owners, and who did what to them.",
    )
    # The export first: its path would otherwise be read as a ticket's id.
    for module in (
        export,
        listing,
        creating,
        tickets,
        messages,
        workflow,
        transfers,
        links,
        merging,
        history,
        surveys,
    ):
        app.include_router(module.routes(desk))
    return app
