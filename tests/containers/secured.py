"""`make secure-test`: what compose.prod.yaml promises, against engines that are closed as production's are.

A message becomes a ticket that every service has touched; each of them is a user of its own; a foreign write is refused
by the broker. Needs a Docker daemon and the images of `make compose-test`; those that are missing are built.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any, ClassVar

import httpx2

from deploy.containers import images, secured_files
from deploy.local import folders
from deploy.local import images as engines
from deploy.local.progress import Progress
from deploy.local.refusal import Refusal, guarded
from deploy.local.secured import install_postgres_tls
from shared import access
from tests.containers.__main__ import require
from tests.containers.report import Report
from tests.containers.stack import Stack

PATIENCE = 180.0

WRITES = """
import asyncio, sys
from services.triage.settings import Settings
from shared import kafka

async def main():
    client = kafka.producer(Settings.load())
    await client.start()
    for topic in sys.argv[1:]:
        try:
            await client.send_and_wait(topic, b"{}", key=b"k", partition=0)
            print(topic, "taken")
        except Exception as error:
            print(topic, type(error).__name__)
    await kafka.discard(client)

asyncio.run(main())
"""
"""Run in triage's container: what its own user is allowed."""
ENCRYPTED = """
import asyncio, asyncpg
from services.tickets.settings import Settings

async def main():
    connection = await asyncpg.connect(Settings.load().database_url.get_secret_value())
    print(await connection.fetchval("SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"))

asyncio.run(main())
"""


class SecuredStack(Stack):
    """Production's file over compose.yaml, on engines that are closed as it wants them, with secrets of its own."""

    FILES: ClassVar[tuple[str, ...]] = ("compose.yaml", "compose.prod.yaml", "compose.secure.yaml")
    PROJECT: ClassVar[str] = "deskwire-secure"

    def __init__(self, secrets: Path) -> None:
        super().__init__(secrets)
        secured_files.make(secrets)
        self._environment |= {
            "KAFKA_URL": "kafka:9092",
            "OPENSEARCH_URL": "http://opensearch:9200",
            "BLOBS_URL": "file:///data/blobs",
            "ORIGIN_URL": self.origin,
            "NOTIFY_SMTP_URL": "smtp://127.0.0.1:2525",
            "SEARCH_OPENSEARCH_USERNAME": "search",
        }

    @property
    def origin(self) -> str:
        """Where the edge answers."""
        return f"http://127.0.0.1:{self.ports['ORIGIN_PORT']}"

    def python(self, service: str, script: str, *arguments: str) -> str:
        """What a script prints that runs in a service's container, as that service."""
        return self.compose("exec", "-T", service, "/opt/venv/bin/python", "-c", script, *arguments)


def main() -> int:
    """Play it and print the table."""
    report = Report()
    require()
    if any(images.megabytes(engines.reference(role)) is None for role in ("kafka", "opensearch")):
        report.say("building the engines' images")
        engines.build(folders.cache_folder(), Progress())
    if images.megabytes(engines.reference("postgres-tls")) is None:
        report.say("building PostgreSQL with TLS")
        engines.build_postgres_tls(install_postgres_tls(folders.cache_folder(), Progress()))
    missing = [name for name in images.known() if images.megabytes(images.reference(name)) is None]
    if missing:
        report.say(f"building {', '.join(missing)}")
        images.build(missing)
    with tempfile.TemporaryDirectory(prefix="deskwire-secure-") as folder:
        stack = SecuredStack(Path(folder) / "secrets")
        stack.down()
        try:
            _play(stack, report)
        except BaseException:
            report.say(f"what the containers said: {stack.keep_logs('secure-test.log')}")
            raise
        finally:
            report.say("taking everything down")
            stack.down()
            print(report.table(), flush=True)
    return 1 if report.failed else 0


def _play(stack: SecuredStack, report: Report) -> None:
    began = time.monotonic()
    stack.up()
    report.figure("everything up and healthy", f"after {time.monotonic() - began:.0f} s")
    given = f"{len(access.grants())} given, 0 taken away"
    report.check("the manifest's rights were given", given, given in stack.compose("logs", "--no-color", "access"))
    seeded = json.loads(stack.compose("run", "--rm", "-T", "deskwire", "seed", "--json"))
    ticket = _ticket(stack.origin, seeded["administrator"]["key"])
    report.check("a message became a triaged ticket with clocks", ticket["number"], bool(ticket["queue"]))
    said = stack.python("triage", WRITES, "ticket.created", "message.received", "dlq.triage.ticket.created")
    outcomes = dict(line.split() for line in said.splitlines() if line.count(" ") == 1)
    for topic in ("ticket.created", "message.received"):
        denied = outcomes.get(topic, "nothing said")
        report.check(f"triage writing {topic}", denied, denied == "TopicAuthorizationFailedError")
    own = outcomes.get("dlq.triage.ticket.created", "nothing said")
    report.check("triage writing its own dead letters", own, own == "taken")
    version = stack.python("tickets", ENCRYPTED).strip()
    report.check("tickets' session with PostgreSQL", version, version.startswith("TLSv1."))
    states = {one.service: one.state for one in stack.containers()}
    stopped = [name for name, state in states.items() if state != "running" and name not in {"access", "provision"}]
    report.check("containers that run", str(len(states) - len(stopped)), not stopped)


def _ticket(origin: str, key: str) -> dict[str, Any]:
    """Hand a message in and wait for what becomes of it."""
    body = {
        "channel": "api",
        "sender": {"address": "ana@acme.example"},
        "subject": "Cannot log in",
        "text": "It says no.",
    }
    with httpx2.Client(base_url=origin, headers={"Authorization": f"Bearer {key}"}, trust_env=False) as client:
        until = time.monotonic() + PATIENCE
        accepted: dict[str, Any] = {}
        while time.monotonic() < until:
            if not accepted:
                answer = client.post("/v1/messages", json=body)
                accepted = answer.json() if answer.status_code == 202 else {}
            else:
                found = client.get(f"/v1/tickets/{accepted['ticket_id']}")
                clocks = client.get(f"/v1/tickets/{accepted['ticket_id']}/clocks")
                if found.status_code == clocks.status_code == 200 and found.json().get("queue"):
                    ticket: dict[str, Any] = found.json()
                    return ticket
            time.sleep(0.5)
    raise Refusal("No ticket came of a message.", f"{origin}/v1/status says which service is missing.")


if __name__ == "__main__":
    raise SystemExit(guarded(main))
