"""Messages into tickets, a whole batch at once: find, lock, decide, assign, save, publish.

Both ways in end here: `message.received` and `POST /v1/tickets`. Source: seed 000 §2.1, §3; architecture rules 4, 6, 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from services.tickets.desk import assigning
from services.tickets.desk.batch import Batch, Incoming, emit, lock_all
from services.tickets.desk.known import Known
from services.tickets.desk.numbers import Numbers
from services.tickets.desk.saving import save
from services.tickets.domain import audit, conversation, links, opening, threading
from services.tickets.domain.assignment import DESK
from services.tickets.domain.policy import Missing, Pack
from services.tickets.domain.ticket import NUMBER, Ticket
from services.tickets.domain.work import Act
from services.tickets.store import tickets
from services.tickets.store.agents import AGENT_ROLES
from services.tickets.store.tickets import Located
from shared import waiting
from shared.contracts.directory import PersonChanged, Role
from shared.contracts.message import MessageReceived, Parent
from shared.contracts.ticket import Actor, ActorKind, AuthorKind, Change, TicketUpdated
from shared.db import Tx
from shared.envelope import Answer, NotYet

PARENT = "parent"
"""What a message waits for when its parent is known but not here; the missing id is the parent's message id."""


class Intake:
    """Turns messages into tickets."""

    def __init__(self, known: Known, numbers: Numbers, draw: audit.Draw, parent_patience: timedelta) -> None:
        self._known = known
        self._numbers = numbers
        self._draw = draw
        self._patience = parent_patience

    async def receive(self, tx: Tx, batch: Sequence[Incoming]) -> list[Answer]:
        """Create and continue tickets; answers what to publish, or NotYet for what has to wait.

        A message that a ticket has already is skipped, whatever its event id. Idempotent under retry.
        """
        packs: dict[str, Pack] = {}
        missing: dict[str, Missing] = {}
        for tenant, found in (await self._known.packs({i.message.tenant_id for i in batch}, tx)).items():
            if isinstance(found, Pack):
                packs[tenant] = found
            else:
                missing[tenant] = found
        if missing:
            return [
                _not_yet(i, "policy", missing[i.message.tenant_id].key) for i in batch if i.message.tenant_id in missing
            ]
        located = await tickets.locate(
            tx,
            [i.message.message_id for i in batch],
            list({i.message.parent_message_id for i in batch if i.message.parent_message_id is not None}),
            list({place for i in batch if (place := _number(i.message)) is not None}),
            self._patience,
        )
        state = Batch(
            tx=tx,
            packs=packs,
            located=located,
            tickets=await lock_all(tx, batch, located),
            people=await self._known.people((i.message.sender.person_id for i in batch), tx),
            inbound=await self._known.inbound(packs, tx),
            year=tx.instant.year,
        )
        await self._numbers.ensure((i.message.tenant_id for i in batch if _may_open(i.message, located)), state.year)
        for incoming in batch:
            self._one(state, incoming)
        if any(isinstance(answer, NotYet) for answer in state.answers):
            return [answer for answer in state.answers if isinstance(answer, NotYet)]
        self._link(state)
        works = list(state.works.values())
        await assigning.settle(tx, works, packs, self._draw)
        for work in works:
            state.tell(work, state.last[work.ticket.id])
        state.answers += await save(tx, works, lambda work, told: emit(told, state.last[work.ticket.id]))
        if state.by_message:
            await waiting.wake(tx, PARENT, [str(message) for message in state.by_message])
        return state.answers

    def _one(self, state: Batch, incoming: Incoming) -> None:
        """One message, after all that came before it."""
        message = incoming.message
        if message.message_id in state.located.of_message or message.message_id in state.by_message:
            return
        decision = threading.thread(message, self._seen(state, message.tenant_id))
        match decision:
            case threading.Wait():
                state.answers.append(_not_yet(incoming, PARENT, str(decision.parent_id)))
            case threading.Join():
                self._join(state, incoming, decision)
            case threading.Open():
                self._open(state, incoming, decision)

    @staticmethod
    def _seen(state: Batch, tenant: str) -> threading.Seen:
        known = state.seen.get(tenant)
        if known is not None:
            return known
        located = state.located
        machine = state.packs[tenant].machine
        state.seen[tenant] = threading.Seen(
            ticket=state.chain,
            of_message=lambda m: state.chain(state.by_message.get(m) or located.of_message.get(m)),
            of_number=lambda t, n: state.chain(located.of_number.get((t, n))),
            overdue=lambda parent: parent in located.overdue,
            ours=lambda person_id: _ours(state.people.get(person_id)),
            takes_replies=lambda ticket: conversation.takes_replies(ticket, machine),
        )
        return state.seen[tenant]

    def _join(self, state: Batch, incoming: Incoming, decision: threading.Join) -> None:
        message = incoming.message
        work = state.work(decision.ticket_id)
        side = _side(message, work.ticket, state.people, decision.evidence)
        person = state.people.get(message.sender.person_id)
        role = str(person.role) if person is not None and side is AuthorKind.AGENT else Role.CUSTOMER.value
        actor = Actor(kind=ActorKind.PERSON, id=str(message.sender.person_id), role=role)
        at = work.begin(state.tx.instant)
        following = _following(message, state.inbound)
        if decision.merged and side is AuthorKind.REQUESTER and not message.automatic:
            # They wrote to a ticket that goes on in this one: following it, they are answered.
            following = (message.sender.person_id, *following)
        conversation.follow(work, following)
        conversation.add(
            work,
            state.packs[message.tenant_id].machine,
            conversation.received(message, side, at),
            work.act(actor, self._draw),
            received_at=message.received_at,
            addressed=_addressed(message, state.inbound),
            resolves=message.resolves,
        )
        state.by_message[message.message_id] = decision.ticket_id
        state.tell(work, incoming)

    def _open(self, state: Batch, incoming: Incoming, decision: threading.Open) -> None:
        message = incoming.message
        pack = state.packs[message.tenant_id]
        at = state.tx.instant
        actor = incoming.actor or Actor(
            kind=ActorKind.PERSON, id=str(message.sender.person_id), role=Role.CUSTOMER.value
        )
        work = opening.open_ticket(
            message,
            conversation.received(message, AuthorKind.REQUESTER, at),
            pack,
            Act(actor, at, self._draw),
            number=pack.number(state.year, self._numbers.take(message.tenant_id, state.year)),
            requester=state.people.get(message.sender.person_id),
            addressed=_addressed(message, state.inbound),
            following=_following(message, state.inbound),
            follows=state.current(decision.follows_id),
            awaited_parent_id=decision.awaited_parent_id,
            chosen=incoming.chosen,
        )
        state.works[work.ticket.id] = work
        state.by_message[message.message_id] = work.ticket.id
        state.tell(work, incoming)

    def _link(self, state: Batch) -> None:
        """Link tickets that were opened while their parent was missing to the ticket the parent came to."""
        for message_id, waiting_ids in state.located.awaiting.items():
            parent = state.current(state.by_message.get(message_id))
            for ticket_id in waiting_ids:
                if parent is None or ticket_id == parent.id or ticket_id not in state.tickets:
                    continue
                work = state.work(ticket_id)
                work.begin(state.tx.instant)
                work.change(follows_id=parent.id, awaited_parent_id=None)
                links.follow(work, parent)
                act = work.act(DESK, self._draw)
                work.record("linked", act, {"follows": (None, str(parent.id))})
                work.facts.append(
                    TicketUpdated(
                        tenant_id=work.ticket.tenant_id,
                        ticket_id=ticket_id,
                        ticket=work.ticket.summary(),
                        actor=DESK,
                        changes=(Change(field="follows_id", old=None, new=str(parent.id)),),
                    )
                )
                state.last.setdefault(ticket_id, state.last[parent.id])


