"""Which tenant a recipient address belongs to. Pure but for the tokens' key, which is an argument."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from services.ingest.mail.addresses import Mailbox
from shared.auth import mail_token
from shared.contracts import ids
from shared.contracts.directory import TenantChanged


@dataclass(frozen=True, slots=True)
class Claim:
    """A tenant's claim on a whole address or a domain."""

    place: str
    tenant_id: str
    catch_all: bool = False
    """Every address of the domain; otherwise only replies by token and `postmaster`."""


@dataclass(frozen=True, slots=True)
class Destination:
    """One recipient of ours."""

    tenant_id: str
    address: str
    """As the sender wrote it, normalised, its tag still on."""
    ticket_id: UUID | None = None
    """The ticket of a token that is ours and this tenant's."""
    inbound_address: str | None = None
    """The same without a tag, as the tenant claims it; None for a reply address and for the postmaster."""


def claims(tenant: TenantChanged) -> list[Claim]:
    """What a tenant's record claims. A tenant that lists domains and no addresses takes all mail of its domains."""
    if not tenant.active:
        return []
    addresses = [ids.normalise_address(one) for one in tenant.inbound_addresses]
    domains = {_domain(one): not addresses for one in tenant.mail_domains}
    for one in addresses:
        domains.setdefault(one.rpartition("@")[2], False)
    found = [Claim(one, tenant.tenant_id) for one in dict.fromkeys(addresses) if "@" in one]
    return found + [Claim(domain, tenant.tenant_id, every) for domain, every in domains.items() if domain]


def places(address: str) -> tuple[str, ...]:
    """Where to look an address up: itself, itself without its tag, its domain."""
    whole = ids.normalise_address(address)
    local, _, domain = whole.rpartition("@")
    bare = local.partition("+")[0]
    return tuple(dict.fromkeys((whole, f"{bare}@{domain}", domain)))


def destination(address: str, found: Mapping[str, Sequence[Claim]], token_key: bytes) -> Destination | None:
    """Whose address it is, given the claims on its `places`, the oldest first; None when nobody here takes it.

    A token decides between tenants that share a domain.
    """
    whole = ids.normalise_address(address)
    local = whole.rpartition("@")[0]
    if not local:
        return None
    token = mail_token.in_address(whole)
    claimed = [claim for place in places(address) for claim in found.get(place, ())]
    if token is not None:
        for claim in claimed:
            ticket = mail_token.verify(token_key, claim.tenant_id, token)
            if ticket is not None:
                return Destination(claim.tenant_id, whole, ticket)
    for claim in claimed:
        if "@" in claim.place:
            return Destination(claim.tenant_id, whole, inbound_address=claim.place)
        if token is not None or local == "postmaster":
            return Destination(claim.tenant_id, whole)
        if claim.catch_all:
            return Destination(claim.tenant_id, whole, inbound_address=whole)
    return None


def answered_tickets(tenant_id: str, addresses: Iterable[str], token_key: bytes) -> list[Destination]:
    """Which of the addresses that a mail names are signed reply addresses of this tenant."""
    found = []
    for address in dict.fromkeys(ids.normalise_address(one) for one in addresses):
        token = mail_token.in_address(address)
        ticket = None if token is None else mail_token.verify(token_key, tenant_id, token)
        if ticket is not None:
            found.append(Destination(tenant_id, address, ticket))
    return found


def account(tenant_id: str, address: str) -> Destination:
    """An address that is known to be a tenant's: its mailbox's, or one that a mail of its quarantine came to."""
    return Destination(tenant_id, address, inbound_address=None if mail_token.in_address(address) else address)


def inbound_address(destinations: Sequence[Destination], named: Iterable[str]) -> str | None:
    """Which of our addresses a mail was sent to: the first that it names, else the first that it came to."""
    by_address = {
        ids.normalise_address(one.address): ids.normalise_address(one.inbound_address)
        for one in destinations
        if one.inbound_address is not None
    }
    written = (by_address.get(ids.normalise_address(one)) for one in named)
    return next((one for one in written if one is not None), next(iter(by_address.values()), None))


def others(destinations: Iterable[Destination], named: Sequence[Mailbox]) -> list[Mailbox]:
    """Of those that a mail names the ones that are not we ourselves: a reply address takes part in nothing."""
    ours = {ids.normalise_address(one.address) for one in destinations}
    domains = {one.rpartition("@")[2] for one in ours}

    def is_ours(address: str) -> bool:
        whole = ids.normalise_address(address)
        return whole in ours or (mail_token.in_address(whole) is not None and whole.rpartition("@")[2] in domains)

    return [one for one in named if not is_ours(one.address)]


def by_tenant(destinations: Iterable[Destination]) -> dict[str, Sequence[Destination]]:
    """Recipients of one mail grouped: each tenant gets one message."""
    found: dict[str, list[Destination]] = {}
    for one in destinations:
        found.setdefault(one.tenant_id, []).append(one)
    return dict(sorted(found.items()))


def _domain(text: str) -> str:
    return ids.normalise_address(f"x@{text.strip().removeprefix('@')}").rpartition("@")[2]
