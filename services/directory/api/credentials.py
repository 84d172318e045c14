"""API keys, tokens, signing keys."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Path
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from services.directory.api.desk import Desk, caller_of, real_now
from services.directory.commands import credentials as commands
from services.directory.domain.inputs import NewApiKey, TokenWanted
from services.directory.domain.tenancy import ApiKey
from services.directory.store import credentials, tenants
from shared.auth import Permission, Principal, forbidden
from shared.contracts.directory import Role
from shared.http import CurrentPrincipal, CursorText, Page, PageLimit, Router, problems, requires


class ApiKeyView(BaseModel):
    """What is known of an API key; never the key."""

    credential_id: str
    """The key's SHA-256."""
    person_id: UUID
    role: Role
    name: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    @classmethod
    def of(cls, key: ApiKey) -> ApiKeyView:
        """As it is shown."""
        return cls.model_validate({field: getattr(key, field) for field in cls.model_fields})


class NewApiKeyView(BaseModel):
    """A new key: the only time that it is shown."""

    key: str
    credential: ApiKeyView


class TokenView(BaseModel):
    """A signed token."""

    token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - RFC 6750 calls it so
    expires_at: datetime


class SigningKeyView(BaseModel):
    """A new signing key."""

    kid: str
    created_at: datetime


class KeySet(BaseModel):
    """A JWK set (RFC 7517)."""

    keys: list[dict[str, Any]]


def routes(desk: Desk) -> Router:
    """Path operations on credentials."""
    router = Router(tags=["credentials"])

    @router.get("/v1/api-keys")
    async def list_api_keys(
        request: Request,
        response: Response,
        principal: CurrentPrincipal,
        limit: PageLimit = 50,
        cursor: CursorText = None,
    ) -> Page[ApiKeyView]:
        """The tenant's API keys for administrators, their own for others; revoked ones included."""
        only = None if commands.may_administer(principal) else principal.person_id
        if only is None and not commands.may_administer(principal):
            raise forbidden(Permission.CREDENTIAL_WRITE)
        async with desk.database.begin() as tx:
            after = desk.position(request, principal, cursor)
            found = await credentials.page(tx, principal.tenant_id, after=after, limit=limit + 1, person_id=only)
        return desk.page(
            request,
            response,
            principal,
            found=found,
            limit=limit,
            key=lambda one: one.credential_id,
            view=ApiKeyView.of,
        )

    @router.post("/v1/api-keys", status_code=201)
    async def add_api_key(
        request: Request,
        principal: Annotated[Principal, requires(Permission.CREDENTIAL_WRITE)],
        wanted: NewApiKey,
    ) -> NewApiKeyView:
        """Make an API key. It is answered once and kept nowhere; only its hash is."""
        async with desk.change() as tx:
            secret, key = await commands.add_key(tx, caller_of(request, principal), wanted, real_now())
        return NewApiKeyView(key=secret, credential=ApiKeyView.of(key))

    @router.delete("/v1/api-keys/{credential_id}", status_code=204)
    async def revoke_api_key(
        request: Request,
        principal: CurrentPrincipal,
        credential_id: Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")],
    ) -> None:
        """Revoke a key, everywhere within 30 seconds. Its owner may, and administrators. Repeating it is harmless."""
        async with desk.change() as tx:
            await commands.revoke(tx, caller_of(request, principal), credential_id, real_now())

    @router.post("/v1/tokens", status_code=201, responses=problems(403))
    async def give_token(principal: CurrentPrincipal, wanted: TokenWanted | None = None) -> TokenView:
        """A signed token for the API key shown, at most ten minutes: for browsers, which should hold no keys."""
        ttl = timedelta(seconds=(wanted or TokenWanted()).ttl_seconds)
        now = real_now()
        async with desk.database.begin() as tx:
            token = await commands.token(tx, principal, desk.master, now, ttl)
        return TokenView(token=token, expires_at=(now + ttl).replace(microsecond=0))

    @router.post("/v1/signing-keys", status_code=201)
    async def rotate_signing_key(
        request: Request, principal: Annotated[Principal, requires(Permission.CREDENTIAL_WRITE)]
    ) -> SigningKeyView:
        """Sign with a new key from now on; for administrators of the operator's tenant."""
        async with desk.change() as tx:
            own = await tenants.get(tx, principal.tenant_id)
            if own is None or not own.operator:
                raise forbidden(Permission.CREDENTIAL_WRITE)
            key = await commands.rotate(tx, caller_of(request, principal), desk.master, real_now())
        return SigningKeyView(kid=key.kid, created_at=key.created_at)

    @router.get("/.well-known/jwks.json")
    async def key_set(response: Response) -> KeySet:
        """The public keys that verify tokens (RFC 7517), for those who do not read the topic."""
        now = real_now()
        async with desk.database.begin() as tx:
            keys = await credentials.signing_keys(tx)
        response.headers["Cache-Control"] = "public, max-age=60"
        return KeySet(keys=[key.public_key for key in keys if key.expires_at is None or key.expires_at > now])

    return router
