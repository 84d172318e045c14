"""Messages and what they do to their ticket: who takes part, what the ledger says, which triggers fire."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from services.tickets.domain import assignment, ledger, workflow
from services.tickets.domain.ticket import MAX_PARTICIPANTS, MAX_WATCHERS, Ticket, clean_text, joined
from services.tickets.domain.work import Act, Work
from services.tickets.domain.workflow import Machine
from shared.contracts.message import MessageReceived
from shared.contracts.pack import Trigger
from shared.contracts.ticket import (
    AuthorKind,
    LedgerKind,
    TicketMessage,
    TicketMessageAdded,
    Visibility,
)

MAX_COPIED = 20
"""Watchers one message may bring in: a mailing list's worth of people is no circle of readers."""


def received(message: MessageReceived, author_kind: AuthorKind, at: datetime) -> TicketMessage:
    """A message from outside as a message of the conversation, stored at `at`."""
    return TicketMessage(
        message_id=message.message_id,
        author_kind=author_kind,
        author_id=message.sender.person_id,
        visibility=Visibility.PUBLIC,
        channel=message.channel,
        body=message.body,
        attachments=message.attachments,
        automatic=message.automatic,
        external_id=None if message.external_id is None else clean_text(message.external_id, 1000),
        created_at=at,
    )


def add(
    work: Work,
    machine: Machine,
    message: TicketMessage,
    act: Act,
    *,
    received_at: datetime | None = None,
    addressed: tuple[UUID, ...] = (),
    resolves: bool = False,
) -> None:
    """Append a message; the input is counted by the caller.

    A person on the requester's side starts the clocks if nobody has, is REPLIED in the ledger and fires
    `requester_replied`; an agent's public answer is RESPONDED and fires `agent_replied`. Notes and automatic mail do
    neither (architecture rule 4). A message that `resolves` (an alert has recovered) fires `recovered` instead, which
    asks for nothing and so reopens nothing.
    """
    ticket = work.ticket
    internal = message.visibility == Visibility.INTERNAL
    people = addressed if message.author_id is None else (message.author_id, *addressed)
    work.change(
        message_count=ticket.message_count + 1,
        participant_ids=ticket.participant_ids
        if internal
        else joined(ticket.participant_ids, people, MAX_PARTICIPANTS),
    )
    work.messages.append(message)
    work.record("noted" if internal else "message_added", act, {"message": (None, str(message.message_id))})
    trigger: Trigger | None = None
    if not (internal or message.automatic):
        if message.author_kind == AuthorKind.REQUESTER:
            ledger.mark_opened(work, received_at or act.at)
            if resolves:
                trigger = Trigger.RECOVERED
            else:
                ledger.write(work, LedgerKind.REPLIED, "", act.at)
                trigger = Trigger.REQUESTER_REPLIED
        elif message.author_kind == AuthorKind.AGENT:
            ledger.responded(work, act.at)
            trigger = Trigger.AGENT_REPLIED
    if message.author_kind == AuthorKind.AGENT:
        assignment.touched(work)
    work.facts.append(
        TicketMessageAdded(
            tenant_id=ticket.tenant_id,
            ticket_id=ticket.id,
            ticket=work.ticket.summary(),
            actor=act.actor,
            message=message,
        )
    )
    if trigger is not None:
        move = workflow.automatic(machine, work.ticket, trigger)
        if move is not None:
            workflow.apply(work, machine, move, act)


def follow(work: Work, people: Sequence[UUID]) -> None:
    """Make those a message brought in watchers: at most so many per message, nobody twice, nobody who owns it."""
    ticket = work.ticket
    known = {ticket.requester_id, ticket.assignee_id, *ticket.watcher_ids}
    fresh = tuple(person for person in dict.fromkeys(people) if person not in known)
    room = min(MAX_COPIED, MAX_WATCHERS - len(ticket.watcher_ids))
    if fresh and room > 0:
        work.change(watcher_ids=(*ticket.watcher_ids, *fresh[:room]))


def takes_replies(ticket: Ticket, machine: Machine) -> bool:
    """Whether a reply may join: the ticket is not closed, or its workflow reopens it."""
    return not ticket.closed or bool(machine.arrows(ticket.status, Trigger.REQUESTER_REPLIED))
