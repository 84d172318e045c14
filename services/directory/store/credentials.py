"""API keys (hashes) and signing keys (wrapped) in the database. Real time decides here, as in every verifier."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import orjson

from services.directory.domain.tenancy import ApiKey, SigningKey
from shared.contracts.directory import Role
from shared.db import Database, Record, Tx

_KEY = """
SELECT c.tenant_id, c.credential_id, c.version, c.person_id, p.role, c.name, c.created_at, c.expires_at, c.revoked_at
FROM credential c JOIN person p ON p.tenant_id = c.tenant_id AND p.person_id = c.person_id
"""
_SIGNING = "SELECT kid, version, public_key, wrapped_private, created_at, expires_at FROM signing_key"


async def in_force(database: Database, credential_id: str) -> ApiKey | SigningKey | None:
    """What verifies under this id now: not revoked, its person and tenant active. Expiry is the verifier's to check."""
    row = await database.fetchrow(
        f"{_KEY} JOIN tenant t ON t.tenant_id = c.tenant_id"
        " WHERE c.credential_id = $1 AND c.revoked_at IS NULL AND p.active AND t.active",
        credential_id,
    )
    if row:
        return _key(row)
    row = await database.fetchrow(f"{_SIGNING} WHERE kid = $1", credential_id)
    return _signing_key(row) if row else None


async def add(tx: Tx, key: ApiKey, by: UUID | None) -> None:
    """Keep a new API key's hash."""
    await tx.execute(
        "INSERT INTO credential"
        " (credential_id, tenant_id, version, person_id, name, created_at, created_by, expires_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        key.credential_id,
        key.tenant_id,
        key.version,
        key.person_id,
        key.name,
        key.created_at,
        by,
        key.expires_at,
    )


async def get(tx: Tx, tenant_id: str, credential_id: str) -> ApiKey | None:
    """One API key of a tenant, also a revoked one; held until the transaction ends."""
    row = await tx.fetchrow(
        f"{_KEY} WHERE c.tenant_id = $1 AND c.credential_id = $2 FOR NO KEY UPDATE OF c", tenant_id, credential_id
    )
    return _key(row) if row else None


async def page(tx: Tx, tenant_id: str, *, after: str | None, limit: int, person_id: UUID | None = None) -> list[ApiKey]:
    """API keys of a tenant by id after `after`, of one person or of all, revoked ones included."""
    rows = await tx.fetch(
        f"{_KEY} WHERE c.tenant_id = $1 AND ($2::text IS NULL OR c.credential_id > $2)"
        " AND ($4::uuid IS NULL OR c.person_id = $4) ORDER BY c.credential_id LIMIT $3",
        tenant_id,
        after,
        limit,
        person_id,
    )
    return [_key(row) for row in rows]


async def revoke(tx: Tx, key: ApiKey, at: datetime) -> None:
    """End an API key for good."""
    await tx.execute(
        "UPDATE credential SET revoked_at = $3, version = version + 1 WHERE tenant_id = $1 AND credential_id = $2",
        key.tenant_id,
        key.credential_id,
        at,
    )


async def renew(tx: Tx, tenant_id: str, person_id: UUID | None = None) -> list[ApiKey]:
    """Give every key in force, of one person or of a whole tenant, its next version, to be told anew; those keys."""
    rows = await tx.fetch(
        """WITH held AS (
            SELECT credential_id FROM credential
            WHERE tenant_id = $1 AND ($2::uuid IS NULL OR person_id = $2) AND revoked_at IS NULL
            ORDER BY credential_id FOR NO KEY UPDATE
        ), next AS (
            UPDATE credential c SET version = c.version + 1 FROM held WHERE c.credential_id = held.credential_id
            RETURNING c.*)
        SELECT c.tenant_id, c.credential_id, c.version, c.person_id, p.role, c.name, c.created_at, c.expires_at,
               c.revoked_at
        FROM next c JOIN person p ON p.tenant_id = c.tenant_id AND p.person_id = c.person_id
        ORDER BY c.credential_id""",
        tenant_id,
        person_id,
    )
    return [_key(row) for row in rows]


async def expired(tx: Tx, now: datetime, limit: int) -> list[ApiKey]:
    """API keys past their time that verifiers still know, held."""
    rows = await tx.fetch(
        f"{_KEY} WHERE c.revoked_at IS NULL AND c.expires_at <= $1 ORDER BY c.credential_id LIMIT $2"
        " FOR NO KEY UPDATE OF c SKIP LOCKED",
        now,
        limit,
    )
    return [_key(row) for row in rows]


async def signing_keys(tx: Tx, *, lock: bool = False) -> list[SigningKey]:
    """All signing keys, the current one first; with `lock` no other transaction rotates meanwhile."""
    if lock:
        await tx.execute("LOCK TABLE signing_key IN SHARE ROW EXCLUSIVE MODE")
    rows = await tx.fetch(f"{_SIGNING} ORDER BY expires_at DESC NULLS FIRST, kid")
    return [_signing_key(row) for row in rows]


async def add_signing_key(tx: Tx, key: SigningKey) -> None:
    """Keep a new signing key; the former current one must have been replaced before."""
    await tx.execute(
        "INSERT INTO signing_key (kid, version, public_key, wrapped_private, created_at) VALUES ($1, $2, $3, $4, $5)",
        key.kid,
        key.version,
        orjson.dumps(key.public_key).decode(),
        key.wrapped_private,
        key.created_at,
    )


async def replace_signing_key(tx: Tx, key: SigningKey) -> None:
    """Write when a signing key stops verifying."""
    await tx.execute(
        "UPDATE signing_key SET version = $2, expires_at = $3 WHERE kid = $1", key.kid, key.version, key.expires_at
    )


async def forget_signing_keys(tx: Tx, now: datetime) -> list[str]:
    """Delete signing keys that verify nothing any more; their ids."""
    rows = await tx.fetch("DELETE FROM signing_key WHERE expires_at <= $1 RETURNING kid", now)
    return sorted(row["kid"] for row in rows)


def _key(row: Record) -> ApiKey:
    return ApiKey(
        tenant_id=row["tenant_id"],
        credential_id=row["credential_id"],
        version=row["version"],
        person_id=row["person_id"],
        role=Role(row["role"]),
        name=row["name"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
    )


def _signing_key(row: Record) -> SigningKey:
    return SigningKey(
        kid=row["kid"],
        version=row["version"],
        public_key=orjson.loads(row["public_key"]),
        wrapped_private=row["wrapped_private"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
    )
