"""People: requesters and agents."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from services.directory.api.desk import Desk, caller_of, uuid_or_none
from services.directory.commands import people as commands
from services.directory.domain import access
from services.directory.domain.inputs import Address, NewPerson, PersonChanges
from services.directory.store import people
from shared.auth import Permission, Principal
from shared.contracts.directory import PersonChanged, Role
from shared.http import (
    CurrentPrincipal,
    CursorText,
    IfMatch,
    Page,
    PageLimit,
    Router,
    etag,
    if_none_match,
    not_modified,
    problems,
    requires,
)
from shared.problem import not_found


def routes(desk: Desk) -> Router:
    """Path operations on people."""
    router = Router(tags=["people"])

    @router.get("/v1/people")
    async def list_people(
        *,
        request: Request,
        response: Response,
        principal: Annotated[Principal, requires(Permission.DIRECTORY_READ)],
        role: Annotated[Role | None, Query(description="Only people of this role.")] = None,
        staff: Annotated[bool, Query(description="Leave customers out.")] = False,
        team_id: Annotated[UUID | None, Query(description="Only members of this team.")] = None,
        organisation_id: Annotated[UUID | None, Query(description="Only people of this organisation.")] = None,
        address: Annotated[Address | None, Query(description="The person with this address.")] = None,
        limit: PageLimit = 50,
        cursor: CursorText = None,
    ) -> Page[PersonChanged]:
        """People of the tenant, by id."""
        async with desk.database.begin() as tx:
            found = await people.page(
                tx,
                principal.tenant_id,
                after=uuid_or_none(desk.position(request, principal, cursor)),
                limit=limit + 1,
                role=role,
                staff=staff,
                team_id=team_id,
                organisation_id=organisation_id,
                address=address,
            )
        return desk.page(
            request,
            response,
            principal,
            found=found,
            limit=limit,
            key=lambda person: str(person.person_id),
            view=lambda person: person.event(),
        )

    @router.get("/v1/people/me")
    async def get_me(principal: CurrentPrincipal) -> PersonChanged:
        """Whoever asks: their tenant, their role, what is known of them."""
        async with desk.database.begin() as tx:
            person = await people.get(tx, principal.tenant_id, principal.person_id) if principal.person_id else None
        if person is None:
            raise not_found("person")
        return person.event()

    @router.get("/v1/people/{person_id}", response_model=PersonChanged)
    async def get_person(
        request: Request, response: Response, principal: CurrentPrincipal, person_id: UUID
    ) -> PersonChanged | Response:
        """One person: for colleagues anybody of the tenant, for others themselves."""
        async with desk.database.begin() as tx:
            person = await people.get(tx, principal.tenant_id, person_id)
        if person is None or not access.may_see(principal, person):
            raise not_found("person")
        if if_none_match(request, person.version):
            return not_modified(person.version)
        response.headers["ETag"] = etag(person.version)
        return person.event()

    @router.post("/v1/people", status_code=201, responses=problems(409))
    async def add_person(
        request: Request, response: Response, principal: CurrentPrincipal, wanted: NewPerson
    ) -> PersonChanged:
        """Make a person. Requesters make themselves by writing; this is for agents, machines and known customers."""
        async with desk.change() as tx:
            person = await commands.add(tx, caller_of(request, principal), wanted)
        response.headers["ETag"] = etag(person.version)
        response.headers["Location"] = f"/v1/people/{person.person_id}"
        return person.event()

    @router.patch("/v1/people/{person_id}", responses=problems(409))
    async def change_person(
        *,
        request: Request,
        response: Response,
        principal: CurrentPrincipal,
        person_id: UUID,
        changes: PersonChanges,
        expected: IfMatch,
    ) -> PersonChanged:
        """Change the fields given, others stay.

        Leads change availability, capacity, teams and skills, managers the rest, only administrators roles. Everybody
        of ours may say that they are available.
        """
        async with desk.change() as tx:
            person = await commands.change(tx, caller_of(request, principal), person_id, changes, expected)
        response.headers["ETag"] = etag(person.version)
        return person.event()

    return router
