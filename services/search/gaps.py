"""Texts that are on no topic any more, fetched by reference from tickets' bulk export.

A state says how many messages its ticket has. Where fewer are known for a while (a new database of an old
installation, facts older than their topic keeps them), the export is read from that ticket on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx2
import orjson

from services.search import intake
from services.search.settings import Settings
from services.search.store import documents, queue
from shared.auth import service_token
from shared.contracts.ticket import TicketMessage, TicketState
from shared.db import Database
from shared.due import is_away
from shared.explain import explain
from shared.service import Loop

_AT_ONCE = 500
_ON = 100
"""Tickets read on for in one stream, before the next missing one is asked for by a stream of its own."""
_PAUSE, _PAUSE_MOST = 5.0, 60.0
_SECONDS = 30.0

logger = logging.getLogger(__name__)


class ExportError(Exception):
    """tickets' export cannot be read now."""


class Gaps:
    """Fills gaps; may run in any number of instances, what is fetched twice is kept once."""

    def __init__(self, settings: Settings, database: Database, master: bytes) -> None:
        self._database = database
        self._url = settings.tickets_url
        self._older_than = timedelta(seconds=settings.gap_seconds)
        self._key = service_token.key_of(master)

    def loops(self) -> list[Loop]:
        """What the process runs."""
        return [Loop(name="gaps", run=self._run)]

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                found = await self.round()
                failures = 0
            except (ExportError, httpx2.HTTPError, OSError, TimeoutError) as error:
                failures += 1
                found = 0
                logger.warning("texts not fetched, trying again", extra={"error": str(error) or type(error).__name__})
            except Exception as error:
                if not is_away(error):
                    raise
                found = 0
                logger.warning("gaps wait for the database", extra={"error": explain(error)})
            await asyncio.sleep(0.1 if found == _AT_ONCE else min(_PAUSE * 2**failures, _PAUSE_MOST))

    async def round(self) -> int:
        """Look for gaps and fill them; how many there were."""
        by_tenant = await queue.gaps(self._database, self._older_than, _AT_ONCE)
        if by_tenant and not self._url:
            raise ExportError("TICKETS_URL is not set")
        for tenant_id, ticket_ids in sorted(by_tenant.items()):
            await self._fill(tenant_id, sorted(ticket_ids))
        return sum(map(len, by_tenant.values()))

    async def _fill(self, tenant_id: str, ticket_ids: Sequence[UUID]) -> None:
        wanted = list(ticket_ids)
        async with httpx2.AsyncClient(timeout=_SECONDS, trust_env=False) as client:
            while wanted:
                wanted = await self._read(client, tenant_id, wanted)
        async with self._database.begin() as tx:
            await queue.postpone_gaps(tx, ticket_ids)

    async def _read(self, client: httpx2.AsyncClient, tenant_id: str, wanted: Sequence[UUID]) -> list[UUID]:
        """Keep those wanted of the next tickets of the export; which are still to be asked for."""
        token = service_token.make(self._key, service_token.TICKETS_EXPORT, tenant_id, now=time.time())
        before = UUID(int=max(0, wanted[0].int - 1))
        names = frozenset(wanted)
        async with client.stream(
            "GET",
            f"{self._url}/v1/tickets/export",
            params={"after": str(before)},
            headers={"Authorization": f"Bearer {token}"},
        ) as answer:
            if answer.status_code != 200:
                raise ExportError(f"tickets answered {answer.status_code}")
            state: TicketState | None = None
            messages: list[TicketMessage] = []
            count = 0
            async for line in answer.aiter_lines():
                value: dict[str, Any] = orjson.loads(line)
                if value["kind"] == "message":
                    messages.append(TicketMessage.model_validate(value["message"]))
                elif value["kind"] == "ticket":
                    if state is not None and state.ticket_id in names:
                        await self._keep(state, messages)
                    state, messages = TicketState.model_validate(value["state"]), []
                    count += 1
                    if state.ticket_id > wanted[-1] or count > _ON:
                        last = state.ticket_id
                        return [ticket_id for ticket_id in wanted if ticket_id >= last]
            if state is not None and state.ticket_id in names:
                await self._keep(state, messages)
        return []

    async def _keep(self, state: TicketState, messages: Sequence[TicketMessage]) -> None:
        opening = [intake.report_of(state.tenant_id, state.ticket, messages[0])] if messages else []
        async with self._database.begin() as tx:
            await intake.keep(tx, [(state.tenant_id, state.ticket_id, message) for message in messages], opening)
            await documents.put_states(tx, intake.newest([state]))
