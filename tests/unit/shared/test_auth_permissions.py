"""Roles against seed 000 §1.3, and the scope of tickets."""

from __future__ import annotations

from uuid import UUID

import pytest

from shared.auth import ROLE_PERMISSIONS, Permission, Principal, TicketScope, allows, require
from shared.contracts.directory import Role
from shared.problem import Problem

ANN = UUID("0190a0b0-0000-7000-8000-00000000000a")
BOB = UUID("0190a0b0-0000-7000-8000-00000000000b")
P = Permission


def of(role: Role, person: UUID | None = ANN) -> Principal:
    return Principal("acme", person, role, "credential")


def test_every_role_is_in_the_table() -> None:
    assert set(ROLE_PERMISSIONS) == set(Role)


def test_every_permission_is_given_to_somebody() -> None:
    assert frozenset().union(*ROLE_PERMISSIONS.values()) == set(Permission)


@pytest.mark.parametrize(
    ("lower", "higher"),
    [(Role.AGENT, Role.TEAM_LEAD), (Role.TEAM_LEAD, Role.MANAGER), (Role.MANAGER, Role.ADMIN)],
)
def test_each_rank_may_do_what_the_one_below_may_and_more(lower: Role, higher: Role) -> None:
    assert ROLE_PERMISSIONS[lower] < ROLE_PERMISSIONS[higher]


@pytest.mark.parametrize(
    ("role", "permission", "may"),
    [
        # "View, assign, update, resolve tickets": all tickets.
        (Role.AGENT, P.TICKET_READ, True),
        (Role.AGENT, P.TICKET_ASSIGN, True),
        (Role.AGENT, P.TICKET_UPDATE, True),
        (Role.AGENT, P.TICKET_TRANSITION, True),
        (Role.AGENT, P.SLA_WRITE, False),
        (Role.AGENT, P.DIRECTORY_WRITE, False),
        (Role.AGENT, P.AUDIT_READ, False),
        # "Manage team, escalations, SLA settings".
        (Role.TEAM_LEAD, P.TEAM_WRITE, True),
        (Role.TEAM_LEAD, P.ESCALATION_MANAGE, True),
        (Role.TEAM_LEAD, P.SLA_WRITE, True),
        (Role.TEAM_LEAD, P.POLICY_WRITE, False),
        # "Team oversight, reporting, workflow design".
        (Role.MANAGER, P.REPORT_READ, True),
        (Role.MANAGER, P.POLICY_WRITE, True),
        (Role.MANAGER, P.CREDENTIAL_WRITE, False),
        (Role.MANAGER, P.TENANT_WRITE, False),
        # "System configuration, custom fields, integrations".
        (Role.ADMIN, P.CREDENTIAL_WRITE, True),
        (Role.ADMIN, P.TENANT_WRITE, True),
        # "View own tickets, submit requests".
        (Role.CUSTOMER, P.TICKET_READ_OWN, True),
        (Role.CUSTOMER, P.TICKET_CREATE, True),
        (Role.CUSTOMER, P.TICKET_READ, False),
        (Role.CUSTOMER, P.TICKET_NOTE, False),
        (Role.CUSTOMER, P.TICKET_ASSIGN, False),
        (Role.CUSTOMER, P.DIRECTORY_READ, False),
        # A machine: publishes messages and reads tickets, changes none.
        (Role.SERVICE, P.MESSAGE_SUBMIT, True),
        (Role.SERVICE, P.TICKET_READ, True),
        (Role.SERVICE, P.TICKET_UPDATE, False),
        (Role.SERVICE, P.TICKET_CREATE, False),
    ],
)
def test_the_table_is_what_the_seed_says(role: Role, permission: Permission, may: bool) -> None:
    assert allows(of(role), permission) is may


def test_a_refusal_names_the_missing_permission() -> None:
    with pytest.raises(Problem) as refused:
        require(of(Role.CUSTOMER), P.POLICY_WRITE)
    assert refused.value.status == 403
    assert "policy.write" in str(refused.value.detail)
    require(of(Role.MANAGER), P.POLICY_WRITE)


@pytest.mark.parametrize("role", [Role.AGENT, Role.TEAM_LEAD, Role.MANAGER, Role.ADMIN, Role.SERVICE])
def test_the_desk_sees_all_tickets_of_its_own_tenant_only(role: Role) -> None:
    scope = TicketScope.of(of(role))
    assert scope.sees("acme", BOB)
    assert scope.sees("acme", None)
    assert not scope.sees("other", BOB)
    assert scope.sql() == ("ticket.tenant_id = $1", ["acme"])


def test_a_customer_sees_their_own_tickets_only() -> None:
    scope = TicketScope.of(of(Role.CUSTOMER))
    assert scope.sees("acme", ANN)
    assert not scope.sees("acme", BOB)
    assert not scope.sees("acme", None)
    assert not scope.sees("other", ANN)
    assert scope.sql(3, table="t") == ("t.tenant_id = $3 AND t.requester_id = $4", ["acme", ANN])


def test_a_customers_key_without_a_person_sees_nothing() -> None:
    scope = TicketScope.of(of(Role.CUSTOMER, None))
    assert not scope.sees("acme", None)
    condition, arguments = scope.sql()
    assert "false" in condition
    assert arguments == ["acme"]


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("person", [ANN, None])
@pytest.mark.parametrize("watchers", [None, "watcher"])
def test_the_tenant_is_always_in_the_condition(role: Role, person: UUID | None, watchers: str | None) -> None:
    condition, arguments = TicketScope.of(of(role, person)).sql(2, watchers=watchers)
    assert condition.startswith("ticket.tenant_id = $2")
    assert arguments[0] == "acme"
    assert " OR " not in condition.split("(")[0]


def test_who_reads_every_ticket_is_not_also_limited_to_their_own() -> None:
    both = {Permission.TICKET_READ, Permission.TICKET_READ_OWN}
    assert [role for role, granted in ROLE_PERMISSIONS.items() if both <= granted] == []
