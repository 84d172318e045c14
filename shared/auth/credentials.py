"""Where verification finds what directory published: hashes of API keys and public signing keys."""

from __future__ import annotations

from typing import Protocol

from shared.contracts.directory import CredentialChanged


class Credentials(Protocol):
    """Something that knows the credentials in force."""

    async def get(self, credential_id: str) -> CredentialChanged | None:
        """The credential of that id, or None when there is none or it was revoked."""
        ...


class _Replica(Protocol):
    async def get(self, cls: type[CredentialChanged], key: object, /) -> CredentialChanged | None: ...


class ReplicaCredentials:
    """Credentials out of a service's `shared.replica.Replica` of `credential.changed`.

    The replica remembers what it found for a few seconds, inside the 30 s in which a revocation must be effective.
    """

    def __init__(self, replica: _Replica) -> None:
        self._replica = replica

    async def get(self, credential_id: str) -> CredentialChanged | None:
        """The credential of that id, or None when there is none or it was revoked."""
        return await self._replica.get(CredentialChanged, credential_id)


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
