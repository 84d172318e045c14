"""A desk to begin with: a tenant, its people, two keys and the default pack. Running it again changes nothing.

This is how the first administrator comes to be: nobody could authenticate to make them. It therefore works on the
database itself, as whoever holds that address already may.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID, uuid5

from services.directory.commands import credentials, packs, people, tenancy
from services.directory.commands.caller import Caller, bootstrap
from services.directory.domain.inputs import (
    NewApiKey,
    NewPerson,
    NewTenant,
    OrganisationIn,
    SkillIn,
    TeamChanges,
    TeamIn,
)
from services.directory.domain.pack_check import Pack
from services.directory.domain.people import Person
from services.directory.domain.tenancy import Team
from services.directory.store import credentials as stored_credentials
from services.directory.store import organisations, teams, tenants
from services.directory.store import packs as stored_packs
from services.directory.store import people as stored_people
from shared.contracts import ids
from shared.contracts.directory import Role
from shared.db import Tx

ADMINISTRATOR = "admin"
MACHINE = "channels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """One person of the desk; `local` is the part of their address before the @."""

    local: str
    name: str
    role: Role
    teams: tuple[str, ...] = ()
    skills: tuple[tuple[str, int], ...] = ()
    capacity: int = 0


TEAMS = (
    TeamIn(name="Tier 1", queues=("tier1",), tier=1),
    TeamIn(name="Tier 2", queues=("tier2",), tier=2),
    TeamIn(name="Languages", queues=("spanish", "french", "translation"), tier=1),
)
"""Seed 000 §5.2: new tickets enter Tier 1, what it cannot solve goes to the specialists of Tier 2.

§3.2: Spanish and French have people of their own, other languages are translated first.
"""

SEATS = (
    Seat(local=ADMINISTRATOR, name="Ada Admin", role=Role.ADMIN),
    Seat(local="mara", name="Mara Manager", role=Role.MANAGER, teams=("Tier 1", "Tier 2")),
    Seat(local="leo", name="Leo Lead", role=Role.TEAM_LEAD, teams=("Tier 1",), capacity=2),
    Seat(
        local="ana",
        name="Ana Agent",
        role=Role.AGENT,
        teams=("Tier 1", "Languages"),
        skills=(("spanish", 9),),
        capacity=5,
    ),
    Seat(
        local="ben",
        name="Ben Agent",
        role=Role.AGENT,
        teams=("Tier 1", "Languages"),
        skills=(("french", 8),),
        capacity=5,
    ),
    Seat(
        local="rika",
        name="Rika Registry",
        role=Role.AGENT,
        teams=("Tier 2",),
        skills=(("registry", 9), ("performance", 6)),
        capacity=5,
    ),
    Seat(local="tom", name="Tom Transport", role=Role.AGENT, teams=("Tier 2",), skills=(("transport", 8),), capacity=5),
    Seat(local=MACHINE, name="Channel gateway", role=Role.SERVICE),
)
"""The roles of seed 000 §1.3 and the specialists of §5.2, at most five active tickets each."""

CUSTOMERS = (("Acme", "enterprise", "acme.example"), ("Globex", "standard", "globex.example"))
"""Two organisations, so that tiers (seed 000 §3.2) show: whoever writes from their domains has theirs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeded:
    """What there is now; a key only where it was made just now, since it is shown once."""

    tenant_id: str
    created: bool
    """Whether the tenant is new."""
    administrator_id: UUID
    administrator_address: str
    administrator_key: str | None = field(repr=False)
    machine_id: UUID
    machine_key: str | None = field(repr=False)
    support_address: str
    people: int
    teams: dict[str, UUID]
    pack_version: int


