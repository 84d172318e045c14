"""The services as processes of this machine: found in `services/`, each with its own database role, port and log."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from deploy.local import ports, process
from deploy.local.engines import tail
from deploy.local.folders import CHECKOUT
from deploy.local.refusal import Refusal
from deploy.local.sink import start as outside

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploy.local.engines import Addresses
    from deploy.local.process import Identity
    from deploy.local.progress import Progress
    from deploy.local.record import Record

CONSOLE: Final = "console"
ORIGIN_PORT: Final = 8400
# What a service listens on beside HTTP, as `<SERVICE>_<NAME>_PORT`.
LISTENERS: Final = {"ingest": ("smtp",)}
START_SECONDS: Final = 90.0
# A service drains for up to 25 s, and gives itself 5 more.
STOP_SECONDS: Final = 35.0
POLL_SECONDS: Final = 0.1
LOOPBACKS: Final = "127.0.0.1,localhost"


def discover(root: Path = CHECKOUT) -> list[str]:
    """Every folder of `services/` that can be run."""
    return sorted(path.parent.name for path in root.glob("services/*/__main__.py"))


def origin_port() -> int:
    """The one fixed port."""
    return ports.number("ORIGIN_PORT", os.environ.get("ORIGIN_PORT") or str(ORIGIN_PORT))


def claim_ports(record: Record, names: Sequence[str]) -> None:
    """Give every service its port; the origin's must be free, or served by our own console."""
    for name in names:
        running = record.running(name)
        if name == CONSOLE:
            port = origin_port()
            if running is not None and record.ports.get(_key(name)) != port:
                process.end(running, patience=STOP_SECONDS)
                running = None
            if running is None and not ports.free(port):
                raise Refusal(
                    f"Port {port} of the origin is taken by {ports.holder(port)}.",
                    f"Free it, or choose another: ORIGIN_PORT={port + 1} make up.",
                )
            record.ports[_key(name)] = port
            record.save()
        elif running is None:
            ports.choose(record, _key(name))
        for listener in LISTENERS.get(name, ()):
            if running is None:
                ports.choose(record, f"{name}-{listener}")


def shared_environment(record: Record, addresses: Addresses, names: Sequence[str]) -> dict[str, str]:
    """What every service is told, and nothing of the administrator's."""
    blobs = record.folder / "blobs"
    blobs.mkdir(mode=0o700, exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    origin = f"http://127.0.0.1:{record.ports.get(_key(CONSOLE), origin_port())}"
    own = {
        "KAFKA_URL": addresses.kafka_url,
        "OPENSEARCH_URL": addresses.opensearch_url,
        "MASTER_KEY_FILE": str(record.folder / "master.key"),
        "BLOBS_URL": blobs.as_uri(),
        "DESKWIRE_STATE": str(record.folder),
        "ORIGIN_URL": origin,
        "PYTHONUNBUFFERED": "1",
        # Compiled once and not at every start, also where the checkout may not be written to.
        "PYTHONPYCACHEPREFIX": str(record.folder / "compiled"),
    }
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    own |= {f"{name.upper()}_PUBLIC_URL": os.environ.get(f"{name.upper()}_PUBLIC_URL", origin) for name in names}
    own |= outside.environment(record)
    for variable in ("NO_PROXY", "no_proxy"):
        own[variable] = ",".join(filter(None, (kept.get(variable), LOOPBACKS)))
    for name in names:
        for listener in ("http", *LISTENERS.get(name, ())):
            if f"{name}-{listener}" in record.ports:
                own[f"{name.upper()}_{listener.upper()}_PORT"] = str(record.ports[f"{name}-{listener}"])
    return kept | own


def service_environment(record: Record, addresses: Addresses, name: str, names: Sequence[str]) -> dict[str, str]:
    """What one service is told: its own database, and where the others are."""
    environment = shared_environment(record, addresses, names) | urls(record, names)
    environment[f"{name.upper()}_DATABASE_URL"] = database_url(addresses.database_url, name, record.password(name))
    return environment


def full_environment(record: Record, addresses: Addresses, names: Sequence[str]) -> dict[str, str]:
    """What the command line is told: everything, the administrator's address and the roles' passwords included."""
    environment = shared_environment(record, addresses, names) | addresses.environment() | urls(record, names)
    for name in names:
        upper = name.upper()
        environment[f"{upper}_DATABASE_URL"] = database_url(addresses.database_url, name, record.password(name))
        environment[f"{upper}_DATABASE_PASSWORD"] = record.password(name)
        environment[f"{upper}_MIGRATE_DATABASE_PASSWORD"] = record.password(f"{name}_migrate")
    return environment


def urls(record: Record, names: Sequence[str]) -> dict[str, str]:
    """Where each service's API is, as `<SERVICE>_URL`."""
    return {f"{name.upper()}_URL": f"http://127.0.0.1:{record.ports[_key(name)]}" for name in names if name != CONSOLE}


def database_url(administrator: str, name: str, password: str) -> str:
    """The administrator's server, with a service's own database and role."""
    parts = urllib.parse.urlsplit(administrator)
    place = parts.netloc.rpartition("@")[2]
    return urllib.parse.urlunsplit((parts.scheme, f"{name}:{password}@{place}", f"/{name}", parts.query, ""))


def start(record: Record, addresses: Addresses, progress: Progress, names: Sequence[str]) -> None:
    """Start the services that do not run with these very settings yet, and wait until all are ready."""
    everyone = discover()
    if not names:
        return
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: _bring_up(record, addresses, progress, name, everyone), names))


