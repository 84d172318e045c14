"""Deliveries to the mail server, as tasks: write, take in hand, send, write down.

A mail has one Message-ID, in its row before it is sent. Between the server's 250 and our commit lies the one window in
which a crash sends it twice, under the same Message-ID; the row stays `sending` meanwhile, the next attempt counts as
`doubtful`, and both the window and the doubts are metrics.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from prometheus_client import Counter, Histogram

from services.notify.desk.writing import Mail, Over, Writing
from services.notify.domain.planning import State
from services.notify.smtp.server import AwayError, DoubtError, MailServer, Refused
from services.notify.store import deliveries, threads
from services.notify.store.deliveries import MAIL, PAGE, Delivery
from services.notify.store.threads import Entry
from shared.contracts.notification import DeliveryChannel, NotificationDelivered, NotificationFailed
from shared.db import Database, Tx
from shared.due import is_away
from shared.envelope import Emit
from shared.explain import explain
from shared.metrics import Metrics
from shared.tasks import DeferError, RetryError, Task, TaskKind

_MINUTE, _HOUR = timedelta(minutes=1), timedelta(hours=1)
MAIL_SCHEDULE = (
    _MINUTE, 5 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE, _HOUR, 2 * _HOUR, 4 * _HOUR, 8 * _HOUR, 8 * _HOUR,
)  # fmt: skip
"""After each 4xx: a greylisting server takes the mail within minutes, a full mailbox perhaps within a day."""
PAGE_SCHEDULE = tuple(timedelta(seconds=seconds) for seconds in (5, 10, 20, 30, 60, 60, 120, 120, 300, 300))
"""Somebody is waited for: until the page itself ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an attempt that is not repeated."""

    state: State
    reason: str | None = None
    answer: str | None = None
    taken_at: float | None = None
    """When the server said yes, by this process's monotonic clock."""


class Handing:
    """Hands mails over."""

    def __init__(self, database: Database, writing: Writing, server: MailServer, metrics: Metrics) -> None:
        self._database = database
        self._writing = writing
        self._server = server
        self._series = _Series(metrics)

    def kinds(self, connections: int) -> list[TaskKind[Outcome]]:
        """The two kinds of tasks: pages never wait behind mails."""
        longest = timedelta(seconds=self._server.seconds + 20)
        return [
            TaskKind(
                name=name,
                timeout=timeout,
                schedule=schedule,
                work=self._work,
                finish=self._finish,
                exhausted=self._exhausted,
                concurrency=connections,
            )
            for name, schedule, timeout in (
                (MAIL, MAIL_SCHEDULE, longest),
                # A process that dies with a page in hand keeps it for as long as an attempt may take.
                (PAGE, PAGE_SCHEDULE, min(longest, timedelta(seconds=30))),
            )
        ]

    async def _work(self, task: Task) -> Outcome:
        identity = UUID(task.key)
        try:
            self._server.check()
            async with self._database.begin() as tx:
                delivery, now = await deliveries.read(tx, identity), tx.instant
            if delivery is None:
                return Outcome(state=State.CANCELLED, reason="gone")
            written = await self._writing.write(delivery, now)
            if isinstance(written, Over):
                return Outcome(state=written.state, reason=written.reason)
            return await self._hand_over(task, delivery, written)
        except AwayError as error:
            raise DeferError(f"mail server: {error}", timedelta(seconds=min(error.pause, 30.0))) from error
        except Exception as error:
            if not is_away(error):
                raise
            # The database or the blob store: nothing is wrong with the mail, and no attempt was made.
            raise DeferError(explain(error), timedelta(seconds=2)) from error

    async def _hand_over(self, task: Task, delivery: Delivery, mail: Mail) -> Outcome:
        async with self._server.session() as session:
            async with self._database.begin() as tx:
                claimed = await deliveries.claim(tx, delivery.id, mail.message_id)
            if claimed is None:
                return Outcome(state=State.CANCELLED, reason="cancelled")
            if claimed.state is State.SENDING and claimed.doubtful > delivery.doubtful:
                self._series.doubt()
            try:
                answer = await session.send(mail.sender, mail.recipient, mail.data)
            except Refused as refused:
                if refused.for_good:
                    return Outcome(state=State.FAILED, reason="refused", answer=str(refused))
                await deliveries.postpone(self._database, delivery.id, str(refused))
                raise RetryError(str(refused), _pause(task)) from refused
            except DoubtError as doubt:
                # The row stays `sending`: what follows may be the second copy, and is counted.
                raise RetryError(f"in doubt: {doubt}", _pause(task)) from doubt
            except AwayError as away:
                await deliveries.postpone(self._database, delivery.id, str(away))
                raise
        return Outcome(state=State.DELIVERED, answer=answer, taken_at=time.monotonic())

    async def _finish(self, tx: Tx, task: Task, outcome: Outcome) -> Sequence[Emit]:
        delivery = await deliveries.finish(tx, UUID(task.key), outcome.state, outcome.reason, outcome.answer)
        if delivery is None:
            return ()
        if outcome.taken_at is not None:
            self._series.window(time.monotonic() - outcome.taken_at)
        self._series.outcome(delivery.template if delivery.page_id else "mail", outcome.state)
        if outcome.state is State.DELIVERED and delivery.external_id is not None:
            sent = Entry(
                ticket_id=delivery.ticket_id,
                external_id=delivery.external_id,
                tenant_id=delivery.tenant_id,
                recipient_id=delivery.recipient_id,
                at=tx.instant,
            )
            await threads.add(tx, [sent])
        return told(delivery, tx)

    async def _exhausted(self, tx: Tx, task: Task, why: str) -> Sequence[Emit]:
        return await self._finish(tx, task, Outcome(state=State.FAILED, reason="exhausted", answer=why))


