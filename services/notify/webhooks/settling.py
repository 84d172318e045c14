"""What becomes of deliveries and their endpoints after attempts: one transaction per batch of results."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import timedelta
from uuid import UUID

import structlog

from services.notify.domain.webhook_delivery import Answer, FailureReason, Verdict, judge
from services.notify.domain.webhook_endpoint import DisabledReason, Health
from services.notify.store import webhook_endpoints, webhook_queue
from services.notify.store.webhook_queue import GivenUp, Result
from services.notify.webhooks import notices
from services.notify.webhooks.measures import Measures
from services.notify.webhooks.notices import SwitchedOff
from shared import outbox
from shared.contracts.notification import DeliveryChannel, NotificationFailed
from shared.db import Database, Tx
from shared.envelope import Emit
from shared.timers import RelayLike

logger = structlog.get_logger(__name__)


class Settling:
    """Writes results."""

    def __init__(self, database: Database, relay: RelayLike, measures: Measures, *, disable_days: float) -> None:
        self._database = database
        self._relay = relay
        self._measures = measures
        self._disable_days = disable_days

    async def write(self, results: Sequence[Result]) -> None:
        """Write what attempts met: their deliveries, the health of their endpoints, what was given up."""
        async with self._database.begin() as tx:
            # Endpoints first: their rows are locked before those of their deliveries everywhere.
            off = await self._endpoints(tx, results)
            judged = [(result, self._judge(tx, result)) for result in results]
            ours = await webhook_queue.settle(tx, judged)
            given_up = [
                (result, verdict.reason)
                for result, verdict in judged
                if verdict.reason is not None and result.leased.id in ours
            ]
            emits = [_failed(tx, _row(result), reason, _detail(result.answer)) for result, reason in given_up]
            told = [emit for emit in emits if emit is not None]
            await notices.switched_off(tx, off)
            await outbox.add(tx, told)
        self._tell(told, len(given_up))
        for result in results:
            if result.leased.id not in ours:
                logger.warning("a webhook's result was dropped, its lease was lost", delivery=str(result.leased.id))
        for one in off:
            self._measures.disabled.inc()
            logger.error("webhook endpoint switched off", endpoint=str(one.endpoint.endpoint_id), reason=one.reason)

    async def give_up(self, endpoint_ids: Sequence[UUID], reason: FailureReason, limit: int) -> int:
        """Give up what waits for endpoints that are switched off; how many."""
        async with self._database.begin() as tx:
            gone = await webhook_queue.give_up(tx, endpoint_ids, reason, limit)
            told = [emit for one in gone if (emit := _failed(tx, one, reason, None)) is not None]
            await outbox.add(tx, told)
        self._tell(told, len(gone))
        return len(gone)

    def _tell(self, emits: Sequence[Emit], given_up: int) -> None:
        if emits:
            self._relay.wake()
        self._measures.given_up.inc(given_up)

    def _judge(self, tx: Tx, result: Result) -> Verdict:
        return judge(
            result.answer,
            attempts=result.leased.attempts,
            queued_at=result.leased.queued_at,
            now=tx.instant,
            draw=random.random(),  # noqa: S311 - spreading, not secrecy
        )

    async def _endpoints(self, tx: Tx, results: Iterable[Result]) -> list[SwitchedOff]:
        """Write how endpoints have been answering, where that changed; those switched off by it."""
        answers = defaultdict(list)
        for result in results:
            answers[result.leased.endpoint_id].append(result.answer)
        troubled = [one for one, given in answers.items() if not all(answer.is_success for answer in given)]
        # A healthy endpoint that goes on answering costs no write; whether it was healthy is read without a lock.
        recovering = await webhook_endpoints.failing(tx, [one for one in answers if one not in troubled])
        locked = await webhook_endpoints.lock(tx, [*troubled, *recovering])
        healths: dict[UUID, Health] = {}
        off: list[SwitchedOff] = []
        for endpoint_id, endpoint in locked.items():
            given = answers[endpoint_id]
            hold = max((answer.hold for answer in given if answer.hold), default=timedelta())
            health = endpoint.health.after((answer.is_success for answer in given), tx.instant, hold=hold)
            healths[endpoint_id] = health
            if not endpoint.active:
                continue
            if any(answer.is_gone for answer in given):
                off.append(SwitchedOff(endpoint=endpoint, reason=DisabledReason.GONE))
            elif health.is_hopeless(tx.instant, self._disable_days):
                off.append(SwitchedOff(endpoint=endpoint, reason=DisabledReason.FAILING))
        if healths:
            reasons = {one.endpoint.endpoint_id: one.reason.value for one in off}
            await webhook_endpoints.save_health(tx, healths, reasons)
        return off


def _row(result: Result) -> GivenUp:
    leased = result.leased
    return GivenUp(
        id=leased.id,
        tenant_id=leased.tenant_id,
        event_id=leased.event_id,
        type=leased.type,
        ticket_id=leased.ticket_id,
        attempts=leased.attempts,
    )


def _detail(answer: Answer) -> str | None:
    return answer.error if answer.status is None else f"HTTP {answer.status}"


def _failed(tx: Tx, one: GivenUp, reason: FailureReason, detail: str | None) -> Emit | None:
    """The fact that a delivery was given up; None for one about no ticket (a test)."""
    if one.ticket_id is None:
        return None
    return Emit(
        NotificationFailed(
            tenant_id=one.tenant_id,
            ticket_id=one.ticket_id,
            delivery_id=one.id,
            channel=DeliveryChannel.WEBHOOK,
            template=one.type,
            cause_id=one.event_id,
            attempts=one.attempts,
            reason=reason.value,
            detail=detail,
            failed_at=tx.instant,
        )
    )
