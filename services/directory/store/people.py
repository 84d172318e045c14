"""People in the database.

Locks are taken in one order everywhere: addresses, then people, each in key order.
"""

# ruff: noqa: S608 - what is put into statements are constants of this module; every value is a parameter

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from services.directory.domain.people import Key, Person, Sighting
from shared.contracts.directory import Role, Skill
from shared.db import Record, Tx

# Whoever is known, with a name, costs one look; only the others are written. The no-op update of the address is what
# settles a race with another instance or with an administrator: it waits for them and then tells whose address it is.
SEE = """
WITH given AS (
    SELECT g.tenant_id, g.address, g.person_id, g.name, reverse(split_part(reverse(g.address), '@', 1)) AS domain,
           regexp_replace(g.address, '\\+[^@]*@', '@') AS untagged
    FROM unnest($1::text[], $2::text[], $3::uuid[], $4::text[]) AS g (tenant_id, address, person_id, name)
), wanted AS (
    SELECT g.tenant_id, g.address, g.person_id, g.name, o.organisation_id
    FROM given g
    JOIN tenant t ON t.tenant_id = g.tenant_id
    LEFT JOIN person_address a ON a.tenant_id = g.tenant_id AND a.address = g.address
    LEFT JOIN person p ON p.tenant_id = a.tenant_id AND p.person_id = a.person_id
    LEFT JOIN organisation_domain d ON d.tenant_id = g.tenant_id AND d.domain = g.domain
    LEFT JOIN organisation o ON o.tenant_id = d.tenant_id AND o.organisation_id = d.organisation_id AND o.active
    WHERE (a.person_id IS NULL OR (p.name = '' AND g.name <> '' AND p.role = 'customer'))
      AND NOT t.inbound_addresses && ARRAY[g.address, g.untagged]
), owned AS (
    INSERT INTO person_address (tenant_id, address, person_id)
    SELECT tenant_id, address, person_id FROM wanted ORDER BY tenant_id, address
    ON CONFLICT (tenant_id, address) DO UPDATE SET person_id = person_address.person_id
    RETURNING tenant_id, address, person_id
), one AS (
    SELECT DISTINCT ON (owned.tenant_id, owned.person_id)
           owned.tenant_id, owned.person_id, wanted.name, wanted.organisation_id
    FROM owned JOIN wanted USING (tenant_id, address)
    ORDER BY owned.tenant_id, owned.person_id, wanted.name = '', owned.address
)
INSERT INTO person AS p (tenant_id, person_id, role, name, organisation_id, created_at, updated_at)
SELECT tenant_id, person_id, 'customer', name, organisation_id, $5, $5 FROM one ORDER BY tenant_id, person_id
ON CONFLICT (tenant_id, person_id) DO UPDATE
    SET name = excluded.name, version = p.version + 1, updated_at = excluded.updated_at
    WHERE p.name = '' AND excluded.name <> '' AND p.role = 'customer'
RETURNING p.tenant_id, p.person_id
"""

_PERSON = """
SELECT p.tenant_id, p.person_id, p.version, p.role, p.name, p.organisation_id, p.tier, p.language, p.timezone,
       p.capacity, p.available, p.active, o.name AS organisation, o.tier AS organisation_tier,
       ARRAY(SELECT a.address FROM person_address a
             WHERE a.tenant_id = p.tenant_id AND a.person_id = p.person_id ORDER BY a.position, a.address) AS addresses,
       ARRAY(SELECT m.team_id FROM team_member m
             WHERE m.tenant_id = p.tenant_id AND m.person_id = p.person_id ORDER BY m.team_id) AS team_ids,
       ARRAY(SELECT s.name FROM skill s
             WHERE s.tenant_id = p.tenant_id AND s.person_id = p.person_id ORDER BY s.name) AS skills,
       ARRAY(SELECT s.proficiency FROM skill s
             WHERE s.tenant_id = p.tenant_id AND s.person_id = p.person_id ORDER BY s.name) AS proficiencies
FROM person p
LEFT JOIN organisation o
    ON o.tenant_id = p.tenant_id AND o.organisation_id = p.organisation_id AND o.active
"""


