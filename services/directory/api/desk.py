"""What every path operation works with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from services.directory.commands.caller import Caller
from shared.auth import Principal
from shared.db import Database, Tx
from shared.http import Cursor, Page, correlation, page_link, query_of, traceparent

FoundT = TypeVar("FoundT")
ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The database, the relay's bell, the master key."""

    database: Database
    wake: Callable[[], None]
    master: bytes = field(repr=False)
    cursors: Cursor = field(repr=False)

    @asynccontextmanager
    async def change(self) -> AsyncIterator[Tx]:
        """One transaction; once it is committed, its events are sent."""
        async with self.database.begin() as tx:
            yield tx
        self.wake()

    def position(self, request: Request, principal: Principal, cursor: str | None) -> Any:
        """Where a listing goes on; None for its beginning."""
        if cursor is None:
            return None
        return self.cursors.decode(cursor, principal.tenant_id, query_of(request))[0]

    def page(
        self,
        request: Request,
        response: Response,
        principal: Principal,
        *,
        found: Sequence[FoundT],
        limit: int,
        key: Callable[[FoundT], str | int],
        view: Callable[[FoundT], ItemT],
    ) -> Page[ItemT]:
        """A page of `found`, which was asked for one more than the page has, with the cursor of the next one.

        `key` is what the listing is sorted by, `view` what the caller sees of one.
        """
        shown, following = self.cursors.cut(request, principal.tenant_id, found, limit, lambda one: [key(one)])
        response.headers.update(page_link(request, following))
        return Page[ItemT](items=[view(one) for one in shown], next_cursor=following)


def caller_of(request: Request, principal: Principal) -> Caller:
    """On whose behalf, and for which request."""
    return Caller(principal=principal, correlation=correlation(request), traceparent=traceparent(request))


def real_now() -> datetime:
    """Real time: keys and tokens do not follow the test clock."""
    return datetime.now(UTC)


def uuid_or_none(text: str | None) -> UUID | None:
    """A position of a listing by id."""
    return UUID(text) if text else None
