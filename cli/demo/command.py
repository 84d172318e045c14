"""The command: seed a desk, play, check, and say where to look next."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID, uuid4

import httpx2
import typer
from rich.console import Console

from cli.demo import mailbox, story, timelapse
from cli.demo.entries import api
from cli.demo.screen import Screen, report
from cli.demo.sink import Sink
from cli.demo.stage import AGAIN, Addresses, Check, MissingError, Stage
from cli.demo.story.outside import ENDPOINT
from cli.demo.topics import reading
from cli.events import EventSettings
from cli.seed import DEFAULT_PACK

TENANT = "demo"
TIMELAPSE = DEFAULT_PACK.with_name("timelapse.yaml")
KNOWN_BY = (
    "tickets",
    "quarantine",
    "search",
    "webhooks",
    "escalations",
    "triage/corrections",
    f"tickets/{UUID(int=0)}/clocks",
)
"""A path of each service: 401 until it knows the key, then 200, or 404 for what is not there."""
KNOWN = frozenset({200, 404})
"""Statuses of a service that knows the key."""
AWAY_ATTEMPTS = 80
"""Looks, a tenth of a second apart, after which a service that does not answer is done without."""
NEEDED = ("ORIGIN_URL", "KAFKA_URL", "INGEST_SMTP_PORT", "SINK_URL")
"""Where a running installation is; `deskwire seed` needs DIRECTORY_DATABASE_URL and the master key besides."""


def demo(
    mails: Annotated[
        Path | None, typer.Option("--mail", help="Play this mbox file, or folder of .eml files, instead.", exists=True)
    ] = None,
) -> None:
    """Send real messages in and watch what becomes of them; ends with a check of every step."""
    console = Console(highlight=False)
    run = f"demo-{uuid4().hex[:8]}"
    addresses = _addresses(_seed(run))
    checks = asyncio.run(_play(console, addresses, run, mails))
    report(console, checks)
    failed = [check for check in checks if not check.passed]
    _farewell(console, addresses, failed)
    raise typer.Exit(1 if failed else 0)


async def _play(console: Console, addresses: Addresses, run: str, mails: Path | None) -> list[Check]:
    with Screen(console) as screen:
        async with (
            api(addresses) as client,
            reading(EventSettings(), addresses.tenant, screen.draw) as topics,
        ):
            screen.show(topics)
            screen.say("a new desk: people, teams, policies, an on-call rota, a webhook")
            sink = await Sink.at(addresses.sink)
            stage = Stage(addresses=addresses, client=client, topics=topics, sink=sink, say=screen.say, run=run)
            try:
                await _settled(client, screen.say)
                screen.names = await _prepare(stage)
            except (MissingError, httpx2.HTTPError) as error:
                return [Check(step="a new desk", outcome=str(error), passed=False)]
            try:
                return await (story.play(stage) if mails is None else mailbox.play(stage, mails))
            finally:
                await sink.close()


async def _settled(client: httpx2.AsyncClient, say: Callable[[str], None]) -> None:
    """Wait until the services have heard of the new desk: its key works everywhere. Raises MissingError.

    A service that is away is not waited for longer than a start takes: the checks show what is missing without it.
    """
    missing: dict[str, int] = {}
    for attempt in range(300):
        answers = await asyncio.gather(*(client.get(f"/v1/{path}") for path in KNOWN_BY))
        missing = {answer.url.path: answer.status_code for answer in answers if answer.status_code not in KNOWN}
        if not missing:
            return
        if attempt >= AWAY_ATTEMPTS and AGAIN.issuperset(missing.values()):
            say(f"nobody answers behind {', '.join(missing)}: played without")
            return
        await asyncio.sleep(0.1)
    raise MissingError(f"the new desk's key is not known behind {', '.join(missing)}")


async def _prepare(stage: Stage) -> dict[str, str]:
    """What an administrator does once: who is on call, and which endpoint of another team is called; our people."""
    people = (await stage.ask("GET", "/v1/people?limit=100"))["items"]
    agents = [person for person in people if person["role"] == "agent"]
    rota = {
        "timezone": "Europe/Berlin",
        "starts_on": "2026-01-05",
        "handover": {"weekday": "monday", "time": "09:00"},
        "members": [person["person_id"] for person in agents],
    }
    await stage.ask("PUT", "/v1/schedules/primary", rota)
    name = f"{ENDPOINT}-{stage.run}"
    hook = {"url": f"{stage.addresses.hooks}/hooks/{name}", "event_types": ["*"], "description": name}
    stage.secrets[name] = (await stage.ask("POST", "/v1/webhooks", hook))["secret"]
    return {person["person_id"]: person["name"].partition(" ")[0] for person in people}


def _seed(run: str) -> dict[str, Any]:
    """A desk of this play's own: the agents of an earlier one may have all the tickets they can take."""
    text = timelapse.merged(DEFAULT_PACK.read_text(encoding="utf-8"), TIMELAPSE.read_text(encoding="utf-8"))
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as pack:
        pack.write(text)
        pack.flush()
        command = [sys.executable, "-m", "cli", "seed", "--json", "--pack", pack.name, "--tenant"]
        made = _json([*command, TENANT])
        return made if made["created"] else _json([*command, f"{TENANT}-{run.rsplit('-', 1)[1][:4]}"])


def _json(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        print(done.stderr.strip() or "the demo's desk could not be made", file=sys.stderr)
        raise typer.Exit(1)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _addresses(seeded: dict[str, Any]) -> Addresses:
    missing = [name for name in NEEDED if name not in os.environ]
    if missing:
        print(f"demo: {', '.join(missing)} not set; `make demo` starts everything and sets them", file=sys.stderr)
        raise typer.Exit(2)
    return Addresses(
        origin=os.environ["ORIGIN_URL"],
        smtp_host=os.environ.get("DEMO_SMTP_HOST") or "127.0.0.1",
        smtp_port=int(os.environ["INGEST_SMTP_PORT"]),
        sink=os.environ["SINK_URL"],
        hooks=os.environ.get("SINK_INSIDE_URL") or os.environ["SINK_URL"],
        tenant=seeded["support_address"].partition("@")[2].removesuffix(".example"),
        support=seeded["support_address"],
        key=seeded["administrator"]["key"],
    )


def _farewell(console: Console, addresses: Addresses, failed: list[Check]) -> None:
    # Only what `make up` started knows these targets; elsewhere the demo is a guest.
    local = "DESKWIRE_STATE" in os.environ
    if failed:
        where = " `make status` and `make logs S=tickets` tell more." if local else ""
        console.print(f"[bold red]{len(failed)} checks failed.[/]{where}")
    else:
        ending = "; `make down` ends it" if local else ""
        console.print(f"[green]Every check passed.[/] The system goes on running{ending}.")
    console.print(f"\nEverything:         {addresses.origin}/")
    console.print(f"What it sent out:   {addresses.sink}/")
    console.print("Try:", soft_wrap=True)
    for line in (
        f"export KEY={addresses.key}",
        f'curl -s "{addresses.origin}/v1/tickets?limit=5" -H "Authorization: Bearer $KEY"',
        f'curl -s "{addresses.origin}/v1/search?q=portal" -H "Authorization: Bearer $KEY"',
        'eval "$(make env)"; ./deskwire events tail ticket.triaged',
        "make demo MAIL=folder-of-eml-files",
    ):
        console.print(f"  {line}", soft_wrap=True)
