"""On-call schedules, their overrides, and who is on call."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Annotated
from uuid import UUID, uuid4

from fastapi import Header, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from services.escalation.api.desk import Desk
from services.escalation.api.models import to_json
from services.escalation.api.on_call_models import (
    WEEKDAYS,
    OnCall,
    OverrideIn,
    OverrideView,
    ScheduleIn,
    ScheduleList,
    ScheduleView,
    Shifts,
    ShiftView,
)
from services.escalation.domain import rotation
from services.escalation.domain.rotation import Override, Schedule
from services.escalation.store import schedules, staff
from shared.auth import Permission, Principal
from shared.contracts.pack import ScheduleName
from shared.db import Tx
from shared.http import IfMatch, Router, etag, if_match, if_none_match, not_modified, problems, requires, stale
from shared.problem import conflict, invalid, not_found

Reader = Annotated[Principal, requires(Permission.DIRECTORY_READ)]
Leader = Annotated[Principal, requires(Permission.ESCALATION_MANAGE)]
Named = Annotated[ScheduleName, Path(description="Lower case letters, digits, - and _.")]
LISTED = timedelta(days=366)
"""How far ahead overrides are listed, and the longest an override or a period asked for may be."""
MOST_SCHEDULES = 200
"""Of one tenant: all of them are read whenever somebody is to be paged."""


def routes(desk: Desk) -> Router:
    """Path operations on schedules."""
    router = Router(tags=["on-call"])
    _schedules(router, desk)
    _overrides(router, desk)
    _on_call(router, desk)
    return router


def _schedules(router: Router, desk: Desk) -> None:
    @router.get("/v1/schedules")
    async def list_schedules(principal: Reader) -> ScheduleList:
        """Every schedule of the tenant, with the overrides that are or come."""
        async with desk.database.begin() as tx:
            found = await schedules.of_tenants(tx, [principal.tenant_id])
            overrides = await schedules.overrides(tx, [principal.tenant_id], tx.instant, tx.instant + LISTED)
        return ScheduleList(items=[ScheduleView.of(one, overrides.get((one.tenant_id, one.name), [])) for one in found])

    @router.get("/v1/schedules/{name}", response_model=ScheduleView)
    async def get_schedule(request: Request, principal: Reader, name: Named) -> Response:
        """One schedule with its ETag."""
        async with desk.database.begin() as tx:
            found = await _found(tx, principal, name)
            if if_none_match(request, found.version):
                return not_modified(found.version)
            return await _shown(tx, found)

    @router.put(
        "/v1/schedules/{name}", response_model=ScheduleView, responses={201: {"model": ScheduleView}, **problems(409)}
    )
    async def put_schedule(
        *,
        request: Request,
        principal: Leader,
        name: Named,
        wanted: ScheduleIn,
        expected: Annotated[
            str | None, Header(alias="If-Match", description="The ETag of the version replaced; none for a new one.")
        ] = None,
    ) -> Response:
        """Make a schedule, or replace one: then against the version in If-Match."""

        async def once(tx: Tx) -> Response:
            await _are_reachable(tx, principal, wanted.members)
            given = Schedule(
                tenant_id=principal.tenant_id,
                name=name,
                timezone=wanted.timezone or await desk.known.timezone(principal.tenant_id, tx),
                starts_on=wanted.starts_on,
                weekday=WEEKDAYS.index(wanted.handover.weekday),
                handover=time.fromisoformat(wanted.handover.time),
                members=tuple(wanted.members),
                shift_days=wanted.shift_days,
            )
            before = await schedules.find(tx, principal.tenant_id, name, lock=True)
            if before is None:
                if expected is not None:
                    raise stale()
                if len(await schedules.of_tenants(tx, [principal.tenant_id])) >= MOST_SCHEDULES:
                    raise conflict("too-many", "Too many schedules", f"At most {MOST_SCHEDULES} are possible.")
                if not await schedules.insert(tx, given):
                    raise stale()
                return await _shown(tx, given, 201)
            if if_match(request) != before.version:
                raise stale()
            after = replace(given, version=before.version + 1)
            await schedules.update(tx, after)
            return await _shown(tx, after)

        return await desk.transact(once)

    @router.delete("/v1/schedules/{name}", status_code=204)
    async def delete_schedule(principal: Leader, name: Named, expected: IfMatch) -> Response:
        """Remove a schedule with its overrides; paths that name it take their next target."""

        async def once(tx: Tx) -> Response:
            found = await _found(tx, principal, name, lock=True)
            if found.version != expected:
                raise stale()
            await schedules.delete(tx, principal.tenant_id, name)
            return Response(status_code=204)

        return await desk.transact(once)


def _overrides(router: Router, desk: Desk) -> None:
    @router.post("/v1/schedules/{name}/overrides", status_code=201, response_model=OverrideView)
    async def add_override(principal: Leader, name: Named, wanted: OverrideIn) -> Response:
        """Have somebody else on call for a while, from now on or later. Two of these are a swap."""

        async def once(tx: Tx) -> Response:
            if wanted.ends_at <= wanted.starts_at:
                raise invalid(["to"], "after `from`")
            if wanted.ends_at - wanted.starts_at > LISTED:
                raise invalid(["to"], f"at most {LISTED.days} days after `from`")
            if wanted.ends_at <= tx.instant:
                raise invalid(["to"], "in the future: what was cannot be changed")
            found = await _found(tx, principal, name, lock=True)
            await _are_reachable(tx, principal, [wanted.person], "person")
            made = Override(
                override_id=uuid4(),
                starts_at=wanted.starts_at.astimezone(UTC),
                ends_at=wanted.ends_at.astimezone(UTC),
                person_id=wanted.person,
                made_at=tx.instant,
            )
            await schedules.add_override(tx, found, made, principal.person_id)
            after = replace(found, version=found.version + 1)
            await schedules.update(tx, after)
            headers = {"ETag": etag(after.version), "Location": f"/v1/schedules/{name}"}
            return Response(to_json(OverrideView.of(made)), 201, headers, "application/json")

        return await desk.transact(once)

    @router.delete("/v1/schedules/{name}/overrides/{override_id}", status_code=204)
    async def remove_override(principal: Leader, name: Named, override_id: UUID) -> Response:
        """Take an override back."""

        async def once(tx: Tx) -> Response:
            found = await _found(tx, principal, name, lock=True)
            if not await schedules.remove_override(tx, principal.tenant_id, name, override_id):
                raise not_found("override")
            after = replace(found, version=found.version + 1)
            await schedules.update(tx, after)
            return Response(status_code=204, headers={"ETag": etag(after.version)})

        return await desk.transact(once)


def _on_call(router: Router, desk: Desk) -> None:
    @router.get("/v1/on-call", responses=problems(404))
    async def read_on_call(
        principal: Reader,
        at: Annotated[datetime | None, Query(description="With its zone; now when none is given.")] = None,
        schedule: Annotated[ScheduleName | None, Query()] = None,
    ) -> OnCall:
        """Who is on call at an instant, by schedule, and from when until when."""
        if at is not None:
            _with_zone(at, "at")
        async with desk.database.begin() as tx:
            instant = at or tx.instant
            found = await schedules.of_tenants(tx, [principal.tenant_id])
            overrides = await schedules.overrides(tx, [principal.tenant_id], instant, instant)
            active = await _active(tx, principal)
        if schedule is not None:
            found = [one for one in found if one.name == schedule]
            if not found:
                raise not_found("schedule")
        shifts = {
            one.name: rotation.on_call(one, overrides.get((one.tenant_id, one.name), ()), instant, active)
            for one in found
        }
        return OnCall(at=instant, items=[ShiftView.of(name, shift) for name, shift in shifts.items()])

    @router.get("/v1/schedules/{name}/shifts")
    async def list_shifts(
        principal: Reader,
        name: Named,
        starts_at: Annotated[datetime, Query(alias="from", description="With its zone.")],
        ends_at: Annotated[datetime, Query(alias="to", description="With its zone, at most 366 days later.")],
    ) -> Shifts:
        """Who is on call from when until when within a period."""
        _with_zone(starts_at, "from")
        _with_zone(ends_at, "to")
        if not timedelta() < ends_at - starts_at <= LISTED:
            raise invalid(["to"], f"after `from`, at most {LISTED.days} days", "query")
        async with desk.database.begin() as tx:
            found = await _found(tx, principal, name)
            overrides = await schedules.overrides(tx, [principal.tenant_id], starts_at, ends_at)
            active = await _active(tx, principal)
        own = overrides.get((found.tenant_id, found.name), [])
        shifts = rotation.shifts(found, own, starts_at.astimezone(UTC), ends_at.astimezone(UTC), active)
        return Shifts(items=[ShiftView.of(name, shift) for shift in shifts])


async def _found(tx: Tx, principal: Principal, name: str, *, lock: bool = False) -> Schedule:
    found = await schedules.find(tx, principal.tenant_id, name, lock=lock)
    if found is None:
        raise not_found("schedule")
    return found


async def _shown(tx: Tx, schedule: Schedule, status: int = 200) -> Response:
    overrides = await schedules.overrides(tx, [schedule.tenant_id], tx.instant, tx.instant + LISTED)
    body = ScheduleView.of(schedule, overrides.get((schedule.tenant_id, schedule.name), []))
    return Response(to_json(body), status, {"ETag": etag(schedule.version)}, "application/json")


async def _active(tx: Tx, principal: Principal) -> Collection[UUID]:
    people = (await staff.people(tx, [principal.tenant_id])).get(principal.tenant_id, {})
    return {one.person_id for one in people.values() if one.active}


async def _are_reachable(tx: Tx, principal: Principal, people: list[UUID], field: str = "members") -> None:
    """Raises 422 for somebody who is no active colleague of this tenant."""
    active = await _active(tx, principal)
    for number, person in enumerate(people):
        if person not in active:
            place: list[object] = [field] if field == "person" else [field, number]
            raise invalid(place, "no active colleague of that id")


def _with_zone(instant: datetime, name: str) -> None:
    if instant.tzinfo is None:
        raise invalid([name], "an instant needs a zone", "query")