async def see(tx: Tx, seen: Sequence[Sighting]) -> list[Key]:
    """Make requesters of those nobody knows, learn names of those who have none; whom that changed.

    One statement for any number. Agents are never touched, the tenant's own addresses never become people, tagged
    forms (`support+x@`) included.
    """
    if not seen:
        return []
    rows = await tx.fetch(
        SEE,
        [sighting.tenant_id for sighting in seen],
        [sighting.address for sighting in seen],
        [sighting.person_id for sighting in seen],
        [sighting.name for sighting in seen],
        tx.instant,
    )
    return [(row["tenant_id"], row["person_id"]) for row in rows]


async def owners(tx: Tx, pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], UUID]:
    """Whose each (tenant, address) is; those nobody has are left out."""
    given = list(pairs)
    rows = await tx.fetch(
        "SELECT a.tenant_id, a.address, a.person_id FROM person_address a"
        " JOIN unnest($1::text[], $2::text[]) AS g (tenant_id, address)"
        " ON a.tenant_id = g.tenant_id AND a.address = g.address",
        [tenant for tenant, _ in given],
        [address for _, address in given],
    )
    return {(row["tenant_id"], row["address"]): row["person_id"] for row in rows}


async def load(tx: Tx, keys: Sequence[Key]) -> list[Person]:
    """The people of these keys, in key order."""
    if not keys:
        return []
    rows = await tx.fetch(
        f"{_PERSON} JOIN unnest($1::text[], $2::uuid[]) AS k (tenant_id, person_id)"
        " ON p.tenant_id = k.tenant_id AND p.person_id = k.person_id ORDER BY p.tenant_id, p.person_id",
        [tenant for tenant, _ in keys],
        [person for _, person in keys],
    )
    return [_person(row) for row in rows]


async def get(tx: Tx, tenant_id: str, person_id: UUID) -> Person | None:
    """One person, or None when this tenant has none of that id."""
    found = await load(tx, [(tenant_id, person_id)])
    return found[0] if found else None


async def lock(tx: Tx, tenant_id: str, person_id: UUID) -> Person | None:
    """One person, held until the transaction ends."""
    await tx.execute(
        "SELECT FROM person_address WHERE tenant_id = $1 AND person_id = $2 ORDER BY address FOR NO KEY UPDATE",
        tenant_id,
        person_id,
    )
    await tx.execute(
        "SELECT FROM person WHERE tenant_id = $1 AND person_id = $2 FOR NO KEY UPDATE", tenant_id, person_id
    )
    return await get(tx, tenant_id, person_id)


async def page(
    tx: Tx,
    tenant_id: str,
    *,
    after: UUID | None,
    limit: int,
    role: Role | None = None,
    staff: bool = False,
    team_id: UUID | None = None,
    organisation_id: UUID | None = None,
    address: str | None = None,
) -> list[Person]:
    """People of a tenant by id, after `after`; each filter narrows. `staff` leaves customers out."""
    rows = await tx.fetch(
        f"""{_PERSON}
        WHERE p.tenant_id = $1 AND ($2::uuid IS NULL OR p.person_id > $2)
          AND ($4::text IS NULL OR p.role = $4) AND (NOT $5 OR p.role <> 'customer')
          AND ($6::uuid IS NULL OR EXISTS (SELECT FROM team_member m
               WHERE m.tenant_id = p.tenant_id AND m.person_id = p.person_id AND m.team_id = $6))
          AND ($7::uuid IS NULL OR p.organisation_id = $7)
          AND ($8::text IS NULL OR EXISTS (SELECT FROM person_address a
               WHERE a.tenant_id = p.tenant_id AND a.person_id = p.person_id AND a.address = $8))
        ORDER BY p.person_id LIMIT $3""",
        tenant_id,
        after,
        limit,
        role.value if role else None,
        staff,
        team_id,
        organisation_id,
        address,
    )
    return [_person(row) for row in rows]


