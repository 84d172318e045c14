"""What path operations of search share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.search.domain.question import Reader
from services.search.engine import Engine, EngineAwayError
from services.search.settings import Settings
from shared.auth import Principal
from shared.auth.permissions import Permission, TicketScope, allows
from shared.db import Database
from shared.http import Cursor
from shared.problem import unavailable


@dataclass(frozen=True, kw_only=True)
class Desk:
    """The parts a request is answered with."""

    database: Database
    engine: Engine
    cursor: Cursor
    settings: Settings

    async def search(self, reader: Reader, body: Mapping[str, Any]) -> dict[str, Any]:
        """Ask the engine. Raises a 503 problem while it is away."""
        try:
            return await self.engine.search(reader.tenant_id, body)
        except EngineAwayError as error:
            raise unavailable("The search engine") from error


def reader_of(principal: Principal) -> Reader:
    """What this caller may find: the rules of tickets, applied inside the query."""
    scope = TicketScope.of(principal)
    return Reader(
        tenant_id=scope.tenant_id,
        all_tickets=scope.all_tickets,
        person_id=scope.person_id,
        internal=allows(principal, Permission.TICKET_NOTE),
    )
