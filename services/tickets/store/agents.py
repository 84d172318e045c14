"""Agents, teams and load: read without a lock to see whether there is room, locked and counted before room is taken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from shared.contracts.directory import PersonChanged, Role, TeamChanged
from shared.db import Database, Tx

AGENT_ROLES = frozenset({Role.AGENT, Role.TEAM_LEAD, Role.MANAGER, Role.ADMIN})
"""Roles that can own tickets."""


@dataclass(frozen=True, slots=True)
class Serving:
    """An agent who takes work from a queue now."""

    tenant_id: str
    queue: str
    person_id: UUID
    team_id: UUID
    capacity: int
    """Their own; 0 for the pack's default."""
    load: int
    """Active tickets, counted without a lock."""


_LOAD = "(SELECT count(*) FROM ticket t WHERE t.tenant_id = a.tenant_id AND t.assignee_id = a.person_id AND t.active)"


async def serving(tx: Tx, queues: Sequence[tuple[str, str]]) -> list[Serving]:
    """Available agents of the teams that serve these (tenant, queue) pairs, with their load."""
    rows = await tx.fetch(
        f"""
        WITH serves AS MATERIALIZED (
            SELECT DISTINCT ON (w.queue, a.person_id) a.tenant_id, w.queue, a.person_id, team.team_id, a.capacity
            FROM unnest($1::text[], $2::text[]) AS w (tenant_id, queue)
            JOIN team ON team.tenant_id = w.tenant_id AND team.active AND w.queue = ANY (team.queues)
            JOIN agent a ON a.tenant_id = w.tenant_id AND a.available AND team.team_id = ANY (a.team_ids)
            ORDER BY w.queue, a.person_id, team.team_id
        ), loads AS MATERIALIZED (
            SELECT a.person_id, {_LOAD} AS load FROM (SELECT DISTINCT tenant_id, person_id FROM serves) a
        )
        SELECT s.tenant_id, s.queue, s.person_id, s.team_id, s.capacity, l.load
        FROM serves s JOIN loads l USING (person_id)
        """,  # noqa: S608 - constants only
        [tenant for tenant, _ in queues],
        [queue for _, queue in queues],
    )
    return [Serving(*row) for row in rows]


