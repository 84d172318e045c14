"""A directory per test: its own database and topics, its API called in process, its bus on request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx2
import orjson
import pytest

from services.directory import api
from services.directory.api.desk import Desk
from services.directory.commands import credentials, people, tenancy
from services.directory.commands.caller import bootstrap
from services.directory.domain.inputs import NewAdministrator, NewApiKey, NewPerson, NewTenant
from services.directory.domain.people import Person
from services.directory.domain.tenancy import INSTALLATION
from services.directory.settings import Settings
from shared.contracts.directory import Role
from shared.db import Database
from shared.http import Cursor
from tests.support.databases import ScratchDatabases
from tests.support.engines import Engines

MASTER = bytes(range(32))
PACK = (Path(__file__).parents[3] / "deploy" / "policies" / "default.yaml").read_text()


@dataclass
class Directory:
    """One directory and the means to look inside."""

    database: Database
    database_url: str
    admin_url: str
    http: httpx2.AsyncClient
    woken: list[None] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    """API keys by `tenant/role`."""
    ids: dict[str, UUID] = field(default_factory=dict)

    async def tenant(self, tenant_id: str, *, operator: bool = False, **more: Any) -> str:
        """Make a tenant with an administrator; the administrator's key."""
        wanted = NewTenant(
            tenant_id=tenant_id,
            name=tenant_id.title(),
            administrator=NewAdministrator(name="Ada Admin", address=f"admin@{tenant_id}.example"),
            **more,
        )
        async with self.database.begin() as tx:
            _, key = await tenancy.add_tenant(tx, bootstrap(tenant_id), wanted, datetime.now(UTC), operator=operator)
        assert key is not None
        self.keys[f"{tenant_id}/admin"] = key
        return key

    async def person(self, tenant_id: str, local: str, role: Role = Role.AGENT, **more: Any) -> Person:
        """Make a person `local@<tenant>.example` with a key."""
        caller = bootstrap(tenant_id)
        wanted = NewPerson(name=local.title(), addresses=(f"{local}@{tenant_id}.example",), role=role, **more)
        async with self.database.begin() as tx:
            person = await people.add(tx, caller, wanted)
            key, _ = await credentials.add_key(
                tx, caller, NewApiKey(person_id=person.person_id, name="test"), datetime.now(UTC)
            )
        self.keys[f"{tenant_id}/{local}"] = key
        self.ids[f"{tenant_id}/{local}"] = person.person_id
        return person

    async def call(
        self, who: str | None, method: str, path: str, json: Any = None, *, match: int | str | None = None, **more: Any
    ) -> httpx2.Response:
        """One request by the holder of a key, `tenant/name`; `match` is the version for If-Match."""
        headers = {} if who is None else {"Authorization": f"Bearer {self.keys.get(who, who)}"}
        if match is not None:
            headers["If-Match"] = f'"{match}"' if isinstance(match, int) else match
        return await self.http.request(method, path, json=json, headers={**headers, **more.pop("headers", {})}, **more)

    async def pack(self, who: str, method: str, path: str, text: str, **headers: str) -> httpx2.Response:
        """Send a pack."""
        key = {"Authorization": f"Bearer {self.keys[who]}", "Content-Type": "application/yaml"}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.request(method, path, content=text.encode(), headers={**key, **named})

    async def rows(self, sql: str, *args: object) -> Sequence[asyncpg.Record]:
        """What the administrator of the database sees."""
        connection = await asyncpg.connect(self.admin_url)
        try:
            return list(await connection.fetch(sql, *args))
        finally:
            await connection.close()

    async def published(self, topic: str) -> list[dict[str, Any] | None]:
        """What was put into the outbox for a topic, in order; None for a tombstone."""
        rows = await self.rows("SELECT payload FROM outbox WHERE topic = $1 ORDER BY id", topic)
        return [orjson.loads(row["payload"]) if row["payload"] is not None else None for row in rows]

    async def forget(self) -> None:
        """Empty the outbox, so that the next look sees only what follows."""
        await self.rows("DELETE FROM outbox")


@pytest.fixture
async def directory(engines: Engines, databases: ScratchDatabases) -> AsyncIterator[Directory]:
    """A directory whose outbox nobody sends, so that tests can look at it."""
    url = await databases.create("directory")
    database = await Database.connect(url, application="directory")
    settings = Settings(database_url=url, kafka_url=engines.kafka_url, failures_per_minute=6000, failures_burst=6000)
    woken: list[None] = []
    desk = Desk(database=database, wake=lambda: woken.append(None), master=MASTER, cursors=Cursor(MASTER))
    app = api.build(settings, desk)
    async with database.begin() as tx:
        await credentials.ensure_signing_key(tx, bootstrap(INSTALLATION), MASTER, datetime.now(UTC))
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://directory") as http:
        made = Directory(database, url, databases.admin(url), http, woken)
        await made.forget()
        yield made
    await database.close()
    await asyncio.sleep(0)
