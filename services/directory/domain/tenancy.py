"""Tenants, organisations, teams, credentials: what is kept of each and what the other services are told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from shared.contracts.directory import (
    CredentialChanged,
    CredentialKind,
    PolicyPublished,
    Role,
    TeamChanged,
    TenantChanged,
)

INSTALLATION = "deskwire"
"""In the place of a tenant for what belongs to all of them (signing keys); no tenant may be called so."""

TENANT = "tenant"
"""The kind of thing that a message of an unknown tenant waits for; the transaction that makes the tenant wakes it."""

SIGNS_AFTER = timedelta(seconds=30)
"""A new signing key is known everywhere before it signs; until then the former one does."""

VERIFIES_LONGER = timedelta(minutes=15)
"""How long a replaced signing key still verifies: the ten minutes its last token lives, and room for late clocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A customer organisation of ours that runs its desk here."""

    tenant_id: str
    version: int = 1
    name: str
    active: bool = True
    timezone: str = "UTC"
    languages: tuple[str, ...] = ("en",)
    mail_domains: tuple[str, ...] = ()
    inbound_addresses: tuple[str, ...] = ()
    operator: bool = False
    """Runs the installation: its administrators make and change tenants."""

    def event(self) -> TenantChanged:
        """What the other services are told."""
        return TenantChanged(
            tenant_id=self.tenant_id,
            version=self.version,
            name=self.name,
            active=self.active,
            timezone=self.timezone,
            languages=self.languages,
            mail_domains=self.mail_domains,
            inbound_addresses=self.inbound_addresses,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Organisation:
    """A company whose people write to a tenant; its tier is theirs."""

    tenant_id: str
    organisation_id: UUID
    version: int = 1
    name: str
    tier: str | None = None
    domains: tuple[str, ...] = ()
    """Mail domains that are proven to be theirs: whoever writes from one belongs to them."""
    active: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """A team of agents and the queues it serves."""

    tenant_id: str
    team_id: UUID
    version: int = 1
    name: str
    queues: tuple[str, ...] = ()
    tier: int = 1
    lead_id: UUID | None = None
    active: bool = True

    def event(self) -> TeamChanged:
        """What the other services are told."""
        return TeamChanged(
            tenant_id=self.tenant_id,
            team_id=self.team_id,
            version=self.version,
            name=self.name,
            queues=self.queues,
            tier=self.tier,
            lead_id=self.lead_id,
            active=self.active,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """The hash of an API key and whose it is. The key itself is shown once, to its owner, and kept nowhere."""

    tenant_id: str
    credential_id: str
    """SHA-256 of the key, in hex."""
    version: int = 1
    person_id: UUID
    role: Role
    """The person's, always as it is now."""
    name: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def event(self) -> CredentialChanged:
        """What every service needs to verify the key."""
        return CredentialChanged(
            tenant_id=self.tenant_id,
            credential_id=self.credential_id,
            kind=CredentialKind.API_KEY,
            version=self.version,
            person_id=self.person_id,
            role=self.role,
            name=self.name,
            expires_at=self.expires_at,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A key that signs tokens; its private part only wrapped by the master key."""

    kid: str
    version: int = 1
    public_key: dict[str, Any]
    wrapped_private: bytes = field(repr=False)
    created_at: datetime
    expires_at: datetime | None = None
    """When it stops verifying; None for the one that signs."""

    def event(self) -> CredentialChanged:
        """What every service needs to verify tokens signed by it."""
        return CredentialChanged(
            tenant_id=INSTALLATION,
            credential_id=self.kid,
            kind=CredentialKind.SIGNING_KEY,
            version=self.version,
            name="signing key",
            public_key=self.public_key,
            expires_at=self.expires_at,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PackVersion:
    """A pack as it was applied once."""

    tenant_id: str
    version: int
    name: str
    text: str = ""
    applied_by: UUID | None
    applied_at: datetime
    rolled_back_to: int | None = None
    """The version whose text this is again."""


def signer(keys: Iterable[SigningKey], now: datetime) -> SigningKey | None:
    """The key that signs at `now`: the newest one that everybody had time to learn of, else the only one there is."""
    usable = [key for key in keys if key.expires_at is None or key.expires_at > now]
    known = [key for key in usable if key.created_at <= now - SIGNS_AFTER]
    return max(known or usable, key=lambda key: key.created_at, default=None)


def published(pack: PackVersion, section: str, document: dict[str, Any], at: datetime) -> PolicyPublished:
    """One section, in force from `at` on."""
    return PolicyPublished(
        tenant_id=pack.tenant_id,
        policy_key=policy_key(pack.tenant_id, section),
        section=section,
        pack=pack.name,
        pack_version=pack.version,
        document=document,
        published_at=at,
    )


def policy_key(tenant_id: str, section: str) -> str:
    """What a section is published under."""
    return f"{tenant_id}/{section}"
