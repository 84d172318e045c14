"""The client's address through our own edge: told by the console, believed only with its signature.

`X-Forwarded-For` is anybody's word. The console replaces it and signs what it says with a key derived from the master
key, so a service needs no list of trusted proxies and a forged header is worth nothing (Zammad CVE-2026-34720).
"""

from __future__ import annotations

import hmac

from shared.auth import derive

CLIENT_HEADER = b"x-deskwire-client"
_PURPOSE = "edge-client"


def key_of(master: bytes) -> bytes:
    """The key that edge and services share."""
    return derive(master, _PURPOSE)


def signed(key: bytes, address: str) -> bytes:
    """The header's value for a client address."""
    return f"{address} {_signature(key, address)}".encode()


def address_in(key: bytes, value: bytes) -> str | None:
    """The address in the header, or None when our edge did not write it."""
    address, _, signature = value.decode("latin-1").partition(" ")
    return address if hmac.compare_digest(signature.encode(), _signature(key, address).encode()) else None


def _signature(key: bytes, address: str) -> str:
    return hmac.digest(key, address.encode(), "sha256")[:16].hex()
