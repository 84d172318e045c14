"""`/v1/webhooks`: endpoints, their deliveries, replay. For managers and administrators."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, ClassVar
from uuid import UUID

from fastapi import Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints
from starlette.requests import Request
from starlette.responses import Response

from services.notify.domain.webhook_delivery import DeliveryState
from services.notify.domain.webhook_endpoint import MOST_PATTERNS, Endpoint
from services.notify.store import webhook_deliveries, webhook_endpoints
from services.notify.store.webhook_deliveries import Delivery
from services.notify.webhooks.registry import Registry, Wanted
from shared.auth import Permission, Principal
from shared.db import Database, Tx
from shared.egress.rules import LONGEST_URL
from shared.http import (
    Cursor,
    CursorText,
    IfMatch,
    Page,
    PageLimit,
    Router,
    SingleLine,
    etag,
    page_link,
    problems,
    query_of,
    requires,
)
from shared.problem import not_found

Keeper = Annotated[Principal, requires(Permission.WEBHOOK_WRITE)]
Url = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_URL)]
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=100)]


class WebhookIn(BaseModel):
    """A new endpoint."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    url: Url = Field(description="Where to POST: https, a public address, no user or password in it.")
    description: SingleLine = ""
    event_types: list[Pattern] = Field(
        ["*"],
        min_length=1,
        max_length=MOST_PATTERNS,
        description="Event types (`ticket.created` for all its versions), prefixes (`sla.*`), or `*` for everything.",
    )
    include_internal: bool = Field(False, description="Whether internal notes are sent too.")
    active: bool = True


class WebhookChanges(BaseModel):
    """What is to change; what is left out stays."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    url: Url | None = None
    description: SingleLine | None = None
    event_types: list[Pattern] | None = Field(None, min_length=1, max_length=MOST_PATTERNS)
    include_internal: bool | None = None
    active: bool | None = Field(None, description="Switching on again clears the record of failures.")


class WebhookView(BaseModel):
    """An endpoint; never its secret."""

    endpoint_id: UUID
    version: int
    url: str
    description: str
    event_types: list[str]
    include_internal: bool
    active: bool
    disabled_reason: str | None = Field(description="`manual`, `gone` (it answered 410), `failing`.")
    disabled_at: datetime | None
    failures: int = Field(description="Failed attempts in a row.")
    failing_since: datetime | None
    held_until: datetime | None = Field(description="Nothing is sent before: it failed often, or asked for it.")
    former_secret_until: datetime | None = Field(description="Until when the secret before the last still signs.")
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, endpoint: Endpoint) -> WebhookView:
        """As it is shown."""
        return cls(
            endpoint_id=endpoint.endpoint_id,
            version=endpoint.version,
            url=endpoint.url,
            description=endpoint.description,
            event_types=list(endpoint.event_types),
            include_internal=endpoint.include_internal,
            active=endpoint.active,
            disabled_reason=endpoint.disabled_reason,
            disabled_at=endpoint.disabled_at,
            failures=endpoint.health.failures,
            failing_since=endpoint.health.failing_since,
            held_until=endpoint.health.held_until,
            former_secret_until=endpoint.former_until,
            created_at=endpoint.created_at,
            updated_at=endpoint.updated_at,
        )


class WebhookSecret(WebhookView):
    """An endpoint with its secret, which is answered this once."""

    secret: str = Field(description="`whsec_…`: verify signatures with it (standardwebhooks.com).")


class WebhookDelivery(BaseModel):
    """One hand-off and what became of it."""

    delivery_id: UUID
    endpoint_id: UUID
    event_id: UUID = Field(description="The CloudEvents id, sent as `webhook-id`.")
    type: str
    state: DeliveryState
    reason: str | None = Field(description="Why it was given up: `exhausted`, `gone`, `endpoint_disabled`.")
    attempts: int
    next_attempt_at: datetime | None
    status: int | None = Field(description="HTTP status of the last attempt.")
    error: str | None = Field(description="Why the last attempt had no answer: `timeout`, `tls`, `refused`, …")
    milliseconds: float | None = Field(description="How long the last attempt took.")
    answer: str | None = Field(description="The first characters of the last answer's body.")
    created_at: datetime
    queued_at: datetime = Field(description="When it was made or last replayed.")
    ended_at: datetime | None

    @classmethod
    def of(cls, delivery: Delivery) -> WebhookDelivery:
        """As it is shown."""
        return cls(
            delivery_id=delivery.id,
            endpoint_id=delivery.endpoint_id,
            event_id=delivery.event_id,
            type=delivery.type,
            state=delivery.state,
            reason=delivery.reason,
            attempts=delivery.attempts,
            next_attempt_at=delivery.due_at if delivery.state is DeliveryState.PENDING else None,
            status=delivery.status,
            error=delivery.error,
            milliseconds=delivery.milliseconds,
            answer=delivery.answer,
            created_at=delivery.created_at,
            queued_at=delivery.queued_at,
            ended_at=delivery.ended_at,
        )


class TestSent(BaseModel):
    """A ping on its way."""

    __test__: ClassVar[bool] = False

    delivery_id: UUID


class ReplayWanted(BaseModel):
    """What is to be sent again."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    since: AwareDatetime = Field(description="Everything given up, or expired, at or after this instant.")


