"""A new ticket from its first message: what the channel hints at, what the pack says, what directory knows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from pydantic import JsonValue

from services.tickets.domain import audit, conversation, hands, ledger, links, workflow
from services.tickets.domain.policy import Pack
from services.tickets.domain.ticket import MAX_PARTICIPANTS, MAX_SUBJECT, Ticket, clean_tags, clean_text, joined
from services.tickets.domain.work import Act, Work
from shared.contracts import ids
from shared.contracts.directory import PersonChanged
from shared.contracts.message import Hints, MessageReceived
from shared.contracts.pack import Strategy, Trigger
from shared.contracts.ticket import TicketCreated, TicketMessage

KEPT_HINTS = ("environment", "version", "error_code")
"""Hints that become fields of the ticket (seed 000 §3.3, metadata)."""
MAX_FIELD = 200
"""Characters of one such field."""
NO_SUBJECT = "(no subject)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What a person who opens a ticket by hand sets; None leaves it to hints and pack."""

    queue: str | None = None
    watcher_ids: tuple[UUID, ...] = ()
    by_hand: tuple[str, ...] = ()
    """Fields that triage leaves as they are."""


def open_ticket(
    message: MessageReceived,
    first: TicketMessage,
    pack: Pack,
    act: Act,
    *,
    number: str,
    requester: PersonChanged | None,
    addressed: tuple[UUID, ...] = (),
    following: tuple[UUID, ...] = (),
    follows: Ticket | None = None,
    awaited_parent_id: UUID | None = None,
    chosen: Chosen | None = None,
) -> Work:
    """The ticket that `message` opens, at version 1, with its fact. Its id follows from the message's.

    Where tickets are given out by rule and nobody chose a queue, it is held for a moment: triage may name another one.
    """
    hints = message.hints
    chosen = chosen or Chosen()
    priority = pack.priority(hints.priority)
    state = pack.machine.initial
    requester_id = message.sender.person_id
    ticket = Ticket(
        id=ids.ticket_id(message.tenant_id, message.message_id),
        tenant_id=message.tenant_id,
        number=number,
        version=1,
        subject=clean_text(message.subject, MAX_SUBJECT) or NO_SUBJECT,
        status=state.name,
        category=state.category.value,
        rank=priority.rank,
        priority=priority.label,
        requester_id=requester_id,
        organisation_id=requester.organisation_id if requester else None,
        queue=chosen.queue or pack.assignment.default_queue,
        channel=str(message.channel),
        inbound_address=message.inbound_address,
        language=_short(hints.language or (requester.language if requester else None)),
        product=_short(hints.product),
        tier=_short(requester.tier) if requester else None,
        tags=clean_tags(hints.tags) if hints.tags else (),
        fields=_fields(hints),
        created_at=act.at,
        updated_at=act.at,
        status_since=act.at,
        cycle_opened_at=message.received_at,
        message_count=1,
        watcher_ids=chosen.watcher_ids,
        participant_ids=joined((requester_id,), addressed, MAX_PARTICIPANTS),
        follows_id=follows.id if follows is not None else None,
        awaited_parent_id=awaited_parent_id,
        held_until=_held(pack, chosen, act.at),
    )
    work = Work(ticket, messages=[first])
    conversation.follow(work, following)
    if follows is not None:
        links.follow(work, follows)
    if chosen.by_hand:
        hands.remember(work, chosen.by_hand, act.at)
    ledger.open_ticket(work, act.at, message.received_at, automatic=message.automatic)
    workflow.arm_timer(work, pack.machine, act.at)
    values: dict[str, audit.Values] = {
        "number": (None, number),
        "requester": (None, str(requester_id)),
        "subject": (None, ticket.subject),
        "message": (None, str(message.message_id)),
    }
    if follows is not None:
        values["follows"] = (None, str(follows.id))
    work.record("created", act, values)
    work.facts.append(
        TicketCreated(
            tenant_id=ticket.tenant_id,
            ticket_id=ticket.id,
            ticket=work.ticket.summary(),
            actor=act.actor,
            message=first,
            hints=_told(hints),
        )
    )
    if message.resolves:
        # Its firing never came by us: the ticket tells of it and asks nobody for anything.
        move = workflow.automatic(pack.machine, work.ticket, Trigger.RECOVERED)
        if move is not None:
            workflow.apply(work, pack.machine, move, act)
    return work


def _held(pack: Pack, chosen: Chosen, at: datetime) -> datetime | None:
    seconds = pack.assignment.wait_for_triage_seconds
    if not seconds or chosen.queue is not None or pack.assignment.strategy is Strategy.MANUAL:
        return None
    return at + timedelta(seconds=seconds)


_EMPTY = Hints()


def _told(hints: Hints) -> dict[str, JsonValue]:
    # Most messages hint at nothing, and comparing is a tenth of dumping.
    return {} if hints == _EMPTY else hints.model_dump(mode="json", exclude_defaults=True)


def _fields(hints: Hints) -> dict[str, JsonValue]:
    found: dict[str, JsonValue] = {}
    for name in KEPT_HINTS:
        value = getattr(hints, name)
        if value:
            found[name] = clean_text(value, MAX_FIELD)
    return found


def _short(value: str | None) -> str | None:
    return clean_text(value, 64) or None if value else None
