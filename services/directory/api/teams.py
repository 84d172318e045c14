"""Teams of agents, and organisations of requesters."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID, uuid4

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from services.directory.api.desk import Desk, caller_of, uuid_or_none
from services.directory.commands import tenancy
from services.directory.domain.inputs import OrganisationChanges, OrganisationIn, TeamChanges, TeamIn
from services.directory.domain.tenancy import Organisation
from services.directory.store import organisations, teams
from shared.auth import Permission, Principal
from shared.contracts.directory import TeamChanged
from shared.http import (
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

Reader = Annotated[Principal, requires(Permission.DIRECTORY_READ)]


class OrganisationView(BaseModel):
    """An organisation."""

    organisation_id: UUID
    version: int
    name: str
    tier: str | None
    domains: tuple[str, ...]
    active: bool

    @classmethod
    def of(cls, organisation: Organisation) -> OrganisationView:
        """As it is shown."""
        return cls(
            organisation_id=organisation.organisation_id,
            version=organisation.version,
            name=organisation.name,
            tier=organisation.tier,
            domains=organisation.domains,
            active=organisation.active,
        )


def routes(desk: Desk) -> Router:
    """Path operations on teams and organisations."""
    router = Router()
    _teams(router, desk)
    _organisations(router, desk)
    return router


def _teams(router: Router, desk: Desk) -> None:
    @router.get("/v1/teams", tags=["teams"])
    async def list_teams(
        request: Request, response: Response, principal: Reader, limit: PageLimit = 50, cursor: CursorText = None
    ) -> Page[TeamChanged]:
        """Teams of the tenant, by id."""
        async with desk.database.begin() as tx:
            after = uuid_or_none(desk.position(request, principal, cursor))
            found = await teams.page(tx, principal.tenant_id, after=after, limit=limit + 1)
        return desk.page(
            request,
            response,
            principal,
            found=found,
            limit=limit,
            key=lambda team: str(team.team_id),
            view=lambda team: team.event(),
        )

    @router.get("/v1/teams/{team_id}", tags=["teams"], response_model=TeamChanged)
    async def get_team(
        request: Request, response: Response, principal: Reader, team_id: UUID
    ) -> TeamChanged | Response:
        """One team; its members are `/v1/people?team_id=`."""
        async with desk.database.begin() as tx:
            team = await teams.get(tx, principal.tenant_id, team_id)
        if team is None:
            raise not_found("team")
        if if_none_match(request, team.version):
            return not_modified(team.version)
        response.headers["ETag"] = etag(team.version)
        return team.event()

    @router.post("/v1/teams", tags=["teams"], status_code=201, responses=problems(409))
    async def add_team(
        request: Request,
        response: Response,
        principal: Annotated[Principal, requires(Permission.TEAM_WRITE)],
        wanted: TeamIn,
    ) -> TeamChanged:
        """Make a team."""
        async with desk.change() as tx:
            team = await tenancy.add_team(tx, caller_of(request, principal), wanted, uuid4())
        response.headers["ETag"] = etag(team.version)
        response.headers["Location"] = f"/v1/teams/{team.team_id}"
        return team.event()

    @router.patch("/v1/teams/{team_id}", tags=["teams"], responses=problems(409))
    async def change_team(
        *,
        request: Request,
        response: Response,
        principal: Reader,
        team_id: UUID,
        changes: TeamChanges,
        expected: IfMatch,
    ) -> TeamChanged:
        """Change the fields given, others stay."""
        async with desk.change() as tx:
            team = await tenancy.change_team(tx, caller_of(request, principal), team_id, changes, expected)
        response.headers["ETag"] = etag(team.version)
        return team.event()


def _organisations(router: Router, desk: Desk) -> None:
    @router.get("/v1/organisations", tags=["organisations"])
    async def list_organisations(
        request: Request, response: Response, principal: Reader, limit: PageLimit = 50, cursor: CursorText = None
    ) -> Page[OrganisationView]:
        """Organisations of the tenant, by id."""
        async with desk.database.begin() as tx:
            after = uuid_or_none(desk.position(request, principal, cursor))
            found = await organisations.page(tx, principal.tenant_id, after=after, limit=limit + 1)
        return desk.page(
            request,
            response,
            principal,
            found=found,
            limit=limit,
            key=lambda one: str(one.organisation_id),
            view=OrganisationView.of,
        )

    @router.get("/v1/organisations/{organisation_id}", tags=["organisations"], response_model=OrganisationView)
    async def get_organisation(
        request: Request, response: Response, principal: Reader, organisation_id: UUID
    ) -> OrganisationView | Response:
        """One organisation; its people are `/v1/people?organisation_id=`."""
        async with desk.database.begin() as tx:
            organisation = await organisations.get(tx, principal.tenant_id, organisation_id)
        if organisation is None:
            raise not_found("organisation")
        if if_none_match(request, organisation.version):
            return not_modified(organisation.version)
        response.headers["ETag"] = etag(organisation.version)
        return OrganisationView.of(organisation)

    @router.post("/v1/organisations", tags=["organisations"], status_code=201, responses=problems(409))
    async def add_organisation(
        request: Request,
        response: Response,
        principal: Annotated[Principal, requires(Permission.DIRECTORY_WRITE)],
        wanted: OrganisationIn,
    ) -> OrganisationView:
        """Make an organisation. Whoever wrote, or writes, from its domains belongs to it and has its tier."""
        async with desk.change() as tx:
            made = await tenancy.add_organisation(tx, caller_of(request, principal), wanted, uuid4())
        response.headers["ETag"] = etag(made.version)
        response.headers["Location"] = f"/v1/organisations/{made.organisation_id}"
        return OrganisationView.of(made)

    @router.patch("/v1/organisations/{organisation_id}", tags=["organisations"], responses=problems(409))
    async def change_organisation(
        *,
        request: Request,
        response: Response,
        principal: Reader,
        organisation_id: UUID,
        changes: OrganisationChanges,
        expected: IfMatch,
    ) -> OrganisationView:
        """Change the fields given; all its people are told, in slices of 500."""
        async with desk.change() as tx:
            caller = caller_of(request, principal)
            made = await tenancy.change_organisation(tx, caller, organisation_id, changes, expected)
        response.headers["ETag"] = etag(made.version)
        return OrganisationView.of(made)
