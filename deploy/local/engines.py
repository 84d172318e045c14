"""Start, take over and end the engines: those of this machine, containers, or none where an address is given."""

from __future__ import annotations

import os
import re
import socket
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from deploy.local import ports, process, room
from deploy.local.engine import Site
from deploy.local.folders import EngineUser, cache_folder, data_folder
from deploy.local.install import install, locate
from deploy.local.kafka import Kafka
from deploy.local.opensearch import OpenSearch
from deploy.local.postgres import Postgres
from deploy.local.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploy.local.engine import Engine
    from deploy.local.process import Identity
    from deploy.local.progress import Progress
    from deploy.local.record import Record

# OpenSearch takes longest, so it goes first.
ENGINES: Final[tuple[Engine, ...]] = (OpenSearch(), Kafka(), Postgres())
VARIABLES: Final = {"kafka": "KAFKA_URL", "postgres": "DATABASE_URL", "opensearch": "OPENSEARCH_URL"}
DEFAULT_PORTS: Final = {"kafka": 9092, "postgres": 5432, "opensearch": 9200}
TAKEN: Final = re.compile(r"Address already in use|BindException|could not bind|Failed to bind", re.IGNORECASE)
ATTEMPTS: Final = 3
POLL_SECONDS: Final = 0.05
LOG_LINES: Final = 15


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Where the three engines answer; `database_url` is the administrator's."""

    kafka_url: str = ""
    database_url: str = ""
    opensearch_url: str = ""

    def environment(self) -> dict[str, str]:
        """As the variables that everything of ours reads."""
        named = {"KAFKA_URL": self.kafka_url, "DATABASE_URL": self.database_url, "OPENSEARCH_URL": self.opensearch_url}
        return {name: value for name, value in named.items() if value}


def external() -> dict[str, str]:
    """Addresses given by the environment, by engine."""
    return {name: os.environ[variable] for name, variable in VARIABLES.items() if os.environ.get(variable)}


def start(record: Record, progress: Progress, names: Sequence[str] = tuple(VARIABLES)) -> Addresses:
    """Make the named engines answer: given ones are checked, running ones taken over, the rest started, all at once."""
    given = {name: url for name, url in external().items() if name in names}
    for name, url in given.items():
        require_answer(VARIABLES[name], url, DEFAULT_PORTS[name])
        progress.say(f"  {name:<12} given by {VARIABLES[name]}")
    wanted = [name for name in names if name not in given]
    if os.environ.get("ENGINES") == "docker" and wanted:
        from deploy.local import docker

        return _addresses(given | docker.start(record, progress, wanted))
    if not wanted:
        return _addresses(given)
    site = prepare_site(record, wanted, progress)
    chosen = [engine for engine in ENGINES if engine.name in wanted]
    with ThreadPoolExecutor(len(chosen)) as pool:
        started = {engine.name: pool.submit(bring_up, engine, site, progress) for engine in chosen}
    return _addresses(given | {name: future.result() for name, future in started.items()})


