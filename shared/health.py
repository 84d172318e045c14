"""Whether a service lives, whether it may be sent work, and its metrics: `/livez`, `/readyz`, `/metrics`.

Living is about this process alone: its event loop turns and its consumers move. A stopped engine never makes a
process dead, since killing it would not help. Ready is about everything it needs: each check runs at every probe
(shared by probes within a second), so a stopped engine shows within seconds and its return likewise.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from shared.log import redact

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from starlette.types import Receive, Scope, Send

    from shared.service import Check

CHECK_TIMEOUT = 2.0
"""Seconds one check may take; a slower one counts as missing."""
SHARED_FOR = 1.0
"""Seconds one answer is shared by all probes, so that a storm of them costs the engines one look."""
STALLED_AFTER = 10.0
"""Seconds without a turn of the event loop after which the process calls itself dead."""
NO_PROGRESS_AFTER = 120.0
"""Seconds in which a ready service with lag has handled nothing, after which the process calls itself dead."""
PROGRESS = "progress"
"""A check of this name, or beginning with it and a space, speaks of this process alone: part of `/livez`."""

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Missing:
    """One thing a service cannot do without and does not have."""

    name: str
    reason: str


class NotReadyError(Exception):
    """What a check raises when its condition does not hold; the text says what is missing."""


class Heartbeat:
    """Proof that the event loop turns, kept by one task per process; also how late it turns."""

    BEAT = 0.5

    def __init__(self) -> None:
        self._last = time.monotonic()
        self.lateness = 0.0
        """Seconds by which the last beat came late: what everything else in this loop waits."""

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(self.BEAT)
            self._last = time.monotonic()
            self.lateness = max(0.0, self._last - before - self.BEAT)

    @property
    def age(self) -> float:
        """Seconds since the last beat."""
        return time.monotonic() - self._last


class Progress:
    """Whether consumers move: with lag, and every engine there, something must be handled within two minutes.

    Told from the service's own series, so that a consume loop that hangs cannot forget to report it.
    """

    LAG, HANDLED = "deskwire_bus_lag_events", "deskwire_bus_events_total"

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float] = time.monotonic) -> None:
        self._registry = registry
        self._clock = clock
        self._handled = -1.0
        self._moved_at = clock()

    def look(self, *, ready: bool) -> None:
        """Look at the series; call it every few seconds. A service that is not ready need not move."""
        lag, handled = self._sum(self.LAG), self._sum(self.HANDLED)
        if not ready or lag <= 0 or handled != self._handled:
            self._moved_at = self._clock()
        self._handled = handled

    @property
    def still_for(self) -> float:
        """Seconds without progress although there was work."""
        return self._clock() - self._moved_at

    def _sum(self, name: str) -> float:
        restricted = self._registry.restricted_registry([name])
        return sum(sample.value for family in restricted.collect() for sample in family.samples if sample.name == name)


class Health:
    """The state of one service as others may ask for it."""

    def __init__(self, service: str, heartbeat: Heartbeat) -> None:
        self.service = service
        self.checks: Sequence[Check] = ()
        self.obstacle: Missing | None = Missing("start", "the service is starting")
        """What keeps the whole service from work whatever its checks say: starting, an engine at start, draining."""
        self.progress: Progress | None = None
        self._heartbeat = heartbeat
        self._answer: list[Missing] = []
        self._answered_at = float("-inf")
        self._asking: asyncio.Task[list[Missing]] | None = None
        self._told: frozenset[str] = frozenset()

    async def missing(self) -> list[Missing]:
        """What the service lacks right now; empty when it is ready."""
        if self.obstacle is not None:
            return [self.obstacle]
        if time.monotonic() - self._answered_at < SHARED_FOR:
            return self._answer
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        # Shielded: a probe that hangs up must not end the look the others wait for.
        return await asyncio.shield(self._asking)

    async def stalled(self) -> list[Missing]:
        """Why this process should be replaced; empty while it lives."""
        found = await failing([check for check in self.checks if is_progress(check)])
        if self._heartbeat.age > STALLED_AFTER:
            found.append(Missing("event loop", f"no turn for {self._heartbeat.age:.0f} s"))
        if self.progress is not None and self.progress.still_for > NO_PROGRESS_AFTER:
            found.append(
                Missing(PROGRESS, f"nothing handled for {self.progress.still_for:.0f} s although there is lag")
            )
        return found

    async def _ask(self) -> list[Missing]:
        try:
            self._answer = await failing([check for check in self.checks if not is_progress(check)])
            self._answered_at = time.monotonic()
            self._tell(self._answer)
            return self._answer
        finally:
            self._asking = None

    def _tell(self, found: Sequence[Missing]) -> None:
        """Log a change, not every probe."""
        names = frozenset(item.name for item in found)
        if names != self._told:
            if names:
                logger.warning("not ready", missing=sorted(names), reasons=[item.reason for item in found])
            else:
                logger.info("ready")
            self._told = names


def is_progress(check: Check) -> bool:
    """Whether a check belongs to `/livez`."""
    return check.name == PROGRESS or check.name.startswith(f"{PROGRESS} ")


async def failing(checks: Sequence[Check]) -> list[Missing]:
    """Run checks side by side; those that do not hold, one per name, in the order given."""
    answers = await asyncio.gather(*(_run(check) for check in checks))
    found: dict[str, Missing] = {}
    for answer in answers:
        if answer is not None:
            found.setdefault(answer.name, answer)
    return list(found.values())


async def _run(check: Check) -> Missing | None:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT):
            await check.ready()
    except TimeoutError:
        return Missing(check.name, f"no answer within {CHECK_TIMEOUT:.0f} s")
    except NotReadyError as error:
        return Missing(check.name, redact(str(error)))
    except Exception as error:  # noqa: BLE001 - whatever a check raises means its condition does not hold
        return Missing(check.name, redact(f"{type(error).__name__}: {error}")[:200])
    return None


Endpoint = Callable[["Scope", "Receive", "Send"], Awaitable[None]]
"""One ASGI application for one path."""


def livez(health: Health) -> Endpoint:
    """200 while the process lives, else 503 with why."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        await _state(send, health.service, await health.stalled(), good="alive", bad="stalled")

    return answer


def readyz(health: Health) -> Endpoint:
    """200 when the service has everything it needs, else 503 naming what is missing."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        await _state(send, health.service, await health.missing(), good="ready", bad="not ready")

    return answer


def metrics_endpoint(render: Callable[[], bytes]) -> Endpoint:
    """The Prometheus text that `render` makes."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        await respond(send, 200, render(), b"text/plain; version=0.0.4; charset=utf-8")

    return answer


async def _state(send: Send, service: str, missing: Sequence[Missing], *, good: str, bad: str) -> None:
    body: Mapping[str, Any] = {
        "status": bad if missing else good,
        "service": service,
        "missing": [{"name": item.name, "reason": item.reason} for item in missing],
    }
    await respond(send, 503 if missing else 200, orjson.dumps(body), b"application/json")


async def respond(send: Send, status: int, body: bytes, media_type: bytes, *headers: tuple[bytes, bytes]) -> None:
    """One whole ASGI answer that nobody may cache."""
    start = [
        (b"content-type", media_type),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": [*start, *headers]})
    await send({"type": "http.response.body", "body": body})
