"""The commands as an operator types them: a process of their own against a real API and database."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn

from services.directory import api
from services.directory.api.desk import Desk
from services.directory.settings import Settings
from shared.http import Cursor
from tests.integration.directory.conftest import MASTER, PACK, Directory
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    status: int
    out: str
    err: str


async def deskwire(*arguments: str, **environment: str) -> Answer:
    """Run `deskwire` to its end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cli",
        *arguments,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), timeout=60)
    return Answer(process.returncode or 0, out.decode(), err.decode())


async def _started(server: uvicorn.Server) -> bool:
    return server.started


@pytest.fixture
async def origin(directory: Directory) -> AsyncIterator[str]:
    """The API on a port of its own."""
    desk = Desk(database=directory.database, wake=lambda: None, master=MASTER, cursors=Cursor(MASTER))
    app = api.build(Settings(database_url=directory.database_url), desk)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve())
    await eventually(lambda: _started(server), what="the server")
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    await serving


async def test_the_administrators_key_is_printed_once_and_works(directory: Directory) -> None:
    first = await deskwire("seed", DIRECTORY_DATABASE_URL=directory.database_url)
    assert first.status == 0, first.err
    key = next(line.partition("DESKWIRE_API_KEY=")[2] for line in first.out.split("\n") if "DESKWIRE_API_KEY=" in line)
    assert (await directory.call(key, "GET", "/v1/people/me")).json()["role"] == "admin"
    again = await deskwire("seed", DIRECTORY_DATABASE_URL=directory.database_url)
    assert again.status == 0
    assert "dwk_" not in again.out
    assert "has a key already" in again.out
    both = await asyncio.gather(
        *(
            deskwire("seed", "--json", "--tenant", "fresh", DIRECTORY_DATABASE_URL=directory.database_url)
            for _ in range(2)
        )
    )
    keys = [json.loads(answer.out)["administrator"]["key"] for answer in both]
    assert sorted(key is None for key in keys) == [False, True]


async def test_a_seed_that_cannot_be_says_why_in_one_line(directory: Directory) -> None:
    for arguments, says in ((("--tenant", "Not A Tenant"), "tenant_id"), (("--tenant", "deskwire"), "installation")):
        answer = await deskwire("seed", *arguments, DIRECTORY_DATABASE_URL=directory.database_url)
        assert answer.status == 1
        assert says in answer.err
        assert answer.err.count("\n") == 1
    nowhere = await deskwire("seed", DIRECTORY_DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert (nowhere.status, nowhere.err.count("\n")) == (1, 1)


async def test_a_pack_is_compared_applied_and_taken_back(directory: Directory, origin: str, tmp_path: Path) -> None:
    key = await directory.tenant("acme")
    known = {"DESKWIRE_URL": origin, "DESKWIRE_API_KEY": key}
    pack = tmp_path / "pack.yaml"
    pack.write_text(PACK)
    applied = await deskwire("apply", str(pack), "--tenant", "acme", **known)
    assert applied.status == 0, applied.err
    assert "version 1 of pack default is in force" in applied.out
    pack.write_text(PACK.replace("digits: 6", "digits: 8"))
    compared = await deskwire("diff", str(pack), "--tenant", "acme", **known)
    assert compared.out == "numbering\n  ~ digits: 6 → 8\n"
    assert (await deskwire("apply", str(pack), "--tenant", "acme", **known)).status == 0
    back = await deskwire("rollback", "--tenant", "acme", **known)
    assert "digits: 8 → 6" in back.out
    assert "version 3 of pack default is in force (version 1 again)" in back.out
    none = await deskwire("rollback", "--tenant", "acme", "--to", "9", **known)
    assert (none.status, none.err) == (1, "deskwire: There is no such version of the pack.\n")


async def test_a_bad_pack_is_refused_with_file_and_line_with_and_without_a_service(
    directory: Directory, origin: str, tmp_path: Path
) -> None:
    key = await directory.tenant("acme")
    pack = tmp_path / "pack.yaml"
    pack.write_text(PACK.replace("to: archived", "to: archved"))
    line = PACK[: PACK.index("to: archived")].count("\n") + 1
    offline = await deskwire("validate", str(pack))
    online = await deskwire("apply", str(pack), "--tenant", "acme", DESKWIRE_URL=origin, DESKWIRE_API_KEY=key)
    assert (offline.status, online.status) == (1, 1)
    assert f"{pack}:{line}:" in offline.out
    assert f"{pack}:{line}:" in online.err
    assert await directory.rows("SELECT 1 FROM pack") == []


async def test_a_pack_is_not_applied_to_another_tenant_than_the_one_meant(
    directory: Directory, origin: str, tmp_path: Path
) -> None:
    key = await directory.tenant("acme")
    pack = tmp_path / "pack.yaml"
    pack.write_text(PACK)
    answer = await deskwire("apply", str(pack), "--tenant", "other", DESKWIRE_URL=origin, DESKWIRE_API_KEY=key)
    assert (answer.status, answer.err) == (1, "deskwire: this key belongs to the tenant acme, not to other\n")
    assert await directory.rows("SELECT 1 FROM pack") == []


async def test_the_default_pack_is_fine() -> None:
    answer = await deskwire("validate", "deploy/policies/default.yaml")
    assert (answer.status, answer.out.count("\n")) == (0, 1)
