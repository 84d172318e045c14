"""New tickets looked up in the index, a little after they came, within a budget of time.

Never part of the pipeline: rows wait in a table, the newest are asked about first, and those that waited too long are
left with the comparison they had at once. The engine is asked for at most a share of the time, one request at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from services.search.domain import likeness, question
from services.search.domain.likeness import SOLVED_FOR, Candidate, Report
from services.search.domain.wording import Gist
from services.search.engine import Engine, EngineAwayError, QueryRefusedError
from services.search.figures import Figures
from services.search.settings import Settings
from services.search.store import documents, duplicates
from services.search.store.duplicates import Check
from shared import outbox
from shared.db import Database
from shared.due import is_away
from shared.envelope import Emit
from shared.explain import explain
from shared.relay import Relay
from shared.service import Loop

BATCH = 20
WORDS = 12
"""Words the index is asked with."""
_IDLE = 0.25
_HOUSEKEEPING = 10.0

logger = logging.getLogger(__name__)


class Checker:
    """Asks the index about new tickets. Any number may run."""

    def __init__(self, settings: Settings, database: Database, engine: Engine, relay: Relay, figures: Figures) -> None:
        self._database = database
        self._engine = engine
        self._relay = relay
        self._figures = figures
        self._share = settings.duplicate_share
        self._patience = timedelta(seconds=settings.duplicate_patience_seconds)
        self._keep = timedelta(minutes=settings.duplicate_minutes)
        self._kept_house = 0.0

    def loops(self) -> list[Loop]:
        """What the process runs."""
        return [Loop(name="duplicates", run=self._run)]

    async def _run(self) -> None:
        self._relay.attach()
        try:
            while True:
                pause = await self._turn()
                await asyncio.sleep(pause)
        finally:
            self._relay.detach()

    async def _turn(self) -> float:
        """One round; the seconds until the next."""
        began = time.monotonic()
        try:
            await self._house(began)
            count = await self.round() if self._share > 0 else 0
        except (EngineAwayError, QueryRefusedError) as error:
            logger.info("duplicates not looked up", extra={"error": str(error)})
            return 2.0
        except Exception as error:
            if not is_away(error):
                raise
            logger.warning("duplicates wait for the database", extra={"error": explain(error)})
            return 1.0
        if not count:
            return _IDLE
        spent = time.monotonic() - began
        # A share of 0.2 rests four times as long as it worked.
        return spent * (1 - self._share) / self._share

    async def _house(self, now: float) -> None:
        if now < self._kept_house + _HOUSEKEEPING:
            return
        self._kept_house = now
        left_out = await duplicates.expire(self._database, self._patience)
        if left_out:
            self._figures.checks("fingerprint", left_out)
        await duplicates.age_out(self._database, self._keep)

    async def round(self) -> int:
        """Ask about the newest tickets that are due; how many."""
        checks = await duplicates.claim(self._database, BATCH)
        if not checks:
            return 0
        reports = await documents.reports(self._database, [check.ticket_id for check in checks])
        asked = [check for check in checks if check.ticket_id in reports]
        answers = (
            await self._engine.search_many([_search(reports[check.ticket_id]) for check in asked]) if asked else []
        )
        emits: dict[UUID, Emit] = {}
        for check, answer in zip(asked, answers, strict=True):
            found = _judged(reports[check.ticket_id], check, answer)
            if found is not None:
                emits[check.ticket_id] = found
        async with self._database.begin() as tx:
            ours = await duplicates.finish(tx, [check.ticket_id for check in checks])
            await outbox.add(tx, [emits[i] for i in sorted(emits) if i in ours])
        if emits:
            self._relay.wake()
        now = datetime.now(UTC)
        lags = [max(0.0, (now - check.asked_at).total_seconds()) for check in asked]
        for lag in lags:
            self._figures.duplicate_seconds.observe(lag)
        if lags:
            self._figures.duplicate_lag.set(min(lags))
        failed = sum(answer is None for answer in answers)
        self._figures.checks("full", len(asked) - failed)
        if failed:
            self._figures.checks("fingerprint", failed)
        return len(checks)


def _search(report: Report) -> tuple[str, dict[str, Any]]:
    words = likeness.telling(report.gist.words, WORDS)
    body = question.duplicates(report.tenant_id, report.ticket_id, words, solved_after=report.opened_at - SOLVED_FOR)
    return report.tenant_id, body


def _judged(report: Report, check: Check, answer: Mapping[str, Any] | None) -> Emit | None:
    """A decision when the index knows a duplicate that was not named yet."""
    if answer is None:
        return None
    candidates = [Candidate(report=other, source="index") for other in found_in(report.tenant_id, answer)]
    named = likeness.likeliest(report, candidates)
    if not {candidate.ticket_id for candidate in named} - check.found:
        return None
    return Emit(likeness.decision(report, check.version, named, full=True))


def found_in(tenant_id: str, answer: Mapping[str, Any]) -> Sequence[Report]:
    """The reports among an answer's hits."""
    found = []
    for hit in answer["hits"]["hits"]:
        source = hit["_source"]
        with contextlib.suppress(KeyError, ValueError):
            found.append(
                Report(
                    ticket_id=UUID(source["ticket_id"]),
                    tenant_id=tenant_id,
                    number=source["number"],
                    gist=Gist.of_text(source["gist"]),
                    requester_id=UUID(source["requester_id"]),
                    opened_at=datetime.fromisoformat(source["created_at"]),
                    channel=source["channel"],
                    product=source.get("product"),
                )
            )
    return found
