"""Durations are read as they are written, or refused with what is understood."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shared.clock import ClockError, duration


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("30m", timedelta(minutes=30)),
        ("1h30m", timedelta(hours=1, minutes=30)),
        ("2d", timedelta(days=2)),
        ("1w2d3h4m5s", timedelta(weeks=1, days=2, hours=3, minutes=4, seconds=5)),
        ("1.5h", timedelta(minutes=90)),
        ("250ms", timedelta(milliseconds=250)),
        ("-5m", timedelta(minutes=-5)),
    ],
)
def test_a_duration_is_read_as_written(text: str, span: timedelta) -> None:
    assert duration(text) == span


@pytest.mark.parametrize("text", ["", "-", "5", "m", "5 m", "1h-5m", "5y", "soon", "1h30", "--5m"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ClockError, match="30m"):
        duration(text)
