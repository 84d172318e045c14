"""Attempts, answers, patterns, the circuit: the rules of webhooks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notify.domain import webhook_payload as payload
from services.notify.domain.webhook_delivery import (
    ATTEMPTS,
    LONGEST_LIFE,
    WAITS,
    Answer,
    DeliveryState,
    FailureReason,
    judge,
    retry_after,
)
from services.notify.domain.webhook_endpoint import LONGEST_PAUSE, OPEN_AFTER, Health, complaint, matches, pause_after

START = datetime(2026, 11, 21, 9, tzinfo=UTC)
HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)


def test_the_ten_attempts_are_those_of_the_standard() -> None:
    assert ATTEMPTS == 10
    assert WAITS == (
        5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR,
    )  # fmt: skip
    assert sum(WAITS, timedelta()) == 75 * HOUR + 35 * MINUTE + 5 * SECOND


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_success(status: int) -> None:
    verdict = judge(Answer(status=status), attempts=1, queued_at=START, now=START, draw=0)
    assert verdict.state is DeliveryState.DELIVERED


@pytest.mark.parametrize("status", [100, 301, 302, 304, 307, 308, 400, 401, 404, 409, 422, 429, 500, 502, 503, None])
def test_anything_else_is_tried_again(status: int | None) -> None:
    verdict = judge(Answer(status=status), attempts=1, queued_at=START, now=START, draw=0)
    assert verdict.state is DeliveryState.PENDING
    assert verdict.due_at == START + 5 * SECOND


def test_410_ends_it_at_once() -> None:
    verdict = judge(Answer(status=410), attempts=1, queued_at=START, now=START, draw=0)
    assert (verdict.state, verdict.reason) == (DeliveryState.FAILED, FailureReason.GONE)


@given(st.floats(min_value=0, max_value=1))
def test_an_endpoint_that_always_fails_gets_ten_attempts_and_the_last_ends_it(draw: float) -> None:
    now, gaps = START, []
    for attempt in range(1, 11):
        verdict = judge(Answer(status=500), attempts=attempt, queued_at=START, now=now, draw=draw)
        if verdict.due_at is None:
            assert attempt == 10
            assert (verdict.state, verdict.reason) == (DeliveryState.FAILED, FailureReason.EXHAUSTED)
            break
        gaps.append(verdict.due_at - now)
        now = verdict.due_at
    assert len(gaps) == 9
    for gap, planned in zip(gaps, WAITS, strict=True):
        assert planned <= gap <= planned * 1.1


def test_what_never_gets_to_its_tenth_attempt_is_given_up_all_the_same() -> None:
    verdict = judge(Answer(status=500), attempts=3, queued_at=START, now=START + LONGEST_LIFE, draw=0)
    assert verdict.reason is FailureReason.EXHAUSTED


@pytest.mark.parametrize(
    ("header", "wait"),
    [("120", 120), (" 7 ", 7), ("0", 0), (None, None), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("-5", None), ("1e9", None),
     ("99999999", None)],
)  # fmt: skip
def test_what_retry_after_says(header: str | None, wait: int | None) -> None:
    assert retry_after(header) == (None if wait is None else timedelta(seconds=wait))


def test_an_endpoint_that_asks_for_a_pause_gets_it_up_to_an_hour() -> None:
    asked = Answer(status=429, retry_after=10 * MINUTE)
    assert judge(asked, attempts=1, queued_at=START, now=START, draw=0).due_at == START + 10 * MINUTE
    greedy = Answer(status=503, retry_after=timedelta(days=30))
    assert judge(greedy, attempts=1, queued_at=START, now=START, draw=0).due_at == START + HOUR
    assert Answer(status=500, retry_after=HOUR).hold is None


@pytest.mark.parametrize(
    ("patterns", "event_type", "wanted"),
    [
        (["*"], "ticket.created.v1", True),
        (["ticket.created"], "ticket.created.v1", True),
        (["ticket.created"], "ticket.created.v2", True),
        (["ticket.created.v1"], "ticket.created.v1", True),
        (["ticket.created.v1"], "ticket.created.v12", False),
        (["ticket.create"], "ticket.created.v1", False),
        (["ticket.*"], "ticket.message_added.v1", True),
        (["ticket"], "ticket.message_added.v1", True),
        (["sla.*", "escalation.*"], "ticket.created.v1", False),
        (["sla.*", "escalation.*"], "escalation.stepped.v1", True),
        ([], "ticket.created.v1", False),
    ],
)
def test_which_types_a_filter_wants(patterns: list[str], event_type: str, wanted: bool) -> None:
    assert matches(patterns, event_type) is wanted


@pytest.mark.parametrize(
    "pattern", ["", "ticket.*.v1", "TICKET.*", "ticket..", "person.changed", "chat.*", "t*", "**", "*.created"]
)
def test_a_filter_that_could_never_match_is_refused_with_its_place(pattern: str) -> None:
    found = complaint(["ticket.*", pattern])
    assert found is not None
    assert found[0] == 1


@pytest.mark.parametrize("pattern", ["*", "ticket", "ticket.*", "ticket.message_added", "sla.breached.v1", "page.*"])
def test_filters_that_can_match_are_taken(pattern: str) -> None:
    assert complaint([pattern]) is None


@pytest.mark.parametrize(
    "event_type", ["person.changed.v1", "chat.reply_missed.v1", "notification.failed.v1", "ticket"]
)
def test_reference_data_and_inner_talk_are_not_told(event_type: str) -> None:
    assert not payload.is_told(event_type)


def test_a_body_has_type_timestamp_and_the_data_byte_for_byte() -> None:
    data = b'{"a": 1,  "b":"\xc3\xa4"}'
    made = payload.body("ticket.created.v1", START, data)
    assert data in made
    assert orjson.loads(made) == {
        "type": "ticket.created.v1",
        "timestamp": "2026-11-21T09:00:00Z",
        "data": {"a": 1, "b": "ä"},
    }


def test_a_delivery_is_one_per_endpoint_and_event_and_keeps_the_events_id_for_receivers() -> None:
    endpoint, other, event = uuid4(), uuid4(), uuid4()
    assert payload.delivery_id(endpoint, event) == payload.delivery_id(endpoint, event)
    assert payload.delivery_id(endpoint, event) != payload.delivery_id(other, event)
    assert payload.webhook_id(event) == str(event)


def test_the_circuit_opens_after_five_failures_and_one_success_closes_it() -> None:
    health = Health().after([False] * 4, START)
    assert not health.is_open
    assert health.held_until is None
    health = health.after([False], START + SECOND)
    assert health.is_open
    assert health.held_until == START + 6 * SECOND
    assert health.failing_since == START
    assert health.after([True], START + MINUTE) == Health()


@given(st.integers(min_value=0, max_value=10_000))
def test_pauses_grow_and_have_an_end(failures: int) -> None:
    assert pause_after(failures) <= pause_after(failures + 1) <= LONGEST_PAUSE
    assert bool(pause_after(failures)) is (failures >= OPEN_AFTER)


@given(st.lists(st.booleans(), max_size=40))
def test_health_depends_on_the_order_of_answers_and_not_on_how_they_are_batched(answers: list[bool]) -> None:
    whole = Health().after(answers, START)
    one_by_one = Health()
    for answer in answers:
        one_by_one = one_by_one.after([answer], START)
    assert whole == one_by_one


def test_an_endpoint_is_hopeless_after_days_of_nothing_but_failures_and_enough_of_them() -> None:
    failing = Health(failures=20, failing_since=START)
    assert not failing.is_hopeless(START + timedelta(days=4, hours=23), 5)
    assert failing.is_hopeless(START + timedelta(days=5), 5)
    assert not Health(failures=3, failing_since=START).is_hopeless(START + timedelta(days=9), 5)
    assert not failing.after([True], START).is_hopeless(START + timedelta(days=9), 5)
