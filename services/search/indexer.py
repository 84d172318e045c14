"""Documents into OpenSearch: one elected loop, in bulk, every item checked before its mark is cleared.

What waits is in the table `dirty`, so nothing is lost while the engine is away and nothing has to be told when it is
back. The same loop fills a new index behind the alias: what changes meanwhile is written to both, and since it is one
loop, no document can fall between the walk and the changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Sequence
from datetime import timedelta

import asyncpg
import orjson

from services.search.domain import mapping
from services.search.domain.document import Source, body_of
from services.search.engine import Engine, EngineAwayError, Outcome, QueryRefusedError, Write
from services.search.figures import Figures
from services.search.settings import Settings
from services.search.store import documents, generations, queue
from services.search.store.generations import Generation
from services.search.store.queue import Refused
from shared.db import Database
from shared.due import is_away
from shared.explain import explain
from shared.health import NotReadyError
from shared.service import Check, Loop

BATCH = 500
FULL = 400
"""After a batch of so many the next one begins at once."""
SILENCE = timedelta(seconds=5)
"""The server ends the session of a leader that says nothing for so long."""
_LOCK = "deskwire.search.indexer"
_FOLLOW = 1.0
_PAUSE_FIRST, _PAUSE_MOST = 0.2, 5.0
_REPORT = 5.0
_STUCK = 30.0

logger = logging.getLogger(__name__)


class Indexer:
    """Writes what is dirty, fills new indexes, swaps the alias. Any number may run; one works."""

    def __init__(self, settings: Settings, database: Database, engine: Engine, figures: Figures) -> None:
        self._settings = settings
        self._database = database
        self._engine = engine
        self._figures = figures
        self._fingerprint = mapping.fingerprint(settings.shards)
        self._targets: list[Generation] = []
        self._turned = time.monotonic()
        self._reported = 0.0

    def loops(self) -> list[Loop]:
        """What the process runs."""
        return [Loop(name="indexer", run=self._run)]

    def checks(self) -> list[Check]:
        """Ready when OpenSearch answers and is searched by our alias, and the loop turns."""
        return [Check(name="opensearch", ready=self._engine.ready), Check(name="indexer", ready=self._alive)]

    async def _alive(self) -> None:
        silent = time.monotonic() - self._turned
        if silent > _STUCK + self._settings.bulk_seconds:
            raise NotReadyError(f"no round for {silent:.0f} s")

    async def _run(self) -> None:
        """Be elected, work until the session is lost, again; until cancelled."""
        while True:
            try:
                await self._elected()
            except Exception as error:
                if not (is_away(error) or isinstance(error, asyncpg.PostgresError)):
                    raise
                logger.warning("indexer lost its session", extra={"error": explain(error)})
            self._figures.leader.set(0)
            await asyncio.sleep(0.5 + random.random() / 2)  # noqa: S311 - spreading, not secrecy

    async def _elected(self) -> None:
        session = await self._database.session(application="search indexer", idle_timeout=SILENCE)
        try:
            while not await session.fetchval("SELECT pg_try_advisory_lock(hashtextextended($1, 3))", _LOCK):
                self._turned = time.monotonic()
                await asyncio.sleep(_FOLLOW)
            self._figures.leader.set(1)
            alive = asyncio.create_task(_keep(session), name="indexer session")
            try:
                await self._lead(alive)
            finally:
                alive.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await alive
        finally:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(session.close(), 2)

    async def _lead(self, alive: asyncio.Task[None]) -> None:
        """Rounds for as long as the session lives; nothing depends on there being one leader but the work done."""
        failures = 0
        while True:
            if alive.done():
                alive.result()
            try:
                found = await self.round()
                failures = 0
                pause = 0.0 if found >= FULL else self._settings.linger_seconds
            except (EngineAwayError, QueryRefusedError) as error:
                if failures in {0, 5} or failures % 20 == 0:
                    logger.warning("index not written, trying again", extra={"error": str(error)})
                pause = min(_PAUSE_FIRST * 2 ** min(failures, 10), _PAUSE_MOST) * (0.5 + random.random() / 2)  # noqa: S311
                failures += 1
                self._figures.engine_failures.inc()
            except Exception as error:
                if not is_away(error):
                    raise
                logger.warning("indexer waits for the database", extra={"error": explain(error)})
                pause = 1.0
            self._turned = time.monotonic()
            await self._report()
            await asyncio.sleep(pause)

    async def round(self) -> int:
        """Write a batch of what is dirty, then a page of the index being filled; how many documents."""
        self._targets = await self._prepare()
        found = await documents.dirty(self._database, BATCH)
        await self._changed(found)
        filled = 0
        for target in self._targets:
            if not target.walked:
                filled += await self._fill(target)
        return len(found) + filled

    # -- what is dirty ------------------------------------------------------------------------------------------

    async def _changed(self, sources: Sequence[Source]) -> None:
        if not sources:
            return
        began = time.perf_counter()
        writes, outcomes = _composed(sources)
        for target in self._targets:
            outcomes += await self._write(target, writes)
        await self._settle(outcomes, [target.number for target in self._targets])
        self._figures.written(len(writes), time.perf_counter() - began)
        later = [one for one in outcomes if one.later]
        if later:
            # Asked to slow down: what was taken is cleared, the rest waits for its turn.
            raise EngineAwayError(f"{len(later)} documents were answered {later[0].status}")

    async def _settle(self, outcomes: Sequence[Outcome], targets: Sequence[int]) -> None:
        """Clear what is written everywhere or refused for good; leave the rest dirty."""
        later = {one.write.ticket_id for one in outcomes if one.later}
        bad = {one.write.ticket_id: one for one in outcomes if not one.done and one.write.ticket_id not in later}
        settled = {one.write.ticket_id: one.write for one in outcomes if one.write.ticket_id not in later}
        async with self._database.begin() as tx:
            if bad:
                await queue.refuse(tx, [_refused(one) for one in bad.values()])
            if self._figures.refusals:
                await queue.accepted(tx, [i for i in settled if i not in bad])
            await queue.clear(tx, [(i, write.version) for i, write in settled.items()], targets)
        for one in bad.values():
            self._figures.refused.inc()
            self._figures.refusals += 1
            logger.error(
                "document refused", extra={"ticket": str(one.write.ticket_id), "status": one.status, "kind": one.error}
            )

    async def _write(self, target: Generation, writes: Sequence[Write]) -> list[Outcome]:
        outcomes = await self._engine.write(target.number, writes)
        if any(one.status == 404 and one.error for one in outcomes):
            async with self._database.begin() as tx:
                await generations.lost(tx, target.number)
            raise EngineAwayError(f"index {self._engine.name(target.number)} is lost; another is begun")
        return outcomes

    # -- indexes behind the alias -------------------------------------------------------------------------------

    async def _prepare(self) -> list[Generation]:
        """The indexes to be written: the live one, and one being filled if there is one. Begins and ends them."""
        known = await generations.all_of(self._database)
        targets = [one for one in known if one.state != "retired"]
        if [one.number for one in targets] != [one.number for one in self._targets] or not targets:
            # Something new, or the first round of this leader: look whether the engine has what the table says.
            targets = [one for one in targets if await self._is_there(one)]
        live = next((one for one in targets if one.state == "live"), None)
        if live is None or (live.fingerprint != self._fingerprint and len(targets) == 1):
            await self._begin(live)
            return await self._prepared()
        filling = next((one for one in targets if one.state == "filling"), None)
        if filling is not None and filling.walked:
            await self._engine.promote(filling.number)
            async with self._database.begin() as tx:
                await generations.promote(tx, filling.number)
            logger.info("index swapped", extra={"index": self._engine.name(filling.number)})
            return await self._prepared()
        for old in known:
            if old.state == "retired" and old.number != known[-1].number:
                await self._engine.delete(old.number)
                async with self._database.begin() as tx:
                    await generations.forget(tx, old.number)
        return targets

    async def _prepared(self) -> list[Generation]:
        """What is to be written, after a change of it."""
        return [one for one in await generations.all_of(self._database) if one.state != "retired"]

    async def _is_there(self, one: Generation) -> bool:
        """Whether an index is in the engine, alias included; one that is not is given up."""
        if one.state == "filling":
            # Begun in the table first, so that it may not be in the engine yet.
            await self._engine.create(one.number)
            return True
        if await self._engine.exists(one.number):
            await self._engine.promote(one.number)
            return True
        async with self._database.begin() as tx:
            await generations.lost(tx, one.number)
        logger.error("the index is gone; another is filled", extra={"index": self._engine.name(one.number)})
        return False

    async def _begin(self, live: Generation | None) -> None:
        """Begin an index; it is searched at once where there is no other, since little is better than nothing."""
        above = await self._engine.highest()
        async with self._database.begin() as tx:
            number = await generations.begin(tx, self._fingerprint, live=live is None, above=above)
        if number is None:
            return
        await self._engine.create(number)
        if live is None:
            await self._engine.promote(number)
        logger.info("index begun", extra={"index": self._engine.name(number)})

    async def _fill(self, target: Generation) -> int:
        """Write one page of all documents to an index that has not got them yet."""
        page = await documents.walk(self._database, target.after, BATCH)
        writes, outcomes = _composed(page)
        if writes:
            outcomes += await self._write(target, writes)
        later = [one for one in outcomes if one.later]
        if later:
            raise EngineAwayError(f"{len(later)} documents were answered {later[0].status}")
        bad = [one for one in outcomes if not one.done]
        done = len(page) < BATCH
        async with self._database.begin() as tx:
            if bad:
                await queue.refuse(tx, [_refused(one) for one in bad])
            await generations.walked(tx, target.number, page[-1].ticket_id if page else None, len(page), done=done)
        self._figures.refusals += len(bad)
        return len(page)

    async def _report(self) -> None:
        now = time.monotonic()
        if now < self._reported + _REPORT:
            return
        self._reported = now
        with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            self._figures.waiting(*await queue.waiting(self._database))


def _composed(sources: Sequence[Source]) -> tuple[list[Write], list[Outcome]]:
    """What is written of tickets, their documents or their deletion; and those of which nothing can be made."""
    writes: list[Write] = []
    bad: list[Outcome] = []
    for source in sources:
        try:
            body = None if source.head is None else orjson.dumps(body_of(source))
        except (KeyError, TypeError, ValueError) as error:
            unwritten = Write(source.ticket_id, source.tenant_id, source.version, b"")
            bad.append(Outcome(unwritten, 400, f"not composed: {type(error).__name__}"))
            continue
        writes.append(Write(source.ticket_id, source.tenant_id, source.version, body))
    return writes, bad


def _refused(one: Outcome) -> Refused:
    write = one.write
    return Refused(
        ticket_id=write.ticket_id, tenant_id=write.tenant_id, version=write.version, reason=f"{one.status} {one.error}"
    )


async def _keep(session: asyncpg.Connection[asyncpg.Record]) -> None:
    """Talk to the server often enough to keep the session and its lock."""
    while True:
        await session.execute("SELECT 1")
        await asyncio.sleep(SILENCE.total_seconds() / 5)
