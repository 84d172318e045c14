"""Who may change what of whom (seed 000 §1.3).

Leads run their people's day: availability, capacity, teams, skills. Managers keep the directory: names, tiers,
organisations. Who may act as what (roles, and the addresses and activity of our own people, which prove who they are)
is an administrator's alone. Everybody of ours may say that they are available, and how they are called.
"""

from __future__ import annotations

from collections.abc import Collection

from services.directory.domain.people import Person
from shared.auth import Permission, Principal, allows
from shared.contracts.directory import Role

_OWN = frozenset({"available", "name", "language", "timezone"})
_DAY = frozenset({"available", "capacity", "team_ids", "skills"})
_RECORD = frozenset({"name", "tier", "organisation_id", "language", "timezone"})
_IDENTITY = frozenset({"role", "addresses", "active"})


def needed(principal: Principal, person: Person, fields: Collection[str]) -> Permission | None:
    """The first permission the principal lacks for changing these fields of this person; None when all is allowed."""
    own = principal.person_id == person.person_id and principal.role is not Role.CUSTOMER
    for field in sorted(fields):
        if own and field in _OWN:
            continue
        permission = _permission(field, person)
        if not allows(principal, permission):
            return permission
    return None


def needed_to_add(role: Role) -> Permission:
    """What making a person of this role takes: people who may do more than ask are an administrator's to make."""
    return Permission.DIRECTORY_WRITE if role is Role.CUSTOMER else Permission.CREDENTIAL_WRITE


def _permission(field: str, person: Person) -> Permission:
    if field == "role" or (field in _IDENTITY and person.role is not Role.CUSTOMER):
        return Permission.CREDENTIAL_WRITE
    if field in _DAY:
        return Permission.TEAM_WRITE
    if field in _RECORD or field in _IDENTITY:
        return Permission.DIRECTORY_WRITE
    return Permission.TENANT_WRITE


def may_see(principal: Principal, person: Person) -> bool:
    """Whether a person exists for the principal: colleagues see everybody of their tenant, others themselves."""
    if principal.tenant_id != person.tenant_id:
        return False
    return allows(principal, Permission.DIRECTORY_READ) or principal.person_id == person.person_id
