"""What people do with endpoints and deliveries: each in one transaction, refusals as problems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID, uuid4

from services.notify.domain import webhook_payload as payload
from services.notify.domain.webhook_delivery import DeliveryState
from services.notify.domain.webhook_endpoint import MOST_ENDPOINTS, DisabledReason, Endpoint, Health, complaint
from services.notify.domain.webhook_signing import FORMER_VALID
from services.notify.store import webhook_deliveries, webhook_endpoints
from services.notify.store.webhook_deliveries import Delivery, NewDelivery, NewEvent
from services.notify.webhooks.secrets import SecretBox
from shared.db import Tx
from shared.egress.rules import Rules, UrlError, canonical, target_of
from shared.http import stale
from shared.problem import conflict, invalid, not_found

REPLAYED_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What an endpoint is to be; None keeps what is."""

    url: str | None = None
    description: str | None = None
    event_types: Sequence[str] | None = None
    include_internal: bool | None = None
    active: bool | None = None


class Registry:
    """Endpoints of all tenants."""

    def __init__(self, box: SecretBox, rules: Rules) -> None:
        self._box = box
        self._rules = rules

    async def add(self, tx: Tx, tenant_id: str, wanted: Wanted) -> tuple[Endpoint, str]:
        """A new endpoint and its secret, which is shown this once. Raises 422, and 409 beyond the most there may be."""
        await webhook_endpoints.lock_tenant(tx, tenant_id)
        if len(await webhook_endpoints.of_tenant(tx, tenant_id)) >= MOST_ENDPOINTS:
            raise conflict(
                "too-many-webhooks",
                "Too many webhooks",
                f"A tenant has at most {MOST_ENDPOINTS} webhooks; delete one first.",
            )
        blank = Endpoint(
            tenant_id=tenant_id,
            endpoint_id=uuid4(),
            version=0,
            url="",
            description="",
            event_types=("*",),
            include_internal=False,
            active=True,
            disabled_reason=None,
            disabled_at=None,
            health=Health(),
            former_until=None,
            created_at=tx.instant,
            updated_at=tx.instant,
        )
        endpoint = self._changed(blank, wanted, tx.instant)
        secret, kept = self._box.new()
        await webhook_endpoints.add(tx, endpoint, kept)
        return endpoint, secret

    async def change(self, tx: Tx, tenant_id: str, endpoint_id: UUID, wanted: Wanted, expected: int) -> Endpoint:
        """The endpoint with what was given changed. Raises 404, 412 for another version, 422.

        Switched on again it starts with a clean record; what was given up meanwhile is replayed only when asked for.
        """
        endpoint = await self._locked(tx, tenant_id, endpoint_id)
        if endpoint.version != expected:
            raise stale()
        changed = self._changed(endpoint, wanted, tx.instant)
        await webhook_endpoints.save(tx, changed)
        return changed

    async def rotate(self, tx: Tx, tenant_id: str, endpoint_id: UUID) -> tuple[Endpoint, str]:
        """The endpoint with a new secret; the former one signs beside it for 24 hours. Raises 404."""
        secret, kept = self._box.new()
        await webhook_endpoints.rotate(tx, tenant_id, endpoint_id, kept, tx.instant + FORMER_VALID)
        return await self._locked(tx, tenant_id, endpoint_id), secret

    async def delete(self, tx: Tx, tenant_id: str, endpoint_id: UUID) -> None:
        """Forget an endpoint; what waits for it is given up. Raises 404."""
        if not await webhook_endpoints.delete(tx, tenant_id, endpoint_id):
            raise not_found("webhook")

    async def test(self, tx: Tx, tenant_id: str, endpoint_id: UUID) -> UUID:
        """Have a ping sent; the delivery's id. Raises 404, 409 when the endpoint is switched off."""
        await self._active(tx, tenant_id, endpoint_id)
        event_id = uuid4()
        event = NewEvent(
            tenant_id=tenant_id,
            event_id=event_id,
            type=payload.PING,
            ticket_id=None,
            body=payload.body(payload.PING, tx.instant, b'{"message":"Deskwire can reach this endpoint."}'),
        )
        delivery = NewDelivery(
            id=payload.delivery_id(endpoint_id, event_id),
            tenant_id=tenant_id,
            endpoint_id=endpoint_id,
            event_id=event_id,
            type=payload.PING,
        )
        await webhook_deliveries.add(tx, [event], [delivery])
        return delivery.id

    async def replay(self, tx: Tx, tenant_id: str, delivery_id: UUID) -> Delivery:
        """Have one delivery sent again under its webhook-id. Raises 404, 409 while it is pending or cannot be sent."""
        delivery = await webhook_deliveries.lock(tx, tenant_id, delivery_id)
        if delivery is None:
            raise not_found("delivery")
        await self._active(tx, tenant_id, delivery.endpoint_id)
        if delivery.state is DeliveryState.PENDING:
            raise conflict("delivery-pending", "Delivery pending", "The delivery is still being tried.")
        await webhook_deliveries.replay(tx, delivery_id)
        again = await webhook_deliveries.lock(tx, tenant_id, delivery_id)
        return again or delivery

    async def replay_failed(self, tx: Tx, tenant_id: str, endpoint_id: UUID, since: datetime) -> int:
        """Have everything given up since an instant sent again, up to ten thousand at a time; how many."""
        await self._active(tx, tenant_id, endpoint_id)
        return await webhook_deliveries.replay_failed(tx, tenant_id, endpoint_id, since, REPLAYED_AT_ONCE)

    async def _locked(self, tx: Tx, tenant_id: str, endpoint_id: UUID) -> Endpoint:
        endpoint = await webhook_endpoints.get(tx, tenant_id, endpoint_id, lock=True)
        if endpoint is None:
            raise not_found("webhook")
        return endpoint

    async def _active(self, tx: Tx, tenant_id: str, endpoint_id: UUID) -> Endpoint:
        endpoint = await webhook_endpoints.get(tx, tenant_id, endpoint_id)
        if endpoint is None:
            raise not_found("webhook")
        if not endpoint.active:
            raise conflict(
                "webhook-inactive", "Webhook switched off", "The webhook is switched off; switch it on first."
            )
        return endpoint

    def _changed(self, endpoint: Endpoint, wanted: Wanted, now: datetime) -> Endpoint:
        url = endpoint.url if wanted.url is None else self._url(wanted.url)
        patterns = endpoint.event_types if wanted.event_types is None else tuple(dict.fromkeys(wanted.event_types))
        found = complaint(patterns)
        if found is not None:
            raise invalid(["event_types", found[0]], found[1])
        active = endpoint.active if wanted.active is None else wanted.active
        changed = replace(
            endpoint,
            version=endpoint.version + 1,
            updated_at=now,
            url=url,
            event_types=patterns,
            description=endpoint.description if wanted.description is None else wanted.description,
            include_internal=endpoint.include_internal if wanted.include_internal is None else wanted.include_internal,
            active=active,
            health=Health() if wanted.active or url != endpoint.url else endpoint.health,
        )
        if active == endpoint.active:
            return changed
        reason = None if active else DisabledReason.MANUAL.value
        return replace(changed, disabled_reason=reason, disabled_at=None if active else now)

    def _url(self, url: str) -> str:
        try:
            written = canonical(url)
            refusal = self._rules.never(target_of(written))
        except UrlError as error:
            raise invalid(["url"], str(error)) from error
        if refusal is not None:
            raise invalid(["url"], refusal)
        return written
