"""Tenants: administrators see and change their own; those of the operator's tenant make and see all."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from services.directory.api.desk import Desk, caller_of, real_now
from services.directory.commands import tenancy
from services.directory.domain.inputs import NewTenant, TenantChanges
from services.directory.store import tenants
from shared.auth import Permission, Principal, allows, forbidden
from shared.contracts.directory import TenantChanged
from shared.db import Tx
from shared.http import (
    CursorText,
    IfMatch,
    Page,
    PageLimit,
    Router,
    etag,
    if_none_match,
    not_modified,
    problems,
    requires,
)
from shared.problem import not_found

TenantPath = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


class NewTenantView(BaseModel):
    """A tenant just made."""

    tenant: TenantChanged
    administrator_key: str | None = None
    """The first administrator's API key; shown here and never again."""


def routes(desk: Desk) -> Router:
    """Path operations on tenants."""
    router = Router(tags=["tenants"])

    @router.get("/v1/tenants")
    async def list_tenants(
        request: Request,
        response: Response,
        principal: Annotated[Principal, requires(Permission.DIRECTORY_READ)],
        limit: PageLimit = 50,
        cursor: CursorText = None,
    ) -> Page[TenantChanged]:
        """The caller's tenant; for administrators of the operator's tenant all of them."""
        async with desk.database.begin() as tx:
            only = None if await _operates(tx, principal) else principal.tenant_id
            after = desk.position(request, principal, cursor)
            found = await tenants.page(tx, only=only, after=after, limit=limit + 1)
        return desk.page(
            request,
            response,
            principal,
            found=found,
            limit=limit,
            key=lambda tenant: tenant.tenant_id,
            view=lambda tenant: tenant.event(),
        )

    @router.get("/v1/tenants/{tenant_id}", response_model=TenantChanged)
    async def get_tenant(
        request: Request,
        response: Response,
        principal: Annotated[Principal, requires(Permission.DIRECTORY_READ)],
        tenant_id: TenantPath,
    ) -> TenantChanged | Response:
        """One tenant."""
        async with desk.database.begin() as tx:
            if tenant_id != principal.tenant_id and not await _operates(tx, principal):
                raise not_found("tenant")
            tenant = await tenants.get(tx, tenant_id)
        if tenant is None:
            raise not_found("tenant")
        if if_none_match(request, tenant.version):
            return not_modified(tenant.version)
        response.headers["ETag"] = etag(tenant.version)
        return tenant.event()

    @router.post("/v1/tenants", status_code=201, responses=problems(409))
    async def add_tenant(
        request: Request,
        response: Response,
        principal: Annotated[Principal, requires(Permission.TENANT_WRITE)],
        wanted: NewTenant,
    ) -> NewTenantView:
        """Make a tenant, with its first administrator if one is named, whose key is answered once."""
        async with desk.change() as tx:
            if not await _operates(tx, principal):
                raise forbidden(Permission.TENANT_WRITE)
            tenant, key = await tenancy.add_tenant(
                tx, caller_of(request, principal), wanted, real_now(), operator=False
            )
        response.headers["ETag"] = etag(tenant.version)
        response.headers["Location"] = f"/v1/tenants/{tenant.tenant_id}"
        return NewTenantView(tenant=tenant.event(), administrator_key=key)

    @router.patch("/v1/tenants/{tenant_id}", responses=problems(409))
    async def change_tenant(
        *,
        request: Request,
        response: Response,
        principal: Annotated[Principal, requires(Permission.TENANT_WRITE)],
        tenant_id: TenantPath,
        changes: TenantChanges,
        expected: IfMatch,
    ) -> TenantChanged:
        """Change the fields given. Only the operator suspends (`active: false`) and brings back."""
        async with desk.change() as tx:
            operates = await _operates(tx, principal)
            if tenant_id != principal.tenant_id and not operates:
                raise not_found("tenant")
            if "active" in changes.model_fields_set and not operates:
                raise forbidden(Permission.TENANT_WRITE)
            tenant = await tenancy.change_tenant(tx, caller_of(request, principal), tenant_id, changes, expected)
        response.headers["ETag"] = etag(tenant.version)
        return tenant.event()

    return router


async def _operates(tx: Tx, principal: Principal) -> bool:
    """Whether the caller administers the installation, not only a tenant of it."""
    if not allows(principal, Permission.TENANT_WRITE):
        return False
    own = await tenants.get(tx, principal.tenant_id)
    return own is not None and own.operator