def ready(record: Record, name: str) -> tuple[bool, str]:
    """Ask a service whether it is ready; if not, why."""
    url = f"http://127.0.0.1:{record.ports.get(_key(name), 0)}/readyz"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as answer:
            return answer.status == 200, ""
    except urllib.error.HTTPError as error:
        return False, error.read(2000).decode(errors="replace")
    except (OSError, ValueError) as error:
        return False, str(error)


def _bring_up(record: Record, addresses: Addresses, progress: Progress, name: str, everyone: Sequence[str]) -> None:
    began = time.monotonic()
    environment = service_environment(record, addresses, name, everyone)
    fingerprint = _fingerprint(environment)
    running = record.running(name) or _orphan(record, name)
    if running is not None and record.fingerprints.get(name) != fingerprint:
        process.end(running, patience=STOP_SECONDS)
        running = None
    taken_over = running is not None
    if running is None:
        record.fingerprints[name] = fingerprint
        command = [sys.executable, "-m", f"services.{name}"]
        running = process.spawn(name, command, owner=record.folder, log=record.log(name), cwd=CHECKOUT, env=environment)
        record.remember(name, running)
    _await(record, name, running)
    how = "runs already, taken over" if taken_over else f"ready in {time.monotonic() - began:.1f} s"
    progress.say(f"  {name:<16} {how} (port {record.ports[_key(name)]}, pid {running.pid})")


def _await(record: Record, name: str, running: Identity) -> None:
    deadline = time.monotonic() + START_SECONDS
    log = record.log(name)
    why = ""
    while time.monotonic() < deadline:
        answered, why = ready(record, name)
        if answered:
            return
        if not running.alive():
            raise Refusal(
                f"{name} died at its start.",
                f"Mend what its log says ({log}), then `make up` again; `make status` shows the rest.",
                detail=tail(log),
            )
        time.sleep(POLL_SECONDS)
    raise Refusal(
        f"{name} was not ready within {START_SECONDS:.0f} s.",
        f"/readyz and its log ({log}) say what it waits for; `make restart S={name}` starts it again.",
        detail=f"  /readyz: {why.strip()}\n{tail(log)}",
    )


def _orphan(record: Record, name: str) -> Identity | None:
    """A service that a crashed starter left unrecorded."""
    return next((identity for role, identity in process.owned(record.folder) if role == name), None)


def _fingerprint(environment: dict[str, str]) -> str:
    """What a running service would have to be restarted for: the settings that we hand it."""
    relevant = {
        name: value
        for name, value in environment.items()
        if name.endswith(("_URL", "_PORT", "_FILE", "_NETWORKS")) or name == "DESKWIRE_STATE"
    }
    return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()


def _key(name: str) -> str:
    """Under which a service's port is recorded: `<service>-http`, configurable as `<SERVICE>_HTTP_PORT`."""
    return f"{name}-http"
