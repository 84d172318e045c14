"""What is known of each ticket: one row, read under its lock and written whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from services.triage.domain.facts import Findings, Found, Said
from services.triage.domain.record import Record
from shared.contracts.decision import Triage
from shared.db import Record as Row
from shared.db import Tx

_COLUMNS = """ticket_id, tenant_id, revision, version, requester_id, tier, language, said, findings, decision,
    decision_id, decided_at, held, touched"""

_LOCK = f"SELECT {_COLUMNS} FROM triaged WHERE ticket_id = ANY ($1::uuid[]) ORDER BY ticket_id FOR UPDATE"  # noqa: S608 - constant columns

_LOCK_WITHOUT_TIER = f"""
    SELECT {_COLUMNS} FROM triaged
    WHERE requester_id = ANY ($1::uuid[]) AND tier IS NULL AND NOT touched AND decided_at > $2
    ORDER BY ticket_id LIMIT $3 FOR UPDATE
"""  # noqa: S608 - constant columns

_SAVE = f"""
    INSERT INTO triaged AS t ({_COLUMNS})
    SELECT u.ticket_id, u.tenant_id, u.revision, u.version, u.requester_id, u.tier, u.language, u.said::jsonb,
        u.findings::jsonb, u.decision::jsonb, u.decision_id, u.decided_at, string_to_array(u.held, ','), u.touched
    FROM unnest($1::uuid[], $2::text[], $3::integer[], $4::bigint[], $5::uuid[], $6::text[], $7::text[], $8::text[],
        $9::text[], $10::text[], $11::uuid[], $12::timestamptz[], $13::text[], $14::boolean[])
        AS u (ticket_id, tenant_id, revision, version, requester_id, tier, language, said, findings, decision,
            decision_id, decided_at, held, touched)
    ORDER BY u.ticket_id
    ON CONFLICT (ticket_id) DO UPDATE SET
        revision = excluded.revision, version = excluded.version, requester_id = excluded.requester_id,
        tier = excluded.tier, language = excluded.language, said = excluded.said, findings = excluded.findings,
        decision = excluded.decision, decision_id = excluded.decision_id, decided_at = excluded.decided_at,
        held = excluded.held, touched = excluded.touched
    WHERE t.revision = excluded.revision - 1
"""  # noqa: S608 - constant columns


async def lock(tx: Tx, ticket_ids: Iterable[UUID]) -> dict[UUID, Record]:
    """The rows there are, locked in the order of their ids."""
    rows = await tx.fetch(_LOCK, sorted(set(ticket_ids)))
    return {row["ticket_id"]: _record(row) for row in rows}


async def lock_without_tier(tx: Tx, requesters: Iterable[UUID], patience: timedelta, limit: int) -> list[Record]:
    """Tickets of these requesters decided without a tier not longer ago than `patience`, locked in order."""
    rows = await tx.fetch(_LOCK_WITHOUT_TIER, sorted(set(requesters)), tx.instant - patience, limit)
    return [_record(row) for row in rows]


async def save(tx: Tx, records: Iterable[Record]) -> None:
    """Write records that were read under their lock, or that had no row.

    Raises a serialisation failure, after which the transaction is run again, where another transaction has written
    the first row of a ticket in between: there was nothing to lock.
    """
    rows = sorted(records, key=lambda record: record.ticket_id)
    if not rows:
        return
    columns: Sequence[Sequence[Any]] = list(zip(*map(_values, rows), strict=True))
    tag = await tx.execute(_SAVE, *columns)
    if int(tag.rpartition(" ")[2]) != len(rows):
        raise asyncpg.SerializationError("a ticket was first seen by two transactions at once")


def _values(record: Record) -> tuple[Any, ...]:
    return (
        record.ticket_id,
        record.tenant_id,
        record.revision + 1,
        record.version,
        record.requester_id,
        record.tier,
        record.language,
        _said(record.said),
        _findings(record.findings),
        None if record.decision is None else record.decision.model_dump_json(exclude_none=True),
        record.decision_id,
        record.decided_at,
        ",".join(sorted(record.held)),
        record.touched,
    )


_NOTHING_SAID = Said()


def _said(said: Said) -> str:
    if said == _NOTHING_SAID:
        return "{}"
    return orjson.dumps({name: value for name, value in asdict(said).items() if value is not None}).decode()


def _findings(findings: Findings) -> str:
    kinds: dict[str, Any] = {
        kind: [[f.name, f.words, f.in_subject, f.denied] for f in getattr(findings, kind)]
        for kind in ("signals", "products", "topics")
        if getattr(findings, kind)
    }
    if findings.affected is not None:
        kinds["affected"] = min(findings.affected, 2**53)
    if findings.language is not None:
        kinds["language"] = findings.language
    return orjson.dumps(kinds).decode()


def _record(row: Row) -> Record:
    values = dict(row)
    found: dict[str, Any] = orjson.loads(values["findings"])
    decided: datetime | None = values["decided_at"]
    return Record(
        **{
            **values,
            "said": Said(**orjson.loads(values["said"])),
            "findings": Findings(
                signals=_found(found.get("signals")),
                products=_found(found.get("products")),
                topics=_found(found.get("topics")),
                affected=found.get("affected"),
                language=found.get("language"),
            ),
            "decision": None if values["decision"] is None else Triage.model_validate_json(values["decision"]),
            "decided_at": decided,
            "held": frozenset(values["held"]),
        }
    )


def _found(items: list[tuple[str, str, bool, bool]] | None) -> tuple[Found, ...]:
    return tuple(
        Found(name=name, words=words, in_subject=in_subject, denied=denied)
        for name, words, in_subject, denied in items or ()
    )
