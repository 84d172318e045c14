"""A fact as notify sees it: when it applies, who is in it, what words can be made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.contracts.chat import ChatReplyMissed
from shared.contracts.decision import TicketMerged, TicketRated, TicketTransferChanged, TicketUnmerged
from shared.contracts.escalation import EscalationEnded, EscalationStarted, EscalationStepped, PageRequested
from shared.contracts.event import Event
from shared.contracts.message import Channel
from shared.contracts.pack.notifications import Occasion
from shared.contracts.sla import SlaBreached, SlaChanged, SlaEvent, SlaWarning
from shared.contracts.ticket import (
    ActorKind,
    TicketAssigned,
    TicketCreated,
    TicketEvent,
    TicketMessage,
    TicketMessageAdded,
    TicketStatusChanged,
    TicketSummary,
)
from shared.envelope import Received

Facts = dict[str, Any]
"""What the words are made of, as JSON: parts of `VARIABLES`, ids of people under `people`, the message's references."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One fact that somebody may be told."""

    occasion: Occasion
    tenant_id: str
    ticket_id: UUID
    cause_id: UUID
    """The event's CloudEvents id."""
    at: datetime
    correlation: str
    ticket: TicketSummary | None = None
    actor_id: UUID | None = None
    """The person whose doing it was."""
    values: Mapping[str, object] = field(default_factory=dict)
    """What conditions ask for, by the name in `When`."""
    people: Mapping[str, tuple[UUID, ...]] = field(default_factory=dict)
    """Targets that the fact itself names."""
    words: Facts = field(default_factory=dict)
    message_id: UUID | None = None
    page_id: UUID | None = None
    urgent: bool = False
    expires_at: datetime | None = None
    """When a page ends."""
    address: str | None = None
    """Of a person that directory may never hear of."""

    def facts(self) -> Facts:
        """What a delivery carries of it."""
        ticket = self.ticket
        if ticket is None:
            return self.words
        return {
            "ticket": ticket.model_dump(mode="json", exclude_none=True, exclude={"watcher_ids", "tags"}),
            "at": self.at.isoformat(),
            **self.words,
            "people": {
                "requester": str(ticket.requester_id),
                **({"assignee": str(ticket.assignee_id)} if ticket.assignee_id else {}),
                **({"actor": str(self.actor_id)} if self.actor_id else {}),
                **self.words.get("people", {}),
            },
        }


def fact_of(received: Received[Event]) -> Fact | None:
    """What a received event is to notify; None for one that nobody is told of."""
    event = received.event
    match event:
        case TicketEvent():
            return _of_ticket(received, event)
        case SlaEvent():
            return _of_clock(received, event)
        case EscalationStarted() | EscalationStepped() | EscalationEnded():
            return _of_escalation(received, event)
        case PageRequested():
            return _fact(
                received,
                Occasion.PAGE_REQUESTED,
                event.ticket,
                values={"urgency": event.urgency, "step": event.step},
                people={"person": (event.person_id,)},
                words={
                    "page": {"reason": event.reason, "urgency": event.urgency, "expires_at": _text(event.expires_at)},
                    "escalation": {"path": event.path, "step": event.step},
                },
                page_id=event.page_id,
                urgent=event.urgency != "low",
                expires_at=event.expires_at,
            )
        case _:
            return None


def named_in(facts: Mapping[str, Any]) -> dict[str, UUID]:
    """The people that words may name, by their part: `requester`, `assignee`, `actor`, `from`, `to`, `author`."""
    found = {part: UUID(person) for part, person in facts.get("people", {}).items()}
    author = facts.get("message", {}).get("author_id")
    return found | ({"author": UUID(author)} if author else {})


def missed(tenant_id: str, message_id: UUID, missing: Mapping[str, Any], facts: Mapping[str, Any]) -> Fact:
    """An answer in a chat that its visitor did not see: what `answer_in_chat` kept, told to who left."""
    ticket = TicketSummary.model_validate(facts["ticket"])
    return Fact(
        occasion=Occasion.CHAT_REPLY_MISSED,
        tenant_id=tenant_id,
        ticket_id=ticket.ticket_id,
        # Of the answer, not of the report: a visitor who leaves twice is told once.
        cause_id=message_id,
        at=datetime.fromisoformat(missing["left_at"]),
        correlation=missing["correlation"],
        ticket=ticket,
        people={"person": (UUID(missing["person_id"]),)},
        words={name: value for name, value in facts.items() if name != "ticket"},
        message_id=message_id,
        address=missing.get("address"),
    )


def answer_in_chat(event: Event) -> bool:
    """Whether it is an answer that a chat's visitor may miss."""
    return (
        isinstance(event, TicketMessageAdded)
        and event.ticket.channel == Channel.CHAT
        and event.message.author_kind == "agent"
        and event.message.visibility == "public"
    )


def left(event: ChatReplyMissed, correlation: str) -> dict[str, str]:
    """Who left before an answer, as JSON."""
    told = {
        "person_id": str(event.person_id),
        "left_at": event.left_at.isoformat(),
        "correlation": correlation,
    }
    return told | ({"address": event.address} if event.address else {})


def _fact(received: Received[Event], occasion: Occasion, ticket: TicketSummary, **given: Any) -> Fact:
    values = {
        "channel": str(ticket.channel),
        "category": str(ticket.category),
        "current": ticket.status,
        "priority": ticket.priority.rank,
        "queue": ticket.queue,
    }
    return Fact(
        occasion=occasion,
        tenant_id=received.event.tenant_id,
        ticket_id=ticket.ticket_id,
        cause_id=received.id,
        at=received.time,
        correlation=received.correlation,
        ticket=ticket,
        values=values | given.pop("values", {}),
        people={
            "requester": (ticket.requester_id,),
            "watchers": ticket.watcher_ids,
            "assignee": (ticket.assignee_id,) if ticket.assignee_id else (),
            **given.pop("people", {}),
        },
        **given,
    )