class Replayed(BaseModel):
    """How much is being sent again."""

    replayed: int = Field(description="At most 10000 at a time; repeat until it is 0.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What the path operations work with."""

    database: Database
    registry: Registry
    cursor: Cursor = field(repr=False)
    wake: Callable[[], None]
    """Tells the dispatcher of this process that something was committed."""

    @asynccontextmanager
    async def change(self) -> AsyncIterator[Tx]:
        """One transaction; once it is committed, its deliveries are sent."""
        async with self.database.begin() as tx:
            yield tx
        self.wake()


def routes(desk: Desk) -> Router:
    """Path operations on webhooks."""
    router = Router(tags=["webhooks"])
    _endpoints(router, desk)
    _deliveries(router, desk)
    return router


def _endpoints(router: Router, desk: Desk) -> None:
    @router.get("/v1/webhooks")
    async def list_webhooks(principal: Keeper) -> Page[WebhookView]:
        """Every endpoint of the tenant, oldest first; there are never many."""
        found = await webhook_endpoints.of_tenant(desk.database, principal.tenant_id)
        return Page[WebhookView](items=[WebhookView.of(endpoint) for endpoint in found])

    @router.post("/v1/webhooks", status_code=201, responses=problems(409))
    async def add_webhook(response: Response, principal: Keeper, wanted: WebhookIn) -> WebhookSecret:
        """Have events sent to an address. The secret is answered once, here."""
        async with desk.change() as tx:
            endpoint, secret = await desk.registry.add(tx, principal.tenant_id, _wanted(wanted))
        response.headers["ETag"] = etag(endpoint.version)
        response.headers["Location"] = f"/v1/webhooks/{endpoint.endpoint_id}"
        return WebhookSecret(**WebhookView.of(endpoint).model_dump(), secret=secret)

    @router.get("/v1/webhooks/{endpoint_id}")
    async def get_webhook(response: Response, principal: Keeper, endpoint_id: UUID) -> WebhookView:
        """One endpoint and how it has been answering, which raises no version."""
        endpoint = await webhook_endpoints.get(desk.database, principal.tenant_id, endpoint_id)
        if endpoint is None:
            raise not_found("webhook")
        response.headers["ETag"] = etag(endpoint.version)
        return WebhookView.of(endpoint)

    @router.patch("/v1/webhooks/{endpoint_id}")
    async def change_webhook(
        *, response: Response, principal: Keeper, endpoint_id: UUID, changes: WebhookChanges, expected: IfMatch
    ) -> WebhookView:
        """Change the fields given, others stay."""
        async with desk.change() as tx:
            endpoint = await desk.registry.change(tx, principal.tenant_id, endpoint_id, _wanted(changes), expected)
        response.headers["ETag"] = etag(endpoint.version)
        return WebhookView.of(endpoint)

    @router.delete("/v1/webhooks/{endpoint_id}", status_code=204)
    async def delete_webhook(principal: Keeper, endpoint_id: UUID) -> None:
        """Send nothing there any more; what waits is given up."""
        async with desk.change() as tx:
            await desk.registry.delete(tx, principal.tenant_id, endpoint_id)

    @router.post("/v1/webhooks/{endpoint_id}/rotate-secret")
    async def rotate_secret(response: Response, principal: Keeper, endpoint_id: UUID) -> WebhookSecret:
        """Sign with a new secret; for 24 hours there is a signature by the former one too."""
        async with desk.change() as tx:
            endpoint, secret = await desk.registry.rotate(tx, principal.tenant_id, endpoint_id)
        response.headers["ETag"] = etag(endpoint.version)
        return WebhookSecret(**WebhookView.of(endpoint).model_dump(), secret=secret)

    @router.post("/v1/webhooks/{endpoint_id}/test", status_code=202, responses=problems(409))
    async def test_webhook(principal: Keeper, endpoint_id: UUID) -> TestSent:
        """Send a `webhook.ping`; the delivery tells what came of it."""
        async with desk.change() as tx:
            return TestSent(delivery_id=await desk.registry.test(tx, principal.tenant_id, endpoint_id))


def _deliveries(router: Router, desk: Desk) -> None:
    @router.get("/v1/webhooks/{endpoint_id}/deliveries")
    async def list_deliveries(
        *,
        request: Request,
        response: Response,
        principal: Keeper,
        endpoint_id: UUID,
        state: Annotated[DeliveryState | None, Query(description="Only those in this state.")] = None,
        limit: PageLimit = 50,
        cursor: CursorText = None,
    ) -> Page[WebhookDelivery]:
        """Deliveries to an endpoint, newest first."""
        tenant_id = principal.tenant_id
        before = desk.cursor.decode(cursor, tenant_id, query_of(request))[0] if cursor is not None else None
        async with desk.database.begin() as tx:
            if await webhook_endpoints.get(tx, tenant_id, endpoint_id) is None:
                raise not_found("webhook")
            wanted = state.value if state else None
            found = await webhook_deliveries.listing(
                tx, tenant_id, endpoint_id, state=wanted, before=before, limit=limit + 1
            )
        shown, following = desk.cursor.cut(request, tenant_id, found, limit, lambda one: [one.seq])
        response.headers.update(page_link(request, following))
        return Page[WebhookDelivery](items=[WebhookDelivery.of(one) for one in shown], next_cursor=following)

    @router.post("/v1/webhooks/deliveries/{delivery_id}/replay", status_code=202, responses=problems(409))
    async def replay_delivery(principal: Keeper, delivery_id: UUID) -> WebhookDelivery:
        """Send one delivery again, with ten attempts before it, under the same webhook-id."""
        async with desk.change() as tx:
            return WebhookDelivery.of(await desk.registry.replay(tx, principal.tenant_id, delivery_id))

    @router.post("/v1/webhooks/{endpoint_id}/replay", status_code=202, responses=problems(409))
    async def replay_failed(principal: Keeper, endpoint_id: UUID, wanted: ReplayWanted) -> Replayed:
        """Send again everything given up or expired since an instant."""
        async with desk.change() as tx:
            count = await desk.registry.replay_failed(tx, principal.tenant_id, endpoint_id, wanted.since)
        return Replayed(replayed=count)


def _wanted(given: WebhookIn | WebhookChanges) -> Wanted:
    return Wanted(
        url=given.url,
        description=given.description,
        event_types=given.event_types,
        include_internal=given.include_internal,
        active=given.active,
    )
