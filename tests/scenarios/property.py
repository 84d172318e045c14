"""What a tenant has with every service: ids that must not exist for another tenant."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from tests.support.desk import Desk
from tests.support.waiting import eventually

PATIENCE = 120.0
"""Seconds in which a service has done its part."""

BODIES: dict[str, Any] = {
    "POST /v1/tickets/{ticket}/messages": {"text": "Mine now."},
    "POST /v1/tickets/{ticket}/transitions": {"to": "closed", "reason": "Mine now."},
    "POST /v1/tickets/{ticket}/assignment": {"assignee_id": None},
    "POST /v1/tickets/{ticket}/merge": {"into": "INC-2026-000001"},
    "POST /v1/tickets/{ticket}/links": {"ticket": "INC-2026-000001"},
    "POST /v1/tickets/{ticket}/transfers": {"to": str(uuid4())},
    "PATCH /v1/tickets/{ticket}": {"priority": "P1"},
    "PATCH /v1/people/{person_id}": {"name": "Mine now"},
    "PATCH /v1/teams/{team_id}": {"name": "Mine now"},
    "PATCH /v1/organisations/{organisation_id}": {"name": "Mine now"},
    "PATCH /v1/tenants/{tenant_id}": {"name": "Mine now"},
    "PATCH /v1/webhooks/{endpoint_id}": {"description": "Mine now"},
    "POST /v1/webhooks/{endpoint_id}/replay": {"since": "2026-01-01T00:00:00Z"},
    "PUT /v1/mailboxes/{mailbox_id}": {"host": "imap.mine.example", "username": "mine"},
    "POST /v1/escalations/{escalation_id}/resolve": {"reason": "Mine now."},
    "POST /v1/escalations/{escalation_id}/cancel": {"reason": "Mine now."},
    "POST /v1/pages/{page_id}/response": {"answer": "acknowledged"},
}
"""Valid contents for operations with an id in their path, so that nothing but the id can be wrong."""
COMMON = {"name": "primary", "clock": "resolution", "version": "1"}
"""Parts of paths that are the same in every tenant."""


@dataclass(frozen=True, kw_only=True)
class Property:
    """What the other tenant has."""

    canary: str
    ids: dict[str, str]
    """By name of the path parameter."""
    number: str
    cursor: str
    tags: dict[str, str]
    """ETag by path parameter."""


async def property_of(desk: Desk) -> Property:
    """Fill a tenant with things of every service that all carry one string."""
    canary = f"kanarie{secrets.token_hex(5)}"
    hook = {"url": f"{desk.installation.url('sink')}/hooks/{canary}", "description": canary}
    endpoint = await desk.post("/v1/webhooks", {**hook, "event_types": ["ticket.created"]}, as_="admin")
    await desk.on_call("other_agent")
    first = await desk.open(f"{canary} one", text=canary)
    ticket = await desk.open(f"{canary} two", text=canary)
    team = await desk.post("/v1/teams", {"name": canary, "queues": [canary]}, as_="admin")
    organisation = await desk.post("/v1/organisations", {"name": canary}, as_="admin")
    person = await desk.post("/v1/people", {"name": canary, "addresses": [f"{canary}@acme.example"]}, as_="admin")
    await desk.post("/v1/suppressions", {"address": f"{canary}@acme.example"}, as_="admin")
    body = {"person_id": person["person_id"], "name": canary}
    key = await desk.post("/v1/api-keys", body, as_="admin")
    (message, *_) = await desk.conversation(ticket["id"])
    page = await desk.get("/v1/tickets", as_="admin", params={"limit": 1})
    ids = {
        "ticket": ticket["id"],
        "ticket_id": ticket["id"],
        "message_id": message["id"],
        "team_id": team["team_id"],
        "organisation_id": organisation["organisation_id"],
        "person_id": person["person_id"],
        "credential_id": key["credential"]["credential_id"],
        "tenant_id": desk.tenant,
        "endpoint_id": endpoint["endpoint_id"],
        **await _work_of(desk, ticket["id"], canary),
    }
    paths = {
        "ticket": "tickets",
        "person_id": "people",
        "team_id": "teams",
        "organisation_id": "organisations",
        "tenant_id": "tenants",
        "endpoint_id": "webhooks",
        "mailbox_id": "mailboxes",
    }
    tags = {
        name: (await desk.call("GET", f"/v1/{path}/{ids[name]}", as_="admin")).headers["ETag"]
        for name, path in paths.items()
    }
    assert first["number"] != ticket["number"]
    return Property(canary=canary, ids=ids, number=ticket["number"], cursor=page["next_cursor"], tags=tags)


async def _work_of(desk: Desk, ticket: str, canary: str) -> dict[str, str]:
    """What the services that work for a ticket have of it."""
    mailbox = {"host": "imap.acme.example", "username": canary, "password": "x", "active": False}
    polled = await desk.post("/v1/mailboxes", mailbox, as_="admin")
    override = {"person": str(desk.people["agent"]), "from": _in(days=1), "to": _in(days=2)}
    instead = await desk.post("/v1/schedules/primary/overrides", override, as_="lead")
    owner = await desk.owner(ticket)
    colleague = next(role for role in ("agent", "other_agent", "specialist") if role != owner)
    wanted = {"to": str(desk.people[colleague]), "note": canary}
    transfer = await desk.post(f"/v1/tickets/{ticket}/transfers", wanted, as_=owner)
    wanted = {"ticket_id": ticket, "reason": canary}
    escalation = await desk.post("/v1/escalations", wanted, as_="lead")

    async def paged() -> str:
        whole = await desk.get(f"/v1/escalations/{escalation['id']}", as_="lead")
        return str(whole["pages"][0]["page_id"]) if whole["pages"] else ""

    async def told() -> str:
        told = await desk.get("/v1/notifications", as_="admin", params={"ticket_id": ticket})
        return str(told["items"][0]["id"]) if told["items"] else ""

    async def called() -> str:
        (endpoint,) = (await desk.get("/v1/webhooks", as_="admin"))["items"]
        calls = await desk.get(f"/v1/webhooks/{endpoint['endpoint_id']}/deliveries", as_="admin")
        return str(calls["items"][0]["delivery_id"]) if calls["items"] else ""

    return {
        "mailbox_id": polled["mailbox_id"],
        "override_id": instead["override_id"],
        "transfer_id": transfer["id"],
        "escalation_id": escalation["id"],
        "page_id": await eventually(paged, within=PATIENCE, what="a page"),
        "notification_id": await eventually(told, within=PATIENCE, what="a notification"),
        "delivery_id": await eventually(called, within=PATIENCE, what="a webhook's delivery"),
    }


def _in(*, days: int) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).isoformat()


def nobody(name: str, value: str) -> str:
    """An id of the same form that is nobody's."""
    if name == "credential_id":
        return secrets.token_hex(32)
    return f"none-{secrets.token_hex(3)}" if name == "tenant_id" else str(uuid4())
