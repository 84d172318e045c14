"""The audit chain, read and verified."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from services.tickets.api.desk import Desk, visible
from services.tickets.api.views import AuditPage, to_json
from services.tickets.domain import audit as chain
from services.tickets.store import audit
from shared.auth.permissions import Permission
from shared.http import CurrentPrincipal, CursorText, PageLimit, Router, page_link, query_of


def routes(desk: Desk) -> Router:
    """Path operations on the audit chain."""
    router = Router(tags=["audit"])

    @router.get("/v1/tickets/{ticket}/audit", response_model=AuditPage)
    async def list_audit(
        request: Request,
        principal: CurrentPrincipal,
        ticket: str,
        *,
        verify: Annotated[bool, Query(description="Check the whole chain against the ticket.")] = False,
        limit: PageLimit = 50,
        cursor: CursorText = None,
    ) -> Response:
        """Who did what, oldest first; with `verify` also every flaw of the chain."""
        found = await visible(desk, principal, ticket, Permission.AUDIT_READ)
        after = int(desk.cursor.decode(cursor, principal.tenant_id, query_of(request))[0]) if cursor else 0
        entries = await audit.chain(desk.database, principal.tenant_id, found.id, after=after, limit=limit + 1)
        page, following = desk.cursor.cut(request, principal.tenant_id, entries, limit, lambda one: [one[0].number])
        body: dict[str, Any] = {"items": [_line(*one) for one in page], "next_cursor": following}
        if verify:
            async with desk.database.begin() as tx:
                # Under the row's lock the chain and its head belong to the same moment.
                now = await visible(tx, principal, ticket, Permission.AUDIT_READ, lock=True)
                whole = await audit.chain(tx, principal.tenant_id, now.id)
            anchor = chain.Anchor(now.audit_count, now.audit_head)
            flaws = chain.verify([entry for entry, _ in whole], anchor, {e.number: o for e, o in whole})
            body["verified"] = not flaws
            body["flaws"] = [{"number": flaw.number, "what": flaw.what} for flaw in flaws]
        return Response(to_json(body), headers=page_link(request, following), media_type="application/json")

    return router


def _line(entry: chain.Entry, openings: chain.Openings) -> dict[str, Any]:
    changes = []
    for field, (old, new) in entry.commitments.items():
        opened = openings.get(field, (None, None))
        changes.append(
            {
                "field": field,
                "old": opened[0].value if opened[0] else None,
                "new": opened[1].value if opened[1] else None,
                "old_commitment": old,
                "new_commitment": new,
            }
        )
    return {
        "number": entry.number,
        "at": entry.at,
        "actor": {"kind": entry.actor_kind, "id": entry.actor_id, "role": entry.actor_role},
        "action": entry.action,
        "changes": changes,
        "previous": entry.previous.hex(),
        "hash": entry.hash.hex(),
    }
