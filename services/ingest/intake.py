"""The one way into the database: messages handed over at the same time share a transaction.

Whoever hands over first starts the writer; what arrives while a transaction is under way goes into the next one. So
an idle service adds no wait, and a busy one commits hundreds at once. An outcome is given after the commit, never
before.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from uuid import UUID

from services.ingest import placement, suppressing
from services.ingest.chat import transcript
from services.ingest.domain import Draft, Outcome, Placement, Status, opened_ticket, quarantined, received
from services.ingest.measures import Measures
from services.ingest.store import messages as store
from shared import outbox
from shared.db import Database, Tx, is_connection_failure, is_retryable
from shared.envelope import Emit

GROUP = 1_000
"""Messages of one transaction; one submission is never split."""
WAITING = 20_000
"""Messages that may wait for the writer; further ones are refused for now."""
ATTEMPTS = 8
"""Times a transaction is run when others write the same threads."""

logger = logging.getLogger(__name__)


class BusyError(Exception):
    """Too much waits for the database already; try again in a moment."""


@dataclass(slots=True)
class _Submission:
    drafts: Sequence[Draft]
    done: asyncio.Future[list[Outcome]]


class Intake:
    """Stores drafts and tells what became of them."""

    def __init__(self, database: Database, wake: Callable[[], None], measures: Measures) -> None:
        self._database = database
        self._wake = wake
        self._measures = measures
        self._queues: OrderedDict[str, deque[_Submission]] = OrderedDict()
        """By tenant, the one whose turn it is first: a flood does not stand before a neighbour's message."""
        self._waiting = 0
        self._writer: asyncio.Task[None] | None = None

    async def accept(self, drafts: Sequence[Draft]) -> list[Outcome]:
        """Store all drafts in one transaction with others; one outcome each, in their order, after the commit.

        Raises BusyError, and what the database raises: then nothing of these drafts was stored for certain only if
        the connection did not break during the commit; handing over again is always safe.
        """
        if not drafts:
            return []
        if self._waiting >= WAITING:
            raise BusyError
        done: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(drafts[0].tenant_id, deque()).append(_Submission(drafts, done))
        self._waiting += len(drafts)
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all(), name="ingest writer")
        return await done

    async def accept_with(self, drafts: Sequence[Draft], also: Callable[[Tx], Awaitable[None]]) -> list[Outcome]:
        """Store all drafts and what `also` writes in one transaction of their own; one outcome each.

        Raises what `also` and the database raise; then nothing of it was stored, or the commit itself was lost.
        """
        return await self._commit(drafts, also)

    async def settled(self) -> None:
        """Wait until nothing is being written."""
        while self._writer is not None:
            await asyncio.wait([self._writer])

    async def _write_all(self) -> None:
        try:
            while self._queues:
                await self._write(self._next_group())
        finally:
            self._writer = None
            if self._queues:
                # Cancelled in the middle: nobody waits for ever.
                for submission in chain.from_iterable(self._queues.values()):
                    submission.done.cancel()
                self._queues.clear()
                self._waiting = 0

    def _next_group(self) -> list[_Submission]:
        """Submissions of the tenants in turn, as many as one transaction takes; always at least one."""
        group: list[_Submission] = []
        size = 0
        while self._queues:
            tenant, queue = next(iter(self._queues.items()))
            if group and size + len(queue[0].drafts) > GROUP:
                break
            group.append(queue.popleft())
            size += len(group[-1].drafts)
            self._queues.move_to_end(tenant)
            if not queue:
                del self._queues[tenant]
        self._waiting -= size
        return group

    async def _write(self, group: list[_Submission]) -> None:
        drafts = [draft for submission in group for draft in submission.drafts]
        try:
            outcomes = await self._commit(drafts)
        except Exception as error:  # noqa: BLE001 - each waiting caller gets it
            if len(group) > 1 and not is_connection_failure(error):
                # One of them is at fault: each alone, so that its neighbours are stored.
                for submission in group:
                    await self._write([submission])
                return
            for submission in group:
                if not submission.done.done():
                    submission.done.set_exception(error)
            return
        except BaseException:
            for submission in group:
                submission.done.cancel()
            raise
        position = 0
        for submission in group:
            size = len(submission.drafts)
            if not submission.done.done():
                submission.done.set_result(outcomes[position : position + size])
            position += size

    async def _commit(
        self, drafts: Sequence[Draft], also: Callable[[Tx], Awaitable[None]] | None = None
    ) -> list[Outcome]:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with self._database.begin() as tx:
                    outcomes = await store_drafts(tx, drafts)
                    if also is not None:
                        await also(tx)
            except Exception as error:
                again = isinstance(error, store.ThreadMovedError) or is_retryable(error)
                if not again or attempt == ATTEMPTS:
                    raise
                logger.info("threads moved, once more", extra={"attempt": attempt})
                continue
            self._wake()
            self._measures.stored(drafts, outcomes)
            return outcomes
        raise AssertionError("unreachable")  # pragma: no cover


