"""Where verification finds what directory published: hashes of API keys and public signing keys."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from shared.contracts.directory import CredentialChanged

if TYPE_CHECKING:
    from shared.contracts.event import Event

REMEMBERED_SECONDS = 2.0
"""How long a credential may be remembered: well inside the 30 s in which a revocation must be effective."""
REMEMBERED = 4096


class Credentials(Protocol):
    """Something that knows the credentials in force."""

    async def get(self, credential_id: str) -> CredentialChanged | None:
        """The credential of that id, or None when there is none or it was revoked."""
        ...


class _Replica(Protocol):
    async def get(self, event: type[CredentialChanged], key: str, /) -> Event | None: ...


class ReplicaCredentials:
    """Credentials out of a service's replica of `credential.changed`, remembered for two seconds.

    Only found ones are remembered: ids that attackers make up cost a look-up each and leave nothing behind.
    """

    def __init__(self, replica: _Replica, *, now: Callable[[], float] = time.monotonic) -> None:
        self._replica = replica
        self._now = now
        self._remembered: OrderedDict[str, tuple[float, CredentialChanged]] = OrderedDict()

    async def get(self, credential_id: str) -> CredentialChanged | None:
        """The credential of that id, or None when there is none or it was revoked."""
        now = self._now()
        known = self._remembered.get(credential_id)
        if known is not None and known[0] > now:
            return known[1]
        found = await self._replica.get(CredentialChanged, credential_id)
        if not isinstance(found, CredentialChanged):
            self._remembered.pop(credential_id, None)
            return None
        self._remembered[credential_id] = (now + REMEMBERED_SECONDS, found)
        self._remembered.move_to_end(credential_id)
        if len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)
        return found


class FixedCredentials:
    """Credentials given at construction: for directory's own table in memory, and for tests."""

    def __init__(self, *credentials: CredentialChanged) -> None:
        self._by_id = {credential.credential_id: credential for credential in credentials}

    async def get(self, credential_id: str) -> CredentialChanged | None:
        """The credential of that id, or None."""
        return self._by_id.get(credential_id)

    def put(self, credential: CredentialChanged) -> None:
        """Add or replace one."""
        self._by_id[credential.credential_id] = credential

    def revoke(self, credential_id: str) -> None:
        """Forget one."""
        self._by_id.pop(credential_id, None)
