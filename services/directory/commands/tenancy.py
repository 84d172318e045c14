"""Making and changing tenants, organisations and teams."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from services.directory.commands import credentials
from services.directory.commands import people as people_commands
from services.directory.commands.caller import Caller
from services.directory.domain.inputs import (
    NewApiKey,
    NewPerson,
    NewTenant,
    OrganisationChanges,
    OrganisationIn,
    TeamChanges,
    TeamIn,
    TenantChanges,
)
from services.directory.domain.tenancy import TENANT, Organisation, Team, Tenant
from services.directory.store import organisations, people, teams, tenants
from shared import outbox, waiting
from shared.auth import Permission
from shared.contracts.directory import Role
from shared.db import Tx
from shared.envelope import Answer, Emit
from shared.http import stale
from shared.problem import Problem, conflict, invalid, not_found

SLICE = 500
"""People told of their organisation's change in one transaction."""


async def add_tenant(
    tx: Tx, caller: Caller, wanted: NewTenant, now: datetime, *, operator: bool
) -> tuple[Tenant, str | None]:
    """Make a tenant, and its first administrator's key if one is named. Raises 409 when the id is taken."""
    tenant = Tenant(
        tenant_id=wanted.tenant_id,
        name=wanted.name,
        timezone=wanted.timezone,
        languages=wanted.languages,
        mail_domains=wanted.mail_domains,
        inbound_addresses=wanted.inbound_addresses,
        operator=operator,
    )
    await _unclaimed(tx, tenant)
    if not await tenants.add(tx, tenant, tx.instant):
        raise conflict("tenant-exists", "Tenant exists", f"There is a tenant {tenant.tenant_id} already.")
    await waiting.wake(tx, TENANT, [tenant.tenant_id])
    await outbox.add(tx, [caller.emit(tenant.event())])
    if wanted.administrator is None:
        return tenant, None
    inside = replace(caller, principal=replace(caller.principal, tenant_id=tenant.tenant_id, person_id=None))
    person = await people_commands.add(
        tx,
        inside,
        NewPerson(name=wanted.administrator.name, addresses=(wanted.administrator.address,), role=Role.ADMIN),
    )
    secret, _ = await credentials.add_key(
        tx, inside, NewApiKey(person_id=person.person_id, name="first administrator"), now
    )
    return tenant, secret


async def change_tenant(tx: Tx, caller: Caller, tenant_id: str, changes: TenantChanges, expected: int | None) -> Tenant:
    """Change a tenant. Raises 404, 409, 412.

    Suspending one makes every service forget its keys; they come back with it.
    """
    tenant = await tenants.lock(tx, tenant_id)
    if tenant is None:
        raise not_found("tenant")
    if expected is not None and expected != tenant.version:
        raise stale()
    after = replace(tenant, **{field: getattr(changes, field) for field in changes.model_fields_set})
    if after == tenant:
        return tenant
    if tenant.operator and not after.active:
        raise conflict("operator-tenant", "Operator's tenant", "The tenant that runs the installation stays active.")
    await _unclaimed(tx, after)
    after = replace(after, version=tenant.version + 1)
    await tenants.save(tx, after, tx.instant)
    answers: list[Answer] = [caller.emit(after.event())]
    if tenant.active and not after.active:
        answers += await credentials.suspend_all(tx, tenant_id)
    elif after.active and not tenant.active:
        answers += await credentials.renew(tx, caller, tenant_id)
    await outbox.add(tx, answers)
    return after


async def _unclaimed(tx: Tx, tenant: Tenant) -> None:
    if await tenants.claimed(tx, tenant):
        raise conflict("address-taken", "Address taken", "Another tenant has one of these addresses or mail domains.")


async def add_team(tx: Tx, caller: Caller, wanted: TeamIn, team_id: UUID) -> Team:
    """Make a team. Raises 409 when the name is taken, 422 when its lead does not exist."""
    caller.require(Permission.TEAM_WRITE)
    team = Team(
        tenant_id=caller.tenant_id,
        team_id=team_id,
        name=wanted.name,
        queues=wanted.queues,
        tier=wanted.tier,
        lead_id=wanted.lead_id,
    )
    return await _save_team(tx, caller, team)


async def change_team(tx: Tx, caller: Caller, team_id: UUID, changes: TeamChanges, expected: int | None) -> Team:
    """Change a team, if it is still at version `expected`. Raises 404, 409, 412, 422."""
    team = await teams.get(tx, caller.tenant_id, team_id, lock=True)
    if team is None:
        raise not_found("team")
    caller.require(Permission.TEAM_WRITE)
    if expected is not None and expected != team.version:
        raise stale()
    after = replace(team, **{field: getattr(changes, field) for field in changes.model_fields_set})
    if after == team:
        return team
    return await _save_team(tx, caller, replace(after, version=team.version + 1))


async def _save_team(tx: Tx, caller: Caller, team: Team) -> Team:
    if team.lead_id is not None:
        lead = await people.get(tx, team.tenant_id, team.lead_id)
        if lead is None or lead.role not in people_commands.WORKING:
            raise invalid(["lead_id"], "there is no such agent")
    if not await teams.save(tx, team, tx.instant):
        raise conflict("name-taken", "Name taken", "Another team has this name.")
    await outbox.add(tx, [caller.emit(team.event())])
    return team


async def add_organisation(tx: Tx, caller: Caller, wanted: OrganisationIn, organisation_id: UUID) -> Organisation:
    """Make an organisation; whoever writes from its domains belongs to it from now on. Raises 409."""
    caller.require(Permission.DIRECTORY_WRITE)
    organisation = Organisation(
        tenant_id=caller.tenant_id,
        organisation_id=organisation_id,
        name=wanted.name,
        tier=wanted.tier,
        domains=tuple(sorted(wanted.domains)),
    )
    return await _save_organisation(tx, caller, organisation)


async def change_organisation(
    tx: Tx, caller: Caller, organisation_id: UUID, changes: OrganisationChanges, expected: int | None
) -> Organisation:
    """Change an organisation, if it is still at version `expected`. Raises 404, 409, 412."""
    organisation = await organisations.get(tx, caller.tenant_id, organisation_id, lock=True)
    if organisation is None:
        raise not_found("organisation")
    caller.require(Permission.DIRECTORY_WRITE)
    if expected is not None and expected != organisation.version:
        raise stale()
    after = replace(organisation, **{field: getattr(changes, field) for field in changes.model_fields_set})
    after = replace(after, domains=tuple(sorted(after.domains)))
    if after == organisation:
        return organisation
    return await _save_organisation(tx, caller, replace(after, version=organisation.version + 1))


async def _save_organisation(tx: Tx, caller: Caller, organisation: Organisation) -> Organisation:
    taken = await organisations.save(tx, organisation, tx.instant)
    if taken is not None:
        raise _taken(taken)
    await spread(tx, organisation, caller)
    return organisation


async def spread(tx: Tx, organisation: Organisation, caller: Caller | None = None) -> int:
    """Tell the next slice of its people of an organisation's change; fewer than a slice means that all are told."""
    keys = await organisations.spread(tx, organisation, SLICE, tx.instant)
    told = await people.load(tx, keys)
    await outbox.add(tx, [caller.emit(person.event()) if caller else Emit(person.event()) for person in told])
    return len(told)


def _taken(what: str) -> Problem:
    if what == "name":
        return conflict("name-taken", "Name taken", "Another organisation has this name.")
    return conflict("domain-taken", "Domain taken", f"The domain {what} belongs to another organisation.")
