"""Idempotency-Key: a retry gets the first answer, and the effect happens once.

The answer is stored in the transaction of the effect, so there is no instant at which one exists without the other.
A transaction-level advisory lock, tried and not waited for, tells a retry that comes while the first is still at work:
waiting would hold one of the service's few connections for each impatient client.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated

import orjson
from fastapi import Header
from starlette.requests import Request
from starlette.responses import Response

from shared.auth import Principal
from shared.db import Database, Tx, is_connection_failure
from shared.http.context import context_of
from shared.problem import Problem
from shared.service import Loop

KEPT = timedelta(hours=24)
_PURGE_INTERVAL = timedelta(minutes=10)
_PURGE_ROWS = 5000

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="Any unique text; repeating the request with it within 24 hours has no second effect.",
    ),
]
"""A path operation's parameter, named `idempotency_key`."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stored:
    """The answer given to the first request."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        """The same answer again, marked as a repetition."""
        headers = {"Content-Type": "application/json", **self.headers, "Idempotent-Replayed": "true"}
        return Response(self.body, status_code=self.status, headers=headers)


def fingerprint(request: Request, principal: Principal) -> bytes:
    """What makes two requests the same: caller, method, address and body."""
    digest = hashlib.sha256()
    for part in (principal.account, request.method, request.url.path, request.url.query):
        digest.update(part.encode() + b"\0")
    digest.update(context_of(request).body)
    return digest.digest()


async def begin(tx: Tx, tenant_id: str, key: str, fingerprint: bytes) -> Stored | None:
    """Call first in the transaction: the stored answer of an earlier request, or None to go on and `store` one.

    Raises a 422 problem when the key was used for another request, 409 while the first one is still at work.
    """
    row = await tx.fetchrow(
        "SELECT pg_try_advisory_xact_lock($3) AS mine, i.fingerprint, i.status, i.headers, i.body"
        " FROM (SELECT) one LEFT JOIN idempotency i ON i.tenant_id = $1 AND i.key = $2",
        tenant_id,
        key,
        _lock(tenant_id, key),
    )
    if row is not None and row["status"] is not None:
        if row["fingerprint"] != fingerprint:
            raise Problem(
                422, "idempotency-key-reused", "Idempotency key reused", "The key was used for a different request."
            )
        return Stored(row["status"], row["body"], orjson.loads(row["headers"]))
    if row is None or not row["mine"]:
        raise _in_progress()
    return None


async def store(
    tx: Tx,
    tenant_id: str,
    key: str,
    fingerprint: bytes,
    *,
    status: int,
    body: bytes,
    headers: Mapping[str, str] | None = None,
) -> None:
    """Keep the answer with the effect it tells of. Raises a 409 problem when another request was quicker by a hair."""
    done = await tx.execute(
        "INSERT INTO idempotency (tenant_id, key, fingerprint, status, headers, body, created_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
        tenant_id,
        key,
        fingerprint,
        status,
        orjson.dumps(dict(headers or {})).decode(),
        body,
        tx.instant,
    )
    if done == "INSERT 0 0":
        # The first committed between our look and our lock; this transaction's effect is rolled back with the answer.
        raise _in_progress()


async def purge(database: Database) -> int:
    """Forget answers older than 24 hours; how many."""
    gone = 0
    while True:
        tag = await database.execute(
            "DELETE FROM idempotency WHERE (tenant_id, key) IN (SELECT tenant_id, key FROM idempotency"
            " WHERE created_at < (SELECT desk_now()) - $1::interval LIMIT $2)",
            KEPT,
            _PURGE_ROWS,
        )
        count = int(tag.rpartition(" ")[2])
        gone += count
        if count < _PURGE_ROWS:
            return gone


def purge_loop(database: Database) -> Loop:
    """A service's loop that forgets old answers every ten minutes."""

    async def run() -> None:
        while True:
            try:
                gone = await purge(database)
                if gone:
                    logger.info("idempotency keys forgotten", extra={"count": gone})
            except Exception as error:
                if not is_connection_failure(error):
                    raise
                logger.warning("idempotency keys not forgotten yet", exc_info=error)
            await asyncio.sleep(_PURGE_INTERVAL.total_seconds())

    return Loop(name="idempotency-purge", run=run)


def _lock(tenant_id: str, key: str) -> int:
    digest = hashlib.blake2b(f"idempotency\0{tenant_id}\0{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def _in_progress() -> Problem:
    return Problem(
        409,
        "request-in-progress",
        "Request in progress",
        "The first request with this key is still at work; ask again.",
        headers={"Retry-After": "1"},
    )