def _of_ticket(received: Received[Event], event: TicketEvent) -> Fact | None:
    actor = UUID(event.actor.id) if event.actor.kind == ActorKind.PERSON and _is_uuid(event.actor.id) else None
    ticket = event.ticket
    match event:
        case TicketCreated() | TicketMessageAdded():
            created = isinstance(event, TicketCreated)
            return _fact(
                received,
                Occasion.TICKET_CREATED if created else Occasion.MESSAGE_ADDED,
                ticket,
                actor_id=event.message.author_id,
                values={
                    "author": str(event.message.author_kind),
                    "visibility": str(event.message.visibility),
                    "automatic": event.message.automatic,
                },
                words={"message": _message(event.message)},
                message_id=event.message.message_id,
            )
        case TicketStatusChanged():
            minutes = max(0, round((received.time - ticket.created_at).total_seconds() / 60))
            change = {
                "previous": event.previous,
                "current": event.current,
                "resolution": event.resolution or "",
                "reason": event.reason or "",
                "minutes_open": minutes,
            }
            return _fact(
                received,
                Occasion.STATUS_CHANGED,
                ticket,
                actor_id=actor,
                values={"previous": event.previous, "current": event.current, "trigger": event.trigger},
                words={"change": change, "cycle": event.cycle},
            )
        case TicketAssigned():
            return _fact(
                received,
                Occasion.ASSIGNED,
                ticket,
                actor_id=actor,
                people={
                    "assignee": (event.assignee_id,) if event.assignee_id else (),
                    "previous_assignee": (event.previous_assignee_id,) if event.previous_assignee_id else (),
                },
            )
        case TicketMerged():
            words: Facts = {"merge": {"number": event.into_number}, "change": {"reason": event.reason or ""}}
            return _fact(received, Occasion.MERGED, ticket, actor_id=actor, words=words)
        case TicketUnmerged():
            words = {"merge": {"number": event.from_number}, "change": {"reason": event.reason or ""}}
            return _fact(received, Occasion.UNMERGED, ticket, actor_id=actor, words=words)
        case TicketTransferChanged():
            people = {"to": str(event.to_id), **({"from": str(event.from_id)} if event.from_id else {})}
            transfer = {"state": str(event.state), "note": event.note or "", "expires_at": _text(event.expires_at)}
            return _fact(
                received,
                Occasion.TRANSFER_CHANGED,
                ticket,
                actor_id=actor,
                values={"state": str(event.state)},
                people={"person": (event.to_id,), "from": (event.from_id,) if event.from_id else ()},
                words={"transfer": transfer, "people": people},
            )
        case TicketRated():
            rating = {"score": event.score, "comment": event.comment or ""}
            return _fact(
                received,
                Occasion.RATED,
                ticket,
                actor_id=actor,
                values={"score": event.score},
                words={"rating": rating},
            )
        case _:
            return None


def _of_clock(received: Received[Event], event: SlaEvent) -> Fact | None:
    clock: Facts = {
        "name": str(event.clock).replace("_", " "),
        "due_at": _text(event.due_at),
        "target_minutes": _number(event.target_minutes),
    }
    values: dict[str, object] = {"clock": str(event.clock)}
    match event:
        case SlaWarning():
            occasion = Occasion.SLA_WARNING
            clock["remaining_minutes"] = _number(event.remaining_minutes)
        case SlaBreached():
            occasion = Occasion.SLA_BREACHED
            clock |= {"breached_at": _text(event.breached_at), "provisional": event.provisional}
            values["provisional"] = event.provisional
        case SlaChanged():
            occasion = Occasion.SLA_CHANGED
            values["change"] = str(event.change)
        case _:
            return None
    return _fact(received, occasion, event.ticket, values=values, words={"clock": clock})


def _of_escalation(received: Received[Event], event: EscalationStarted | EscalationStepped | EscalationEnded) -> Fact:
    told: Facts = {"path": event.path, "level": event.level}
    values: dict[str, object] = {"level": event.level}
    people: dict[str, tuple[UUID, ...]] = {}
    occasion = Occasion.ESCALATION_STARTED
    match event:
        case EscalationStarted():
            told["reason"] = event.cause
        case EscalationStepped():
            occasion = Occasion.ESCALATION_STEPPED
            told |= {"step": event.step, "name": event.name.replace("_", " "), "next_at": _text(event.next_at)}
            values["step"] = event.step
            people["targets"] = tuple(target.person_id for target in event.targets)
        case EscalationEnded():
            occasion = Occasion.ESCALATION_ENDED
            told |= {"step": event.step, "reason": event.reason}
            values["step"] = event.step
    return _fact(received, occasion, event.ticket, values=values, people=people, words={"escalation": told})


def _message(message: TicketMessage) -> Facts:
    body = message.body
    told: Facts = {"author_id": str(message.author_id) if message.author_id else None}
    if body.text_blob is not None:
        told["text_blob"] = body.text_blob.sha256
    else:
        told["text"] = body.text or ""
    told["files"] = [
        {"name": file.filename, "sha256": file.blob.sha256, "size": file.blob.size, "type": file.blob.media_type}
        for file in message.attachments
    ]
    return told


def _text(instant: datetime | None) -> str:
    return instant.isoformat() if instant else ""


def _number(minutes: float) -> float | int:
    return int(minutes) if minutes == int(minutes) else round(minutes, 1)


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
