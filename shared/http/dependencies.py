"""What path operations ask for: the caller, and a permission."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Depends, Security
from fastapi.security import HTTPBearer
from starlette.requests import Request

from shared.auth import Permission, Principal, require
from shared.http.guard import Guard

_SCHEME = HTTPBearer(
    scheme_name="bearer",
    bearerFormat="API key (dwk_…) or JWT",
    description="An API key, or a short-lived token from `POST /v1/tokens`.",
    auto_error=False,
)


async def _current_principal(request: Request, _: Annotated[object, Security(_SCHEME)]) -> Principal:
    guard: Guard = request.app.state.guard
    return await guard.admit(request)


CurrentPrincipal = Annotated[Principal, Depends(_current_principal)]
"""A path operation's parameter: the proven caller; 401 and 429 are answered before it runs."""


def requires(permission: Permission) -> Any:
    """A dependency that gives the caller if they have the permission, else answers 403 naming it.

    As a parameter: `principal: Annotated[Principal, requires(Permission.TICKET_READ)]`; or in `dependencies=[…]`.
    """
    return Depends(_checks[permission])


def _check(permission: Permission) -> Callable[[Principal], Awaitable[Principal]]:
    async def check(principal: CurrentPrincipal) -> Principal:
        require(principal, permission)
        return principal

    return check


_checks = {permission: _check(permission) for permission in Permission}
