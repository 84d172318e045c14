"""What path operations ask for: the caller, and a permission."""

# No `from __future__ import annotations` here: FastAPI cannot resolve text annotations of a callable object.

import time
from typing import Annotated, Any

from fastapi import Depends
from fastapi.openapi.models import HTTPBearer as BearerModel
from fastapi.security.base import SecurityBase
from starlette.requests import Request
from typing_extensions import override

from shared.auth import Permission, Principal, require, service_token
from shared.contracts.directory import Role
from shared.http.guard import Guard


class Caller(SecurityBase):
    """The dependency that admits a caller, with a permission if one is named; also their scheme in the OpenAPI."""

    def __init__(self, permission: Permission | None = None) -> None:
        self.permission = permission
        self.scheme_name = "bearer"
        self.model = BearerModel(
            bearerFormat="API key (dwk_…) or JWT",
            description="An API key, or a short-lived token from `POST /v1/tokens`.",
        )

    async def __call__(self, request: Request) -> Principal:
        """The caller of this request. Raises 401, 403 and 429 problems."""
        guard: Guard = request.app.state.guard
        principal = await guard.admit(request)
        if self.permission is not None:
            require(principal, self.permission)
        return principal


CurrentPrincipal = Annotated[Principal, Depends(Caller())]
"""A path operation's parameter: the proven caller; 401 and 429 are answered before it runs."""

_callers = {permission: Caller(permission) for permission in Permission}


def requires(permission: Permission) -> Any:
    """A dependency that gives the caller if they have the permission, else answers 403 naming it.

    As a parameter: `principal: Annotated[Principal, requires(Permission.TICKET_READ)]`; or in `dependencies=[…]`.
    """
    return Depends(_callers[permission])


class CallerOrService(Caller):
    """Admits whoever has the permission, and another service of ours that shows a token for this purpose."""

    def __init__(self, permission: Permission, purpose: str) -> None:
        super().__init__(permission)
        self.purpose = purpose

    @override
    async def __call__(self, request: Request) -> Principal:
        """The caller; a service is nobody in particular of the tenant its token names."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        key: bytes | None = request.app.state.service_key
        if key is not None and scheme.lower() == "bearer" and token.isascii():
            tenant_id = service_token.verify(key, self.purpose, token.strip(), now=time.time())
            if tenant_id is not None:
                return Principal(tenant_id, None, Role.SERVICE, f"service:{self.purpose}")
        return await super().__call__(request)


def requires_or_service(permission: Permission, purpose: str) -> Any:
    """Like `requires`; also admits a `shared.auth.service_token` made for this purpose."""
    return Depends(CallerOrService(permission, purpose))
