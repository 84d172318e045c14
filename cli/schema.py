"""`deskwire schema`: what the migrations add up to, written beside them for reading and reviewing."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import Annotated

import asyncpg
import typer

from cli import catalog
from cli.installation import ROOT, SERVICES, address, administrator
from cli.refuse import explained
from cli.roles import quoted
from shared import migrate

HEADING = "Written by `deskwire schema` from the migrations; change those."


def schema(
    check: Annotated[bool, typer.Option("--check", help="Change nothing; fail when a file is out of date.")] = False,
) -> None:
    """Apply all migrations to a scratch database and write shared/schema.sql and services/*/schema.sql."""
    with explained():
        wanted = asyncio.run(schemas(administrator()))
    stale = [path for path, content in wanted.items() if not path.exists() or path.read_text() != content]
    for path in stale:
        if check:
            print(f"{path.relative_to(ROOT)} is out of date: ./deskwire schema")
        else:
            path.write_text(wanted[path])
            print(f"{path.relative_to(ROOT)} written")
    if not stale:
        print(f"{len(wanted)} schemas up to date")
    raise typer.Exit(1 if check and stale else 0)


async def schemas(admin: str) -> dict[Path, str]:
    """Every schema.sql as it should be: the mechanism's, and of each service what it adds to that."""
    folders = sorted(SERVICES.glob("*/migrations"))
    mechanism, *services = await asyncio.gather(
        _read(admin, "shared", migrate.read("shared", migrate.MECHANISM)),
        *(_read(admin, folder.parent.name, migrate.of_service(folder.parent.name, folder)) for folder in folders),
    )
    wanted = {migrate.MECHANISM.parent / "schema.sql": catalog.text(mechanism, HEADING)}
    for folder, whole in zip(folders, services, strict=True):
        own = {key: sql for key, sql in whole.items() if mechanism.get(key) != sql}
        wanted[folder.parent / "schema.sql"] = catalog.text(own, HEADING)
    return wanted


async def _read(admin: str, service: str, migrations: list[migrate.Migration]) -> catalog.Objects:
    """Apply migrations to a database made for it, and read what came of them."""
    name = f"schema_{service.replace('-', '_')}_{secrets.token_hex(4)}"
    administrating = await asyncpg.connect(admin, timeout=5, command_timeout=300)
    try:
        await administrating.execute(f"CREATE DATABASE {quoted(name)}")
        try:
            connection = await asyncpg.connect(address(admin, name), timeout=5, command_timeout=300)
            try:
                for migration in migrations:
                    async with connection.transaction():
                        await connection.execute(migration.sql)
                return await catalog.read(connection)
            finally:
                await connection.close()
        finally:
            await administrating.execute(f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)")
    finally:
        await administrating.close()
