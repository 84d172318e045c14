"""A whole installation under test: topics and databases of its own, the services as real processes, their logs."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import httpx2

from cli.installation import databases
from shared import clock
from tests.support.databases import address
from tests.support.engines import Engines
from tests.support.quiet import wait_until_quiet
from tests.support.topics import delete_topics
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
SERVICES = ("directory", "ingest", "tickets", "triage", "sla", "escalation", "notify", "search", "console")
WITH_DATABASE = tuple(database.service for database in databases())
EACH: tuple[tuple[str, ...], ...] = tuple((name,) for name in SERVICES)
"""One process per service."""
TOGETHER: tuple[tuple[str, ...], ...] = (SERVICES,)
"""All services in one process."""
_OURS = re.compile(
    rf"(?:CLI|DESKWIRE|SINK|{'|'.join(SERVICES).upper()})_|(?:KAFKA|DATABASE|OPENSEARCH)_URL$|MASTER_KEY"
)


class Installation:
    """Provisioned engines and running services; everything has a prefix or suffix that nobody else uses."""

    def __init__(self, engines: Engines, folder: Path, *, processes: Sequence[Sequence[str]] = EACH) -> None:
        self.engines = engines
        self.folder = folder
        self.processes = tuple(tuple(names) for names in processes)
        token = secrets.token_hex(4)
        self.prefix = f"scenario-{token}."
        self.suffix = f"_s{token}"
        self.index_prefix = f"s{token}-"
        self.ports = {name: _free_port() for name in (*SERVICES, "smtp", "sink", "sink-smtp")}
        self.passwords = {role: secrets.token_hex(12) for name in SERVICES for role in (name, f"{name}_migrate")}
        self.master_key = secrets.token_hex(32)
        self.running: dict[tuple[str, ...], subprocess.Popen[bytes]] = {}
        self.sink: subprocess.Popen[bytes] | None = None
        self.client = httpx2.AsyncClient(timeout=40.0, trust_env=False)
        self._connections: dict[str, asyncpg.Connection] = {}
        self._looks: dict[str, asyncio.Lock] = {}

    # -- addresses ----------------------------------------------------------------------------------------------

    def url(self, service: str) -> str:
        """Where a service's API and health endpoints answer."""
        return f"http://127.0.0.1:{self.ports[service]}"

    @property
    def origin(self) -> str:
        """The one public address."""
        return self.url("console")

    @property
    def hooks_url(self) -> str:
        """The sink as the services reach it."""
        return self.url("sink")

    def database_url(self, service: str) -> str:
        """A service's database by its data role."""
        name = f"{service}{self.suffix}"
        return address(self.engines.database_url, database=name, user=name, password=self.passwords[service])

    def admin_url(self, service: str) -> str:
        """A service's database by the administrator."""
        return address(self.engines.database_url, database=f"{service}{self.suffix}")

    def environment(self, **more: str) -> dict[str, str]:
        """What services and the command line are told."""
        inherited = {name: value for name, value in os.environ.items() if not _OURS.match(name)}
        inherited.pop("PYTHONDONTWRITEBYTECODE", None)
        told = {
            "KAFKA_URL": self.engines.kafka_url,
            "OPENSEARCH_URL": self.engines.opensearch_url,
            "TOPIC_PREFIX": self.prefix,
            "SEARCH_INDEX_PREFIX": self.index_prefix,
            "SINK_URL": self.url("sink"),
            "NOTIFY_SMTP_URL": f"smtp://127.0.0.1:{self.ports['sink-smtp']}",
            # A busy machine may keep triage from deciding within the usual five.
            "NOTIFY_LANGUAGE_PATIENCE_SECONDS": "20",
            "NOTIFY_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
            "DATABASE_SUFFIX": self.suffix,
            "MASTER_KEY": self.master_key,
            "BLOBS_URL": (self.folder / "blobs").as_uri(),
            "INGEST_SMTP_PORT": str(self.ports["smtp"]),
            "DRAIN_SECONDS": "15",
            "SESSION_TIMEOUT_MILLISECONDS": "6000",
            "PYTHONUNBUFFERED": "1",
            "PYTHONPYCACHEPREFIX": str(Path(tempfile.gettempdir()) / "deskwire-compiled"),
            "DESKWIRE_URL": self.origin,
        }
        for name in SERVICES:
            upper = name.upper()
            told[f"{upper}_HTTP_PORT"] = str(self.ports[name])
            told[f"{upper}_URL"] = self.url(name)
            told[f"{upper}_PUBLIC_URL"] = self.origin
            # Everybody here has one address: what one test gets wrong is not to lock the next one out.
            told[f"{upper}_FAILURES_BURST"] = "100000"
            if name in WITH_DATABASE:
                told[f"{upper}_DATABASE_URL"] = self.database_url(name)
        return inherited | told | more

    # -- life ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Provision and start everything; returns when all services are ready."""
        (self.folder / "blobs").mkdir(parents=True, exist_ok=True)
        await self.provision()
        self.launch_sink()
        for names in self.processes:
            self.launch(*names)
        await self.ready()

    async def provision(self) -> None:
        """`deskwire provision`, as the administrator."""
        passwords = {f"{role.upper()}_DATABASE_PASSWORD": password for role, password in self.passwords.items()}
        await self.cli("provision", told={"DATABASE_URL": self.engines.database_url, **passwords})

    def launch(self, *names: str, **more: str) -> subprocess.Popen[bytes]:
        """Start one process with these services, as `deskwire run` does."""
        with self.log_file(*names).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "cli", "run", *names],
                cwd=ROOT,
                env=self.environment(**more),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        self.running[names] = process
        return process

    def launch_sink(self) -> None:
        """Start what takes the mails and webhooks that are sent out."""
        ports = (str(self.ports["sink-smtp"]), str(self.ports["sink"]))
        command = [sys.executable, "-m", "deploy.local.sink", str(self.folder / "sink"), *ports]
        with self.log_file("sink").open("ab") as log:
            self.sink = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    async def ready(self, *names: str, within: float = 180.0) -> None:
        """Wait until the services are ready, all of them unless some are named."""
        wanted = names or tuple(name for group in self.processes for name in group)
        for name in wanted:
            await eventually(partial(self._is_ready, name), within=within, every=0.1, what=f"{name} ready")

    async def _is_ready(self, name: str) -> bool:
        process = self.running[self.group(name)]
        if process.poll() is not None:
            tail = self.log_file(*self.group(name)).read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{name} ended with status {process.returncode}:\n{tail}")
        status, body = await self.health(name, "readyz")
        assert status == 200, body
        return True

    def group(self, name: str) -> tuple[str, ...]:
        """The services that share a process with this one."""
        return next(names for names in self.processes if name in names)

    def kill(self, name: str) -> None:
        """SIGKILL: no drain, no goodbye."""
        process = self.running[self.group(name)]
        process.kill()
        process.wait(timeout=10)

    async def restart(self, name: str) -> None:
        """Start the process of a service again, which was killed or has ended, and wait until it is ready."""
        names = self.group(name)
        if self.running[names].poll() is None:
            await self.terminate(name)
        self.launch(*names)
        await self.ready(*names)

    async def terminate(self, name: str, within: float = 25.0) -> int:
        """SIGTERM; the exit status."""
        process = self.running[self.group(name)]
        process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(process.wait, within)

    async def stop(self) -> None:
        """End the processes and remove what they had on the engines."""
        if self.sink is not None:
            self.sink.kill()
            self.sink.wait(timeout=10)
        for process in self.running.values():
            if process.poll() is None:
                process.terminate()
        for process in self.running.values():
            try:
                await asyncio.to_thread(process.wait, 25)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=10)
        # After the last process, which would make its index anew.
        await self.client.delete(f"{self.engines.opensearch_url}/{self.index_prefix}tickets-*")
        await self.client.aclose()
        for connection in self._connections.values():
            await connection.close()
        await self.forget_topics()
        admin = await asyncpg.connect(self.engines.database_url)
        try:
            for service in WITH_DATABASE:
                await admin.execute(f'DROP DATABASE IF EXISTS "{service}{self.suffix}" WITH (FORCE)')
                for role in (service, f"{service}_migrate"):
                    await admin.execute(f'DROP ROLE IF EXISTS "{role}{self.suffix}"')
        finally:
            await admin.close()

    async def forget_topics(self) -> None:
        """Delete the topics."""
        await delete_topics(self.engines.kafka_url, self.prefix)

    # -- looking ------------------------------------------------------------------------------------------------

    def log_file(self, *names: str) -> Path:
        """Where a process writes what it says."""
        return self.folder / f"{'-'.join(names)}.log"

    def logs(self) -> str:
        """Everything every service has said, all lives of it."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log")))

    async def health(self, name: str, endpoint: str) -> tuple[int, Mapping[str, Any]]:
        """`/livez` or `/readyz` of one service; status 0 while nobody listens."""
        try:
            answer = await self.client.get(f"{self.url(name)}/{endpoint}")
        except httpx2.TransportError:
            return 0, {}
        return answer.status_code, answer.json()

    async def metrics(self, name: str) -> str:
        """What a service tells Prometheus."""
        return (await self.client.get(f"{self.url(name)}/metrics")).text

    async def rows(self, service: str, sql: str, *args: object) -> list[asyncpg.Record]:
        """What the administrator sees in a service's database."""
        async with self._looks.setdefault(service, asyncio.Lock()):
            connection = self._connections.get(service)
            if connection is None or connection.is_closed():
                connection = self._connections[service] = await asyncpg.connect(self.admin_url(service), timeout=10)
            return await connection.fetch(sql, *args)

    async def published(self, service: str, within: float = 60.0) -> None:
        """Wait until what a service has committed by now is on its topics; one that does not run is not waited for."""
        if self.running[self.group(service)].poll() is not None:
            return
        ((last,),) = await self.rows(service, "SELECT max(id) FROM outbox")
        if last is None:
            return

        async def told() -> bool:
            ((left,),) = await self.rows(service, "SELECT count(*) FROM outbox WHERE id <= $1", last)
            assert left == 0, f"{service} has {left} events to publish"
            return True

        await eventually(told, within=within, what=f"what {service} committed on its topics")

    async def settled(self, within: float = 60.0) -> None:
        """Wait until every outbox is empty and `tickets` has handled every message that `ingest` published."""

        async def idle() -> bool:
            for service in WITH_DATABASE:
                (left,) = await self.rows(service, "SELECT count(*) AS rows FROM outbox")
                assert left["rows"] == 0, f"{service} has {left['rows']} events to publish"
            (stored,) = await self.rows("ingest", "SELECT count(*) AS rows FROM message")
            (handled,) = await self.rows("tickets", "SELECT count(*) AS rows FROM inbox WHERE group_name = 'tickets'")
            assert handled["rows"] >= stored["rows"], f"{handled['rows']} of {stored['rows']} messages handled"
            return True

        await eventually(idle, within=within, every=0.1, what="the installation at rest")

    async def quiet(self, *, without: Sequence[str] = (), within: float = 120.0) -> None:
        """Wait until nothing is left to be done before the clock moves or somebody acts (`tests.support.quiet`).

        `without` names services that are stopped: their outboxes, readers and due work are not looked at.
        """
        await wait_until_quiet(self, tuple(name for name in WITH_DATABASE if name not in without), within=within)

    async def forward(self, span: str) -> None:
        """Move the clock of every service on: `30m`."""
        await clock.forward({name: self.admin_url(name) for name in WITH_DATABASE}, clock.duration(span))

    async def cli(self, *arguments: str, status: int = 0, told: Mapping[str, str] | None = None) -> str:
        """Run `deskwire`, with further variables; what it printed on both streams. Fails unless it ends with `status`."""
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "cli", *arguments],
            cwd=ROOT,
            env=self.environment(**(told or {})),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == status, f"deskwire {' '.join(arguments)} ended with {done.returncode}:\n{said}"
        return said


def log_lines(text: str) -> list[dict[str, Any]]:
    """The JSON lines of a log."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def elapsed(since: float) -> float:
    """Seconds since a `time.monotonic()`."""
    return time.monotonic() - since
