"""On whose behalf something is changed."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from shared.auth import Permission, Principal, require
from shared.contracts.directory import Role
from shared.contracts.event import Event
from shared.envelope import Emit


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The principal, and the request that its events are traced to."""

    principal: Principal
    correlation: str | None = None
    traceparent: str | None = None

    @property
    def tenant_id(self) -> str:
        """The tenant that everything is read and written in."""
        return self.principal.tenant_id

    @property
    def person_id(self) -> UUID | None:
        """Who it is, where it is a person."""
        return self.principal.person_id

    def require(self, permission: Permission) -> None:
        """Raise a 403 problem unless the caller has the permission."""
        require(self.principal, permission)

    def emit(self, event: Event) -> Emit:
        """The event, traced to the request."""
        return Emit(event, correlation=self.correlation, traceparent=self.traceparent)


def bootstrap(tenant_id: str) -> Caller:
    """Whoever holds the database itself: `deskwire seed`, before there is anybody to authenticate."""
    return Caller(principal=Principal(tenant_id, None, Role.ADMIN, "seed"))
