"""The engines as containers, with ENGINES=docker; images by DESKWIRE_KAFKA_IMAGE, _POSTGRES_IMAGE, _OPENSEARCH_IMAGE.

Not named: those that `make engine-images` built, else the official ones.

Containers carry their owner's state folder as a label: found again by the next start, removed by `down`.
"""

from __future__ import annotations

import os
import socket
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from deploy.local import images, ports
from deploy.local.kafka import answers_metadata
from deploy.local.opensearch import healthy
from deploy.local.postgres import ADMINISTRATOR, SETTINGS
from deploy.local.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from deploy.local.progress import Progress
    from deploy.local.record import Record

OWNER_LABEL: Final = "deskwire.owner"
ROLE_LABEL: Final = "deskwire.role"
START_SECONDS: Final = 180.0
POLL_SECONDS: Final = 0.2
# Settings that make no sense inside a container of its own.
NOT_INSIDE: Final = frozenset({"listen_addresses", "unix_socket_directories", "lc_messages"})


@dataclass(frozen=True, kw_only=True)
class Image:
    """An engine's image and how it is configured."""

    reference: str
    port: int
    variables: Mapping[str, str]
    command: tuple[str, ...] = field(default=())


def image(role: str, *, port: int, password: str, built: bool) -> Image:
    """Describe one engine as a container that answers on 127.0.0.1:`port`; `built`: our own image of it is there."""
    named = os.environ.get(f"DESKWIRE_{role.upper()}_IMAGE") or (images.reference(role) if built else None)
    match role:
        case "kafka":
            return Image(reference=named or "apache/kafka:4.3.1", port=9092, variables=_kafka(port))
        case "postgres":
            settings = tuple(
                part for name, value in SETTINGS.items() if name not in NOT_INSIDE for part in ("-c", f"{name}={value}")
            )
            return Image(
                reference=named or "pgvector/pgvector:pg18",
                port=5432,
                variables={"POSTGRES_PASSWORD": password, "POSTGRES_INITDB_ARGS": "--auth-host=scram-sha-256"},
                command=("postgres", *settings),
            )
        case "opensearch":
            return Image(
                reference=named or "opensearchproject/opensearch:3.6.0",
                port=9200,
                variables={
                    "discovery.type": "single-node",
                    "cluster.routing.allocation.disk.threshold_enabled": "false",
                    "DISABLE_SECURITY_PLUGIN": "true",
                    "DISABLE_INSTALL_DEMO_CONFIG": "true",
                    "OPENSEARCH_JAVA_OPTS": "-Xms512m -Xmx512m",
                },
            )
        case _:
            raise ValueError(role)


def start(record: Record, progress: Progress, roles: Sequence[str]) -> dict[str, str]:
    """Start or take over one container per engine; return their addresses by engine."""
    client = connect()
    record.containers = True
    record.save()
    with ThreadPoolExecutor(len(roles)) as pool:
        addresses = list(pool.map(lambda role: _bring_up(client, record, progress, role), roles))
    return dict(zip(roles, addresses, strict=True))


def stop(owner: Path, progress: Progress) -> int:
    """Remove every container started for this state; return how many there were."""
    found = connect().containers.list(all=True, filters={"label": f"{OWNER_LABEL}={owner}"})
    for container in found:
        container.remove(force=True, v=True)
        progress.say(f"  {container.labels[ROLE_LABEL]:<12} removed (container {container.short_id})")
    return len(found)


def available() -> bool:
    """Whether a daemon answers."""
    try:
        connect()
    except Refusal:
        return False
    return True


def connect() -> Any:
    """Reach the daemon, or say that none answers."""
    from docker import from_env  # type: ignore[import-untyped]  # ships no types
    from docker.errors import DockerException  # type: ignore[import-untyped]  # as above

    host = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    try:
        _knock(host)
        client = from_env()
        client.ping()
    except (OSError, DockerException) as error:
        raise Refusal(
            f"ENGINES=docker is set, but no Docker daemon answers at {host}.",
            "Start one or set DOCKER_HOST; without ENGINES=docker the bundled engines are started.",
        ) from error
    return client


