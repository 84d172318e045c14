"""Facts about Mia's ticket, as other services tell them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from shared.contracts import cloudevents, golden, ids
from shared.contracts.decision import TicketDecisionApplied
from shared.contracts.escalation import PageRequested
from shared.contracts.event import Event
from shared.contracts.ticket import Actor, TicketCreated, TicketMessageAdded, TicketStatusChanged, TicketSummary
from shared.envelope import Received

DOMAIN = "acme.example"
SUPPORT = f"support@{DOMAIN}"
MIA, ANA, LEO, WANDA = "mia@customer.example", f"ana@{DOMAIN}", f"leo@{DOMAIN}", "wanda@customer.example"
TEAM = UUID(int=77)


def received(event: Event, *, at: datetime | None = None, identity: UUID | None = None) -> Received[Any]:
    """An event as the bus hands it over."""
    return Received(
        event=event,
        id=identity or uuid4(),
        type=event.TYPE,
        time=at or datetime.now(UTC),
        key=event.key,
        topic=cloudevents.topic_name(event.TYPE),
        partition=0,
        offset=0,
        correlation="test",
    )


def summary(number: int = 1, **changes: Any) -> TicketSummary:
    """A ticket of Mia's."""
    example = golden.examples(TicketCreated)["minimal"]["ticket"]
    return TicketSummary.model_validate(
        {
            **example,
            "ticket_id": str(UUID(int=number)),
            "number": f"INC-2026-{number:06}",
            "subject": "Drucker am Tor 4 – nichts geht mehr",
            "requester_id": str(ids.person_id("acme", MIA)),
            "channel": "email",
            "status": "new",
            "category": "new",
            "created_at": datetime.now(UTC).isoformat(),
            "updated_at": datetime.now(UTC).isoformat(),
            **changes,
        }
    )


def message(author: str = "requester", address: str = MIA, text: str = "It says no.", **changes: Any) -> dict[str, Any]:
    return {
        "message_id": str(uuid4()),
        "author_kind": author,
        "author_id": str(ids.person_id("acme", address)),
        "visibility": "public",
        "channel": "email",
        "body": {"text": text},
        "created_at": datetime.now(UTC).isoformat(),
        **changes,
    }


def created(number: int = 1, ticket: Mapping[str, Any] | None = None, **changes: Any) -> TicketCreated:
    """Mia's first mail has become a ticket."""
    found = summary(number, **(ticket or {}))
    return TicketCreated.model_validate(
        {
            "tenant_id": "acme",
            "ticket_id": str(found.ticket_id),
            "ticket": found.model_dump(mode="json"),
            "actor": {"kind": "person", "id": str(found.requester_id)},
            "message": message(**{"external_id": f"first-{number}@customer.example", **changes}),
        }
    )


def triaged(number: int = 1, ticket: Mapping[str, Any] | None = None) -> TicketDecisionApplied:
    """Triage's decision has become part of the ticket."""
    found = summary(number, **(ticket or {}))
    return TicketDecisionApplied(
        tenant_id="acme",
        ticket_id=found.ticket_id,
        ticket=found,
        actor=Actor(kind="service", id="triage"),
        decision="ticket.triaged",
        decision_id=uuid4(),
        based_on_version=1,
        changes=(),
    )


def replied(number: int = 1, ticket: Mapping[str, Any] | None = None, **changes: Any) -> TicketMessageAdded:
    """Ana has answered in public."""
    found = summary(number, **(ticket or {}))
    said = message(**{"author": "agent", "address": ANA, "text": "Try again.", "channel": "api", **changes})
    return TicketMessageAdded.model_validate(
        {
            "tenant_id": "acme",
            "ticket_id": str(found.ticket_id),
            "ticket": found.model_dump(mode="json"),
            "actor": {"kind": "person", "id": said["author_id"]},
            "message": said,
        }
    )


def solved(number: int = 1, **changes: Any) -> TicketStatusChanged:
    found = summary(number, status="solved", category="solved", **changes)
    return TicketStatusChanged.model_validate(
        {
            "tenant_id": "acme",
            "ticket_id": str(found.ticket_id),
            "ticket": found.model_dump(mode="json"),
            "actor": {"kind": "person", "id": str(ids.person_id("acme", ANA))},
            "previous": "open",
            "current": "solved",
            "trigger": "manual",
            "resolution": "A new cable.",
            "cycle": 2,
        }
    )


def paged(page_id: UUID | None = None, urgency: str = "high", minutes: float = 15) -> PageRequested:
    found = summary(1)
    return PageRequested(
        tenant_id="acme",
        ticket_id=found.ticket_id,
        page_id=page_id or uuid4(),
        escalation_id=UUID(int=5),
        person_id=ids.person_id("acme", ANA),
        ticket=found,
        path="p1",
        step=1,
        urgency=urgency,
        reason="P1 ticket INC-2026-000001 is unacknowledged",
        expires_at=datetime.now(UTC) + timedelta(minutes=minutes),
    )