def prepare_site(record: Record, names: Sequence[str], progress: Progress) -> Site:
    """Find or make the places that the engines need."""
    room.require_system()
    user = EngineUser.current()
    cache = cache_folder(user)
    if any(record.running(name) is None for name in names):
        room.require_disk(record.folder, room.WARM_DISK)
        room.require_memory(room.MEMORY if len(names) > 1 else room.MEMORY // 4)
    if not record.data or not user.may(Path(record.data), "x"):
        record.data = str(data_folder(record.folder, user))
        record.save()
    return Site(record=record, installed=install(cache, names, progress), data=Path(record.data), user=user)


def bring_up(engine: Engine, site: Site, progress: Progress) -> str:
    """Take over or start one engine and wait until it answers."""
    began = time.monotonic()
    running = site.record.running(engine.name) or _adopt(engine, site)
    if running is not None:
        if _await(engine, site, running):
            progress.say(f"  {engine.title:<16} runs already, taken over (pid {running.pid})")
            return engine.address(site)
        raise _unready(engine, site, f"does not answer (pid {running.pid})")
    engine.prepare(site)
    for attempt in range(1, ATTEMPTS + 1):
        for name in engine.ports:
            ports.choose(site.record, name)
        launch = engine.launch(site)
        log = site.record.log(engine.name)
        offset = log.stat().st_size if log.exists() else 0
        started = process.spawn(
            engine.name,
            launch.command,
            owner=site.record.folder,
            log=log,
            cwd=launch.cwd,
            env=launch.env,
            user=site.user,
        )
        site.record.remember(engine.name, started)
        if _await(engine, site, started):
            progress.say(
                f"  {engine.title:<16} ready in {time.monotonic() - began:.1f} s (port {site.port(engine.ports[0])})"
            )
            return engine.address(site)
        if started.alive():
            raise _unready(engine, site, f"did not answer within {engine.start_seconds:.0f} s")
        with log.open(errors="replace") as file:
            file.seek(offset)
            if attempt == ATTEMPTS or not TAKEN.search(file.read()):
                break
        for name in engine.ports:
            # Someone took it between our choice and the start.
            site.record.ports.pop(name, None)
    raise _unready(engine, site, "died at its start")


def stop(record: Record, progress: Progress, names: Sequence[str] | None = None) -> int:
    """End what this state started, recorded or orphaned; return how many processes that were."""
    running = {identity.pid: (name, identity) for name, identity in _ours(record) if names is None or name in names}
    by_name = {engine.name: engine for engine in ENGINES}

    def finish(name: str, identity: Identity) -> None:
        engine = by_name.get(name)
        if engine is None:
            process.end(identity, patience=15.0)
        else:
            process.end(identity, patience=engine.stop_seconds, polite=engine.polite)
        progress.say(f"  {name:<12} ended (pid {identity.pid})")

    # Services first: they drain into engines that still answer.
    for group in (
        [entry for entry in running.values() if entry[0] not in by_name],
        [entry for entry in running.values() if entry[0] in by_name],
    ):
        if group:
            with ThreadPoolExecutor(len(group)) as pool:
                list(pool.map(lambda entry: finish(*entry), group))
    for name in list(record.processes):
        if (names is None or name in names) and record.running(name) is None:
            record.remember(name, None)
    return len(running)


def require_answer(variable: str, url: str, default_port: int) -> None:
    """Refuse an address that was given but at which no one listens."""
    first = url.split(",", maxsplit=1)[0]
    parts = urllib.parse.urlsplit(first if "://" in first else f"//{first}")
    try:
        with socket.create_connection((parts.hostname or "", parts.port or default_port), timeout=5):
            return
    except (OSError, ValueError) as error:
        shown = f"{parts.hostname}:{parts.port or default_port}"
        raise Refusal(
            f"{variable} is set, but no one answers at {shown} ({error}).",
            f"Start that engine, or unset {variable} to have one started.",
        ) from error


def site_of(record: Record) -> Site:
    """The places of engines that were started before."""
    user = EngineUser.current()
    return Site(record=record, installed=locate(cache_folder(user)), data=Path(record.data or record.folder), user=user)


def _addresses(by_name: dict[str, str]) -> Addresses:
    return Addresses(
        kafka_url=by_name.get("kafka", ""),
        database_url=by_name.get("postgres", ""),
        opensearch_url=by_name.get("opensearch", ""),
    )


def _ours(record: Record) -> list[tuple[str, Identity]]:
    recorded = [(name, identity) for name, identity in record.processes.items() if identity.alive()]
    return recorded + list(process.owned(record.folder))


def _adopt(engine: Engine, site: Site) -> Identity | None:
    """Find a process that a crashed starter left without recording it; end those on ports we do not know."""
    for role, identity in process.owned(site.record.folder):
        if role == engine.name and identity.alive():
            if all(name in site.record.ports for name in engine.ports):
                site.record.remember(engine.name, identity)
                return identity
            process.end(identity, patience=engine.stop_seconds, polite=engine.polite)
    return None


def _await(engine: Engine, site: Site, identity: Identity) -> bool:
    """Wait for readiness as long as the process lives."""
    deadline = time.monotonic() + engine.start_seconds
    while time.monotonic() < deadline:
        if engine.ready(site):
            return True
        if not identity.alive():
            return False
        time.sleep(POLL_SECONDS)
    return False


def _unready(engine: Engine, site: Site, what: str) -> Refusal:
    log = site.record.log(engine.name)
    return Refusal(
        f"{engine.title} {what}.",
        f"Its log is {log}; `make down` and the same command start it again.",
        detail=tail(log),
    )


def tail(log: Path, lines: int = LOG_LINES) -> str:
    """The last lines of a log, indented."""
    try:
        content = log.read_text(errors="replace").splitlines()[-lines:]
    except OSError:
        return "  (no log)"
    return "\n".join(f"  {line[:300]}" for line in content)
