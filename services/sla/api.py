"""The API of sla."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from services.sla import store
from shared.auth import Principal
from shared.auth.permissions import Permission
from shared.db import Database
from shared.http import Router, requires


class Summary(BaseModel):
    """What was counted of the caller's tenant."""

    tickets: int
    newest: str | None = Field(None, description="Number of the ticket created last.")
    newest_at: datetime | None = Field(None, description="When that was (UTC).")


def routes(database: Database) -> Router:
    """Path operations of sla."""
    router = Router(tags=["sla"])

    @router.get("/v1/sla/summary")
    async def read_summary(principal: Annotated[Principal, requires(Permission.TICKET_READ)]) -> Summary:
        """How many tickets the caller's tenant has had."""
        count = await store.read(database, principal.tenant_id)
        if count is None:
            return Summary(tickets=0)
        return Summary(tickets=count.tickets, newest=count.newest, newest_at=count.newest_at)

    return router
