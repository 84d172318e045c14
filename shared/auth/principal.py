"""Who is asking."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from shared.contracts.directory import Role


@dataclass(frozen=True, slots=True)
class Principal:
    """A proven caller: of which tenant, which person (none for a bare API key), with which role."""

    tenant_id: str
    person_id: UUID | None
    role: Role
    credential_id: str
    """What proved it: an API key's SHA-256, or the `kid` of the key that signed the token."""

    @property
    def account(self) -> str:
        """One string per caller, for rate limits and for owning idempotency keys; holds no personal data."""
        return f"{self.tenant_id}/{self.person_id or self.credential_id}"
