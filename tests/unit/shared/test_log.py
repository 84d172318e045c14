"""Whatever is logged, by whom and how, personal data and secrets are masked and the rest is left legible."""

from __future__ import annotations

import io
import json
import logging
import time
import warnings
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given, strategies

from shared import log
from tests.support.logs import logged

MASKED = [
    ("bird@example.com", "[address]"),
    ("Bird <bird.two+tag@sub.example.co.uk>", "Bird <[address]>"),
    ("mailto:bird@example.com?subject=x", "mailto:[address]?subject=x"),
    ("?to=bird%40example.com&x=1", "?to=[address]&x=1"),
    ("bird@[192.0.2.1]", "[address]"),
    ("vögel@exämple.org", "[address]"),
    ('"a bird"@example.com', "[address]"),
    ("bird\uff20example.com", "[address]"),
    ("postgresql://user:p@ss@127.0.0.1:5432/tickets", "postgresql://[userinfo]@127.0.0.1:5432/tickets"),
    ("https://key@example.com/1", "https://[userinfo]@example.com/1"),
    ("Authorization: Bearer abc.def-123", "Authorization: [secret] [token]"),
    ("bearer abcdef123", "bearer [token]"),
    ("eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl", "[token]"),
    ("api_key=s3cret&x=1", "api_key=[secret]&x=1"),
    ("password: hunter2", "password: [secret]"),
    ("'token': 'abc'", "'token': '[secret]'"),
    ("dwk_0123456789abcdefABCDEF", "[key]"),
    ("xK9_aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789-abc", "[key]"),
    ("+49 170 1234567", "[phone]"),
    ("call (555) 123-4567 now", "call [phone] now"),
    ("0170/1234567", "[phone]"),
    ("tel 491701234567", "tel [phone]"),
    (
        'duplicate key value violates unique constraint "p"\nDETAIL:  Key (address)=(Jane Doe) already exists.',
        'duplicate key value violates unique constraint "p"\nDETAIL:  Key ([row]) already exists.',
    ),
    ("DETAIL:  Failing row contains (1, Jane Doe, null).", "DETAIL:  Failing row contains ([row])."),
    ("[type=x, input_value='Jane Doe', input_type=str]", "[type=x, input_value=[value], input_type=str]"),
]

KEPT = [
    "relayed 500 events in 12.5 ms",
    "2026-11-21 10:20:30.123456+00:00",
    "2026-11-21T10:20:30Z",
    "127.0.0.1:34567",
    "10.20.30.40",
    "018f2b6c-7d3e-7a10-9c5d-1234567890ab",
    "12345678-1234-1234-1234-123456789012",
    "partition=3 offset=12345678",
    "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "INC-2026-000123",
    "took 0.123456789",
    "SELECT count(*) FROM timer WHERE key = $1",
    "tokens: 5 left",
]


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    with logged() as out:
        yield out


def told(out: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


@pytest.mark.parametrize(("text", "masked"), MASKED)
def test_personal_data_and_secrets_are_masked(text: str, masked: str) -> None:
    assert log.redact(text) == masked


@pytest.mark.parametrize("text", KEPT)
def test_what_operators_need_is_kept(text: str) -> None:
    assert log.redact(text) == text


LETTERS = "abcdefghijklmnopqrstuvwxyz"


@given(
    local=strategies.text(LETTERS + "0123456789.+-_", min_size=1, max_size=30),
    before=strategies.text(max_size=30),
    after=strategies.text(max_size=30),
)
def test_an_address_is_masked_wherever_it_stands(local: str, before: str, after: str) -> None:
    domain = "zq-canary.example"
    assert "zq-canary" not in log.redact(f"{before}{local}@{domain}{after}")


@given(strategies.text(max_size=400))
def test_masking_twice_is_masking_once(text: str) -> None:
    once = log.redact(text)
    assert log.redact(once) == once


@pytest.mark.parametrize("text", ["a" * 1_000_000, "a@" * 500_000, "1 " * 500_000, "a://" * 250_000, "[" * 1_000_000])
def test_masking_long_nonsense_is_quick(text: str) -> None:
    began = time.perf_counter()
    assert len(log.redact(text)) < 40_000
    assert time.perf_counter() - began < 1.0


def test_every_value_at_every_depth_is_masked(lines: io.StringIO) -> None:
    structlog.get_logger("x").info(
        "hello bird@example.com",
        nested={"bird@example.com": [("bird@example.com", b"bird@example.com", {"bird@example.com"})]},
        thing=ValueError("bird@example.com"),
        password="x",
        api_key=None,
        phone=491701234567,
    )
    (line,) = told(lines)
    assert "bird" not in lines.getvalue()
    assert line["password"] == "[secret]"
    assert line["api_key"] is None
    assert line["phone"] == "[phone]"


def test_exceptions_keep_their_traceback_and_lose_the_address(lines: io.StringIO) -> None:
    nobody: list[str] = []
    try:
        nobody.index("bird@example.com")
    except ValueError:
        structlog.get_logger("x").exception("failed")
        logging.getLogger("y").exception("failed")
    for line in told(lines):
        assert "test_log.py" in str(line["exception"])
        assert "'[address]' is not in list" in str(line["exception"])


def test_the_standard_library_and_warnings_come_out_the_same_way(lines: io.StringIO) -> None:
    with log.bound(service="tickets", correlation="c-1"):
        logging.getLogger("aiokafka").error("cannot send to %s", "bird@example.com", extra={"topic": "t"})
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("bird@example.com", UserWarning, stacklevel=1)
    first, second = told(lines)
    assert {"service", "correlation", "topic"} <= set(first)
    assert first["event"] == "cannot send to [address]"
    assert (first["level"], first["logger"], first["correlation"]) == ("error", "aiokafka", "c-1")
    assert "[address]" in str(second["event"])


def test_libraries_do_not_chat_at_level_info() -> None:
    with logged("info") as out:
        logging.getLogger("aiokafka.consumer").info("heartbeat")
        logging.getLogger("shared.relay").info("relay elected")
    assert [line["event"] for line in told(out)] == ["relay elected"]


def test_what_a_test_sets_up_is_gone_after_it() -> None:
    root, library = logging.getLogger(), logging.getLogger("aiokafka")
    before = (root.level, list(root.handlers), library.level)
    with logged("debug"):
        assert root.level == library.level == logging.DEBUG
    assert (root.level, root.handlers, library.level) == before
