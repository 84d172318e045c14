"""Tickets opened through the API; from there on they go the way of any message."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID, uuid4

from starlette.requests import Request
from starlette.responses import Response

from services.tickets.api.bodies import body_of
from services.tickets.api.desk import Desk, actor, transact
from services.tickets.api.models import NewTicket
from services.tickets.api.views import TicketView, to_json, view
from services.tickets.desk.batch import Incoming
from services.tickets.domain.opening import Chosen
from services.tickets.store import agents, tickets
from shared import outbox
from shared.auth import Principal, allows
from shared.auth.permissions import Permission, TicketScope
from shared.contracts import ids
from shared.contracts.message import Hints, MessageReceived, Participant
from shared.db import Tx
from shared.http import (
    IdempotencyKey,
    Router,
    correlation,
    etag,
    fingerprint,
    idempotency,
    problems,
    requires,
    traceparent,
)
from shared.problem import Problem, invalid


def routes(desk: Desk) -> Router:
    """The path operation that opens a ticket."""
    router = Router(tags=["tickets"])

    @router.post("/v1/tickets", status_code=201, response_model=TicketView, responses=problems(409))
    async def create_ticket(
        request: Request,
        principal: Annotated[Principal, requires(Permission.TICKET_CREATE)],
        new: NewTicket,
        idempotency_key: IdempotencyKey = None,
    ) -> Response:
        """Open a ticket: agents for a requester, customers for themselves. Answers when it is committed."""
        pack = await desk.pack(principal.tenant_id)
        sender = await _requester(desk, principal, new)
        _check_choices(principal, new)
        if new.queue is not None:
            known = await agents.queues(desk.database, principal.tenant_id) | {pack.assignment.default_queue}
            if new.queue not in known:
                raise invalid(["queue"], f"one of {', '.join(sorted(known))}")
        source = f"{principal.account}:{idempotency_key or uuid4().hex}"
        message_id = ids.message_id(principal.tenant_id, "tickets", source)
        body = body_of(new.text)

        async def once(tx: Tx) -> Response:
            print_ = fingerprint(request, principal)
            if idempotency_key is not None:
                stored = await idempotency.begin(tx, principal.tenant_id, idempotency_key, print_)
                if stored is not None:
                    return stored.response()
            message = MessageReceived(
                tenant_id=principal.tenant_id,
                message_id=message_id,
                conversation_id=message_id,
                channel=new.channel,
                received_at=tx.instant,
                sender=sender,
                subject=new.subject,
                body=body,
                hints=_hints(new),
            )
            incoming = Incoming(
                message=message,
                actor=actor(principal),
                chosen=_chosen(principal, new),
                correlation=correlation(request),
                traceparent=traceparent(request),
            )
            answers = await desk.intake.receive(tx, [incoming])
            await outbox.add(tx, answers)
            ticket_id = ids.ticket_id(principal.tenant_id, message_id)
            whole = TicketScope(principal.tenant_id, all_tickets=True)
            ticket = await tickets.find(tx, whole, ticket_id)
            if ticket is None:
                raise AssertionError("the ticket was just stored")
            headers = {"ETag": etag(ticket.version), "Location": f"/v1/tickets/{ticket_id}"}
            answer = to_json(view(ticket, principal))
            if idempotency_key is not None:
                await idempotency.store(
                    tx, principal.tenant_id, idempotency_key, print_, status=201, body=answer, headers=headers
                )
            return Response(answer, 201, headers, "application/json")

        # Before the transaction: reserving needs a connection of its own, and one that waits for another would starve.
        await desk.numbers.ensure_this_year(principal.tenant_id)
        return await transact(desk, once)

    return router


async def _requester(desk: Desk, principal: Principal, new: NewTicket) -> Participant:
    """For whom the ticket is. Raises 403 for a customer who names somebody else, 422 for an unknown person."""
    if allows(principal, Permission.TICKET_READ):
        if new.requester is not None:
            person = ids.person_id(principal.tenant_id, new.requester.address)
            return Participant(person_id=person, address=new.requester.address, name=new.requester.name)
        if new.requester_id is None:
            raise invalid(["requester"], "give requester or requester_id")
        return await _known(desk, principal.tenant_id, new.requester_id, "requester_id")
    if principal.person_id is None:
        raise Problem(403, "forbidden", "Not allowed", "This key belongs to no person.")
    if new.requester is not None or new.requester_id not in (None, principal.person_id):
        raise Problem(
            403,
            "forbidden",
            "Not allowed",
            f"For somebody else this needs the permission {Permission.TICKET_READ.value}.",
        )
    known = (await desk.known.people([principal.person_id])).get(principal.person_id)
    address = known.addresses[0] if known is not None and known.addresses else str(principal.person_id)
    return Participant(person_id=principal.person_id, address=address, name=known.name if known else None)


async def _known(desk: Desk, tenant: str, person_id: UUID, field: str) -> Participant:
    known = (await desk.known.people([person_id])).get(person_id)
    if known is None or known.tenant_id != tenant:
        raise invalid([field], "not a person of this tenant")
    return Participant(person_id=person_id, address=next(iter(known.addresses), str(person_id)), name=known.name)


def _check_choices(principal: Principal, new: NewTicket) -> None:
    """What only those set who may change tickets. Raises 403 naming the permission."""
    if allows(principal, Permission.TICKET_UPDATE):
        return
    if new.queue is not None or new.watcher_ids or new.channel not in ("api", "web"):
        needed = Permission.TICKET_UPDATE.value
        raise Problem(403, "forbidden", "Not allowed", f"queue, watcher_ids and channel need the permission {needed}.")


def _chosen(principal: Principal, new: NewTicket) -> Chosen:
    """What the caller sets. An agent's word on priority and the like stands; a customer's is a hint to triage."""
    by_hand: tuple[str, ...] = ()
    if allows(principal, Permission.TICKET_UPDATE) and principal.person_id is not None:
        given = {"queue": new.queue, "priority": new.priority, "product": new.product, "language": new.language}
        by_hand = tuple(name for name, value in given.items() if value)
    return Chosen(queue=new.queue, watcher_ids=tuple(dict.fromkeys(new.watcher_ids)), by_hand=by_hand)


def _hints(new: NewTicket) -> Hints:
    return Hints(
        product=new.product,
        category=new.category,
        impact=new.impact,
        urgency=new.urgency,
        priority=new.priority,
        affected_customers=new.affected_customers,
        language=new.language,
        environment=new.environment,
        version=new.version,
        error_code=new.error_code,
        tags=tuple(new.tags),
    )
