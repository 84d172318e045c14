"""The command: seed a desk, play, check, and say where to look next."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import Any

import httpx2
import typer
from rich.console import Console

from cli.demo.entries import Addresses, api, reading
from cli.demo.play import Check, Stage, new_run, play
from cli.demo.screen import Screen, report

TENANT = "demo"


def demo() -> None:
    """Send real messages in and watch them become tickets; ends with a check of every step."""
    console = Console(highlight=False)
    run = new_run()
    seeded = _seed(run)
    addresses = _addresses(seeded)
    checks = asyncio.run(_play(console, addresses, run))
    report(console, checks)
    failed = [check for check in checks if not check.passed]
    _farewell(console, addresses, failed)
    raise typer.Exit(1 if failed else 0)


async def _play(console: Console, addresses: Addresses, run: str) -> list[Check]:
    async with api(addresses) as client, reading(addresses) as topics:
        await _settled(client)
        with Screen(console, topics) as screen:
            stage = Stage(addresses=addresses, client=client, topics=topics, show=screen.draw, say=screen.say, run=run)
            return await play(stage)


async def _settled(client: httpx2.AsyncClient) -> None:
    """Wait until the services have heard of the new desk: its key works everywhere and it has an owner for tickets."""
    async with asyncio.timeout(30):
        while True:
            answers = [await client.get("/v1/tickets?limit=1"), await client.get("/v1/quarantine?limit=1")]
            if all(answer.status_code == 200 for answer in answers):
                return
            await asyncio.sleep(0.2)


def _seed(run: str) -> dict[str, Any]:
    """A desk of this play's own: the agents of an earlier one may have all the tickets they can take."""
    command = [sys.executable, "-m", "cli", "seed", "--json", "--tenant"]
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
    missing = [name for name in ("ORIGIN_URL", "KAFKA_URL", "INGEST_SMTP_PORT") if name not in os.environ]
    if missing:
        print(f"demo: {', '.join(missing)} not set; `make demo` starts everything and sets them", file=sys.stderr)
        raise typer.Exit(2)
    return Addresses(
        origin=os.environ["ORIGIN_URL"],
        kafka=os.environ["KAFKA_URL"],
        prefix=os.environ.get("TOPIC_PREFIX", ""),
        smtp_host="127.0.0.1",
        smtp_port=int(os.environ["INGEST_SMTP_PORT"]),
        support=seeded["support_address"],
        key=seeded["administrator"]["key"],
    )


def _farewell(console: Console, addresses: Addresses, failed: list[Check]) -> None:
    if failed:
        console.print(f"[bold red]{len(failed)} checks failed.[/] `make status` and `make logs S=tickets` tell more.")
    else:
        console.print("[green]Every check passed.[/] The system goes on running; `make down` ends it.")
    console.print(f"\nEverything:  {addresses.origin}/")
    console.print("Try:", soft_wrap=True)
    for line in (
        f"export KEY={addresses.key}",
        f'curl -s "{addresses.origin}/v1/tickets?limit=5" -H "Authorization: Bearer $KEY"',
        'eval "$(make env)"; ./deskwire events tail ticket.created',
    ):
        console.print(f"  {line}", soft_wrap=True)
