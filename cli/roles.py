"""Roles and databases: per service one that owns the schema and one that uses the tables, and nobody else's way in.

Passwords reach the server as SCRAM verifiers, so that no statement, log or output carries one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import asyncpg

from cli.installation import ServiceDatabase, address
from shared.migrate import Migration

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

TIMEOUT = 30.0
ITERATIONS = 4096  # PostgreSQL's own default


class NotAllowedError(Exception):
    """The administrator's role may not create roles or databases; `sql` is what somebody has to run."""

    def __init__(self, role: str, sql: str) -> None:
        super().__init__(role)
        self.role = role
        self.sql = sql


class NoPasswordError(Exception):
    """A role is missing and its password is not given."""

    def __init__(self, role: str, variable: str) -> None:
        super().__init__(f"{variable} is not set, and there is no role {role} yet")


async def ensure(admin: str, wanted: Sequence[ServiceDatabase]) -> list[str]:
    """Create roles and databases that are missing; their names. Raises NotAllowedError, NoPasswordError."""
    connection = await asyncpg.connect(admin, timeout=5, command_timeout=TIMEOUT)
    try:
        roles, names = await _present(connection, wanted)
        if not _missing(wanted, roles, names):
            return []
        # Only when something is missing: a start with nothing to do waits for nobody.
        await connection.execute("SELECT pg_advisory_lock(hashtext('deskwire.provision'))")
        roles, names = await _present(connection, wanted)
        statements = _missing(wanted, roles, names)
        me = await connection.fetchrow(
            "SELECT rolname, rolsuper, rolsuper OR rolcreaterole AND rolcreatedb AS may FROM pg_roles"
            " WHERE rolname = current_user"
        )
        if me is None or not me["may"]:
            sql = "\n".join(f"{statement};" for _, statement in statements)
            raise NotAllowedError(me["rolname"] if me else "?", sql)
        for _, statement in statements:
            await connection.execute(statement)
        return [name for name, _ in statements if name]
    finally:
        await connection.close()


async def _present(connection: Connection, wanted: Sequence[ServiceDatabase]) -> tuple[set[str], set[str]]:
    roles = await connection.fetch(
        "SELECT rolname FROM pg_roles WHERE rolname = ANY ($1::text[])",
        [role for database in wanted for role in (database.owner, database.user)],
    )
    names = await connection.fetch(
        "SELECT datname FROM pg_database WHERE datname = ANY ($1::text[])", [database.name for database in wanted]
    )
    return {row["rolname"] for row in roles}, {row["datname"] for row in names}


def _missing(wanted: Sequence[ServiceDatabase], roles: set[str], names: set[str]) -> list[tuple[str, str]]:
    """What is to be made, as (what it is called when it was made, statement)."""
    statements: list[tuple[str, str]] = []
    for database in wanted:
        prefix = database.service.upper().replace("-", "_")
        for role, password, variable in (
            (database.owner, database.owner_password, f"{prefix}_MIGRATE_DATABASE_PASSWORD"),
            (database.user, database.user_password, f"{prefix}_DATABASE_PASSWORD"),
        ):
            if role not in roles:
                if not password:
                    raise NoPasswordError(role, variable)
                statements.append(
                    (f"role        {role}", f"CREATE ROLE {quoted(role)} LOGIN PASSWORD '{verifier(password)}'")
                )
        if database.name not in names:
            name, owner = quoted(database.name), quoted(database.owner)
            statements += [
                # Whoever creates a database for a role must be able to act as that role.
                ("", f"GRANT {owner} TO CURRENT_USER"),
                (f"database    {database.name}", f"CREATE DATABASE {name} OWNER {owner}"),
                ("", f"REVOKE ALL ON DATABASE {name} FROM PUBLIC"),
                ("", f"GRANT CONNECT ON DATABASE {name} TO {quoted(database.user)}"),
            ]
    return statements


async def connect_as_owner(admin: str, database: ServiceDatabase) -> Connection:
    """A session that owns the schema: by the owner's password, or by the administrator acting as the owner.

    When a given password does not open the door it was changed: the role gets the new one.
    """
    if database.owner_password:
        url = address(admin, database.name, database.owner, database.owner_password)
        try:
            return await _connect(url)
        except asyncpg.InvalidPasswordError:
            await _set_passwords(admin, database)
            return await _connect(url)
    connection = await _connect(address(admin, database.name))
    await connection.execute(f"SET ROLE {quoted(database.owner)}")
    return connection


async def _connect(url: str) -> Connection:
    return await asyncpg.connect(url, timeout=5, command_timeout=60)


async def _set_passwords(admin: str, database: ServiceDatabase) -> None:
    """Give both roles the passwords of the environment."""
    connection = await asyncpg.connect(admin, timeout=5, command_timeout=TIMEOUT)
    try:
        for role, password in ((database.owner, database.owner_password), (database.user, database.user_password)):
            if password:
                await connection.execute(f"ALTER ROLE {quoted(role)} PASSWORD '{verifier(password)}'")
    finally:
        await connection.close()


async def is_migrated(connection: Connection, migrations: Sequence[Migration]) -> bool:
    """Whether every file was applied as it is now."""
    if not await connection.fetchval("SELECT to_regclass('public.migration') IS NOT NULL"):
        return False
    rows = await connection.fetch("SELECT origin, name, digest FROM migration")
    applied = {(row["origin"], row["name"]): row["digest"] for row in rows}
    return all(applied.get((one.origin, one.name)) == one.digest for one in migrations)


def quoted(name: str) -> str:
    """An identifier as SQL."""
    return '"' + name.replace('"', '""') + '"'


def verifier(password: str) -> str:
    """What PostgreSQL stores of a password (SCRAM-SHA-256, RFC 5803). Raises ValueError outside printable ASCII."""
    if not password.isascii() or not password.isprintable():
        raise ValueError("a database password has printable ASCII characters only")
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    encoded = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${ITERATIONS}:{encoded[0]}${encoded[1]}:{encoded[2]}"