async def seed(
    tx: Tx, pack: Pack, now: datetime, *, tenant_id: str = "demo", name: str = "Demo desk", renew_key: bool = False
) -> Seeded:
    """Make what is missing of the desk. `renew_key` makes the administrator another key, for one that was lost."""
    caller = bootstrap(tenant_id)
    created = await _tenant(tx, caller, name, now)
    made = {team.name: team for team in [await _team(tx, caller, wanted) for wanted in TEAMS]}
    for customer in CUSTOMERS:
        await _organisation(tx, caller, *customer)
    persons = {seat.local: await _person(tx, caller, seat, made) for seat in SEATS}
    await _lead(tx, caller, made["Tier 1"], persons["leo"])
    administrator, machine = persons[ADMINISTRATOR], persons[MACHINE]
    latest = await stored_packs.latest(tx, tenant_id)
    version = latest.version if latest else (await packs.apply(tx, caller, pack)).pack.version
    return Seeded(
        tenant_id=tenant_id,
        created=created,
        administrator_id=administrator.person_id,
        administrator_address=administrator.addresses[0],
        administrator_key=await _key(tx, caller, administrator, "first administrator", now, again=renew_key),
        machine_id=machine.person_id,
        machine_key=await _key(tx, caller, machine, "channel gateway", now),
        support_address=f"support@{tenant_id}.example",
        people=len(persons),
        teams={team.name: team.team_id for team in made.values()},
        pack_version=version,
    )


async def _tenant(tx: Tx, caller: Caller, name: str, now: datetime) -> bool:
    tenant_id = caller.tenant_id
    if await tenants.lock(tx, tenant_id) is not None:
        return False
    wanted = NewTenant(
        tenant_id=tenant_id,
        name=name,
        mail_domains=(f"{tenant_id}.example",),
        inbound_addresses=(f"support@{tenant_id}.example",),
    )
    await tenancy.add_tenant(tx, caller, wanted, now, operator=not await tenants.has_operator(tx))
    return True


async def _team(tx: Tx, caller: Caller, wanted: TeamIn) -> Team:
    known = await teams.named(tx, caller.tenant_id, wanted.name)
    if known is not None:
        return known
    return await tenancy.add_team(tx, caller, wanted, _id(caller, f"team:{wanted.name}"))


async def _lead(tx: Tx, caller: Caller, team: Team, lead: Person) -> None:
    if team.lead_id is None and team.version == 1:
        changes = TeamChanges(lead_id=lead.person_id)
        await tenancy.change_team(tx, caller, team.team_id, changes, None)


async def _organisation(tx: Tx, caller: Caller, name: str, tier: str, domain: str) -> None:
    organisation_id = _id(caller, f"organisation:{name}")
    if await organisations.get(tx, caller.tenant_id, organisation_id) is None:
        wanted = OrganisationIn(name=name, tier=tier, domains=(domain,))
        await tenancy.add_organisation(tx, caller, wanted, organisation_id)


async def _person(tx: Tx, caller: Caller, seat: Seat, made: dict[str, Team]) -> Person:
    address = f"{seat.local}@{caller.tenant_id}.example"
    known = await stored_people.get(tx, caller.tenant_id, ids.person_id(caller.tenant_id, address))
    if known is not None:
        return known
    wanted = NewPerson(
        name=seat.name,
        addresses=(address,),
        role=seat.role,
        language="en",
        team_ids=tuple(made[team].team_id for team in seat.teams),
        skills=tuple(SkillIn(name=skill, proficiency=level) for skill, level in seat.skills),
        capacity=seat.capacity,
        available=seat.capacity > 0,
    )
    return await people.add(tx, caller, wanted)


async def _key(tx: Tx, caller: Caller, person: Person, name: str, now: datetime, *, again: bool = False) -> str | None:
    """The person's first key; None when they have, or had, one already."""
    if not again and await stored_credentials.page(
        tx, caller.tenant_id, after=None, limit=1, person_id=person.person_id
    ):
        return None
    secret, _ = await credentials.add_key(tx, caller, NewApiKey(person_id=person.person_id, name=name), now)
    return secret


def _id(caller: Caller, what: str) -> UUID:
    """The same thing has the same id in every run."""
    return uuid5(ids.tenant_namespace(caller.tenant_id), f"seed:{what}")
