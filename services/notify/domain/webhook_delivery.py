"""One delivery: its states, its ten attempts, what an answer means for it (Standard Webhooks 1.0.0)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

WAITS: tuple[timedelta, ...] = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
"""Between the ten attempts; the first is made at once."""
ATTEMPTS = len(WAITS) + 1
JITTER = 0.1
"""Each wait is stretched by up to this share, so that what failed together does not come back together."""
LONGEST_LIFE = sum(WAITS, timedelta()) * (1 + JITTER)
"""An endpoint that is left alone for long may not get to its tenth attempt: given up after this all the same."""
LONGEST_RETRY_AFTER = timedelta(hours=1)
ANSWER_BYTES = 4096
"""How much of an answer is read."""
ANSWER_KEPT = 1000
"""How many characters of it are kept."""


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    """Given up; replayable."""
    EXPIRED = "expired"
    """Too old to act on when it was found: never sent; replayable."""


class FailureReason(StrEnum):
    """Why a delivery was given up."""

    EXHAUSTED = "exhausted"
    GONE = "gone"
    DISABLED = "endpoint_disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one attempt met."""

    status: int | None = None
    """None without an HTTP answer."""
    error: str | None = None
    """`timeout`, `connection`, `tls`, `refused`, …: why there is no HTTP answer."""
    text: str = ""
    """The beginning of its body."""
    milliseconds: float = 0.0
    retry_after: timedelta | None = None

    @property
    def is_success(self) -> bool:
        """Whether the endpoint has accepted: any 2xx, nothing else."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        """Whether the endpoint wants nothing any more."""
        return self.status == 410

    @property
    def hold(self) -> timedelta | None:
        """How long the whole endpoint asked to be left alone: Retry-After of a 429 or 503, at most an hour."""
        if self.status not in (429, 503) or self.retry_after is None:
            return None
        return min(self.retry_after, LONGEST_RETRY_AFTER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What becomes of a delivery after an attempt."""

    state: DeliveryState
    reason: FailureReason | None = None
    due_at: datetime | None = None
    """When the next attempt is due; only while pending."""


def judge(answer: Answer, *, attempts: int, queued_at: datetime, now: datetime, draw: float) -> Verdict:
    """What becomes of a delivery whose attempt number `attempts` (from 1) met `answer`; `draw` is from 0 to 1."""
    if answer.is_success:
        return Verdict(state=DeliveryState.DELIVERED)
    if answer.is_gone:
        return Verdict(state=DeliveryState.FAILED, reason=FailureReason.GONE)
    if attempts >= ATTEMPTS or now - queued_at >= LONGEST_LIFE:
        return Verdict(state=DeliveryState.FAILED, reason=FailureReason.EXHAUSTED)
    wait = WAITS[attempts - 1] * (1 + JITTER * draw)
    return Verdict(state=DeliveryState.PENDING, due_at=now + max(wait, answer.hold or wait))


def retry_after(header: str | None) -> timedelta | None:
    """Seconds of a Retry-After header; dates are not read, since other people's clocks are not ours."""
    if header is None or not header.strip().isdigit() or len(header.strip()) > 7:
        return None
    return timedelta(seconds=int(header.strip()))
