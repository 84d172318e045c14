"""The merged OpenAPI document of the one origin, once every service has added its part."""

from __future__ import annotations

from typing import Any

from tests.support.desk import Desk
from tests.support.waiting import eventually

PARTS = {
    "directory": "/v1/people",
    "ingest": "/v1/messages",
    "tickets": "/v1/tickets",
    "triage": "/v1/triage/preview",
    "sla": "/v1/sla/preview",
    "escalation": "/v1/escalations",
    "notify": "/v1/webhooks",
    "search": "/v1/search",
}
"""A path that only this service has."""


async def document_of(desk: Desk) -> dict[str, Any]:
    """The document. A service that the origin could not ask in time comes with a later one."""

    async def whole() -> dict[str, Any]:
        document: dict[str, Any] = (await desk.call("GET", "/openapi.json", as_=None)).json()
        missing = [service for service, path in PARTS.items() if path not in document["paths"]]
        assert not missing, f"without {missing}"
        return document

    return await eventually(whole, within=120, every=0.5, what="the document of every service")
