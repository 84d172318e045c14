"""Policy packs in the database: every version as it was written, and the sections in force."""

# ruff: noqa: S608 - what is put into statements are constants of this module; every value is a parameter

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import JsonValue

from services.directory.domain.tenancy import PackVersion
from shared.db import Record, Tx

_COLUMNS = "tenant_id, version, name, applied_by, applied_at, rolled_back_to"


async def latest(tx: Tx, tenant_id: str) -> PackVersion | None:
    """The pack in force, with its text. Lock the tenant first where another version is to follow."""
    row = await tx.fetchrow(
        f"SELECT {_COLUMNS}, text FROM pack WHERE tenant_id = $1 ORDER BY version DESC LIMIT 1", tenant_id
    )
    return _pack(row, row["text"]) if row else None


async def get(tx: Tx, tenant_id: str, version: int) -> PackVersion | None:
    """One version of a tenant's pack, with its text."""
    row = await tx.fetchrow(
        f"SELECT {_COLUMNS}, text FROM pack WHERE tenant_id = $1 AND version = $2", tenant_id, version
    )
    return _pack(row, row["text"]) if row else None


async def history(tx: Tx, tenant_id: str, *, before: int | None, limit: int) -> list[PackVersion]:
    """Versions of a tenant's pack, newest first, without their texts."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM pack WHERE tenant_id = $1 AND ($2::bigint IS NULL OR version < $2)"
        " ORDER BY version DESC LIMIT $3",
        tenant_id,
        before,
        limit,
    )
    return [_pack(row, "") for row in rows]


async def sections(tx: Tx, tenant_id: str) -> dict[str, dict[str, JsonValue]]:
    """The sections in force, by name."""
    rows = await tx.fetch("SELECT section, document FROM pack_section WHERE tenant_id = $1 ORDER BY section", tenant_id)
    return {row["section"]: orjson.loads(row["document"]) for row in rows}


async def add(tx: Tx, pack: PackVersion, changed: Mapping[str, dict[str, Any] | None]) -> None:
    """Put a version in force: sections that changed are replaced, those that are None withdrawn."""
    await tx.execute(
        f"INSERT INTO pack ({_COLUMNS}, text) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        pack.tenant_id,
        pack.version,
        pack.name,
        pack.applied_by,
        pack.applied_at,
        pack.rolled_back_to,
        pack.text,
    )
    for section, document in changed.items():
        if document is None:
            await tx.execute("DELETE FROM pack_section WHERE tenant_id = $1 AND section = $2", pack.tenant_id, section)
            continue
        await tx.execute(
            "INSERT INTO pack_section (tenant_id, section, document, pack_version) VALUES ($1, $2, $3, $4)"
            " ON CONFLICT (tenant_id, section) DO UPDATE"
            " SET document = excluded.document, pack_version = excluded.pack_version",
            pack.tenant_id,
            section,
            orjson.dumps(document).decode(),
            pack.version,
        )


def _pack(row: Record, text: str) -> PackVersion:
    return PackVersion(
        tenant_id=row["tenant_id"],
        version=row["version"],
        name=row["name"],
        text=text,
        applied_by=row["applied_by"],
        applied_at=row["applied_at"],
        rolled_back_to=row["rolled_back_to"],
    )
