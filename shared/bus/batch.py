"""One batch, one transaction; and what happens when it fails.

Transient (the database or the way to it): the same batch again, for ever, with a growing pause. Conflict (40001,
40P01): again at once. Anything else is somebody's fault: the batch is halved until the event that fails is alone, and
after three failures alone its key is parked. Neighbours go on.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from shared import crash, inbox, outbox, waiting
from shared.bus import dead
from shared.bus.account import Account
from shared.bus.breaker import Breaker
from shared.bus.decode import Item, Kind
from shared.bus.diversion import Diversion, divert_strangers, waiting_row
from shared.bus.route import BoundRoute
from shared.db import STATEMENT_TIMEOUT, Database, Tx, is_connection_failure, is_retryable
from shared.envelope import Answer, Delete, Emit, NotYet
from shared.explain import explain
from shared.metrics import Metrics

ALONE = 3
"""An event that failed so often alone is poison."""
_PAUSE_FIRST, _PAUSE_MOST = 0.1, 5.0
_STRANGE = frozenset({Kind.NEWER_TYPE, Kind.LOOP})

logger = logging.getLogger(__name__)


class Wakeable(Protocol):
    """What is told after a commit that there is something to publish."""

    def wake(self) -> None:
        """Look at the outbox now."""


class AbandonedError(Exception):
    """The partitions of this batch went to another instance, or the process stops: nobody waits for it any more."""


class _NotYetError(Exception):
    """Rolls the transaction back: these events have to wait."""

    def __init__(self, answers: Sequence[NotYet]) -> None:
        super().__init__()
        self.answers = answers


class _StrangersError(Exception):
    """Rolls the transaction back: new events of a type only a later release knows, or part of a loop."""

    def __init__(self, items: Sequence[Item]) -> None:
        super().__init__()
        self.items = items


class Runner:
    """Runs batches of one service against its database."""

    def __init__(
        self,
        service: str,
        *,
        database: Database,
        routes: Sequence[BoundRoute],
        relay: Wakeable,
        metrics: Metrics,
        breaker: Breaker,
        put_away: Callable[[], None],
    ) -> None:
        """`put_away` is called after a commit that left events waiting."""
        self._service = service
        self._database = database
        self._routes = routes
        self._relay = relay
        self._metrics = metrics
        self._breaker = breaker
        self._told_put_away = put_away
        self._account = Account(metrics, breaker)

    async def run(self, items: Sequence[Item], done: Callable[[Sequence[Item]], None], abandon: asyncio.Event) -> None:
        """Handle `items`; `done` is told of each part that is committed, in arrival order.

        Returns early when the breaker trips. Raises AbandonedError when `abandon` is set while it would pause.
        """
        diverted: dict[str, Diversion] = {}
        work = deque([items])
        alone = 0
        pauses = 0
        while work and self._breaker.reason is None:
            part = work[0]
            began = time.monotonic()
            try:
                await self._transaction(part, diverted)
            except _NotYetError as signal:
                self._divert_not_yet(part, signal.answers, diverted)
                continue
            except _StrangersError as signal:
                divert_strangers(signal.items, diverted)
                continue
            except Exception as error:  # noqa: BLE001 - whatever a handler raises is judged here
                if is_retryable(error) and pauses < 20:
                    self._metrics.retries("conflict").inc()
                    pauses += 1
                    await asyncio.sleep(random.random() * 0.005 * pauses)  # noqa: S311 - spreading, not secrecy
                    continue
                if is_retryable(error) or await self._is_transient(error, time.monotonic() - began):
                    self._metrics.retries("transient").inc()
                    await self._pause(pauses, error, abandon)
                    pauses += 1
                    continue
                if len(part) > 1:
                    self._metrics.retries("split").inc()
                    work.popleft()
                    middle = len(part) // 2
                    work.appendleft(part[middle:])
                    work.appendleft(part[:middle])
                    continue
                alone += 1
                if alone < ALONE:
                    await asyncio.sleep(0.02 * alone)
                    continue
                self._divert_poison(part[0], error, diverted)
                alone = 0
                continue
            work.popleft()
            alone = pauses = 0
            done(part)
            if abandon.is_set() and work:
                raise AbandonedError

    async def _transaction(self, part: Sequence[Item], diverted: dict[str, Diversion]) -> None:
        """Inbox, handlers and outbox of `part`; raises _NotYetError when a handler says so."""
        live: list[Item] = []
        put_away: list[Item] = []
        events = [item for item in part if item.kind is not Kind.PASSED]
        if not events:
            return
        if diverted:
            for item in events:
                why = diverted.get(item.key)
                (live if why is None or item.position < why.position or not item.key else put_away).append(item)
        else:
            live = events
        with_id = _distinct(live)
        async with self._database.begin() as tx:
            accepted = await inbox.accept(
                tx,
                self._service,
                keys=list({item.key for item in live if item.key}),
                ids=[item.inbox_id for item in with_id if item.inbox_id is not None],
                days=[item.inbox_day for item in with_id if item.inbox_day is not None],
                id_keys=[item.key for item in with_id],
            )
            held = accepted.held
            if held:
                put_away += [item for item in live if item.key in held]
                live = [item for item in live if item.key not in held]
                with_id = [item for item in with_id if item.key not in held]
            # Before the handlers, which lock rows: the drain holds a key's lock while its handler waits for rows.
            heads = await self._put_away(tx, put_away, diverted) if put_away else []
            fresh = accepted.fresh
            if fresh is not None:
                with_id = [item for item in with_id if item.inbox_id in fresh]
            rows = await self._handle(tx, live, with_id)
            if rows:
                await outbox.insert(tx, rows)
            crash.point("bus.before_commit")
        crash.point("bus.after_commit")
        if rows:
            self._relay.wake()
        if put_away:
            self._told_put_away()
        self._account.settle(events, with_id, put_away, heads)

    async def _handle(self, tx: Tx, live: Sequence[Item], fresh: Sequence[Item]) -> list[outbox.Row]:
        """Every route's handler with its new events, in order; the rows to publish."""
        strangers = [item for item in live if item.kind in _STRANGE]
        if strangers:
            new = {id(item) for item in fresh}
            strangers = [item for item in strangers if item.route.compacted or id(item) in new]
            if strangers:
                raise _StrangersError(strangers)
        answers: list[Answer] = []
        not_yet: list[NotYet] = []
        rows: list[outbox.Row] = []
        for route in self._routes:
            source = live if route.compacted else fresh
            values = [item.value for item in source if item.route is route and item.kind is not Kind.MALFORMED]
            if not values:
                continue
            began = time.perf_counter()
            for answer in await route.handler(tx, values):
                if isinstance(answer, NotYet):
                    not_yet.append(answer)
                else:
                    answers.append(answer)
            self._metrics.handler_seconds(route.name).observe(time.perf_counter() - began)
        if not_yet:
            raise _NotYetError(not_yet)
        emits: list[Emit | Delete] = [answer for answer in answers if not isinstance(answer, NotYet)]
        if emits:
            rows = outbox.rows_of(emits, tx.instant)
        rows += [
            dead.row(item, self._service, item.inbox_id)
            for item in fresh
            if item.kind is Kind.MALFORMED and item.inbox_id is not None
        ]
        return rows

    async def _put_away(self, tx: Tx, items: list[Item], diverted: dict[str, Diversion]) -> list[waiting.Waiting]:
        """Rows for events that may not go on now; those that head their key."""
        items.sort(key=lambda item: item.position)
        return await waiting.append(tx, self._service, [waiting_row(item, diverted.get(item.key)) for item in items])

    def _divert_not_yet(self, part: Sequence[Item], answers: Sequence[NotYet], diverted: dict[str, Diversion]) -> None:
        """The earliest NotYet of each key decides for that key."""
        places = {(item.route.name, item.record.partition, item.record.offset): item for item in part}
        for answer in answers:
            given = answer.received
            item = places.get((given.topic, given.partition, given.offset))
            if item is None:
                # A handler that answers for an event it was not given would be asked for ever.
                self._breaker.trip("a handler answered NotYet for an event it was not given")
                continue
            known = diverted.get(item.key)
            if known is None or item.position < known.position:
                diverted[item.key] = Diversion(item.position, "not_yet", (answer.missing_kind, answer.missing_id))

    def _divert_poison(self, item: Item, error: BaseException, diverted: dict[str, Diversion]) -> None:
        told = explain(error)
        logger.error(
            "event cannot be handled",
            extra={
                "topic": item.route.name,
                "partition": item.record.partition,
                "offset": item.record.offset,
                "error": told,
            },
        )
        if item.kind is Kind.WATERMARK:
            # Nobody's event: what it would have decided waits for the next one, or is told provisionally.
            self._breaker.bad()
            item.kind = Kind.PASSED
            return
        if not item.key:
            # A dead letter that cannot be written: there is no key to park, and going on would lose it.
            self._breaker.trip(f"a dead letter of {item.route.name} cannot be written: {told}")
            return
        diverted[item.key] = Diversion(item.position, "poison", error=told, attempts=ALONE)

    async def _is_transient(self, error: BaseException, elapsed: float) -> bool:
        """Whether the database failed rather than the handler.

        A handler that says nothing to the database for longer than the server's idle limit loses its connection too:
        that is its own fault, however often it is repeated. It is told apart by the time it took and by the database
        answering at once.
        """
        if not is_connection_failure(error):
            return False
        if elapsed < STATEMENT_TIMEOUT.total_seconds():
            return True
        try:
            await self._database.ping(timeout=1.0)
        except Exception:  # noqa: BLE001 - whatever it is, the database does not answer
            return True
        return False

    async def _pause(self, before: int, error: BaseException, abandon: asyncio.Event) -> None:
        if before in {0, 5} or before % 20 == 0:
            logger.warning("batch rolled back, trying again", extra={"error": explain(error), "attempt": before + 1})
        longest = min(_PAUSE_FIRST * 2 ** min(before, 10), _PAUSE_MOST)
        try:
            async with asyncio.timeout(longest * (0.5 + random.random() / 2)):  # noqa: S311 - spreading
                await abandon.wait()
        except TimeoutError:
            return
        raise AbandonedError


def _distinct(items: Sequence[Item]) -> list[Item]:
    """Items the inbox knows, each id once: a repeat within the batch is a duplicate like any other."""
    seen: set[object] = set()
    found: list[Item] = []
    for item in items:
        identity = item.inbox_id
        if identity is not None and identity not in seen:
            seen.add(identity)
            found.append(item)
    return found
