"""Making and changing people."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from services.directory.commands import credentials
from services.directory.commands.caller import Caller
from services.directory.domain import access
from services.directory.domain.inputs import NewPerson, PersonChanges
from services.directory.domain.people import Person
from services.directory.store import organisations, people, teams, tenants
from shared import outbox
from shared.auth import forbidden
from shared.contracts import ids
from shared.contracts.directory import Role
from shared.db import Tx
from shared.envelope import Answer
from shared.http import stale
from shared.problem import Problem, conflict, invalid, not_found

WORKING = (Role.AGENT, Role.TEAM_LEAD, Role.MANAGER, Role.ADMIN)
"""Roles of people who can be given tickets."""


async def add(tx: Tx, caller: Caller, wanted: NewPerson) -> Person:
    """Make a person. Raises 409 when an address is somebody's already, 422 for what does not exist in this tenant."""
    caller.require(access.needed_to_add(wanted.role))
    person = Person(
        tenant_id=caller.tenant_id,
        person_id=ids.person_id(caller.tenant_id, wanted.addresses[0]),
        role=wanted.role,
        name=wanted.name,
        addresses=wanted.addresses,
        organisation_id=wanted.organisation_id,
        own_tier=wanted.tier,
        language=wanted.language,
        timezone=wanted.timezone,
        team_ids=wanted.team_ids,
        skills=wanted.skills,
        capacity=wanted.capacity,
        available=wanted.available,
    )
    if person.role is Role.CUSTOMER and person.organisation_id is None:
        person = await _placed(tx, person)
    await _check(tx, person, person.addresses)
    if await people.get(tx, *person.key):
        raise _taken(person.addresses[0], person.person_id)
    await people.save(tx, person, tx.instant)
    await _still_theirs(tx, person)
    return await _told(tx, caller, person, [])


async def change(tx: Tx, caller: Caller, person_id: UUID, changes: PersonChanges, expected: int | None) -> Person:
    """Change a person, if they are still at version `expected`.

    Raises 404, 412, 403 for a field the caller may not change, 409 for an address that is somebody else's or when it
    would leave the tenant without an administrator.
    """
    person = await people.lock(tx, caller.tenant_id, person_id)
    if person is None or not access.may_see(caller.principal, person):
        raise not_found("person")
    if expected is not None and expected != person.version:
        raise stale()
    after = _changed(person, changes)
    fields = {field for field in changes.model_fields_set if _value(after, field) != _value(person, field)}
    if not fields:
        return person
    lacking = access.needed(caller.principal, person, fields)
    if lacking is not None:
        raise forbidden(lacking)
    if person.role is Role.ADMIN and person.active and (after.role is not Role.ADMIN or not after.active):
        await _another_administrator(tx, person)
    await _check(tx, after, set(after.addresses) - set(person.addresses))
    after = replace(after, version=person.version + 1)
    await people.save(tx, after, tx.instant)
    await _still_theirs(tx, after)
    answers: list[Answer] = []
    if not after.active and person.active:
        answers = await credentials.revoke_all(tx, after)
    elif after.role is not person.role:
        # A key is worth what its owner may do now: verifiers read the role from the credential.
        answers = await credentials.renew(tx, caller, after.tenant_id, after.person_id)
    return await _told(tx, caller, after, answers)


def _changed(person: Person, changes: PersonChanges) -> Person:
    given = {field: getattr(changes, field) for field in changes.model_fields_set}
    if "tier" in given:
        given["own_tier"] = given.pop("tier")
    after = replace(person, **given)
    if after.available and (not after.active or after.role not in WORKING):
        # Nobody gives tickets to somebody who has left, or to a machine.
        after = replace(after, available=False)
    return after


def _value(person: Person, field: str) -> object:
    return person.own_tier if field == "tier" else getattr(person, field)


async def _check(tx: Tx, person: Person, new_addresses: set[str] | tuple[str, ...]) -> None:
    """Everything the person refers to exists, and the new addresses are free."""
    tenant = await tenants.get(tx, person.tenant_id)
    if tenant is None:
        raise not_found("tenant")
    for place, address in enumerate(person.addresses):
        if address in tenant.inbound_addresses:
            raise invalid(["addresses", place], "this is an inbound address of the tenant itself")
    owned = await people.owners(tx, [(person.tenant_id, address) for address in new_addresses])
    for (_, address), owner in sorted(owned.items()):
        if owner != person.person_id:
            raise _taken(address, owner)
    for team_id in await teams.missing(tx, person.tenant_id, person.team_ids):
        raise invalid(["team_ids", person.team_ids.index(team_id)], "there is no such team")
    if person.organisation_id is not None:
        organisation = await organisations.get(tx, person.tenant_id, person.organisation_id)
        if organisation is None:
            raise invalid(["organisation_id"], "there is no such organisation")


async def _still_theirs(tx: Tx, person: Person) -> None:
    """A message may have brought the same address a moment ago; then it has an owner we could not see before."""
    owned = await people.owners(tx, [(person.tenant_id, address) for address in person.addresses])
    for (_, address), owner in owned.items():
        if owner != person.person_id:
            raise _taken(address, owner)


async def _placed(tx: Tx, person: Person) -> Person:
    """A customer belongs to the organisation whose domain they write from."""
    for address in person.addresses:
        found = await organisations.of_domain(tx, person.tenant_id, address.rpartition("@")[2])
        if found is not None:
            return replace(person, organisation_id=found.organisation_id)
    return person


async def _another_administrator(tx: Tx, person: Person) -> None:
    if await people.administrators(tx, person.tenant_id) < 2:
        raise conflict(
            "last-administrator", "Last administrator", "Without this person nobody could administer the tenant."
        )


async def _told(tx: Tx, caller: Caller, person: Person, answers: list[Answer]) -> Person:
    """Publish the person as they are now, and what goes with it."""
    now = await people.get(tx, *person.key)
    if now is None:
        raise not_found("person")
    await outbox.add(tx, [caller.emit(now.event()), *answers])
    return now


def _taken(address: str, owner: UUID) -> Problem:
    del address  # a person's address belongs into no log; the caller sent it and knows which ones they were
    return conflict("address-taken", "Address taken", f"An address belongs to the person {owner} already.")