async def save(tx: Tx, person: Person, at: datetime) -> None:
    """Write a person whole, new or locked; their addresses must be free or theirs (`claim` them first)."""
    await tx.execute(
        """INSERT INTO person (tenant_id, person_id, version, role, name, organisation_id, tier, language, timezone,
                               capacity, available, active, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13)
        ON CONFLICT (tenant_id, person_id) DO UPDATE SET
            version = excluded.version, role = excluded.role, name = excluded.name,
            organisation_id = excluded.organisation_id, tier = excluded.tier, language = excluded.language,
            timezone = excluded.timezone, capacity = excluded.capacity, available = excluded.available,
            active = excluded.active, updated_at = excluded.updated_at""",
        person.tenant_id,
        person.person_id,
        person.version,
        person.role.value,
        person.name,
        person.organisation_id,
        person.own_tier,
        person.language,
        person.timezone,
        person.capacity,
        person.available,
        person.active,
        at,
    )
    await _replace(tx, person)


async def _replace(tx: Tx, person: Person) -> None:
    """Addresses, teams and skills become exactly the person's."""
    key = person.key
    await tx.execute(
        "DELETE FROM person_address WHERE tenant_id = $1 AND person_id = $2 AND address <> ALL($3::text[])",
        *key,
        list(person.addresses),
    )
    await tx.execute(
        """INSERT INTO person_address (tenant_id, person_id, address, position)
        SELECT $1, $2, address, position FROM unnest($3::text[]) WITH ORDINALITY AS g (address, position)
        ORDER BY address
        ON CONFLICT (tenant_id, address) DO UPDATE SET position = excluded.position
            WHERE person_address.person_id = excluded.person_id""",
        *key,
        list(person.addresses),
    )
    await tx.execute(
        "DELETE FROM team_member WHERE tenant_id = $1 AND person_id = $2 AND team_id <> ALL($3::uuid[])",
        *key,
        list(person.team_ids),
    )
    await tx.execute(
        "INSERT INTO team_member (tenant_id, person_id, team_id) SELECT $1, $2, unnest($3::uuid[])"
        " ON CONFLICT DO NOTHING",
        *key,
        list(person.team_ids),
    )
    await tx.execute("DELETE FROM skill WHERE tenant_id = $1 AND person_id = $2", *key)
    await tx.execute(
        "INSERT INTO skill (tenant_id, person_id, name, proficiency)"
        " SELECT $1, $2, * FROM unnest($3::text[], $4::smallint[])",
        *key,
        [skill.name for skill in person.skills],
        [skill.proficiency for skill in person.skills],
    )


async def administrators(tx: Tx, tenant_id: str) -> int:
    """How many active administrators a tenant has. Locked, so that two cannot retire each other at once."""
    rows = await tx.fetch(
        "SELECT FROM person WHERE tenant_id = $1 AND role = 'admin' AND active ORDER BY person_id FOR NO KEY UPDATE",
        tenant_id,
    )
    return len(rows)


def _person(row: Record) -> Person:
    return Person(
        tenant_id=row["tenant_id"],
        person_id=row["person_id"],
        version=row["version"],
        role=Role(row["role"]),
        name=row["name"],
        addresses=tuple(row["addresses"]),
        organisation_id=row["organisation_id"],
        organisation=row["organisation"],
        own_tier=row["tier"],
        organisation_tier=row["organisation_tier"],
        language=row["language"],
        timezone=row["timezone"],
        team_ids=tuple(row["team_ids"]),
        skills=tuple(
            Skill(name=name, proficiency=proficiency)
            for name, proficiency in zip(row["skills"], row["proficiencies"], strict=True)
        ),
        capacity=row["capacity"],
        available=row["available"],
        active=row["active"],
    )
