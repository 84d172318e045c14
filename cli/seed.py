"""`deskwire seed`: a desk to begin with, and the first administrator's key."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.refuse import explained, refuse
from shared.settings import variable, verified

if TYPE_CHECKING:
    from services.directory.commands.seed import Seeded

DEFAULT_PACK = Path(__file__).parents[1] / "deploy" / "policies" / "default.yaml"
ORIGIN = "http://127.0.0.1:8400"


def seed(
    *,
    tenant: Annotated[str, typer.Option(help="Short name of the tenant to make.")] = "demo",
    name: Annotated[str, typer.Option(help="Its name for people.")] = "Demo desk",
    pack: Annotated[Path, typer.Option(help="Its first policy pack.", exists=True, dir_okay=False)] = DEFAULT_PACK,
    database_url: Annotated[
        str, typer.Option(envvar="DIRECTORY_DATABASE_URL", help="Directory's database; by its data role.")
    ] = "",
    new_key: Annotated[bool, typer.Option(help="Make the administrator another key: the first one was lost.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for scripts.")] = False,
) -> None:
    """Make a tenant with people, teams, keys and the default pack; what exists already stays as it is."""
    database_url = database_url or variable("DIRECTORY_DATABASE_URL") or ""
    if not database_url:
        refuse('DIRECTORY_DATABASE_URL is not set; for the local engines: eval "$(make env)"')
    database_url = verified(database_url, variable("DATABASE_CA_FILE") or "")
    text = pack.read_text(encoding="utf-8")
    with explained():
        seeded = asyncio.run(_seed(database_url, text, tenant, name, new_key))
    print(_json(seeded) if as_json else _text(seeded))


async def _seed(database_url: str, text: str, tenant: str, name: str, new_key: bool) -> Seeded:
    from datetime import UTC, datetime

    import asyncpg
    from pydantic import ValidationError

    from services.directory.commands.seed import seed as make
    from services.directory.domain.pack_check import PackRefusedError, check
    from shared.db import Database
    from shared.problem import Problem

    try:
        checked = check(text)
    except PackRefusedError as error:
        refuse(f"the pack is refused:\n{error}")
    database = await Database.connect(database_url, application="deskwire-seed", max_size=1)
    try:
        async with database.begin() as tx:
            # Two seeds at once would both find nothing and both make a key.
            await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended('deskwire-seed', 0))")
            return await make(tx, checked, datetime.now(UTC), tenant_id=tenant, name=name, renew_key=new_key)
    except ValidationError as error:
        refuse("; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()))
    except Problem as problem:
        refuse(problem.detail or problem.title)
    except asyncpg.UndefinedTableError:
        refuse("directory's database has no tables yet; start the services once (make up)")
    finally:
        await database.close()


def _json(seeded: Seeded) -> str:
    return json.dumps(
        {
            "tenant": seeded.tenant_id,
            "created": seeded.created,
            "administrator": {
                "person_id": str(seeded.administrator_id),
                "address": seeded.administrator_address,
                "key": seeded.administrator_key,
            },
            "service": {"person_id": str(seeded.machine_id), "key": seeded.machine_key},
            "support_address": seeded.support_address,
            "people": seeded.people,
            "teams": {name: str(team_id) for name, team_id in seeded.teams.items()},
            "pack_version": seeded.pack_version,
        },
        indent=2,
    )


def _text(seeded: Seeded) -> str:
    origin = os.environ.get("DESKWIRE_URL", ORIGIN)
    state = "made" if seeded.created else "exists"
    counts = f"{seeded.people} people, {len(seeded.teams)} teams, policy pack version {seeded.pack_version}"
    lines = [
        f"tenant {seeded.tenant_id}: {state}, {counts}",
        f"mail for it goes to {seeded.support_address}",
        "",
    ]
    if seeded.administrator_key:
        lines += [
            f"Key of the administrator {seeded.administrator_address}, shown this once; keep it safe:",
            f"  export DESKWIRE_API_KEY={seeded.administrator_key}",
        ]
    else:
        lines += [
            f"The administrator {seeded.administrator_address} has a key already; it cannot be shown again.",
            "  Lost? `deskwire seed --new-key` makes another.",
        ]
    if seeded.machine_key:
        lines += [
            "Key of the channel gateway, which may only submit messages and read tickets:",
            f"  export DESKWIRE_CHANNEL_KEY={seeded.machine_key}",
        ]
    message = {"sender": {"address": "mia@acme.example", "name": "Mia"}, "subject": "Help", "text": "It broke."}
    key = '-H "Authorization: Bearer $DESKWIRE_API_KEY"'
    content = "-H 'Content-Type: application/json' -H 'Idempotency-Key: first'"
    lines += [
        "",
        "Next:",
        f"  curl -sS '{origin}/v1/people?staff=true' {key}",
        f"  curl -sS {origin}/v1/messages {key} {content} -d {shlex.quote(json.dumps(message))}",
        f"  curl -sS {origin}/v1/tickets {key}",
        f"  ./deskwire diff deploy/policies/default.yaml --tenant {seeded.tenant_id}",
    ]
    return "\n".join(lines)
