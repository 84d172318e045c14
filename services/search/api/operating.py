"""`/v1/search/status`, `/v1/search/rebuild`, `/v1/search/replay`: for whoever runs the installation."""

from __future__ import annotations

from typing import Annotated

from services.search.api.desk import Desk
from services.search.api.models import Index, RefusedDocument, Replayed, Status
from services.search.domain import mapping
from services.search.store import generations, queue
from shared.auth import Principal
from shared.auth.permissions import Permission
from shared.http import Router, problems, requires
from shared.problem import Problem, conflict

Administrator = Annotated[Principal, requires(Permission.TENANT_WRITE)]


def routes(desk: Desk) -> Router:
    """Path operations on the index. They change no result, but an index is everybody's: see `operator_tenant`."""
    router = Router(tags=["index"])

    @router.get("/v1/search/status")
    async def read_status(principal: Administrator) -> Status:
        """The indexes, what waits to be written, and what of the caller's tenant the engine refuses."""
        return await _status(desk, principal.tenant_id)

    @router.post("/v1/search/rebuild", status_code=202, responses=problems(409))
    async def rebuild_index(principal: Administrator) -> Status:
        """Fill a new index behind the alias and swap them when it is full; the old one is searched meanwhile."""
        _operates(desk, principal)
        async with desk.database.begin() as tx:
            begun = await generations.begin(tx, mapping.fingerprint(desk.settings.shards), live=False)
        if begun is None:
            raise conflict("already-rebuilding", "Already rebuilding", "An index is being filled already.")
        return await _status(desk, principal.tenant_id)

    @router.post("/v1/search/replay", status_code=202)
    async def replay_refused(principal: Administrator) -> Replayed:
        """Have every document that was refused written again."""
        _operates(desk, principal)
        async with desk.database.begin() as tx:
            return Replayed(documents=await queue.replay(tx))

    return router


def _operates(desk: Desk, principal: Principal) -> None:
    """Raise a 403 problem unless the caller's tenant runs this installation."""
    operator = desk.settings.operator_tenant
    if operator and principal.tenant_id != operator:
        raise Problem(403, "forbidden", "Not allowed", "This is for administrators of the operator's tenant.")


async def _status(desk: Desk, tenant_id: str) -> Status:
    dirty, age, refused = await queue.waiting(desk.database)
    here = await queue.refusals(desk.database, tenant_id, 20)
    return Status(
        indexes=[
            Index(
                name=desk.engine.name(one.number),
                state=one.state,
                filled=one.walked,
                written=one.written,
                started_at=one.started_at,
                live_at=one.live_at,
            )
            for one in await generations.all_of(desk.database)
        ],
        waiting=dirty,
        waiting_seconds=age,
        refused=refused,
        refused_here=[RefusedDocument(ticket_id=r.ticket_id, reason=r.reason, at=r.at) for r in here if r.at],
    )
