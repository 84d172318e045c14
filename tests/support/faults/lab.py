"""One fault test's world: topics, a database, worker processes, a journaling producer, and the checker at the end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from tests.support.databases import ROOT
from tests.support.faults import contracts, world
from tests.support.faults.check import check, told
from tests.support.faults.journal import Entry, Journal
from tests.support.faults.records import Sent
from tests.support.faults.world import SERVICE, SOURCES, World
from tests.support.waiting import NeverHappenedError, eventually


@dataclass
class Worker:
    """One process of the service under fault."""

    name: str
    process: asyncio.subprocess.Process
    log: Path
    crash_log: Path

    @property
    def hit(self) -> list[str]:
        """The crash points at which it died."""
        return self.crash_log.read_text().split() if self.crash_log.exists() else []

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it still lives."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        self.signal(signal.SIGKILL)
        await self.process.wait()

    async def terminate(self, within: float = 30.0) -> int:
        """SIGTERM, and its exit status; killed when it takes too long."""
        self.signal(signal.SIGTERM)
        try:
            return await asyncio.wait_for(self.process.wait(), within)
        except TimeoutError:
            await self.kill()
            raise

    async def joined(self, within: float = 30.0) -> None:
        """Wait until it is a member of its group."""

        async def assigned() -> bool:
            assert self.process.returncode is None, f"{self.name} ended with {self.process.returncode}"
            return "partitions assigned" in self.log.read_text()

        await eventually(assigned, within=within, what=f"{self.name} in its group")

    async def stopped(self) -> bool:
        """Whether it has been stopped by SIGSTOP."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return fields[0] == "T"


