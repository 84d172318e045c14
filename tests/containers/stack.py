"""One Compose project with secrets and ports of its own: what runs beside it is not touched."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from deploy.containers import secret_files
from deploy.local.folders import CHECKOUT
from deploy.local.refusal import Refusal

PATIENCE = 600.0
"""Seconds after which a command of Compose is taken to hang."""
PORTS = ("ORIGIN_PORT", "KAFKA_PORT", "POSTGRES_PORT", "OPENSEARCH_PORT", "INGEST_SMTP_PORT", "SINK_PORT")


@dataclass(frozen=True, kw_only=True)
class Container:
    """What the daemon knows of one."""

    id: str
    service: str
    image: str
    """The id of its image, which another tag does not change."""
    restarts: int
    state: str
    """running, exited, …"""
    health: str
    """healthy, unhealthy, starting, or nothing."""


@dataclass(frozen=True, slots=True)
class Memory:
    """In the daemon's words: 67.3MiB."""

    now: str
    most: str
    """Its limit."""


class Stack:
    """Everything of compose.yaml with its engines, and the ports of compose.trial.yaml on this machine."""

    FILES: ClassVar[tuple[str, ...]] = ("compose.yaml", "compose.trial.yaml")
    """In `deploy`."""
    PROJECT: ClassVar[str] = "deskwire-test"

    def __init__(self, secrets: Path) -> None:
        self.secrets = secrets
        self.project = os.environ.get("COMPOSE_PROJECT_NAME") or self.PROJECT
        self.ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
        secret_files.make(secrets)
        self._environment = (
            os.environ
            | {name: str(port) for name, port in self.ports.items()}
            | {"DESKWIRE_SECRETS": str(secrets), "COMPOSE_ANSI": "never", "COMPOSE_PROGRESS": "plain"}
        )

    def secret(self, name: str) -> str:
        """What stands in a secret's file."""
        return (self.secrets / name).read_text(encoding="utf-8").strip()

    def compose(self, *arguments: str, **variables: str) -> str:
        """Run Compose, with further variables; its output. Raises Refusal with its last lines."""
        command = [*program(), "--project-name", self.project]
        for name in self.FILES:
            command += ["--file", str(CHECKOUT / "deploy" / name)]
        return run([*command, "--profile", "engines", *arguments], self._environment | variables)

    def up(self, *arguments: str, **variables: str) -> str:
        """Have Compose start what is named and wait until it is healthy."""
        return self.compose("up", "--detach", "--wait", "--wait-timeout", str(int(PATIENCE)), *arguments, **variables)

    def down(self) -> None:
        """Remove containers, networks and volumes."""
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "45")

    def containers(self, service: str = "") -> list[Container]:
        """Those of the project, ended ones too; of one service if named."""
        labels = [f"label=com.docker.compose.project={self.project}"]
        if service:
            labels.append(f"label=com.docker.compose.service={service}")
        filters = [part for label in labels for part in ("--filter", label)]
        ids = run(["docker", "ps", "--all", "--quiet", "--no-trunc", *filters], self._environment).split()
        if not ids:
            return []
        found = json.loads(run(["docker", "inspect", *ids], self._environment))
        return sorted((_container(one) for one in found), key=lambda one: (one.service, one.id))

    def memory(self) -> dict[str, Memory]:
        """What each service's running container uses; one of them where there are several."""
        ids = [one.id for one in self.containers() if one.state == "running"]
        lines = run(["docker", "stats", "--no-stream", "--format", "{{json .}}", *ids], self._environment).splitlines()
        rows = [json.loads(line) for line in lines]
        found = {row["Name"].removeprefix(f"{self.project}-").rpartition("-")[0]: row["MemUsage"] for row in rows}
        return {name: Memory(*used.split(" / ")) for name, used in sorted(found.items())}

    def kill_inside(self, container: Container) -> None:
        """SIGKILL everything in a container: it dies as by a crash, which its restart policy is for.

        A container killed through the daemon counts as stopped by a person, and stays so.
        """
        # Its status says nothing: the shell that kills may die of it, or with its container.
        subprocess.run(
            ["docker", "exec", container.id, "sh", "-c", "kill -9 -1"],
            env=self._environment,
            check=False,
            capture_output=True,
            timeout=PATIENCE,
        )

    def keep_logs(self, name: str) -> Path:
        """Write the last lines of every container to build/`name`, before they are gone."""
        path = CHECKOUT / "build" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.compose("logs", "--no-color", "--timestamps", "--tail", "300"), encoding="utf-8")
        return path


def program() -> list[str]:
    """Compose v2: `docker compose`, or the program that DESKWIRE_COMPOSE names. Raises Refusal when there is none."""
    if named := os.environ.get("DESKWIRE_COMPOSE"):
        return [named]
    if shutil.which("docker") is None:
        raise Refusal("Docker is not installed.", "This plays the whole in containers; `make demo` needs none.")
    if subprocess.run(["docker", "compose", "version"], check=False, capture_output=True).returncode != 0:
        raise Refusal("Compose v2 is not installed.", "Install the plugin, or name the program with DESKWIRE_COMPOSE.")
    return ["docker", "compose"]


def run(command: list[str], environment: dict[str, str]) -> str:
    """A program's output. Raises Refusal with its last lines when it fails."""
    try:
        done = subprocess.run(
            command, env=environment, check=False, capture_output=True, text=True, errors="replace", timeout=PATIENCE
        )
    except FileNotFoundError as error:
        raise Refusal(f"{command[0]} is not installed.", "It is needed to run containers.") from error
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        shown = " ".join(command[:2] + command[-4:])
        raise Refusal(f"`{shown}` ended with {done.returncode}.", "What it says is above.", detail=said)
    return done.stdout


def _container(found: dict[str, Any]) -> Container:
    return Container(
        id=found["Id"],
        service=found["Config"]["Labels"]["com.docker.compose.service"],
        image=found["Image"],
        restarts=found["RestartCount"],
        state=found["State"]["Status"],
        health=found["State"].get("Health", {}).get("Status", ""),
    )


def _free_ports(count: int) -> list[int]:
    """Ports nobody listens on; held together, so that no two are the same."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