async def store_drafts(tx: Tx, drafts: Sequence[Draft]) -> list[Outcome]:
    """Store drafts and what is published of them, in `tx`; one outcome each, in their order.

    The first of several drafts with one id is the message, the others are repetitions of it.
    """
    first = {draft.message_id: draft for draft in reversed(drafts)}
    unique = [draft for draft in drafts if first[draft.message_id] is draft]
    keys, wanted = placement.keys_wanted(unique), placement.ids_wanted(unique)
    index = await store.read_index(tx, keys, wanted) if keys or wanted else placement.Index()
    known = (
        await store.stored(tx, [draft for draft in unique if draft.keys or draft.answers or draft.series])
        if keys
        else {}
    )
    fresh = [draft for draft in unique if draft.message_id not in known]
    places = dict(zip((d.message_id for d in fresh), placement.place(fresh, index), strict=True))
    await store.write_index(tx, index)
    rows = sorted(((draft, places[draft.message_id]) for draft in fresh), key=lambda row: row[0].message_id.int)
    inserted = await store.insert_messages(tx, rows) if rows else set()
    late = [draft for draft in fresh if draft.message_id not in inserted]
    if late:
        known |= await store.stored(tx, late)
    new = [draft for draft in fresh if draft.message_id in inserted]
    await _complete(tx, new, places)
    for draft in drafts:
        if draft.accounts and (draft.message_id in known or first[draft.message_id] is not draft):
            await store.add_account(tx, draft.tenant_id, draft.message_id, draft.accounts)
    return [_outcome(draft, first[draft.message_id], inserted, places, known) for draft in drafts]


async def _complete(tx: Tx, new: Sequence[Draft], places: dict[UUID, Placement]) -> None:
    """Blobs, quarantine and events of the messages stored now."""
    if not new:
        return
    if any(draft.original or draft.attachments or draft.body.text_blob or draft.body.html_blob for draft in new):
        await store.insert_blobs(tx, new)
    await store.insert_quarantined(tx, new)
    await transcript.wrote(tx, new)
    emits = await suppressing.reported(tx, new)
    for draft in new:
        event = received(draft, places[draft.message_id], tx.instant)
        emits.append(Emit(event, correlation=draft.correlation, traceparent=draft.traceparent))
        unread = quarantined(draft, tx.instant)
        if unread is not None:
            emits.append(Emit(unread, correlation=draft.correlation, traceparent=draft.traceparent))
    await outbox.add(tx, emits)


def _outcome(
    draft: Draft,
    first: Draft,
    inserted: set[UUID],
    places: dict[UUID, Placement],
    known: dict[UUID, store.Stored],
) -> Outcome:
    if draft.message_id in inserted:
        place = places[draft.message_id]
        status = Status.ACCEPTED if first is draft else _repetition(draft.fingerprint, first.fingerprint)
        return Outcome(status, draft.message_id, place.conversation_id, opened_ticket(first, place))
    there = known[draft.message_id]
    return Outcome(
        _repetition(draft.fingerprint, there.fingerprint), draft.message_id, there.conversation_id, there.ticket_id
    )


def _repetition(mine: bytes, stored: bytes) -> Status:
    return Status.DUPLICATE if mine == stored else Status.CONFLICT
