"""What is asked of directory, judged before anything is written: the bodies of its API, with their bounds."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID
from zoneinfo import available_timezones

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from services.directory.domain.people import MAX_NAME, clean_name, usable_address
from services.directory.domain.tenancy import INSTALLATION
from shared.contracts.directory import Role, Skill
from shared.contracts.event import TenantId

_ZONES = frozenset(available_timezones())


def _zone(name: str) -> str:
    if name not in _ZONES:
        raise ValueError("not an IANA time zone such as Europe/Berlin")
    return name


def _address(text: str) -> str:
    address = usable_address(text)
    if address is None or " " in address:
        raise ValueError("not an address")
    return address


def _domain(text: str) -> str:
    domain = usable_address(f"x@{text.strip().lstrip('@')}")
    labels = (domain or "").removeprefix("x@").split(".")
    if len(labels) < 2 or not all(_label(label) for label in labels):
        raise ValueError("not a mail domain such as example.com")
    return ".".join(labels)


def _label(label: str) -> bool:
    plain = label.replace("-", "")
    return 0 < len(label) <= 63 and plain.isascii() and plain.isalnum() and label[0] != "-" and label[-1] != "-"


def _said(name: str) -> str:
    cleaned = clean_name(name)
    if not cleaned:
        raise ValueError("a name has visible characters")
    return cleaned


def _free(tenant_id: str) -> str:
    if tenant_id == INSTALLATION:
        raise ValueError("this name stands for the installation itself")
    return tenant_id


def _once(items: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))


DisplayName = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME), AfterValidator(_said)]
Zone = Annotated[str, StringConstraints(max_length=64), AfterValidator(_zone)]
Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$", max_length=35)]
Tier = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Queue = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Address = Annotated[str, StringConstraints(min_length=1, max_length=320), AfterValidator(_address)]
Domain = Annotated[str, StringConstraints(min_length=1, max_length=253), AfterValidator(_domain)]
Addresses = Annotated[tuple[Address, ...], Field(min_length=1, max_length=20), AfterValidator(_once)]
Capacity = Annotated[int, Field(ge=0, le=1000)]
NewTenantId = Annotated[TenantId, AfterValidator(_free)]


class SkillIn(Skill):
    """A skill with a name of bounded length."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=60, strip_whitespace=True)]


def _one_each(skills: tuple[SkillIn, ...]) -> tuple[SkillIn, ...]:
    names = [skill.name for skill in skills]
    if len(set(names)) < len(names):
        raise ValueError("each skill once")
    return tuple(sorted(skills, key=lambda skill: skill.name))


Skills = Annotated[tuple[SkillIn, ...], Field(max_length=100), AfterValidator(_one_each)]
Teams = Annotated[tuple[UUID, ...], Field(max_length=100), AfterValidator(lambda ids: tuple(sorted(set(ids))))]


class Input(BaseModel):
    """A request body: what is not known is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class NewPerson(Input):
    """A person to be made; with role `customer` a requester, else one of ours or a machine."""

    name: DisplayName
    addresses: Addresses
    role: Role = Role.AGENT
    tier: Tier | None = None
    organisation_id: UUID | None = None
    language: Language | None = None
    timezone: Zone | None = None
    team_ids: Teams = ()
    skills: Skills = ()
    capacity: Capacity = 0
    available: bool = False


class PersonChanges(Input):
    """Fields of a person that are to become so; those left out stay as they are."""

    name: DisplayName = ""
    addresses: Addresses = ()
    role: Role = Role.CUSTOMER
    tier: Tier | None = None
    organisation_id: UUID | None = None
    language: Language | None = None
    timezone: Zone | None = None
    team_ids: Teams = ()
    skills: Skills = ()
    capacity: Capacity = 0
    available: bool = False
    active: bool = True


class NewTenant(Input):
    """A tenant to be made, and, if wanted, its first administrator."""

    tenant_id: NewTenantId
    name: DisplayName
    timezone: Zone = "UTC"
    languages: Annotated[tuple[Language, ...], Field(min_length=1, max_length=20), AfterValidator(_once)] = ("en",)
    mail_domains: Annotated[tuple[Domain, ...], Field(max_length=100), AfterValidator(_once)] = ()
    inbound_addresses: Annotated[tuple[Address, ...], Field(max_length=500), AfterValidator(_once)] = ()
    administrator: NewAdministrator | None = None


class NewAdministrator(Input):
    """Who gets a new tenant's first key."""

    name: DisplayName
    address: Address


class TenantChanges(Input):
    """Fields of a tenant that are to become so."""

    name: DisplayName = ""
    active: bool = True
    timezone: Zone = "UTC"
    languages: Annotated[tuple[Language, ...], Field(min_length=1, max_length=20), AfterValidator(_once)] = ("en",)
    mail_domains: Annotated[tuple[Domain, ...], Field(max_length=100), AfterValidator(_once)] = ()
    inbound_addresses: Annotated[tuple[Address, ...], Field(max_length=500), AfterValidator(_once)] = ()


class TeamIn(Input):
    """A team to be made."""

    name: DisplayName
    queues: Annotated[tuple[Queue, ...], Field(max_length=100), AfterValidator(_once)] = ()
    tier: Annotated[int, Field(ge=1, le=4)] = 1
    lead_id: UUID | None = None


class TeamChanges(Input):
    """Fields of a team that are to become so."""

    name: DisplayName = ""
    queues: Annotated[tuple[Queue, ...], Field(max_length=100), AfterValidator(_once)] = ()
    tier: Annotated[int, Field(ge=1, le=4)] = 1
    lead_id: UUID | None = None
    active: bool = True


class OrganisationIn(Input):
    """An organisation to be made. Whoever writes from one of its domains belongs to it and has its tier."""

    name: DisplayName
    tier: Tier | None = None
    domains: Annotated[tuple[Domain, ...], Field(max_length=100), AfterValidator(_once)] = ()


class OrganisationChanges(Input):
    """Fields of an organisation that are to become so. People keep belonging to it when a domain goes."""

    name: DisplayName = ""
    tier: Tier | None = None
    domains: Annotated[tuple[Domain, ...], Field(max_length=100), AfterValidator(_once)] = ()
    active: bool = True


class NewApiKey(Input):
    """An API key to be made for a person or a machine of the tenant."""

    person_id: UUID
    name: DisplayName
    expires_at: AwareDatetime | None = None


class TokenWanted(Input):
    """How long the token is to prove who you are, in seconds."""

    ttl_seconds: Annotated[int, Field(ge=30, le=600)] = 600


NewTenant.model_rebuild()
