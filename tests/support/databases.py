"""A fresh database per test, cloned from a template that has the service's migrations.

A clone takes the server a tenth of a second and dropping one as long, so neither is waited for: the next clone is made
while a test runs, and what a test is done with is dropped while the next ones run.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from shared import migrate

ROOT = Path(__file__).parents[2]
OWNER_PASSWORD = "scratch-owner"
DATA_PASSWORD = "scratch-data"


def address(admin_url: str, *, database: str, user: str | None = None, password: str | None = None) -> str:
    """The same server, another database and, if given, another role."""
    parts = urlsplit(admin_url)
    netloc = parts.netloc if user is None else f"{user}:{password}@{parts.hostname}:{parts.port}"
    return urlunsplit((parts.scheme, netloc, f"/{database}", parts.query, ""))


class ScratchDatabases:
    """Makes databases ahead of their tests and drops them after."""

    def __init__(self, admin_url: str) -> None:
        self._admin_url = admin_url
        self._templates: dict[str, str] = {}
        self._lock = asyncio.Lock()
        self._ahead: dict[str, asyncio.Task[str]] = {}
        self._of_test: list[str] = []
        self._lasting: list[str] = []
        self._over: list[str] = []
        self._dropping: asyncio.Task[None] | None = None

    async def create(self, service: str, *, lasting: bool = False) -> str:
        """A new database with the mechanism's tables and, if the service has any, its own; its data role's address.

        Any name is fine: `mechanism` gives a database with the shared tables alone. It lives as long as the test that
        asked for it, a `lasting` one (of a fixture that several tests share) as long as the session.
        """
        ahead = self._ahead.pop(service, None)
        name = await (ahead or self._clone(service))
        self._ahead[service] = asyncio.create_task(self._clone(service))
        (self._lasting if lasting else self._of_test).append(name)
        if self._over and self._dropping is None:
            self._dropping = asyncio.create_task(self._drop_over())
        return address(self._admin_url, database=name, user="scratch_data", password=DATA_PASSWORD)

    def test_over(self) -> None:
        """Nobody uses the databases of the test that ran any more."""
        self._over += self._of_test
        self._of_test.clear()

    def admin(self, url: str) -> str:
        """The administrator's address of a database made here, for what a service may not do itself."""
        return address(self._admin_url, database=urlsplit(url).path.lstrip("/"))

    async def drop_all(self) -> None:
        """Drop what is left, whoever is still connected."""
        self.test_over()
        self._over += [*self._lasting, *await asyncio.gather(*self._ahead.values())]
        if self._dropping is not None:
            await self._dropping
        await self._drop_over()

    async def _drop_over(self) -> None:
        admin = await asyncpg.connect(self._admin_url)
        try:
            while self._over:
                await admin.execute(f'DROP DATABASE IF EXISTS "{self._over.pop()}" WITH (FORCE)')
        finally:
            self._dropping = None
            await admin.close()

    async def _clone(self, service: str) -> str:
        async with self._lock:
            if service not in self._templates:
                self._templates[service] = await self._template(service)
        name = f"t_{_identifier(service)}_{secrets.token_hex(4)}"
        admin = await asyncpg.connect(self._admin_url)
        try:
            await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{self._templates[service]}"')
        finally:
            await admin.close()
        return name

    async def _template(self, service: str) -> str:
        migrations = migrate.of_service(service, ROOT / "services" / service / "migrations")
        digest = hashlib.sha256("".join(m.digest for m in migrations).encode()).hexdigest()[:12]
        name = f"template_{_identifier(service)}_{digest}"
        admin = await asyncpg.connect(self._admin_url)
        try:
            # One maker at a time, also across test processes.
            await admin.execute("SELECT pg_advisory_lock(hashtext('deskwire-test-templates'))")
            await _role(admin, "scratch_owner", OWNER_PASSWORD)
            await _role(admin, "scratch_data", DATA_PASSWORD)
            if await admin.fetchval("SELECT 1 FROM pg_database WHERE datname = $1 AND datistemplate", name):
                return name
            await admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            await admin.execute(f'CREATE DATABASE "{name}" OWNER scratch_owner')
            url = address(self._admin_url, database=name, user="scratch_owner", password=OWNER_PASSWORD)
            owner = await asyncpg.connect(url)
            try:
                await migrate.migrate(owner, migrations, "scratch_data")
            finally:
                await owner.close()
            await admin.execute(f'ALTER DATABASE "{name}" WITH IS_TEMPLATE true ALLOW_CONNECTIONS false')
            return name
        finally:
            await admin.close()


async def _role(admin: asyncpg.Connection[asyncpg.Record], name: str, password: str) -> None:
    if not await admin.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", name):
        await admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")


def _identifier(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "_", text.lower())
