"""`/v1/events`: what happens, as Server-Sent Events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Header, Query
from starlette.requests import Request
from starlette.responses import StreamingResponse

from services.notify.desk.tail import Listener, Tail
from services.notify.domain import stream as rules
from services.notify.domain.stream import Position, Viewer, control
from shared.auth import ROLE_PERMISSIONS, Authenticator, Permission, Principal, Unauthenticated, allows, forbidden
from shared.http import CurrentPrincipal, Router
from shared.problem import Problem, unavailable

HEARTBEAT_SECONDS = 15.0
"""Longest silence; the credential is looked at again as often, so that a revocation ends the stream."""
MOST_OF_TENANT = 500
MOST = 2000
COME_BACK_MILLISECONDS = 2000

_DOCUMENTED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "An endless stream of events; comments are heartbeats.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


def routes(tail: Tail, authenticator: Authenticator) -> Router:
    """The stream."""
    router = Router(tags=["events"])

    @router.get("/v1/events", response_class=StreamingResponse, responses=_DOCUMENTED)
    async def listen(
        request: Request,
        principal: CurrentPrincipal,
        types: Annotated[
            list[str] | None,
            Query(max_length=20, description="Only these: `ticket.created`, a prefix `sla.*`; repeatable."),
        ] = None,
        last_event_id: Annotated[
            str | None, Header(max_length=64, description="`id` of the last event had: goes on after it, for a day.")
        ] = None,
    ) -> StreamingResponse:
        """What happens in the tenant, as far as the caller may see it, from now on or from the last event had.

        Agents see every fact as it is on its topic. Customers see what happens in public to tickets they requested or
        watch. `ready` begins, `reset` says that events have been missed (read again what you show), `reconnect` ends.
        """
        if not (allows(principal, Permission.TICKET_READ) or allows(principal, Permission.TICKET_READ_OWN)):
            raise forbidden(Permission.TICKET_READ)
        if tail.count(principal.tenant_id) >= MOST_OF_TENANT:
            raise Problem(
                429, "too-many-listeners", "Too many listeners", f"At most {MOST_OF_TENANT} per tenant listen at once."
            )
        if tail.count() >= MOST:
            raise unavailable("room for another listener")
        listener = Listener(principal.tenant_id, viewer_of(principal), types or ())
        after = rules.position(last_event_id) if last_event_id else None
        stream = _stream(tail, listener, after, request, authenticator, strange=bool(last_event_id) and after is None)
        return StreamingResponse(
            stream,
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    return router


def viewer_of(principal: Principal) -> Viewer:
    """What somebody may see of the stream."""
    granted = frozenset(permission.value for permission in ROLE_PERMISSIONS[principal.role])
    return Viewer(permissions=granted, person_id=principal.person_id)


async def _stream(
    tail: Tail,
    listener: Listener,
    after: Position | None,
    request: Request,
    authenticator: Authenticator,
    *,
    strange: bool,
) -> AsyncIterator[bytes]:
    with tail.admitted(listener):
        whole = await tail.begin(listener, after) and not strange
        yield b"retry: %d\n" % COME_BACK_MILLISECONDS + control("ready", {}, listener.position)
        if not whole:
            yield control("reset", {"reason": "events have been missed"}, listener.position)
        async for piece in tail.missed(listener):
            yield piece
        loop = asyncio.get_running_loop()
        looked = loop.time()
        while True:
            heard = await listener.news(HEARTBEAT_SECONDS)
            if loop.time() - looked >= HEARTBEAT_SECONDS:
                looked = loop.time()
                if not await _is_still_allowed(listener, request, authenticator):
                    yield control("reconnect", {"reason": "credential"})
                    return
            written = listener.take()
            if written:
                yield written
            if listener.told_to_leave is not None:
                yield control("reconnect", {"reason": listener.told_to_leave})
                return
            if not heard:
                yield rules.heartbeat(tail.present(listener))


async def _is_still_allowed(listener: Listener, request: Request, authenticator: Authenticator) -> bool:
    """Whether the credential still holds; what its role may see now counts from here on."""
    try:
        principal = await authenticator.authenticate(request.headers.get("authorization"))
    except Unauthenticated:
        return False
    listener.viewer = viewer_of(principal)
    return principal.tenant_id == listener.tenant_id
