"""What became of each event of a batch: counted, logged where people should know, told to the breaker."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from shared import waiting
from shared.bus.breaker import Breaker
from shared.bus.decode import Item, Kind
from shared.metrics import Metrics

logger = logging.getLogger(__name__)


class Account:
    """Settles one committed part of a batch at a time."""

    def __init__(self, metrics: Metrics, breaker: Breaker) -> None:
        self._metrics = metrics
        self._breaker = breaker

    def settle(
        self,
        part: Sequence[Item],
        fresh: Sequence[Item],
        put_away: Sequence[Item],
        heads: Sequence[waiting.Waiting],
    ) -> None:
        """After the commit: `fresh` were new to the inbox, `put_away` wait, `heads` of them are first of their key."""
        metrics = self._metrics
        facts = sum(item.inbox_id is not None for item in part)
        if not put_away and len(fresh) == facts and all(item.kind is not Kind.MALFORMED for item in part):
            self._breaker.good(len(part))
            for name, count in _by_topic(part).items():
                metrics.events(name, "handled").inc(count)
            return
        parked = {(head.topic, head.partition, head.offset): head for head in heads}
        new = {id(item) for item in fresh}
        away = {id(item) for item in put_away}
        for item in part:
            name = item.route.name
            where = {"topic": name, "partition": item.record.partition, "offset": item.record.offset}
            if id(item) in away:
                head = parked.get((name, item.record.partition, item.record.offset))
                if head is not None and head.reason in {"poison", "hops"}:
                    metrics.events(name, "parked").inc()
                    self._breaker.bad()
                    logger.error(
                        "key parked", extra={**where, "key": item.key, "reason": head.reason, "error": head.error}
                    )
                else:
                    metrics.events(name, "waiting").inc()
            elif id(item) not in new and not item.route.compacted:
                metrics.events(name, "duplicate").inc()
                self._breaker.good(1)
            elif item.kind is Kind.MALFORMED:
                metrics.events(name, "dead").inc()
                metrics.dead_letters(name, item.reason).inc()
                self._breaker.bad()
                logger.error("dead letter", extra={**where, "reason": item.reason, "error": item.error})
            else:
                metrics.events(name, "handled").inc()
                self._breaker.good(1)


def _by_topic(items: Sequence[Item]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for item in items:
        name = item.route.name
        counts[name] = counts.get(name, 0) + 1
    return counts