async def backlog(tx: Tx, queues: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Which of these (tenant, queue) pairs have an active ticket that waits for an owner, and no longer for triage."""
    rows = await tx.fetch(
        """
        SELECT w.tenant_id, w.queue FROM unnest($1::text[], $2::text[]) AS w (tenant_id, queue)
        WHERE EXISTS (SELECT FROM ticket t WHERE t.tenant_id = w.tenant_id AND t.queue = w.queue AND t.active
                      AND t.assignee_id IS NULL AND (t.held_until IS NULL OR t.held_until <= $3))
        """,
        [tenant for tenant, _ in queues],
        [queue for _, queue in queues],
        tx.instant,
    )
    return {(row["tenant_id"], row["queue"]) for row in rows}


@dataclass(frozen=True, slots=True)
class Locked:
    """An agent whose row is ours until the transaction ends: nobody else gives them tickets meanwhile."""

    tenant_id: str
    available: bool
    capacity: int
    load: int


async def lock(tx: Tx, person_ids: Iterable[UUID]) -> Mapping[UUID, Locked]:
    """Lock agents in the order of their ids, then count their load; those who are agents.

    Two statements on purpose: the second one's snapshot is taken when the locks are held, so it sees every ticket
    that an earlier holder gave away. A transaction calls this once, after it has locked its tickets.
    """
    wanted = list(person_ids)
    if not wanted:
        return {}
    await tx.execute(
        "SELECT FROM agent WHERE person_id = ANY ($1::uuid[]) ORDER BY person_id FOR NO KEY UPDATE", wanted
    )
    rows = await tx.fetch(
        f"SELECT a.person_id, a.tenant_id, a.available, a.capacity, {_LOAD} AS load FROM agent a"  # noqa: S608 - constants only
        " WHERE a.person_id = ANY ($1::uuid[])",
        wanted,
    )
    return {row["person_id"]: Locked(row["tenant_id"], row["available"], row["capacity"], row["load"]) for row in rows}


async def team_of(tx: Tx, tenant_id: str, person_id: UUID, queue: str) -> UUID | None:
    """The team through which an agent serves a queue, else any team of theirs."""
    found: UUID | None = await tx.fetchval(
        "SELECT team.team_id FROM agent a JOIN team ON team.tenant_id = a.tenant_id AND team.active"
        " AND team.team_id = ANY (a.team_ids) WHERE a.tenant_id = $1 AND a.person_id = $2"
        " ORDER BY ($3 = ANY (team.queues)) DESC, team.team_id LIMIT 1",
        tenant_id,
        person_id,
        queue,
    )
    return found


async def queues(database: Database | Tx, tenant_id: str) -> frozenset[str]:
    """Queues that a team of the tenant serves."""
    rows = await database.fetch(
        "SELECT DISTINCT unnest(queues) AS queue FROM team WHERE tenant_id = $1 AND active", tenant_id
    )
    return frozenset(row["queue"] for row in rows)


async def queues_of_tenants(tx: Tx, tenants: Sequence[str]) -> dict[str, frozenset[str]]:
    """Queues that a team serves, by tenant."""
    rows = await tx.fetch(
        "SELECT tenant_id, array_agg(DISTINCT queue) AS queues FROM team, unnest(queues) AS queue"
        " WHERE tenant_id = ANY ($1::text[]) AND active GROUP BY tenant_id",
        list(tenants),
    )
    return {row["tenant_id"]: frozenset(row["queues"]) for row in rows}


async def starving(tx: Tx, limit: int) -> list[tuple[str, str]]:
    """(tenant, queue) pairs with a backlog although somebody may have room; a skip scan, so cheap at any backlog."""
    rows = await tx.fetch(
        """
        WITH RECURSIVE queues AS (
            (SELECT tenant_id, queue FROM ticket WHERE active AND assignee_id IS NULL
             ORDER BY tenant_id, queue LIMIT 1)
            UNION ALL
            SELECT n.tenant_id, n.queue FROM queues q CROSS JOIN LATERAL (
                SELECT tenant_id, queue FROM ticket WHERE active AND assignee_id IS NULL
                AND (tenant_id, queue) > (q.tenant_id, q.queue) ORDER BY tenant_id, queue LIMIT 1
            ) n
        )
        SELECT tenant_id, queue FROM queues WHERE EXISTS (
            SELECT FROM team JOIN agent a ON a.tenant_id = team.tenant_id AND a.available
            AND team.team_id = ANY (a.team_ids)
            WHERE team.tenant_id = queues.tenant_id AND team.active AND queues.queue = ANY (team.queues)
        ) LIMIT $1
        """,
        limit,
    )
    return [(row["tenant_id"], row["queue"]) for row in rows]


async def save_people(tx: Tx, people: Sequence[PersonChanged]) -> None:
    """Keep agents as directory last told them; whoever is no agent any more takes no work."""
    await tx.execute(
        """
        INSERT INTO agent (person_id, tenant_id, version, capacity, available, team_ids)
        SELECT p.person_id, p.tenant_id, p.version, p.capacity, p.available, p.team_ids::uuid[]
        FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::int[], $5::bool[], $6::text[])
            AS p (person_id, tenant_id, version, capacity, available, team_ids)
        ON CONFLICT (person_id) DO UPDATE SET version = excluded.version, capacity = excluded.capacity,
            available = excluded.available, team_ids = excluded.team_ids
        WHERE agent.version <= excluded.version
        """,
        [p.person_id for p in people],
        [p.tenant_id for p in people],
        [p.version for p in people],
        [p.capacity for p in people],
        [p.available and p.active and p.role in AGENT_ROLES for p in people],
        ["{" + ",".join(str(team) for team in p.team_ids) + "}" for p in people],
    )


async def known(tx: Tx, person_ids: Sequence[UUID]) -> set[UUID]:
    """Which of these have a row as agents."""
    rows = await tx.fetch("SELECT person_id FROM agent WHERE person_id = ANY ($1::uuid[])", list(person_ids))
    return {row["person_id"] for row in rows}


async def save_teams(tx: Tx, teams: Sequence[TeamChanged]) -> None:
    """Keep teams as directory last told them."""
    for team in teams:
        await tx.execute(
            "INSERT INTO team (team_id, tenant_id, version, active, queues) VALUES ($1, $2, $3, $4, $5)"
            " ON CONFLICT (team_id) DO UPDATE SET version = excluded.version, active = excluded.active,"
            " queues = excluded.queues WHERE team.version <= excluded.version",
            team.team_id,
            team.tenant_id,
            team.version,
            team.active,
            list(team.queues),
        )


async def queues_of(tx: Tx, team_ids: Sequence[UUID]) -> list[tuple[str, str]]:
    """(tenant, queue) pairs that these teams serve."""
    rows = await tx.fetch(
        "SELECT DISTINCT tenant_id, unnest(queues) AS queue FROM team WHERE team_id = ANY ($1::uuid[]) AND active",
        list(team_ids),
    )
    return [(row["tenant_id"], row["queue"]) for row in rows]


async def remove(tx: Tx, person_ids: Sequence[UUID], team_ids: Sequence[UUID]) -> None:
    """Forget agents and teams that directory deleted."""
    await tx.execute("DELETE FROM agent WHERE person_id = ANY ($1::uuid[])", list(person_ids))
    await tx.execute("DELETE FROM team WHERE team_id = ANY ($1::uuid[])", list(team_ids))
