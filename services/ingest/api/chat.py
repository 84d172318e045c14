"""`/v1/chat/site`: whether visitors may chat with a tenant, from which pages, and with which public key."""

from __future__ import annotations

import secrets
from typing import Annotated

from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from services.ingest.store import chat as store
from shared.auth import Permission, Principal
from shared.db import Database, Record
from shared.http import Router, etag, requires
from shared.problem import not_found

Admin = Annotated[Principal, requires(Permission.TENANT_WRITE)]
Origin = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/?#@]{1,255}$")]


class SiteIn(BaseModel):
    """What a tenant wants."""

    model_config = ConfigDict(extra="forbid")

    enabled: bool = True
    origins: Annotated[list[Origin], Field(max_length=100)] = Field(
        default_factory=list, description="Of the pages that may open chats; empty: any."
    )
    rotate_key: bool = Field(False, description="Make another key; pages with the old one open no more chats.")


class SiteView(BaseModel):
    """What holds."""

    enabled: bool
    key: str = Field(description="For web pages to open chats with; no secret.")
    origins: list[str]
    version: int


def router(database: Database) -> Router:
    """The path operations."""
    routes = Router(tags=["chat"])

    @routes.get("/v1/chat/site", response_model=SiteView)
    async def read_site(response: Response, principal: Admin) -> SiteView:
        """The tenant's settings; 404 until they are made."""
        row = await store.site(database, principal.tenant_id)
        if row is None:
            raise not_found("chat site")
        response.headers["ETag"] = etag(row["version"])
        return _view(row)

    @routes.put("/v1/chat/site", response_model=SiteView)
    async def put_site(response: Response, principal: Admin, given: SiteIn) -> SiteView:
        """Set all of them; the key stays unless another one is asked for."""
        async with database.begin() as tx:
            row = await store.put_site(
                tx,
                principal.tenant_id,
                enabled=given.enabled,
                origins=list(dict.fromkeys(given.origins)),
                key=f"dwc_{secrets.token_urlsafe(18)}",
                rotate=given.rotate_key,
            )
        if row is None:
            raise AssertionError("an upsert returns its row")
        response.headers["ETag"] = etag(row["version"])
        return _view(row)

    return routes


def _view(row: Record) -> SiteView:
    return SiteView(enabled=row["enabled"], key=row["key"], origins=row["origins"], version=row["version"])
