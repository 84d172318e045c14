"""The documented headers are those that our outbox writes, and our codec reads them back."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from shared import outbox
from shared.contracts import asyncapi, cloudevents, golden
from shared.contracts.event import Event
from shared.contracts.manifest import TOPICS
from shared.envelope import Emit, Received

NOW = datetime(2026, 11, 3, 8, 0, tzinfo=UTC)
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
EVENTS = [event for topic in TOPICS for event in topic.events]


def written(emit: Emit) -> list[tuple[str, bytes]]:
    (row,) = outbox.rows_of([emit], NOW)
    return outbox.unpack(row.headers, b"/deskwire/tickets")


@pytest.mark.parametrize("event", EVENTS, ids=[event.TYPE for event in EVENTS])
def test_an_event_has_every_header_said_to_be_always_there(event: type[Event]) -> None:
    value = event.model_validate(golden.examples(event)["full"])
    headers = written(Emit(value))
    assert {name for name, _ in headers} == set(asyncapi.REQUIRED_HEADERS)
    read = cloudevents.read(headers)
    assert (read.type, read.time, read.hops) == (event.TYPE, NOW, 0)
    given = dict(headers)
    assert given[cloudevents.SUBJECT].decode() == value.key
    assert given[cloudevents.TENANT].decode() == value.tenant_id


def test_a_caused_and_traced_event_has_them_all() -> None:
    value = EVENTS[0].model_validate(golden.examples(EVENTS[0])["full"])
    cause = Received(
        event=value,
        id=UUID(int=1),
        type=value.TYPE,
        time=NOW,
        key="k",
        topic="t",
        partition=0,
        offset=0,
        hops=2,
        traceparent=TRACE,
    )
    headers = written(Emit(value, cause=cause))
    assert {name for name, _ in headers} == set(asyncapi.HEADERS)
    read = cloudevents.read(headers)
    assert (read.hops, read.traceparent, read.correlation) == (3, TRACE, str(UUID(int=1)))
