"""What each role may do, in one table, and which tickets a principal may see.

Source: seed 000 §1.3. Agent: all tickets. Team lead: also escalations, SLA settings and the team. Manager: everything
of the desk. Admin: the system too. Customer: their own tickets. Service: submits and reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from shared.auth.principal import Principal
from shared.contracts.directory import Role
from shared.problem import Problem


class Permission(StrEnum):
    """One thing that can be allowed; the value is what a 403 answer names."""

    MESSAGE_SUBMIT = "message.submit"
    MESSAGE_READ = "message.read"
    """Raw messages and the quarantine."""
    TICKET_READ = "ticket.read"
    """Every ticket of the tenant."""
    TICKET_READ_OWN = "ticket.read_own"
    """Tickets the person requested or watches; without internal notes."""
    TICKET_CREATE = "ticket.create"
    TICKET_UPDATE = "ticket.update"
    TICKET_REPLY = "ticket.reply"
    TICKET_NOTE = "ticket.note"
    """Write and read internal notes."""
    TICKET_ASSIGN = "ticket.assign"
    TICKET_TRANSITION = "ticket.transition"
    TICKET_EXPORT = "ticket.export"
    ESCALATION_MANAGE = "escalation.manage"
    SLA_WRITE = "sla.write"
    TEAM_WRITE = "team.write"
    DIRECTORY_READ = "directory.read"
    DIRECTORY_WRITE = "directory.write"
    POLICY_READ = "policy.read"
    POLICY_WRITE = "policy.write"
    REPORT_READ = "report.read"
    AUDIT_READ = "audit.read"
    CREDENTIAL_WRITE = "credential.write"
    TENANT_WRITE = "tenant.write"
    WEBHOOK_WRITE = "webhook.write"
    """See and change webhook endpoints, replay deliveries: whoever may send the tenant's data elsewhere."""
    ERASE = "person.erase"


P = Permission
_CUSTOMER = frozenset({P.MESSAGE_SUBMIT, P.TICKET_READ_OWN, P.TICKET_CREATE, P.TICKET_REPLY})
_SERVICE = frozenset({P.MESSAGE_SUBMIT, P.TICKET_READ})
_AGENT = frozenset(
    {
        P.MESSAGE_SUBMIT,
        P.MESSAGE_READ,
        P.TICKET_READ,
        P.TICKET_CREATE,
        P.TICKET_UPDATE,
        P.TICKET_REPLY,
        P.TICKET_NOTE,
        P.TICKET_ASSIGN,
        P.TICKET_TRANSITION,
        P.DIRECTORY_READ,
        P.POLICY_READ,
    }
)
_TEAM_LEAD = _AGENT | {P.ESCALATION_MANAGE, P.SLA_WRITE, P.TEAM_WRITE, P.REPORT_READ}
_MANAGER = _TEAM_LEAD | {P.DIRECTORY_WRITE, P.POLICY_WRITE, P.TICKET_EXPORT, P.AUDIT_READ, P.WEBHOOK_WRITE}
_ADMIN = frozenset(Permission) - {P.TICKET_READ_OWN}

ROLE_PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.CUSTOMER: _CUSTOMER,
    Role.AGENT: _AGENT,
    Role.TEAM_LEAD: _TEAM_LEAD,
    Role.MANAGER: _MANAGER,
    Role.ADMIN: _ADMIN,
    Role.SERVICE: _SERVICE,
}


def allows(principal: Principal, permission: Permission) -> bool:
    """Whether the principal's role has the permission."""
    return permission in ROLE_PERMISSIONS[principal.role]


def forbidden(permission: Permission) -> Problem:
    """The answer to somebody who may see the thing but not do this to it."""
    return Problem(403, "forbidden", "Not allowed", f"This needs the permission {permission.value}.")


def require(principal: Principal, permission: Permission) -> None:
    """Raise a 403 problem that names the permission unless the principal has it.

    For a ticket look first whether it is visible (`TicketScope`): what may not be seen is answered 404.
    """
    if not allows(principal, permission):
        raise forbidden(permission)


@dataclass(frozen=True, slots=True)
class TicketScope:
    """Which tickets a principal may see: of one tenant, and all of them, one person's own, or none."""

    tenant_id: str
    all_tickets: bool = False
    person_id: UUID | None = None

    @classmethod
    def of(cls, principal: Principal) -> TicketScope:
        """The scope that the principal's role gives."""
        if allows(principal, Permission.TICKET_READ):
            return cls(principal.tenant_id, all_tickets=True)
        if allows(principal, Permission.TICKET_READ_OWN):
            return cls(principal.tenant_id, person_id=principal.person_id)
        return cls(principal.tenant_id)

    def sql(
        self, first_parameter: int = 1, *, table: str = "ticket", watchers: str | None = None
    ) -> tuple[str, list[object]]:
        """A condition on `<table>.tenant_id` and `<table>.requester_id`, and its arguments from `$first_parameter` on.

        `watchers` names a table `(ticket_id, person_id)` whose people may see the ticket too. Both names come from
        our code, never from a request. Always has the tenant in it, so it can stand alone in a WHERE.
        """
        tenant = f"{table}.tenant_id = ${first_parameter}"
        if self.all_tickets:
            return tenant, [self.tenant_id]
        if self.person_id is None:
            return f"{tenant} AND false", [self.tenant_id]
        person = f"${first_parameter + 1}"
        own = f"{table}.requester_id = {person}"
        if watchers is not None:
            own = (
                f"({own} OR EXISTS (SELECT FROM {watchers} w WHERE w.ticket_id = {table}.id"
                f" AND w.person_id = {person}))"
            )
        return f"{tenant} AND {own}", [self.tenant_id, self.person_id]

    def sees(self, tenant_id: str, requester_id: UUID | None) -> bool:
        """The same rule for a ticket at hand (watchers apart)."""
        if tenant_id != self.tenant_id:
            return False
        return self.all_tickets or (self.person_id is not None and requester_id == self.person_id)
