"""A service in a process of its own for the process tests; `DEMO_MODE` says how it behaves."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any, ClassVar

import structlog
import uvloop
from pydantic_settings import SettingsConfigDict

from shared import log, process
from shared.db import Database
from shared.health import NotReadyError
from shared.metrics import Metrics
from shared.service import Check, Loop, Service
from shared.settings import ServiceSettings

CANARY = "canary.bird+7@example.com"


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="DEMO_")
    SERVICE: ClassVar[str] = "demo"
    mode: str = "plain"


class Other(Settings):
    model_config = SettingsConfigDict(env_prefix="OTHER_")
    SERVICE: ClassVar[str] = "other"


async def respond(scope: Any, receive: Any, send: Any) -> None:
    if scope["path"] == "/slow":
        await asyncio.sleep(1.0)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"done"})


class Demo:
    """What the loops of one service do, by mode."""

    def __init__(self, settings: Settings) -> None:
        self.mode = settings.mode
        self.replicated = asyncio.Event()

    async def run(self) -> None:
        mode = self.mode
        if mode == "dies":
            await asyncio.sleep(0.3)
            raise RuntimeError(f"no more, says {CANARY}")
        if mode == "returns":
            await asyncio.sleep(0.3)
            return
        if mode == "leaks":
            self.leak()
        if mode == "replica":
            await asyncio.sleep(2.0)
            self.replicated.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if mode == "drains":
                await asyncio.sleep(1.0)
                structlog.get_logger("demo").info("drained")
            elif mode == "hangs":
                await self.hang()
            raise

    async def hang(self) -> None:
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                continue

    def leak(self) -> None:
        """Say an address in every way a program may."""
        ours, theirs = structlog.get_logger("demo"), logging.getLogger("aiokafka.conn")
        for n in range(1000):
            ours.info("message", sender=CANARY, nested={"to": [f"Bird <{CANARY}>", CANARY.encode()], CANARY: n})
            theirs.error("cannot send to %s", CANARY)
        try:
            int(CANARY)
        except ValueError:
            ours.exception("failed")
            theirs.exception("failed %s", CANARY)
        logging.getLogger("demo").warning("with extra", extra={"who": CANARY, "phone": "+49 170 1234567"})

    async def replica(self) -> None:
        if not self.replicated.is_set():
            raise NotReadyError("reading")


async def build(settings: Any) -> Service:
    demo = Demo(settings)
    checks, stop = [], []
    if settings.database_url.get_secret_value():
        database = await Database.connect(settings.database_url.get_secret_value(), application="demo")
        checks.append(Check(name="postgresql", ready=database.ping))
        stop.append(database.close)
    if settings.mode == "replica":
        checks.append(Check(name="replica tenant.changed", ready=demo.replica))
    Metrics("demo")
    return Service(
        name=settings.SERVICE,
        settings=settings,
        routes=respond,
        loops=[Loop(name="work", run=demo.run)],
        checks=checks,
        stop=stop,
    )


if __name__ == "__main__":
    services = [Settings.load(), *([Other.load()] if "other" in sys.argv else [])]
    log.setup(services[0])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        raise SystemExit(runner.run(process.serve(services, build=lambda _name: build)))
