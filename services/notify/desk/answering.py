"""A paged person's answer, however it came: the first one counts, and is published once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from services.notify.store import pages
from services.notify.store.pages import Page
from shared import outbox
from shared.contracts.escalation import PageAnswer, PageResponse
from shared.db import Database
from shared.envelope import Emit


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering:
    """Takes answers."""

    database: Database
    wake: Callable[[], None]
    """Tells the relay that something was committed."""

    async def look(self, page_id: UUID) -> Page | None:
        """A page as it stands."""
        return await pages.read(self.database, page_id)

    async def answer(
        self, page_id: UUID, said: PageAnswer, by: str, correlation: str, traceparent: str | None = None
    ) -> tuple[Page | None, bool]:
        """Take an answer that came by `by` (`link`, `app`): the page as it stands now, and whether this one counted."""
        async with self.database.begin() as tx:
            page = await pages.answer(tx, page_id, said.value, by)
            if page is None:
                return await pages.read(tx, page_id), False
            event = PageResponse(
                tenant_id=page.tenant_id,
                ticket_id=page.ticket_id,
                page_id=page.id,
                escalation_id=page.escalation_id,
                person_id=page.person_id,
                answer=said,
                channel=by,
                answered_at=tx.instant,
            )
            await outbox.add(tx, [Emit(event, correlation=correlation, traceparent=traceparent)])
        self.wake()
        return page, True
