"""Colleagues and teams as rows of our own, and who of them can be reached now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

import orjson

from services.escalation.domain.targets import STAFF_ROLES, Person, Team
from shared.contracts.directory import PersonChanged, TeamChanged
from shared.db import Database, Tx


async def save_people(tx: Tx, people: Iterable[PersonChanged]) -> None:
    """Keep colleagues as directory last told them; whoever is none any more cannot be reached."""
    ordered = sorted(people, key=lambda person: person.person_id)
    await tx.execute(
        """
        INSERT INTO colleague (person_id, tenant_id, version, role, active, team_ids)
        SELECT n.person_id, n.tenant_id, n.version, n.role, n.active, n.team_ids::uuid[]
        FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::bool[], $6::text[])
            AS n (person_id, tenant_id, version, role, active, team_ids)
        ON CONFLICT (person_id) DO UPDATE SET version = excluded.version, role = excluded.role,
            active = excluded.active, team_ids = excluded.team_ids
        WHERE colleague.version <= excluded.version
        """,
        [one.person_id for one in ordered],
        [one.tenant_id for one in ordered],
        [one.version for one in ordered],
        [str(one.role) for one in ordered],
        [one.active and one.role in STAFF_ROLES for one in ordered],
        ["{" + ",".join(str(team) for team in one.team_ids) + "}" for one in ordered],
    )


async def known(tx: Tx, person_ids: Sequence[UUID]) -> set[UUID]:
    """Which of these have a row."""
    rows = await tx.fetch("SELECT person_id FROM colleague WHERE person_id = ANY ($1::uuid[])", list(person_ids))
    return {row["person_id"] for row in rows}


async def save_teams(tx: Tx, teams: Iterable[TeamChanged]) -> None:
    """Keep teams as directory last told them."""
    ordered = sorted(teams, key=lambda team: team.team_id)
    await tx.execute(
        """
        INSERT INTO team (team_id, tenant_id, version, name, queues, lead_id, active)
        SELECT n.team_id, n.tenant_id, n.version, n.name,
               ARRAY(SELECT jsonb_array_elements_text(n.queues::jsonb)), n.lead_id, n.active
        FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::uuid[], $7::bool[])
            AS n (team_id, tenant_id, version, name, queues, lead_id, active)
        ON CONFLICT (team_id) DO UPDATE SET version = excluded.version, name = excluded.name,
            queues = excluded.queues, lead_id = excluded.lead_id, active = excluded.active
        WHERE team.version <= excluded.version
        """,
        [one.team_id for one in ordered],
        [one.tenant_id for one in ordered],
        [one.version for one in ordered],
        [one.name for one in ordered],
        [_json(one.queues) for one in ordered],
        [one.lead_id for one in ordered],
        [one.active for one in ordered],
    )


async def remove(tx: Tx, person_ids: Sequence[UUID], team_ids: Sequence[UUID]) -> None:
    """Forget people and teams that directory deleted."""
    await tx.execute("DELETE FROM colleague WHERE person_id = ANY ($1::uuid[])", list(person_ids))
    await tx.execute("DELETE FROM team WHERE team_id = ANY ($1::uuid[])", list(team_ids))


async def people(reader: Database | Tx, tenants: Iterable[str]) -> dict[str, dict[UUID, Person]]:
    """Everybody of these tenants who is or was a colleague, by tenant and id."""
    rows = await reader.fetch(
        "SELECT tenant_id, person_id, role, active, team_ids FROM colleague WHERE tenant_id = ANY ($1::text[])",
        list(tenants),
    )
    found: dict[str, dict[UUID, Person]] = {}
    for row in rows:
        found.setdefault(row["tenant_id"], {})[row["person_id"]] = Person(
            person_id=row["person_id"], role=row["role"], active=row["active"], team_ids=tuple(row["team_ids"])
        )
    return found


async def teams(reader: Database | Tx, tenants: Iterable[str]) -> dict[str, list[Team]]:
    """The active teams of these tenants."""
    rows = await reader.fetch(
        "SELECT tenant_id, team_id, name, queues, lead_id FROM team WHERE tenant_id = ANY ($1::text[]) AND active"
        " ORDER BY team_id",
        list(tenants),
    )
    found: dict[str, list[Team]] = {}
    for row in rows:
        found.setdefault(row["tenant_id"], []).append(
            Team(team_id=row["team_id"], name=row["name"], queues=tuple(row["queues"]), lead_id=row["lead_id"])
        )
    return found


def _json(texts: Sequence[str]) -> str:
    return orjson.dumps(list(texts)).decode()
