"""What path operations ask for: the caller, and a permission."""

# No `from __future__ import annotations` here: FastAPI cannot resolve text annotations of a callable object.

from typing import Annotated, Any

from fastapi import Depends
from fastapi.openapi.models import HTTPBearer as BearerModel
from fastapi.security.base import SecurityBase
from starlette.requests import Request

from shared.auth import Permission, Principal, require
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
