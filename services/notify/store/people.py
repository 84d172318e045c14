"""Who has which role, what people want to be told, which addresses are our own, how often somebody was answered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from uuid import UUID

import orjson

from services.notify.domain.preferences import Preference, Quiet
from shared.contracts.directory import PersonChanged, Role, TenantChanged
from shared.db import Database, Record, Tx

AGENT_ROLES = frozenset({Role.AGENT, Role.TEAM_LEAD, Role.MANAGER, Role.ADMIN})


async def save_colleagues(tx: Tx, people: Sequence[PersonChanged]) -> None:
    """Keep agents as they are; of others only those that were agents."""
    rows = sorted(people, key=lambda person: person.person_id)
    await tx.execute(
        "UPDATE colleague c SET role = n.role, active = n.active, version = n.version"
        " FROM unnest($1::uuid[], $2::text[], $3::boolean[], $4::bigint[]) AS n (person_id, role, active, version)"
        " WHERE c.person_id = n.person_id AND c.version <= n.version",
        [one.person_id for one in rows],
        [str(one.role) for one in rows],
        [one.active for one in rows],
        [one.version for one in rows],
    )
    agents = [one for one in rows if one.role in AGENT_ROLES]
    if agents:
        await tx.execute(
            "INSERT INTO colleague (person_id, tenant_id, role, active, version)"
            " SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::boolean[], $5::bigint[])"
            " ON CONFLICT (person_id) DO NOTHING",
            [one.person_id for one in agents],
            [one.tenant_id for one in agents],
            [str(one.role) for one in agents],
            [one.active for one in agents],
            [one.version for one in agents],
        )


async def forget(tx: Tx, person_ids: Sequence[UUID], tenant_ids: Sequence[str]) -> None:
    """Take away people and tenants whose keys were deleted."""
    await tx.execute("DELETE FROM colleague WHERE person_id = ANY ($1::uuid[])", sorted(person_ids))
    await tx.execute("DELETE FROM own_place WHERE tenant_id = ANY ($1::text[])", sorted(tenant_ids))


async def save_places(tx: Tx, tenants: Sequence[TenantChanged]) -> None:
    """Keep the tenants' inbound addresses and mail domains."""
    rows = sorted({(one.tenant_id, place) for one in tenants for place in _places(one)})
    await tx.execute("DELETE FROM own_place WHERE tenant_id = ANY ($1::text[])", [one.tenant_id for one in tenants])
    await tx.execute(
        "INSERT INTO own_place (tenant_id, place) SELECT * FROM unnest($1::text[], $2::text[]) ON CONFLICT DO NOTHING",
        [tenant for tenant, _ in rows],
        [place for _, place in rows],
    )


def _places(tenant: TenantChanged) -> Iterable[str]:
    yield from (address.strip().casefold() for address in tenant.inbound_addresses)
    yield from (f"@{domain.strip().casefold()}" for domain in tenant.mail_domains)


async def own_places(database: Database, address: str) -> tuple[bool, bool]:
    """Whether an address (normalised) is an inbound one of any tenant of ours, and whether its domain is one of ours.

    What stands after a `+` is a tag: `reply+…@` comes in where `reply@` would.
    """
    local, _, domain = address.rpartition("@")
    plain = f"{local.partition('+')[0]}@{domain}"
    rows = await database.fetch(
        "SELECT place FROM own_place WHERE place = ANY ($1::text[])", [address, plain, f"@{domain}"]
    )
    found = {row["place"] for row in rows}
    return address in found or plain in found, f"@{domain}" in found


