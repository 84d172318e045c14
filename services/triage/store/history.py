"""Decisions that were published, and what people set in their place."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from services.triage.domain.record import Correction, Told
from shared.db import Database, Record, Tx

_ADD_DECISIONS = """
    INSERT INTO decision (decision_id, tenant_id, ticket_id, decided_at, cause, based_on_version, decision, reasons,
        confidence, policy_version)
    SELECT u.decision_id, u.tenant_id, u.ticket_id, u.decided_at, u.cause, u.version, u.decision::jsonb,
        u.reasons::jsonb, u.confidence, u.policy_version
    FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::timestamptz[], $5::text[], $6::bigint[], $7::text[],
        $8::text[], $9::double precision[], $10::bigint[])
        AS u (decision_id, tenant_id, ticket_id, decided_at, cause, version, decision, reasons, confidence,
            policy_version)
    ORDER BY u.decision_id
    ON CONFLICT (decision_id) DO NOTHING
"""

_ADD_CORRECTIONS = """
    INSERT INTO correction (event_id, field, tenant_id, ticket_id, corrected_at, actor_id, role, decided, corrected,
        decision_id)
    SELECT u.event_id, u.field, u.tenant_id, u.ticket_id, u.at, u.actor_id, u.role, u.decided::jsonb,
        u.corrected::jsonb, u.decision_id
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::timestamptz[], $6::text[], $7::text[], $8::text[],
        $9::text[], $10::uuid[])
        AS u (event_id, field, tenant_id, ticket_id, at, actor_id, role, decided, corrected, decision_id)
    ORDER BY u.event_id, u.field
    ON CONFLICT (event_id, field) DO NOTHING
"""

_DECISIONS = """
    SELECT decision_id, decided_at, cause, based_on_version, decision, reasons, confidence, policy_version
    FROM decision WHERE ticket_id = $1 AND tenant_id = $2 ORDER BY decided_at DESC, decision_id LIMIT $3
"""

_CORRECTION_COLUMNS = "event_id, field, ticket_id, corrected_at, actor_id, role, decided, corrected, decision_id"

_CORRECTIONS_OF = f"""
    SELECT {_CORRECTION_COLUMNS} FROM correction
    WHERE ticket_id = $1 AND tenant_id = $2 ORDER BY corrected_at DESC, event_id, field LIMIT $3
"""  # noqa: S608 - constant columns

_CORRECTIONS = f"""
    SELECT {_CORRECTION_COLUMNS} FROM correction
    WHERE tenant_id = $1
        AND ($2::timestamptz IS NULL
            OR corrected_at < $2 OR (corrected_at = $2 AND (event_id, field) > ($3::uuid, $4::text)))
    ORDER BY corrected_at DESC, event_id, field LIMIT $5
"""  # noqa: S608 - constant columns

_KNOWN = "SELECT held, touched FROM triaged WHERE ticket_id = $1 AND tenant_id = $2"


async def add_decisions(tx: Tx, told: Sequence[Told]) -> None:
    """Keep decisions; one that is there already stays as it is."""
    if not told:
        return
    await tx.execute(
        _ADD_DECISIONS,
        [one.event.decision_id for one in told],
        [one.event.tenant_id for one in told],
        [one.event.ticket_id for one in told],
        [one.at for one in told],
        [one.cause for one in told],
        [one.event.based_on_version for one in told],
        [one.event.decision.model_dump_json(exclude_none=True) for one in told],
        [orjson.dumps([dict(reason) for reason in one.event.reasons]).decode() for one in told],
        [one.event.confidence for one in told],
        [one.event.policy_version for one in told],
    )


async def add_corrections(tx: Tx, corrections: Sequence[Correction]) -> None:
    """Keep corrections, each once."""
    if not corrections:
        return
    await tx.execute(
        _ADD_CORRECTIONS,
        [one.event_id for one in corrections],
        [one.field for one in corrections],
        [one.tenant_id for one in corrections],
        [one.ticket_id for one in corrections],
        [one.at for one in corrections],
        [one.actor_id for one in corrections],
        [one.role for one in corrections],
        [_json(one.decided) for one in corrections],
        [_json(one.corrected) for one in corrections],
        [one.decision_id for one in corrections],
    )


async def known(database: Database, tenant_id: str, ticket_id: UUID) -> Record | None:
    """Which fields people hold of a ticket, and whether one has worked on it; None for an unknown ticket."""
    return await database.fetchrow(_KNOWN, ticket_id, tenant_id)


async def decisions(database: Database, tenant_id: str, ticket_id: UUID, limit: int) -> list[dict[str, Any]]:
    """A ticket's decisions, newest first."""
    rows = await database.fetch(_DECISIONS, ticket_id, tenant_id, limit)
    return [{**row, "decision": orjson.loads(row["decision"]), "reasons": orjson.loads(row["reasons"])} for row in rows]


async def corrections_of(database: Database, tenant_id: str, ticket_id: UUID, limit: int) -> list[dict[str, Any]]:
    """A ticket's corrections, newest first."""
    return _read(await database.fetch(_CORRECTIONS_OF, ticket_id, tenant_id, limit))


async def corrections(
    database: Database, tenant_id: str, after: tuple[datetime, UUID, str] | None, limit: int
) -> list[dict[str, Any]]:
    """A tenant's corrections, newest first, going on behind `after`."""
    at, event_id, field = after or (None, None, None)
    return _read(await database.fetch(_CORRECTIONS, tenant_id, at, event_id, field, limit))


def _read(rows: Sequence[Record]) -> list[dict[str, Any]]:
    return [{**row, "decided": _value(row["decided"]), "corrected": _value(row["corrected"])} for row in rows]


def _json(value: Any) -> str | None:
    return None if value is None else orjson.dumps(value).decode()


def _value(text: str | None) -> Any:
    return None if text is None else orjson.loads(text)
