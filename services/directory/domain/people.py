"""People: who is seen in a message, what a person is, and what of them may be told to everybody."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from shared.contracts import ids
from shared.contracts.directory import PersonChanged, Role, Skill
from shared.contracts.message import MessageReceived, Participant
from shared.envelope import Received

MAX_ADDRESS = 320
"""RFC 5321: 64 octets, the @, 255 octets."""
MAX_NAME = 200

Key = tuple[str, UUID]
"""A person anywhere: tenant and id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A requester or an agent, as this service keeps them."""

    tenant_id: str
    person_id: UUID
    version: int = 1
    role: Role = Role.CUSTOMER
    name: str = ""
    addresses: tuple[str, ...] = ()
    """Normalised; the first one is who they are."""
    organisation_id: UUID | None = None
    organisation: str | None = None
    own_tier: str | None = None
    """Given to this person; without one the organisation's counts."""
    organisation_tier: str | None = None
    language: str | None = None
    timezone: str | None = None
    team_ids: tuple[UUID, ...] = ()
    skills: tuple[Skill, ...] = ()
    capacity: int = 0
    available: bool = False
    active: bool = True

    @property
    def key(self) -> Key:
        """The person among all tenants."""
        return self.tenant_id, self.person_id

    @property
    def tier(self) -> str | None:
        """The support tier that counts."""
        return self.own_tier or self.organisation_tier

    def event(self) -> PersonChanged:
        """What the other services are told."""
        return PersonChanged(
            tenant_id=self.tenant_id,
            person_id=self.person_id,
            version=self.version,
            role=self.role,
            name=self.name,
            addresses=self.addresses,
            organisation_id=self.organisation_id,
            organisation=self.organisation,
            tier=self.tier,
            language=self.language,
            timezone=self.timezone,
            team_ids=self.team_ids,
            skills=self.skills,
            capacity=self.capacity,
            available=self.available,
            active=self.active,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """Somebody named in a message."""

    tenant_id: str
    address: str
    """Normalised."""
    person_id: UUID
    """As ingest computed it from the address; who they are when nobody else has the address."""
    name: str
    """As the message calls them; empty when it does not, or cannot be believed."""
    cause: Received[Any]
    """The message that first named them, or first knew their name."""


def sightings(batch: Sequence[Received[MessageReceived]]) -> list[Sighting]:
    """Everybody named in the messages, once per tenant and address, in the order in which rows are locked.

    The sender is a requester, and recipients take part. The first name given counts. Names in messages whose sender
    failed authentication are not believed: whoever forged the address chose the name too.
    """
    found: dict[tuple[str, str], Sighting] = {}
    for received in batch:
        message = received.event
        for participant in (message.sender, *message.recipients):
            address = usable_address(participant.address)
            if address is None:
                continue
            name = "" if message.spoofed else _name_of(participant, address)
            known = found.get((message.tenant_id, address))
            if known is None or (name and not known.name):
                found[message.tenant_id, address] = Sighting(
                    tenant_id=message.tenant_id,
                    address=address,
                    person_id=participant.person_id,
                    name=name,
                    cause=received,
                )
    return [found[key] for key in sorted(found)]


def usable_address(address: str) -> str | None:
    """The normalised address, or None for one that no person can have."""
    normal = ids.normalise_address(address)
    if not normal or len(normal) > MAX_ADDRESS or not normal.isprintable():
        return None
    return normal


def clean_name(name: str) -> str:
    """A display name as one line of visible text, at most 200 characters.

    Control and direction characters go: they could make one name look like another.
    """
    visible = "".join(" " if character.isspace() else character for character in unicodedata.normalize("NFC", name))
    visible = "".join(character for character in visible if unicodedata.category(character)[0] != "C")
    return re.sub(r" +", " ", visible).strip(" \"'")[:MAX_NAME].strip()


def _name_of(participant: Participant, address: str) -> str:
    name = clean_name(participant.name or "")
    return "" if "@" in name or name.casefold() == address else name


def inbound_forms(addresses: Iterable[str]) -> tuple[str, ...]:
    """The tenant's own addresses, normalised, each once, in order."""
    return tuple(dict.fromkeys(ids.normalise_address(address) for address in addresses))
