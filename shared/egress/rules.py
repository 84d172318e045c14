"""Which addresses a tenant may have us connect to: public unicast on usual ports, and what the operator opens.

Pure. An address that carries another one inside (IPv4-mapped, 6to4, NAT64, Teredo, ISATAP) is refused whatever it
carries: Python calls `64:ff9b::7f00:1` and `2002:7f00:1::` global, and both may end at 127.0.0.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit, urlunsplit

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

LONGEST_URL = 2048
LONGEST_NAME = 253
DEFAULT_PORTS = {"https": 443, "http": 80}

_UNICAST = IPv6Network("2000::/3")
"""All of IPv6 that is routed on the Internet."""
_CLOSED: tuple[Network, ...] = (
    IPv4Network("0.0.0.0/8"),
    IPv4Network("100.64.0.0/10"),  # carrier-grade NAT; 100.100.100.200 is Alibaba's metadata
    IPv4Network("192.0.0.0/24"),  # protocol assignments; 192.0.0.192 is Oracle's metadata
    IPv4Network("192.88.99.0/24"),  # 6to4 relays
    IPv4Network("168.63.129.16/32"),  # Azure's wire server: public in form, the host machine in fact
    IPv4Network("198.18.0.0/15"),
    IPv4Network("240.0.0.0/4"),
    IPv6Network("2001::/23"),  # Teredo, ORCHID, benchmarks and other assignments
    IPv6Network("2001:db8::/32"),
    IPv6Network("2002::/16"),  # 6to4
    IPv6Network("3fff::/20"),  # documentation
)
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMERIC = re.compile(r"(0x[0-9a-f]*|\d+)")
"""A last label like this makes a resolver read the whole name as an IPv4 address (`2130706433`, `0x7f.1`)."""
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\x9f\\]")


class RefusedError(OSError):
    """An address we do not connect to. The text names no address: the tenant must not map a network by our answers."""


class UrlError(ValueError):
    """An address of a tenant that can never be called; the text is for people."""


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a URL calls."""

    scheme: str
    host: str
    """Lower case, in its ASCII form, without a final dot; an IPv6 address without brackets."""
    port: int

    @property
    def address(self) -> Address | None:
        """The host, if it is an address and no name."""
        try:
            return ip_address(self.host)
        except ValueError:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the operator allows. An opened network may be called on any port, and without TLS."""

    opened: tuple[Network, ...] = ()
    ports: frozenset[int] = frozenset({443, 8443})
    plain_http: bool = False
    """Whether `http` may go to public addresses too; then also to ports 80 and 8080."""

    def opens(self, address: Address) -> bool:
        """Whether the operator has made an exception for this address."""
        return any(address.version == network.version and address in network for network in self.opened)

    def refuses(self, target: Target, address: Address) -> str | None:
        """Why `target` may not be called at `address`, or None when it may."""
        if self.opens(address):
            return None
        if not is_public(address):
            return "the address is not a public one"
        if target.scheme != "https" and not self.plain_http:
            return "https is needed"
        usual = self.ports | {80, 8080} if self.plain_http else self.ports
        return None if target.port in usual else f"port {target.port} is not called"

    def never(self, target: Target) -> str | None:
        """Why no look-up could ever make `target` acceptable, or None when one could."""
        address = target.address
        if address is not None:
            return self.refuses(target, address)
        if self.opened:
            return None
        if "." not in target.host or target.host.endswith((".localhost", ".local", ".internal", ".home.arpa")):
            return "the name is not a public one"
        return self.refuses(target, _ANYBODY)


_ANYBODY = IPv4Address("1.1.1.1")
"""Stands for any public address."""


def is_public(address: Address) -> bool:
    """Whether an address is public unicast that carries no other address inside."""
    if any(address.version == network.version and address in network for network in _CLOSED):
        return False
    if isinstance(address, IPv6Address):
        if address not in _UNICAST or address.scope_id is not None:
            return False
        if (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def networks(texts: str) -> tuple[Network, ...]:
    """Networks in CIDR form, separated by commas. Raises ValueError naming the first that is none."""
    return tuple(ip_network(text.strip()) for text in texts.split(",") if text.strip())


@lru_cache(maxsize=4096)
def target_of(url: str) -> Target:
    """Whom `url` calls. Raises UrlError for anything two readers could understand differently."""
    if len(url) > LONGEST_URL:
        raise UrlError(f"is longer than {LONGEST_URL} characters")
    if _FORBIDDEN.search(url) is not None:
        raise UrlError("has blanks, control characters or backslashes")
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        raise UrlError("is not an address") from error
    if parts.scheme not in DEFAULT_PORTS:
        raise UrlError("must start with https://")
    if "@" in parts.netloc:
        raise UrlError("must not carry a user or a password")
    if "#" in url:
        raise UrlError("must not have a fragment")
    if not host or port == 0:
        raise UrlError("has no host")
    return Target(parts.scheme, _host(host), port or DEFAULT_PORTS[parts.scheme])


def canonical(url: str) -> str:
    """`url` with scheme, host and port in the one form that every reader understands alike. Raises UrlError."""
    target = target_of(url)
    parts = urlsplit(url)
    host = f"[{target.host}]" if ":" in target.host else target.host
    port = "" if target.port == DEFAULT_PORTS[target.scheme] else f":{target.port}"
    return urlunsplit((target.scheme, host + port, parts.path or "/", parts.query, ""))


def _host(text: str) -> str:
    if ":" in text:
        try:
            return IPv6Address(text).compressed
        except ValueError as error:
            raise UrlError("has a host that is no address") from error
    try:
        name = text.rstrip(".").encode("idna").decode("ascii").lower()
    except UnicodeError as error:
        raise UrlError("has a host that is no name") from error
    labels = name.split(".")
    if _NUMERIC.fullmatch(labels[-1]) is not None:
        try:
            return str(IPv4Address(name))
        except ValueError as error:
            raise UrlError("has a host that is neither a name nor a dotted address") from error
    if len(name) > LONGEST_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        raise UrlError("has a host that is no name")
    return name
