"""Ids that two services must compute alike."""

from __future__ import annotations

from functools import lru_cache
from uuid import NAMESPACE_URL, UUID, uuid5

DESKWIRE = uuid5(NAMESPACE_URL, "https://deskwire.dev/ids")


@lru_cache(maxsize=4096)
def tenant_namespace(tenant_id: str) -> UUID:
    """The namespace of everything that belongs to a tenant."""
    return uuid5(DESKWIRE, f"tenant:{tenant_id}")


def message_id(tenant_id: str, channel: str, source_id: str) -> UUID:
    """A message by what its source calls it (a Message-ID, an Idempotency-Key, an upstream id)."""
    return uuid5(tenant_namespace(tenant_id), f"message:{channel}:{source_id}")


def ticket_id(tenant_id: str, message: UUID) -> UUID:
    """The ticket that a message opens."""
    return uuid5(tenant_namespace(tenant_id), f"ticket:{message}")


def person_id(tenant_id: str, address: str) -> UUID:
    """A person by their normalised address."""
    return uuid5(tenant_namespace(tenant_id), f"person:{normalise_address(address)}")


def breach_id(ticket: UUID, clock: str, cycle: int) -> UUID:
    """The breach of one clock of a ticket in one cycle: told once, however often it is found (architecture rule 5)."""
    return uuid5(ticket, f"breach:{clock}:{cycle}")


def normalise_address(address: str) -> str:
    """Case-folded, trimmed, the domain in its ASCII form; local parts keep dots and tags, which mean something to some.

    An address without a domain (a phone number, a handle) is folded and trimmed only.
    """
    text = address.strip().casefold()
    local, at, domain = text.rpartition("@")
    if not at:
        return text
    try:
        domain = domain.rstrip(".").encode("idna").decode("ascii")
    except UnicodeError:
        domain = domain.rstrip(".")
    return f"{local}@{domain}"
