"""The play: everything up, the demo, a killed container, two rolls and a scaling under load; each judged at rest."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
import traceback
from pathlib import Path

from deploy.containers import images
from deploy.local.folders import CHECKOUT
from tests.containers import throughput
from tests.containers.composed import INSIDE, Composed
from tests.containers.load import AFTER, Load
from tests.containers.report import Report
from tests.containers.stack import Container, Stack
from tests.support.desk import open_desk
from tests.support.invariants import told
from tests.support.tap import Tap
from tests.support.waiting import eventually

ROLLED = ("tickets", "sla")
VICTIM = "tickets"
REPLICAS = 3
PATIENCE = 300.0


class Play:
    """One run over a project that is not up yet."""

    def __init__(self, stack: Stack, report: Report, folder: Path, rolled: str) -> None:
        self.stack = stack
        self.report = report
        self.folder = folder
        self.rolled = rolled
        """The tag of the images that the services are rolled to."""
        self.installation = Composed(stack, folder)
        self.tap = Tap(self.installation.engines.kafka_url, self.installation.prefix)

    async def run(self) -> None:
        """All of it; what does not hold stands in the report, and so does what kept it from going on."""
        try:
            await self.start()
            await self.demo()
            await self.under_load()
            await self.throughput()
        except Exception as error:  # noqa: BLE001 - whatever it is, the table and the taking down come after it
            traceback.print_exc()
            self.report.check("played to its end", f"{type(error).__name__}: {str(error)[:200]}", passed=False)
        finally:
            await self.tap.close()
            await self.installation.stop()

    async def under_load(self) -> None:
        """A kill, two rolls and a scaling; the journal is judged after each."""
        idle = self.stack.memory()
        desk = await open_desk(self.installation, self.tap)
        load = Load(desk, seed=20261122)
        await load.subscribe(INSIDE)
        await self.kill(load)
        for service in ROLLED:
            await self.roll(load, service)
        await self.scale(load)
        for service, used in self.stack.memory().items():
            self.report.figure(
                f"memory of {service}", f"{used.now} after the load, {idle[service].now} before; {used.most} at most"
            )
        await desk.close()

    async def start(self) -> None:
        """Cold: no container, no network, no volume is there."""
        self.report.say("starting engines, one-shot jobs and services")
        began = time.monotonic()
        await asyncio.to_thread(self.stack.up)
        healthy = time.monotonic() - began
        await self.installation.ready()
        ready = time.monotonic() - began
        count = len(self.stack.containers())
        self.report.figure("cold start", f"{count} containers healthy after {healthy:.0f} s, all ready {ready:.0f} s")
        (job,) = self.stack.containers("provision")
        self.report.check("roles, databases, topics made first", f"provision {job.state}", job.state == "exited")

    async def demo(self) -> None:
        """The demo, as anybody outside would play it."""
        self.report.say("playing the demo")
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "cli", "demo"],
            cwd=CHECKOUT,
            env=os.environ | self._demo_environment(),
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        passed, failed = (len(re.findall(rf"^ {mark} ", done.stdout, re.MULTILINE)) for mark in ("ok", "no"))
        if done.returncode:
            print(done.stdout[-8000:], done.stderr[-4000:], file=sys.stderr)
        outcome = f"{passed} checks passed, {failed} failed"
        self.report.check("the demo, played from outside", outcome, done.returncode == 0 and passed > 0)

    def _demo_environment(self) -> dict[str, str]:
        installation = self.installation
        return {
            "ORIGIN_URL": installation.origin,
            "KAFKA_URL": installation.engines.kafka_url,
            "INGEST_SMTP_PORT": str(installation.ports["smtp"]),
            "SINK_URL": installation.url("sink"),
            "SINK_INSIDE_URL": INSIDE,
            "DIRECTORY_DATABASE_URL": installation.database_url("directory"),
            "MASTER_KEY": installation.master_key,
            "COLUMNS": "120",
        }

    async def kill(self, load: Load) -> None:
        """A container dies under load and comes back by itself."""
        self.report.say(f"killing {VICTIM} under load")
        (victim,) = self.stack.containers(VICTIM)
        async with load.flowing():
            died = time.monotonic()
            await asyncio.to_thread(self.stack.kill_inside, victim)

            async def back() -> Container:
                (found,) = self.stack.containers(VICTIM)
                assert found.restarts > victim.restarts, "it has not died"
                assert found.health == "healthy", found
                return found

            returned = await eventually(back, within=PATIENCE, every=0.5, what=f"{VICTIM} back")
            await self.installation.ready(VICTIM)
            took = time.monotonic() - died
        same = returned.id == victim.id and returned.restarts == victim.restarts + 1
        self.report.check(
            f"{VICTIM} killed (SIGKILL): comes back", f"by itself, healthy and ready after {took:.0f} s", same
        )
        await self._judge(load, f"  nothing lost by the kill, {load.rate:.0f}/s accepted")

    async def roll(self, load: Load, service: str) -> None:
        """The next release beside the old one; then the old one drains and goes."""
        self.report.say(f"rolling {service} under load")
        (old,) = self.stack.containers(service)
        async with load.flowing():
            began = time.monotonic()
            # Built here, also where the other images are a registry's.
            release = {"DESKWIRE_TAG": self.rolled, "DESKWIRE_REGISTRY": ""}
            await self._up("--no-recreate", "--scale", f"{service}=2", service, **release)
            await self._up("--scale", f"{service}=1", service, **release)
            took = time.monotonic() - began
        now = self.stack.containers(service)
        replaced = len(now) == 1 and now[0].id != old.id and now[0].image != old.image
        self.report.check(f"{service} rolled to another image", f"in {took:.0f} s, {len(now)} container", replaced)
        await self._judge(load, f"  nothing lost by the roll, {load.rate:.0f}/s accepted")

    async def scale(self, load: Load) -> None:
        """Partitions move to new members and back while messages flow."""
        self.report.say(f"scaling triage to {REPLICAS} and back under load")
        async with load.flowing():
            await self._up("--no-recreate", "--scale", f"triage={REPLICAS}", "triage")
            await load.more(AFTER)
            most = len(self.stack.containers("triage"))
            await self._up("--no-recreate", "--scale", "triage=1", "triage")
        least = len(self.stack.containers("triage"))
        self.report.check("triage scaled", f"1 → {most} → {least} replicas", (most, least) == (REPLICAS, 1))
        await self._judge(load, f"  nothing lost by the scaling, {load.rate:.0f}/s accepted")

    async def throughput(self) -> None:
        """The same backlog for one replica and for three."""
        desk = await open_desk(self.installation, self.tap, "backlog")
        await throughput.prepare(desk, self.folder)
        rates = {}
        for replicas in (1, REPLICAS):
            self.report.say(f"{throughput.BACKLOG} tickets for {replicas} of triage")
            rates[replicas] = await throughput.measure(self.stack, self.installation, desk, replicas)
        await throughput.restore(self.stack)
        one, three = rates[1], rates[REPLICAS]
        shown = f"{three:.0f}/s against {one:.0f}/s: {three / one:.1f} times, {throughput.SHARE} of a core each"
        self.report.figure(f"triage with {REPLICAS} replicas against 1", shown)
        await desk.close()

    async def _up(self, *arguments: str, **variables: str) -> None:
        await asyncio.to_thread(lambda: self.stack.up("--no-deps", *arguments, **variables))

    async def _judge(self, load: Load, what: str) -> None:
        verdict = await load.judged(self.installation)
        if verdict.findings:
            print(told(verdict.findings), file=sys.stderr)
        self.report.check(what, verdict.told(), verdict.passed)


def sizes(report: Report, names: list[str]) -> None:
    """The size of every image there is."""
    for name in names:
        megabytes = images.megabytes(name)
        if megabytes is not None:
            report.figure(f"image {name.partition(':')[0]}", f"{megabytes} MB")