def told(delivery: Delivery, tx: Tx) -> Sequence[Emit]:
    """What is published of a delivery that is over; nothing of one that was cancelled or kept back."""
    if delivery.state is State.DELIVERED:
        event: NotificationDelivered | NotificationFailed = NotificationDelivered(
            tenant_id=delivery.tenant_id,
            ticket_id=delivery.ticket_id,
            delivery_id=delivery.id,
            channel=DeliveryChannel(delivery.channel),
            template=delivery.template,
            recipient_id=delivery.recipient_id,
            cause_id=delivery.cause_id,
            page_id=delivery.page_id,
            message_id=delivery.message_id,
            attempts=delivery.attempts,
            external_id=delivery.external_id,
            provider_id=delivery.answer,
            delivered_at=tx.instant,
        )
    elif delivery.state is State.FAILED:
        event = NotificationFailed(
            tenant_id=delivery.tenant_id,
            ticket_id=delivery.ticket_id,
            delivery_id=delivery.id,
            channel=DeliveryChannel(delivery.channel),
            template=delivery.template,
            recipient_id=delivery.recipient_id,
            cause_id=delivery.cause_id,
            page_id=delivery.page_id,
            message_id=delivery.message_id,
            attempts=delivery.attempts,
            reason=delivery.reason or "refused",
            detail=delivery.answer,
            failed_at=tx.instant,
        )
    else:
        return ()
    return [Emit(event, correlation=delivery.correlation)]


def _pause(task: Task) -> timedelta:
    schedule = PAGE_SCHEDULE if task.kind == PAGE else MAIL_SCHEDULE
    return schedule[min(task.attempts, len(schedule)) - 1]


class _Series:
    """What handing over measures of itself."""

    def __init__(self, metrics: Metrics) -> None:
        registry, self._service = metrics.registry, metrics.service
        self._outcomes = Counter(
            "deskwire_deliveries",
            "Deliveries that are over, by kind and state.",
            ["service", "kind", "state"],
            registry=registry,
        )
        self._doubts = Counter(
            "deskwire_delivery_doubts",
            "Hand-offs begun again without knowing how the one before ended: at most so many mails went out twice.",
            ["service"],
            registry=registry,
        ).labels(self._service)
        self._window = Histogram(
            "deskwire_delivery_window_seconds",
            "From the server's yes to the row that says so: in this time a crash sends a mail twice.",
            ["service"],
            registry=registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0),
        ).labels(self._service)

    def outcome(self, kind: str, state: State) -> None:
        """One delivery is over."""
        self._outcomes.labels(self._service, "page" if kind != "mail" else "mail", state.value).inc()

    def doubt(self) -> None:
        """A hand-off was begun again in the dark."""
        self._doubts.inc()

    def window(self, seconds: float) -> None:
        """How long a mail was sent and not yet known to be."""
        self._window.observe(seconds)
