"""`/v1/notifications/preferences`: what a person wants to be told of, over which way, and when not."""

from __future__ import annotations

from datetime import time
from typing import Annotated, ClassVar, Literal, Self
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from starlette.requests import Request
from starlette.responses import Response

from services.notify.api.desk import Desk, own_person
from services.notify.domain.preferences import INDIFFERENT, Preference, Quiet
from services.notify.store import people
from services.notify.store.people import Stored
from shared.auth import Principal
from shared.auth.permissions import Permission, require
from shared.contracts.pack.section import Name
from shared.http import CurrentPrincipal, IfMatch, Router, etag, if_none_match, not_modified, problems, stale
from shared.problem import not_found

Person = Annotated[UUID | None, Query(description="Somebody else; needs the permission team.write.")]


class QuietHours(BaseModel):
    """Hours of every day in which no mail comes but a page's; those that would wait until they are over."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    begins: Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = Field(examples=["22:00"])
    ends: Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = Field(examples=["07:00"])
    timezone: Annotated[str, StringConstraints(max_length=64)] = Field(examples=["Europe/Berlin"])

    @model_validator(mode="after")
    def _are_hours(self) -> Self:
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            msg = "timezone: no IANA zone is called so"
            raise ValueError(msg) from error
        if self.begins == self.ends:
            msg = "begins and ends are the same"
            raise ValueError(msg)
        return self


class Preferences(BaseModel):
    """What a person wants; what is not named is wanted. Pages are always sent."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    templates: Annotated[dict[Name, dict[Literal["email", "app"], bool]], Field(max_length=100)] = Field(
        default_factory=dict, description="By template of the pack: `{assignment: {email: false}}`."
    )
    quiet_hours: QuietHours | None = None

    @classmethod
    def of(cls, preference: Preference) -> Preferences:
        """As it is shown."""
        quiet = preference.quiet
        return cls.model_validate(
            {
                "templates": preference.templates,
                "quiet_hours": {
                    "begins": quiet.begins.strftime("%H:%M"),
                    "ends": quiet.ends.strftime("%H:%M"),
                    "timezone": quiet.timezone,
                }
                if quiet
                else None,
            }
        )

    def preference(self) -> Preference:
        """As it is stored."""
        quiet = self.quiet_hours
        return Preference(
            templates={
                name: {str(channel): wanted for channel, wanted in channels.items()}
                for name, channels in self.templates.items()
            },
            quiet=Quiet(
                begins=time.fromisoformat(quiet.begins),
                ends=time.fromisoformat(quiet.ends),
                timezone=quiet.timezone,
            )
            if quiet
            else None,
        )


def routes(desk: Desk) -> Router:
    """Path operations on preferences."""
    router = Router(tags=["notifications"])

    @router.get("/v1/notifications/preferences", response_model=Preferences, responses=problems(404))
    async def get_preferences(
        request: Request, response: Response, principal: CurrentPrincipal, person_id: Person = None
    ) -> Preferences | Response:
        """One's own preferences, or another person's."""
        person = await _whose(desk, principal, person_id)
        stored = (await people.preferences(desk.database, [person])).get(person, _NOTHING)
        if if_none_match(request, stored.version):
            return not_modified(stored.version)
        response.headers["ETag"] = etag(stored.version)
        return Preferences.of(stored.preference)

    @router.put("/v1/notifications/preferences", responses=problems(404))
    async def put_preferences(
        *,
        response: Response,
        principal: CurrentPrincipal,
        wanted: Preferences,
        expected: IfMatch,
        person_id: Person = None,
    ) -> Preferences:
        """Say what is wanted; replaces what was said before."""
        person = await _whose(desk, principal, person_id)
        async with desk.database.begin() as tx:
            version = await people.save_preference(tx, principal.tenant_id, person, wanted.preference(), expected)
        if version is None:
            raise stale()
        response.headers["ETag"] = etag(version)
        return wanted

    return router


_NOTHING = Stored(preference=INDIFFERENT, version=0)
"""Of somebody who never said anything: version 0 is what a first change is made against."""


async def _whose(desk: Desk, principal: Principal, person_id: UUID | None) -> UUID:
    """The person meant: the caller, or somebody of the same tenant for who keeps teams. Raises 403 and 404."""
    if person_id is None or person_id == principal.person_id:
        return own_person(principal)
    require(principal, Permission.TEAM_WRITE)
    found = (await desk.known.people([person_id])).get(person_id)
    if found is None or found.tenant_id != principal.tenant_id:
        raise not_found("person")
    return person_id