@dataclass
class Lab:
    """Everything of one test."""

    kafka_url: str
    database_url: str
    admin_url: str
    prefix: str
    folder: Path
    seed: int
    partitions: int = 3
    tree: Path = ROOT
    workers: list[Worker] = field(default_factory=list)
    sources: Sequence[str] = SOURCES

    def __post_init__(self) -> None:
        self.journal = Journal(self.folder / "journal.jsonl")
        self.random = random.Random(self.seed)
        self._producer: AIOKafkaProducer | None = None

    # --- the service ---------------------------------------------------------------------------------------------

    async def start(self, *, tree: Path | None = None, module: str = "worker", **environment: object) -> Worker:
        """Start a worker; arguments are environment variables, those of the service without their prefix."""
        name = f"w{len(self.workers)}"
        log, crash_log = self.folder / f"{name}.log", self.folder / f"{name}.crash"
        path = tree or self.tree
        variables = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(path),
            "PYTHONDONTWRITEBYTECODE": "1",
            "KAFKA_URL": self.kafka_url,
            "TOPIC_PREFIX": self.prefix,
            "SESSION_TIMEOUT_MILLISECONDS": "6000",
            "DRAIN_SECONDS": "10",
            "CRASH_LOG": str(crash_log),
            "FAULTS_DATABASE_URL": self.database_url,
            "FAULTS_HTTP_PORT": "0",
        }
        for key, value in environment.items():
            variables[key.upper() if key == "crash_at" else f"FAULTS_{key.upper()}"] = str(value)
        with log.open("ab") as out:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                f"tests.support.faults.{module}",
                cwd=path,
                env=variables,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        worker = Worker(name, process, log, crash_log)
        self.workers.append(worker)
        return worker

    async def stop(self) -> None:
        """End what still runs."""
        for worker in self.workers:
            if worker.process.returncode is None:
                await worker.kill()
        if self._producer is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(5):
                    await self._producer.stop()

    def logs(self, lines: int = 60) -> str:
        """The last lines of every worker, for people."""
        return "\n".join(f"--- {w.log}\n" + "\n".join(w.log.read_text().splitlines()[-lines:]) for w in self.workers)

    # --- what it is given ----------------------------------------------------------------------------------------

    async def send(self, records: Sequence[Sent]) -> list[Entry]:
        """Send in order; journal what the broker acknowledged, and as `info` what it did not in time."""
        if self._producer is None:
            self._producer = AIOKafkaProducer(
                bootstrap_servers=self.kafka_url,
                enable_idempotence=True,
                max_request_size=4 * 1024 * 1024,
                request_timeout_ms=20_000,
                partitioner=_partitioner,
            )
            await self._producer.start()
        futures = [
            await self._producer.send(self.prefix + one.topic, key=one.key, value=one.value, headers=list(one.headers))
            for one in records
        ]
        entries = []
        for one, future in zip(records, futures, strict=True):
            entry = Entry(
                topic=one.topic,
                key=one.key.decode("utf-8", "replace") if one.key else "",
                id=one.id,
                seq=one.seq,
                expected=one.expected,
                reason=one.reason,
            )
            try:
                told = await future
            except KafkaError as error:
                if isinstance(error, MessageSizeTooLargeError):
                    raise
                entries.append(replace(entry, outcome="info"))
            else:
                entries.append(replace(entry, partition=told.partition, offset=told.offset))
                if one.starts:
                    entries.append(Entry(topic=one.starts, id=one.id, expected=one.starts))
        self.journal.write(entries)
        return entries

    async def sql(self, statement: str, *args: object) -> list[asyncpg.Record]:
        """What the administrator sees in, or does to, the service's database."""
        connection = await asyncpg.connect(self.admin_url)
        try:
            return await connection.fetch(statement, *args)
        finally:
            await connection.close()

    async def value(self, statement: str, *args: object) -> Any:
        """The first value of the first row."""
        rows = await self.sql(statement, *args)
        return rows[0][0] if rows else None

    # --- the end -------------------------------------------------------------------------------------------------

    async def look(self) -> World:
        """What there is now."""
        return await world.look(self.kafka_url, self.admin_url, self.prefix, sources=self.sources)

    async def findings(self, *, settled: bool = True) -> list[str]:
        """What the checker says."""
        return check(self.journal.read(), await self.look(), settled=settled)

    async def verify(self, *, within: float = 60.0) -> World:
        """Wait until the service has come to rest, then hold everything against the journal."""
        with contextlib.suppress(NeverHappenedError):
            await eventually(self._rested, within=within, every=0.2)
        found = await self.look()
        findings = check(self.journal.read(), found)
        if findings:
            await self._tell_what_waits()
            raise AssertionError(f"{told(findings)}\nseed {self.seed}\n{self.logs()}")
        return found

    async def _tell_what_waits(self) -> None:
        """Have every worker write where its tasks are, beneath what it logged."""
        for worker in self.workers:
            if worker.process.returncode is None and not await worker.stopped():
                worker.signal(signal.SIGUSR1)
        await asyncio.sleep(0.5)

    async def _rested(self) -> bool:
        """Whether the service itself believes that nothing is left to be done; whether it is right, the checker says."""
        if all(worker.process.returncode is not None for worker in self.workers):
            return True  # nobody is left to do anything
        reached = await world.committed(self.kafka_url, self.prefix)
        last: dict[tuple[str, int], int] = {}
        for entry in self.journal.read():
            if entry.topic in self.sources and entry.outcome == "ok":
                last[entry.topic, entry.partition] = max(entry.offset, last.get((entry.topic, entry.partition), -1))
        if any(reached.get(place, 0) <= offset for place, offset in last.items()):
            return False
        for entry in self.journal.read():
            if entry.expected == "rule" and entry.outcome == "ok":
                last[entry.topic, entry.partition] = max(entry.offset, last.get((entry.topic, entry.partition), -1))
        rows = await self.sql("SELECT topic, partition, next_offset FROM replica_offset")
        read = {(row["topic"], row["partition"]): row["next_offset"] for row in rows}
        rules = [place for place in last if place[0] == contracts.RULE.name]
        if any(read.get(place, 0) <= last[place] for place in rules):
            return False
        # Asked last: what was consumed before this instant may have left rows behind, and nothing is consumed after it.
        row = (
            await self.sql(
                "SELECT (SELECT count(*) FROM outbox) AS outbox, (SELECT count(*) FROM waiting) AS waiting,"
                " (SELECT count(*) FROM timer) + (SELECT count(*) FROM task) AS due"
            )
        )[0]
        away = len({e.place for e in self._facts() if e.expected == "away"})
        return not row["outbox"] and not row["due"] and bool(row["waiting"] == away)

    def _facts(self) -> list[Entry]:
        return [entry for entry in self.journal.read() if entry.topic in {contracts.ASKED.name, contracts.NOTED.name}]

    async def members(self) -> int:
        """How many processes have joined the group, by their relays' and buses' database sessions."""
        count: int = await self.value(
            "SELECT count(DISTINCT pid) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = $1",
            f"{SERVICE} relay",
        )
        return count

    async def leader(self) -> int | None:
        """The database session of the relay that publishes."""
        pid: int | None = await self.value(
            "SELECT l.pid FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
            " WHERE l.locktype = 'advisory' AND l.granted AND a.datname = current_database() AND a.application_name = $1",
            f"{SERVICE} relay",
        )
        return pid


def _partitioner(key: bytes | None, every: list[int], available: list[int]) -> int:
    """The client's own for keys; records without one all go to the first, so that runs can be repeated."""
    from aiokafka.partitioner import DefaultPartitioner  # noqa: PLC0415 - once per record without a cost

    del available
    return every[0] if key is None else int(DefaultPartitioner()(key, every, every))


async def arm(lab: Lab, dues: Mapping[str, datetime]) -> None:
    """Arm timers as a handler would, and journal them once that is committed."""
    connection = await asyncpg.connect(lab.admin_url)
    try:
        async with connection.transaction():
            await connection.executemany(
                "INSERT INTO timer (kind, key, tenant_id, due_at, run_at, armed_at)"
                " VALUES ('bell', $1, 'acme', $2, $2, desk_now())",
                list(dues.items()),
            )
    finally:
        await connection.close()
    lab.journal.write(
        Entry(topic="timer", id=key, expected="timer", due_at=due.isoformat()) for key, due in dues.items()
    )