def _knock(host: str) -> None:
    """Try the daemon's socket ourselves: the client library leaves its own open when no one is there."""
    parts = urllib.parse.urlsplit(host)
    if parts.scheme == "unix":
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(parts.path)
    elif parts.scheme == "tcp":
        socket.create_connection((parts.hostname or "", parts.port or 2375), timeout=5).close()


def _bring_up(client: Any, record: Record, progress: Progress, role: str) -> str:
    began = time.monotonic()
    labels = {OWNER_LABEL: str(record.folder), ROLE_LABEL: role}
    running = client.containers.list(all=True, filters={"label": [f"{name}={value}" for name, value in labels.items()]})
    kept = [container for container in running if container.status == "running" and role in record.ports]
    for container in running:
        if container not in kept:
            container.remove(force=True, v=True)
    if kept:
        container, how = kept[0], "runs already, taken over"
    else:
        port = ports.choose(record, role)
        built = bool(client.images.list(name=images.reference(role)))
        engine = image(role, port=port, password=record.password(ADMINISTRATOR), built=built)
        container = _run(engine, port, labels)
        how = "ready"
    deadline = time.monotonic() + START_SECONDS
    while not _ready(record, role):
        container.reload()
        if container.status not in {"created", "running"} or time.monotonic() >= deadline:
            log = container.logs(tail=15).decode(errors="replace")
            raise Refusal(
                f"The container of {role} does not answer.", "Its log is above; `make down` removes it.", detail=log
            )
        time.sleep(POLL_SECONDS)
    progress.say(f"  {role:<12} {how} in {time.monotonic() - began:.1f} s (container {container.short_id})")
    return address(record, role)


def _run(engine: Image, port: int, labels: Mapping[str, str]) -> Any:
    """Start a container that outlives us: the reaper of testcontainers would end it with this process."""
    os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"
    from docker.errors import APIError, ImageNotFound
    from testcontainers.core.container import DockerContainer

    container = DockerContainer(engine.reference)
    for name, value in engine.variables.items():
        container.with_env(name, value)
    if engine.command:
        container.with_command(list(engine.command))
    container.with_kwargs(labels=dict(labels))
    # Its own method for this binds every interface of the machine.
    loopback: Any = {f"{engine.port}/tcp": ("127.0.0.1", port)}
    container.ports = loopback
    try:
        return container.start().get_wrapped_container()
    except (ImageNotFound, APIError) as error:
        raise Refusal(
            f"The image {engine.reference} cannot be started: {error.explanation or error}.",
            f"Pull or load it, or name another with DESKWIRE_{labels[ROLE_LABEL].upper()}_IMAGE.",
        ) from error


def address(record: Record, role: str) -> str:
    """The URL of an engine in its container."""
    port = record.ports[role]
    match role:
        case "kafka":
            return f"127.0.0.1:{port}"
        case "postgres":
            return f"postgresql://{ADMINISTRATOR}:{record.password(ADMINISTRATOR)}@127.0.0.1:{port}/postgres"
        case _:
            return f"http://127.0.0.1:{port}"


def _ready(record: Record, role: str) -> bool:
    match role:
        case "kafka":
            return answers_metadata("127.0.0.1", record.ports[role])
        case "postgres":
            return _selects(address(record, role))
        case _:
            return healthy(address(record, role))


def _selects(url: str) -> bool:
    """SELECT 1, over TCP: the image's own first start answers on its socket only."""
    import asyncio

    import asyncpg

    async def ask() -> bool:
        connection = await asyncpg.connect(url, timeout=3)
        try:
            return bool(await connection.fetchval("SELECT 1") == 1)
        finally:
            await connection.close()

    try:
        return asyncio.run(ask())
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False


def _kafka(port: int) -> dict[str, str]:
    """The same single node as without containers, advertised on the port bound outside."""
    return {
        "CLUSTER_ID": "4L6g3nShT-eMCtK--X86sw",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_NODE_ID": "1",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@127.0.0.1:9093",
        "KAFKA_LISTENERS": "PLAINTEXT://:9092,CONTROLLER://127.0.0.1:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://127.0.0.1:{port}",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "KAFKA_GROUP_COORDINATOR_APPEND_LINGER_MS": "0",
        "KAFKA_HEAP_OPTS": "-Xmx384m",
    }
