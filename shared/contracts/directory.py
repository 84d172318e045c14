"""Reference data owned by directory: tenants, people, teams, credentials, policies. All compacted."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field, JsonValue

from shared.contracts.event import OPEN, Contract, Event, Instant


class Role(StrEnum):
    """What a person may do (seed 000 §1.3)."""

    CUSTOMER = "customer"
    AGENT = "agent"
    TEAM_LEAD = "team_lead"
    MANAGER = "manager"
    ADMIN = "admin"
    SERVICE = "service"
    """A machine: publishes messages and reads tickets, changes none."""


class TenantChanged(Event):
    """A customer organisation of ours that runs its desk here."""

    TYPE: ClassVar[str] = "tenant.changed.v1"
    KEY: ClassVar[str] = "tenant_id"

    version: int
    """Rises with every change; readers keep the highest."""
    name: str
    active: bool = True
    timezone: str = "UTC"
    """IANA zone."""
    languages: tuple[str, ...] = ("en",)
    """BCP 47; the first is the default."""
    mail_domains: tuple[str, ...] = ()
    """Domains that this tenant's own inbound addresses belong to."""
    inbound_addresses: tuple[str, ...] = ()
    """Addresses whose mail opens tickets of this tenant."""


class Skill(Contract):
    """What an agent can do, and how well."""

    name: str
    proficiency: Annotated[int, Field(ge=1, le=10)] = 5
    """10 is the best."""


class PersonChanged(Event):
    """A requester or an agent."""

    TYPE: ClassVar[str] = "person.changed.v1"
    KEY: ClassVar[str] = "person_id"

    person_id: UUID
    """UUIDv5(tenant, normalised address) for a requester."""
    version: int
    """Rises with every change; readers keep the highest."""
    role: Annotated[Role | str, OPEN] = Role.CUSTOMER
    name: str = ""
    addresses: tuple[str, ...] = ()
    """Every address the person is reached at, the preferred one first."""
    organisation_id: UUID | None = None
    organisation: str | None = None
    """Its name."""
    tier: str | None = None
    """The support tier of the person's contract: `enterprise`, `premium`, …"""
    language: str | None = None
    timezone: str | None = None
    team_ids: tuple[UUID, ...] = ()
    skills: tuple[Skill, ...] = ()
    capacity: Annotated[int, Field(ge=0)] = 0
    """How many tickets an agent may have active at once."""
    available: bool = False
    """An agent who takes new work now."""
    active: bool = True


class TeamChanged(Event):
    """A team of agents and the queues it serves."""

    TYPE: ClassVar[str] = "team.changed.v1"
    KEY: ClassVar[str] = "team_id"

    team_id: UUID
    version: int
    """Rises with every change; readers keep the highest."""
    name: str
    queues: tuple[str, ...] = ()
    tier: int = 1
    """Support level 1 to 4 (seed 001 §6.2)."""
    lead_id: UUID | None = None
    active: bool = True


class CredentialKind(StrEnum):
    """What can prove who somebody is."""

    API_KEY = "api_key"
    SIGNING_KEY = "signing_key"


class CredentialChanged(Event):
    """An API key's hash or a public signing key, for offline verification by every service; a tombstone revokes it."""

    TYPE: ClassVar[str] = "credential.changed.v1"
    KEY: ClassVar[str] = "credential_id"

    credential_id: str
    """For an API key the SHA-256 of the key in hex; for a signing key its `kid`."""
    kind: Annotated[CredentialKind | str, OPEN]
    version: int
    """Rises with every change; readers keep the highest."""
    person_id: UUID | None = None
    """Whose key it is; None for a signing key."""
    role: Annotated[Role | str, OPEN] | None = None
    name: str = ""
    public_key: JsonValue = None
    """The JWK of a signing key."""
    expires_at: Instant | None = None


class PolicyPublished(Event):
    """One section of a tenant's policy pack, as it is in force from now on."""

    TYPE: ClassVar[str] = "policy.published.v1"
    KEY: ClassVar[str] = "policy_key"

    policy_key: str
    """`<tenant>/<section>`."""
    section: str
    """`workflow`, `priorities`, `assignment`, …"""
    pack: str
    """The pack the section came in."""
    pack_version: int
    """Rises with every publication, also with one that rolls back."""
    document: dict[str, JsonValue]
    """The section; its model is `shared.contracts.pack`."""
    published_at: Instant
