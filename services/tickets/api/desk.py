"""What every route shares: the parts of the service, who acts, one transaction per change."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from services.tickets.api.views import to_json
from services.tickets.desk.intake import Intake
from services.tickets.desk.known import Known
from services.tickets.desk.numbers import Numbers
from services.tickets.desk.saving import save
from services.tickets.domain import audit
from services.tickets.domain.policy import Pack
from services.tickets.domain.ticket import NUMBER, Ticket
from services.tickets.domain.work import Act, Work
from services.tickets.store import tickets
from shared import outbox
from shared.auth import Principal
from shared.auth.permissions import Permission, TicketScope, require
from shared.contracts.ticket import Actor, ActorKind
from shared.db import Database, Tx, is_retryable
from shared.envelope import Emit
from shared.http import Cursor, correlation, etag, fingerprint, idempotency, stale, traceparent
from shared.problem import Problem, conflict, not_found

ATTEMPTS = 10
"""How often a change is run again at once when the database saw a conflict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The parts of the service that routes use."""

    database: Database
    known: Known
    intake: Intake
    numbers: Numbers
    wake: Callable[[], None]
    """Tells the relay that something was committed."""
    cursor: Cursor
    draw: audit.Draw
    survey_key: bytes
    """Opens the tokens of surveys."""

    async def pack(self, tenant: str, tx: Tx | None = None) -> Pack:
        """The tenant's pack. Raises 503 while a section has not arrived."""
        pack = await self.known.pack(tenant, tx)
        if pack is None:
            raise Problem(
                503,
                "policy-missing",
                "Policy missing",
                "This tenant has no complete policy pack yet; apply one.",
                headers={"Retry-After": "5"},
            )
        return pack


def actor(principal: Principal) -> Actor:
    """The caller as one who acts."""
    if principal.person_id is None:
        return Actor(kind=ActorKind.SERVICE, id=f"key:{principal.credential_id[:16]}", role=principal.role.value)
    return Actor(kind=ActorKind.PERSON, id=str(principal.person_id), role=principal.role.value)


def reference(text: str) -> UUID | str:
    """A ticket's id or number out of a path. Raises 404 for what is neither."""
    if NUMBER.fullmatch(text):
        return text
    try:
        return UUID(text)
    except ValueError:
        raise not_found("ticket") from None


async def visible(
    desk: Desk | Tx, principal: Principal, ticket: str, permission: Permission | None = None, *, lock: bool = False
) -> Ticket:
    """The ticket, if the caller may see it (else 404), and do this to it (else 403, naming the permission)."""
    source = desk.database if isinstance(desk, Desk) else desk
    found = await tickets.find(source, TicketScope.of(principal), reference(ticket), lock=lock)
    if found is None:
        raise not_found("ticket")
    if permission is not None:
        require(principal, permission)
    return found


@dataclass(slots=True)
class Change:
    """One request's change to one ticket, inside its transaction."""

    tx: Tx
    pack: Pack
    work: Work
    act: Act
    principal: Principal
    status: int = 200
    body: Any = None
    """What is answered, as JSON; None for the ticket itself."""

    def begin(self) -> Act:
        """Count the input; the caller acting within it."""
        self.work.begin(self.tx.instant)
        self.act = self.work.act(self.act.actor, self.act.draw)
        return self.act


Decide = Callable[[Change], Awaitable[None]]
Answer = Callable[[Change], Any]


async def change(
    desk: Desk,
    request: Request,
    principal: Principal,
    ticket: str,
    *,
    permission: Permission | None,
    decide: Decide,
    answer: Answer,
    version: int | None = None,
    key: str | None = None,
) -> Response:
    """Run `decide` on the locked ticket in one transaction with its events; the answer, with the new ETag.

    `version` is what If-Match named: another one is 412. `key` is an Idempotency-Key: a retry gets the first answer.
    """

    async def once(tx: Tx) -> Response:
        found = await visible(tx, principal, ticket, permission, lock=True)
        if version is not None and version != found.version:
            raise stale()
        if found.merged_into is not None:
            raise await merged(tx, found)
        act = Act(actor(principal), tx.instant, desk.draw)
        done = Change(tx, await desk.pack(principal.tenant_id, tx), Work.on(found), act, principal)
        await decide(done)
        await publish(tx, request, [done.work])
        body = done.body if done.body is not None else answer(done)
        return Response(to_json(body), done.status, {"ETag": etag(done.work.ticket.version)}, "application/json")

    return await transact(desk, lambda tx: once_per_key(tx, request, principal, key, once))


async def merged(tx: Tx, ticket: Ticket) -> Problem:
    """The refusal to change a ticket that goes on in another one, which it names."""
    target = await tickets.find(tx, TicketScope(ticket.tenant_id, all_tickets=True), ticket.merged_into or ticket.id)
    name = target.number if target is not None else str(ticket.merged_into)
    return conflict("ticket-merged", "Ticket merged", f"It was merged into {name}; change that one.")


async def publish(tx: Tx, request: Request, works: Sequence[Work]) -> None:
    """Store what changed and put its facts and states into the outbox, as caused by the request."""
    emits = [_emit(fact, request) for work in works for fact in work.take_facts()]
    emits += await save(tx, works, lambda _, state: _emit(state, request))
    await outbox.add(tx, emits)


async def once_per_key(
    tx: Tx, request: Request, principal: Principal, key: str | None, once: Callable[[Tx], Awaitable[Response]]
) -> Response:
    """Run `once`; a retry with the same Idempotency-Key gets the first answer."""
    if key is None:
        return await once(tx)
    print_ = fingerprint(request, principal)
    stored = await idempotency.begin(tx, principal.tenant_id, key, print_)
    if stored is not None:
        return stored.response()
    response = await once(tx)
    headers = {name: response.headers[name] for name in ("ETag", "Location") if name in response.headers}
    await idempotency.store(
        tx,
        principal.tenant_id,
        key,
        print_,
        status=response.status_code,
        body=bytes(response.body),
        headers=headers,
    )
    return response


async def transact(desk: Desk, once: Callable[[Tx], Awaitable[Response]]) -> Response:
    """Run one transaction, again at once after a conflict; the relay is woken when it has committed."""
    for attempt in range(ATTEMPTS):
        try:
            async with desk.database.begin() as tx:
                response = await once(tx)
            desk.wake()
            return response
        except Exception as error:
            if attempt + 1 == ATTEMPTS or not is_retryable(error):
                raise
    raise AssertionError("the last attempt returns or raises")


def _emit(event: Any, request: Request) -> Emit:
    return Emit(event, correlation=correlation(request), traceparent=traceparent(request))
