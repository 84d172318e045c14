"""One batch of messages on its way through: what was found, what changed, what is to be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from services.tickets.desk.saving import Cause
from services.tickets.domain import threading
from services.tickets.domain.opening import Chosen
from services.tickets.domain.policy import Pack
from services.tickets.domain.ticket import Ticket
from services.tickets.domain.work import Work
from services.tickets.store import tickets
from services.tickets.store.tickets import Located
from shared.contracts.directory import PersonChanged
from shared.contracts.event import Event
from shared.contracts.message import MessageReceived
from shared.contracts.ticket import Actor
from shared.db import Tx
from shared.envelope import Answer, Emit

MAX_CHAIN = 1000
"""Merges followed one after the other; no pointers lead in a circle, and this is far beyond what people do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """One message on its way in."""

    message: MessageReceived
    cause: Cause = None
    actor: Actor | None = None
    """Who opens the ticket by hand; the sender when None."""
    chosen: Chosen | None = None
    correlation: str | None = None
    traceparent: str | None = None


@dataclass(slots=True)
class Batch:
    """One batch on its way through: what was found, what changed, what is to be told."""

    tx: Tx
    packs: dict[str, Pack]
    located: Located
    tickets: dict[UUID, Ticket]
    people: dict[UUID, PersonChanged]
    inbound: dict[str, frozenset[UUID]]
    year: int
    works: dict[UUID, Work] = field(default_factory=dict)
    by_message: dict[UUID, UUID] = field(default_factory=dict)
    """Message of this batch → its ticket."""
    last: dict[UUID, Incoming] = field(default_factory=dict)
    """Ticket → the message that changed it last."""
    seen: dict[str, threading.Seen] = field(default_factory=dict)
    """By tenant: what its messages are held against."""
    answers: list[Answer] = field(default_factory=list)

    def work(self, ticket_id: UUID) -> Work:
        """The ticket's work, begun with the first change."""
        found = self.works.get(ticket_id)
        if found is None:
            found = self.works[ticket_id] = Work.on(self.tickets[ticket_id])
        return found

    def chain(self, ticket_id: UUID | None) -> list[Ticket]:
        """A ticket as this batch has made it, and those it was merged into, one after the other; empty for none."""
        chain: list[Ticket] = []
        while ticket_id is not None:
            work = self.works.get(ticket_id)
            ticket = work.ticket if work is not None else self.tickets.get(ticket_id)
            if ticket is None or len(chain) > MAX_CHAIN:
                return []
            chain.append(ticket)
            ticket_id = ticket.merged_into
        return chain

    def current(self, ticket_id: UUID | None) -> Ticket | None:
        """A ticket as this batch has made it, merges followed."""
        chain = self.chain(ticket_id)
        return chain[-1] if chain else None

    def tell(self, work: Work, incoming: Incoming) -> None:
        """Publish what the work has to say, as caused by that message."""
        self.last[work.ticket.id] = incoming
        self.answers += [emit(fact, incoming) for fact in work.take_facts()]


async def lock_all(tx: Tx, batch: Sequence[Incoming], located: Located) -> dict[UUID, Ticket]:
    """Lock every ticket the evidence leads to, and those they were merged into."""
    wanted: set[UUID] = {i.message.token_ticket_id for i in batch if i.message.token_ticket_id is not None}
    wanted.update(located.of_message.values(), located.of_number.values())
    for ids in located.awaiting.values():
        wanted.update(ids)
    found = await tickets.lock(tx, wanted)
    while True:
        # A merge target is locked after its source: should two transactions cross, one of them is run again.
        further = {t.merged_into for t in found.values() if t.merged_into is not None} - found.keys() - wanted
        if not further:
            return found
        wanted |= further
        found |= await tickets.lock(tx, further)


def emit(event: Event, incoming: Incoming) -> Emit:
    """An event as caused by that message or request."""
    return Emit(event, incoming.cause, correlation=incoming.correlation, traceparent=incoming.traceparent)