def _number(message: MessageReceived) -> tuple[str, str] | None:
    """The tenant and the number in the subject, if it can be one."""
    text = message.ticket_number
    return (message.tenant_id, text) if text is not None and NUMBER.fullmatch(text) else None


def _may_open(message: MessageReceived, located: Located) -> bool:
    """Whether it may need a number; one too many only waits for the next ticket."""
    if message.message_id in located.of_message:
        return False
    return not (message.parent == Parent.KNOWN and message.parent_message_id in located.of_message)


def _side(message: MessageReceived, ticket: Ticket, people: dict[UUID, PersonChanged], evidence: str) -> AuthorKind:
    """On which side a reply was written. An agent's mail counts as ours only with a token and a sender not spoofed."""
    person = people.get(message.sender.person_id)
    proven = evidence == "token" and not message.spoofed
    if _ours(person) and proven and message.sender.person_id != ticket.requester_id:
        return AuthorKind.AGENT
    return AuthorKind.REQUESTER


def _ours(person: PersonChanged | None) -> bool:
    return person is not None and person.active and person.role in AGENT_ROLES


def _addressed(message: MessageReceived, inbound: dict[str, frozenset[UUID]]) -> tuple[UUID, ...]:
    own = inbound.get(message.tenant_id, frozenset())
    return tuple(r.person_id for r in message.recipients if r.person_id not in own)


def _following(message: MessageReceived, inbound: dict[str, frozenset[UUID]]) -> tuple[UUID, ...]:
    """Whom the sender put in copy, which makes them watchers. A machine or a forged sender invites nobody."""
    if message.automatic or message.spoofed:
        return ()
    return tuple(p for p in _addressed(message, inbound) if p != message.sender.person_id)


def _not_yet(incoming: Incoming, kind: str, identity: str) -> NotYet:
    if incoming.cause is None:
        raise LookupError(f"{kind} {identity} has not arrived")
    return NotYet(incoming.cause, kind, identity)
