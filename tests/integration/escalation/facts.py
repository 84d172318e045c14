"""Events of the neighbours, made for one escalation service."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import NAMESPACE_DNS, UUID, uuid4, uuid5

from shared.contracts.escalation import PageResponse
from shared.contracts.event import Event
from shared.contracts.notification import DeliveryChannel, NotificationFailed
from shared.contracts.sla import SlaBreached, SlaChangeKind, SlaWarning
from shared.contracts.ticket import TicketCreated
from shared.envelope import Received
from tests.integration.escalation.conftest import Service, received
from tests.unit.escalation.desk import (
    colleague,
    message,
    summary,
    ticket_id,
)


async def created(service: Service, name: str = "one", *, ago: float = 0, **given: Any) -> Received[Any]:
    """A `ticket.created` of that many minutes ago."""
    at = await service.now() - timedelta(minutes=ago)
    event = TicketCreated(
        tenant_id="acme",
        ticket_id=ticket_id(name),
        ticket=summary(name, at=at, **given),
        actor=colleague(),
        message=message(at),
    )
    return received(event, at=at, identity=uuid5(NAMESPACE_DNS, f"{name}{at}"))


async def clock(service: Service, kind: type[Event], *, clock: str = "first_response", **given: Any) -> Received[Any]:
    """An event of a clock, of now."""
    now = await service.now()
    label = given.pop("label", "P3")
    values: dict[str, Any] = {
        "tenant_id": "acme",
        "ticket_id": ticket_id(),
        "ticket": summary(label=label, at=now),
        "clock": clock,
        "cycle": 1,
        "target_minutes": 60,
        "calendar": "always",
        "policy_version": 1,
        "based_on_version": 1,
        **given,
    }
    if kind is SlaBreached:
        values.setdefault("breached_at", now)
    elif kind is SlaWarning:
        values |= {"share_left": 0.2, "remaining_minutes": 12}
    else:
        values = {"change": SlaChangeKind.WITHDRAWN, "state": "running", "reason": "late ledger"} | values
    return received(kind.model_validate(values), at=now)


async def a_page(service: Service, person_id: UUID) -> dict[str, Any]:
    return next(one for one in await service.published("page.requested") if one["person_id"] == str(person_id))


async def answer(service: Service, person_id: UUID, said: str) -> PageResponse:
    page = await a_page(service, person_id)
    return PageResponse(
        tenant_id="acme",
        ticket_id=UUID(page["ticket_id"]),
        page_id=UUID(page["page_id"]),
        escalation_id=UUID(page["escalation_id"]),
        person_id=person_id,
        answer=said,
        channel="link",
        answered_at=await service.now(),
    )


async def undelivered(service: Service, person_id: UUID, channel: str = DeliveryChannel.EMAIL) -> NotificationFailed:
    page = await a_page(service, person_id)
    return NotificationFailed(
        tenant_id="acme",
        ticket_id=UUID(page["ticket_id"]),
        delivery_id=uuid4(),
        channel=channel,
        template="page",
        recipient_id=person_id,
        page_id=UUID(page["page_id"]),
        attempts=3,
        reason="refused",
        failed_at=await service.now(),
    )


async def states(service: Service) -> list[tuple[str, str, str | None]]:
    rows = await service.rows("SELECT path, state, ended_reason FROM escalation ORDER BY started_at, path")
    return [(row["path"], row["state"], row["ended_reason"]) for row in rows]
