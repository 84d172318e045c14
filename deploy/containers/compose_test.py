"""`make compose-test`: bring everything up with Compose, turn a message into a ticket, lose a container, take all down.

Needs the images (`make images engine-images`) and Compose v2: `docker compose`, or the program DESKWIRE_COMPOSE names.
A project, volumes and secrets of its own: what runs beside it is not touched.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

from deploy.containers import secret_files
from deploy.local.folders import CHECKOUT
from deploy.local.refusal import Refusal

FILE: Final = CHECKOUT / "deploy/compose.yaml"
PROJECT: Final = "deskwire-test"
PATIENCE: Final = 300.0


class Stack:
    """One Compose project, with its origin on a free port."""

    def __init__(self, secrets: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self._environment = os.environ | {"ORIGIN_PORT": str(self.port), "DESKWIRE_SECRETS": str(secrets)}

    def compose(self, *arguments: str, patience: float = PATIENCE) -> str:
        """Run Compose; its output. Raises Refusal with its last lines."""
        named = os.environ.get("DESKWIRE_COMPOSE")
        program = [named] if named else ["docker", "compose"]
        command = [*program, "--project-name", PROJECT, "--file", str(FILE), "--profile", "engines", *arguments]
        try:
            done = subprocess.run(
                command, env=self._environment, check=False, capture_output=True, text=True, timeout=patience
            )
        except FileNotFoundError as error:
            raise Refusal("Compose is not installed.", "Name the program with DESKWIRE_COMPOSE.") from error
        if done.returncode != 0:
            said = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
            raise Refusal(f"`compose {' '.join(arguments)}` failed.", "What it says is above.", detail=said)
        return done.stdout

    def ask(self, path: str, key: str = "", body: dict[str, Any] | None = None) -> Any:
        """One request to the origin; its JSON."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=json.dumps(body).encode() if body is not None else None,
            headers={"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {}),
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as answer:
            return json.load(answer)

    def ticket(self, key: str, number: str) -> float:
        """Wait until a message's ticket can be read; the seconds it took. Raises Refusal."""
        began = time.monotonic()
        while time.monotonic() - began < PATIENCE:
            try:
                if self.ask(f"/v1/tickets/{number}", key)["id"] == number:
                    return time.monotonic() - began
            except urllib.error.HTTPError as error:
                if error.code not in {404, 502, 503, 504}:
                    raise
            except OSError:
                pass
            time.sleep(0.2)
        raise Refusal(f"There is no ticket {number}.", "`docker logs` of ingest and tickets say why.")


def main() -> int:
    """Play it; says what was seen and how long it took."""
    with tempfile.TemporaryDirectory(prefix="deskwire-secrets-") as folder:
        secrets = Path(folder)
        secret_files.make(secrets)
        stack = Stack(secrets)
        try:
            _play(stack)
        finally:
            stack.compose("down", "--volumes", "--timeout", "45")
            print("  everything taken down")
    return 0


def _play(stack: Stack) -> None:
    began = time.monotonic()
    stack.compose("up", "--detach", "--wait", "--wait-timeout", str(int(PATIENCE)))
    print(f"  up and healthy in {time.monotonic() - began:.0f} s, engines included")
    print(stack.compose("ps", "--format", "table {{.Service}}\t{{.Status}}"))
    seeded = json.loads(stack.compose("run", "--rm", "-T", "deskwire", "seed", "--json"))
    agent, sender = str(seeded["administrator"]["key"]), str(seeded["service"]["key"])
    first = _send(stack, sender, "first")
    print(f"  a message became its ticket in {stack.ticket(agent, first):.1f} s")
    stack.compose("kill", "--signal", "SIGKILL", "tickets")
    second = _send(stack, sender, "second")
    stack.compose("start", "tickets")
    print(f"  one sent while tickets was killed: {stack.ticket(agent, second):.1f} s after its return")
    found = stack.ask("/v1/tickets?limit=50", agent)["items"]
    if sorted(one["id"] for one in found) != sorted([first, second]):
        raise Refusal(f"There are {len(found)} tickets, two messages were sent.", "Something was lost or doubled.")
    print("  two messages, two tickets")


def _send(stack: Stack, key: str, subject: str) -> str:
    """Send a message, again while the directory's keys are still on their way to ingest; its ticket's id."""
    body = {"channel": "api", "sender": {"address": "ana@example.com"}, "subject": subject, "text": "It does not work."}
    deadline = time.monotonic() + 60
    while True:
        try:
            return str(stack.ask("/v1/messages", key, body)["ticket_id"])
        except urllib.error.HTTPError as error:
            if error.code not in {401, 503} or time.monotonic() > deadline:
                raise
        time.sleep(0.5)
