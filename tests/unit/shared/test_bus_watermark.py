"""Watermarks on their way through the bus: for who asked, passed over for the others, never a dead letter by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from shared.bus import Route
from shared.bus.decode import Kind, decode
from shared.bus.route import BoundRoute
from shared.contracts import watermark
from shared.contracts.manifest import PERSON_CHANGED, TICKET_STATE
from shared.envelope import Answer, Watermark

UNTIL = datetime(2026, 11, 21, 10, 0, 0, 123456, tzinfo=UTC)


async def nothing(tx: Any, batch: Sequence[Any]) -> Sequence[Answer]:
    return []


def record(**more: Any) -> Any:
    value, headers = watermark.record(4, UNTIL, b"/deskwire/tickets")
    given = {
        "partition": 4,
        "offset": 7,
        "timestamp": 1,
        "key": watermark.KEY,
        "value": value,
        "headers": tuple(headers),
    }
    return SimpleNamespace(**{**given, **more})


def route(*, asked: bool) -> BoundRoute:
    return BoundRoute(Route(TICKET_STATE, nothing, watermarks=asked), "ticket.state")


def test_who_asked_gets_partition_and_instant_and_no_inbox_knows_it() -> None:
    item = decode(record(), route(asked=True), 0)
    assert item.kind is Kind.WATERMARK
    assert item.value == Watermark(partition=4, until=UNTIL, topic="ticket.state", offset=7)
    assert (item.key, item.inbox_id) == ("", None)


def test_for_the_others_it_is_passed_over() -> None:
    assert decode(record(), route(asked=False), 0).kind is Kind.PASSED


def test_a_deleted_watermark_is_passed_over() -> None:
    assert decode(record(value=None), route(asked=True), 0).kind is Kind.PASSED


@pytest.mark.parametrize("value", [b"", b"{}", b'{"until": 3}', b'{"until": "2026-11-21T10:00:00"}', b"\xff"])
def test_nonsense_under_the_reserved_key_is_a_dead_letter(value: bytes) -> None:
    assert decode(record(value=value), route(asked=True), 0).kind is Kind.MALFORMED


def test_on_other_topics_the_key_means_nothing() -> None:
    other = BoundRoute(Route(PERSON_CHANGED, nothing), "person.changed")
    assert decode(record(), other, 0).kind is Kind.MALFORMED


def test_a_watermark_reads_back_as_it_was_written_and_fits_no_tickets_key() -> None:
    value, headers = watermark.record(0, UNTIL, b"/deskwire/tickets")
    assert watermark.until(value) == UNTIL
    assert dict(headers)["ce_type"] == b"ticket.watermark.v1"
    assert watermark.KEY.startswith(b"~")
