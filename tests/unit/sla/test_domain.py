"""Counting, without a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from services.sla.domain import Count, Seen, tally

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def seen(tenant_id: str, number: str, minutes: int = 0) -> Seen:
    return Seen(tenant_id=tenant_id, number=number, at=NOON + timedelta(minutes=minutes))


def test_tickets_are_counted_per_tenant_and_the_newest_is_remembered() -> None:
    counted = tally([seen("b", "1"), seen("a", "3", 2), seen("a", "2", 1)])
    assert counted == [
        Count(tenant_id="a", tickets=2, newest="3", newest_at=NOON + timedelta(minutes=2)),
        Count(tenant_id="b", tickets=1, newest="1", newest_at=NOON),
    ]


def test_nothing_seen_is_nothing_counted() -> None:
    assert tally([]) == []
