"""The admin API: who there is, what they may do, what the tenant agreed on."""

from __future__ import annotations

from fastapi import FastAPI

from services.directory.api import credentials, people, policies, teams, tenants
from services.directory.api.desk import Desk
from services.directory.domain.tenancy import ApiKey
from services.directory.settings import Settings
from services.directory.store import credentials as stored
from shared.auth import Authenticator
from shared.contracts.directory import CredentialChanged
from shared.db import Database
from shared.http import api


class OwnCredentials:
    """Credentials out of directory's own table: what the other services learn by topic is true here at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, credential_id: str) -> CredentialChanged | None:
        """The credential in force under this id, or None."""
        found = await stored.in_force(self._database, credential_id)
        if isinstance(found, ApiKey) and found.revoked_at is not None:
            return None
        return found.event() if found else None


def build(settings: Settings, desk: Desk) -> FastAPI:
    """The application over one desk."""
    app = api(
        title="Deskwire directory",
        service=settings.SERVICE,
        settings=settings,
        authenticator=Authenticator(OwnCredentials(desk.database)),
        database=desk.database,
        description=(
            "Tenants, people, teams, organisations, API keys and tokens, policy packs. Every change is published to"
            " the other services in the transaction that made it."
        ),
    )
    for part in (tenants, people, teams, credentials, policies):
        app.include_router(part.routes(desk))
    return app
