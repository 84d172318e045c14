"""Ready means everything needed is there; alive is about this process alone."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson
import pytest
from prometheus_client import CollectorRegistry

from shared import health
from shared.health import Health, Heartbeat, Missing, NotReadyError, Progress
from shared.metrics import Metrics
from shared.service import Check
from tests.support.waiting import eventually


def check(name: str, *, error: Exception | None = None, after: float = 0.0) -> Check:
    async def ready() -> None:
        await asyncio.sleep(after)
        if error is not None:
            raise error

    return Check(name=name, ready=ready)


def healthy(*checks: Check) -> Health:
    made = Health("tickets", Heartbeat())
    made.checks = checks
    made.obstacle = None
    return made


async def ask(endpoint: health.Endpoint) -> tuple[int, dict[str, Any]]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    await endpoint({"type": "http"}, receive, send)
    return sent[0]["status"], orjson.loads(sent[1]["body"])


async def test_ready_when_every_check_holds() -> None:
    assert await ask(health.readyz(healthy(check("kafka"), check("postgresql")))) == (
        200,
        {"status": "ready", "service": "tickets", "missing": []},
    )


async def test_everything_missing_is_named_once_with_its_reason_masked() -> None:
    state = healthy(
        check("kafka", error=NotReadyError("no broker for bird@example.com")),
        check("postgresql", error=ConnectionRefusedError("postgresql://u:p@h/d")),
        check("postgresql", error=TimeoutError()),
        check("fine"),
    )
    status, body = await ask(health.readyz(state))
    assert status == 503
    assert body["missing"] == [
        {"name": "kafka", "reason": "no broker for [address]"},
        {"name": "postgresql", "reason": "ConnectionRefusedError: postgresql://[userinfo]@h/d"},
    ]


async def test_a_check_that_hangs_counts_as_missing_and_does_not_hold_up_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "CHECK_TIMEOUT", 0.1)
    began = time.monotonic()
    found = await health.failing([check("slow one", after=600), check("slow two", after=600), check("fine")])
    assert [item.name for item in found] == ["slow one", "slow two"]
    assert time.monotonic() - began < 600, "nobody waited for them"


async def test_probes_share_a_look_also_when_the_first_one_hangs_up() -> None:
    looks = 0

    async def ready() -> None:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0.05)

    state = healthy(Check(name="kafka", ready=ready))
    first = asyncio.create_task(state.missing())
    others = [asyncio.create_task(state.missing()) for _ in range(50)]
    await asyncio.sleep(0.01)
    first.cancel()
    assert await asyncio.gather(*others) == [[]] * 50
    assert looks == 1


async def test_a_stopped_engine_is_no_reason_to_die() -> None:
    state = healthy(check("kafka", error=NotReadyError("away")))
    assert (await ask(health.livez(state)))[0] == 200


async def test_a_consumer_that_stands_still_is_one() -> None:
    state = healthy(check("progress tickets", error=NotReadyError("nothing handled for 130 s")))
    assert (await ask(health.livez(state)))[0] == 503
    assert (await ask(health.readyz(state)))[0] == 200


async def test_while_starting_and_draining_it_is_not_ready_but_alive() -> None:
    state = Health("tickets", Heartbeat())
    assert (await ask(health.readyz(state)))[1]["missing"][0]["name"] == "start"
    state.obstacle = Missing("draining", "the service is stopping")
    assert (await ask(health.readyz(state)))[0] == 503
    assert (await ask(health.livez(state)))[0] == 200


async def test_a_blocked_event_loop_shows_as_lateness_and_in_the_end_as_death(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Heartbeat, "BEAT", 0.01)
    monkeypatch.setattr(health, "STALLED_AFTER", 0.1)
    heart = Heartbeat()
    beating = asyncio.create_task(heart.run())
    await asyncio.sleep(0.05)
    time.sleep(0.2)  # noqa: ASYNC251 - blocking is what is tested
    assert heart.age > 0.1
    state = Health("tickets", heart)
    assert (await ask(health.livez(state)))[1]["missing"][0]["name"] == "event loop"

    async def well_again() -> bool:
        return heart.lateness < 0.1 and (await ask(health.livez(state)))[0] == 200

    await eventually(well_again, what="a heart that beats in time again")
    beating.cancel()


class Moved:
    """A service's series and a clock to move."""

    def __init__(self) -> None:
        self.now = 0.0
        self.metrics = Metrics("tickets", CollectorRegistry())
        self.progress = Progress(self.metrics.registry, lambda: self.now)

    def pass_time(self, seconds: int, *, ready: bool = True, handled: int = 0) -> None:
        for _ in range(0, seconds, 5):
            self.now += 5
            self.metrics.events("message.received", "handled").inc(handled)
            self.progress.look(ready=ready)


def test_lag_without_progress_for_two_minutes_is_a_stall() -> None:
    moved = Moved()
    moved.metrics.lag("message.received", 0).set(10)
    moved.pass_time(115)
    assert moved.progress.still_for < health.NO_PROGRESS_AFTER
    moved.pass_time(15)
    assert moved.progress.still_for > health.NO_PROGRESS_AFTER
    moved.pass_time(5, handled=1)
    assert moved.progress.still_for == 0


@pytest.mark.parametrize(("lag", "ready", "handled"), [(0, True, 0), (10, False, 0), (10, True, 1)])
def test_no_lag_or_an_engine_away_or_anything_handled_is_no_stall(lag: int, ready: bool, handled: int) -> None:
    moved = Moved()
    moved.metrics.lag("message.received", 0).set(lag)
    moved.pass_time(600, ready=ready, handled=handled)
    assert moved.progress.still_for == 0
