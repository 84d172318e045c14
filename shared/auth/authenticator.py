"""From an Authorization header to a principal, by API key or by signed token; offline."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from shared.auth import tokens
from shared.auth.credentials import Credentials
from shared.auth.keys import API_KEY_PREFIX, api_key_id, is_api_key
from shared.auth.principal import Principal
from shared.auth.tokens import Unauthenticated
from shared.contracts.directory import CredentialChanged, CredentialKind, Role


class Authenticator:
    """Verifies credentials against what directory published.

    Real time, not the test clock: a scenario that moves time by a year must not log everybody out.
    """

    def __init__(self, credentials: Credentials, *, now: Callable[[], float] = time.time) -> None:
        self._credentials = credentials
        self._now = now

    async def authenticate(self, authorization: str | None) -> Principal:
        """The caller. Raises Unauthenticated when the header is missing, malformed, unknown, revoked or expired."""
        if not authorization:
            raise Unauthenticated("no credentials")
        scheme, _, secret = authorization.partition(" ")
        secret = secret.strip(" ")
        if scheme.lower() != "bearer" or not secret.isascii():
            raise Unauthenticated("not a bearer credential")
        if secret.startswith(API_KEY_PREFIX):
            return await self._api_key(secret)
        return await self._token(secret)

    async def _api_key(self, key: str) -> Principal:
        if not is_api_key(key):
            raise Unauthenticated("malformed API key")
        return await self._proven_by(api_key_id(key))

    async def _token(self, token: str) -> Principal:
        """Whom a token names, as long as its API key proves the same person in the same role."""
        said = await tokens.verify(self._credentials, token, self._now())
        behind = await self._proven_by(said.api_key_id)
        if replace(behind, credential_id=said.principal.credential_id) != said.principal:
            raise Unauthenticated("its API key proves something else by now")
        return said.principal

    async def _proven_by(self, credential_id: str) -> Principal:
        """Whom an API key proves now."""
        credential = await self._credentials.get(credential_id)
        if credential is None or credential.kind != CredentialKind.API_KEY:
            raise Unauthenticated("unknown API key")
        if credential.expires_at is not None and credential.expires_at.timestamp() <= self._now():
            raise Unauthenticated("API key expired")
        return Principal(credential.tenant_id, credential.person_id, _role(credential), credential_id)


def _role(credential: CredentialChanged) -> Role:
    try:
        return Role(credential.role or "")
    except ValueError as error:
        # A role of a newer release: we do not know what it may do, so it may do nothing here.
        raise Unauthenticated("role not known to this release") from error