async def with_roles(tx: Tx, wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], tuple[UUID, ...]]:
    """The active people of each tenant and role."""
    pairs = sorted(set(wanted))
    if not pairs:
        return {}
    rows = await tx.fetch(
        "SELECT c.tenant_id, c.role, c.person_id FROM colleague c"
        " JOIN unnest($1::text[], $2::text[]) AS w (tenant_id, role) ON c.tenant_id = w.tenant_id AND c.role = w.role"
        " WHERE c.active ORDER BY c.person_id",
        [tenant for tenant, _ in pairs],
        [role for _, role in pairs],
    )
    found: dict[tuple[str, str], tuple[UUID, ...]] = {}
    for row in rows:
        place = (row["tenant_id"], row["role"])
        found[place] = (*found.get(place, ()), row["person_id"])
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A preference with its version."""

    preference: Preference
    version: int


async def preferences(source: Tx | Database, person_ids: Iterable[UUID]) -> dict[UUID, Stored]:
    """What these people said they want; who said nothing is not in it."""
    rows = await source.fetch(
        "SELECT person_id, templates, quiet, version FROM preference WHERE person_id = ANY ($1::uuid[])",
        list(set(person_ids)),
    )
    return {row["person_id"]: _stored(row) for row in rows}


async def save_preference(
    tx: Tx, tenant_id: str, person_id: UUID, preference: Preference, version: int | None
) -> int | None:
    """Store what a person wants over `version` (None: whatever is there); the new version, None when another is."""
    quiet = preference.quiet
    told = (
        {"begins": quiet.begins.isoformat(), "ends": quiet.ends.isoformat(), "timezone": quiet.timezone}
        if quiet
        else None
    )
    templates = {template: dict(channels) for template, channels in preference.templates.items()}
    stored: int | None = await tx.fetchval(
        "INSERT INTO preference AS p (person_id, tenant_id, templates, quiet, version) VALUES ($1, $2, $3, $4, 1)"
        " ON CONFLICT (person_id) DO UPDATE SET templates = excluded.templates, quiet = excluded.quiet,"
        " version = p.version + 1 WHERE p.tenant_id = $2 AND ($5::bigint IS NULL OR p.version = $5) RETURNING version",
        person_id,
        tenant_id,
        orjson.dumps(templates).decode(),
        orjson.dumps(told).decode() if told else None,
        version,
    )
    return stored


def _stored(row: Record) -> Stored:
    told = orjson.loads(row["quiet"]) if row["quiet"] else None
    quiet = (
        Quiet(
            begins=time.fromisoformat(told["begins"]),
            ends=time.fromisoformat(told["ends"]),
            timezone=told["timezone"],
        )
        if told
        else None
    )
    return Stored(preference=Preference(templates=orjson.loads(row["templates"]), quiet=quiet), version=row["version"])


async def courtesies(tx: Tx, people: Mapping[UUID, str]) -> dict[UUID, list[datetime]]:
    """When automatic answers went to these people (with their tenants) lately; locked in the order of ids."""
    ids = sorted(people)
    if not ids:
        return {}
    await tx.execute(
        "INSERT INTO courtesy (person_id, tenant_id, sent)"
        " SELECT p, t, '{}' FROM unnest($1::uuid[], $2::text[]) AS n (p, t) ON CONFLICT DO NOTHING",
        ids,
        [people[one] for one in ids],
    )
    rows = await tx.fetch(
        "SELECT person_id, sent FROM courtesy WHERE person_id = ANY ($1::uuid[]) ORDER BY person_id FOR UPDATE", ids
    )
    return {row["person_id"]: list(row["sent"]) for row in rows}


async def save_courtesies(tx: Tx, sent: Mapping[UUID, Sequence[datetime]]) -> None:
    """Remember when automatic answers went to people; the rows are locked."""
    ids = sorted(sent)
    await tx.execute(
        "UPDATE courtesy c SET sent = (SELECT coalesce(array_agg(at::timestamptz), '{}')"
        " FROM jsonb_array_elements_text(n.sent) AS at)"
        " FROM unnest($1::uuid[], $2::jsonb[]) AS n (person_id, sent) WHERE c.person_id = n.person_id",
        ids,
        [orjson.dumps([at.isoformat() for at in sent[one]]).decode() for one in ids],
    )
