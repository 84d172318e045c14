"""Bodies of schedules, overrides and shifts, with their bounds."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID
from zoneinfo import available_timezones

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from services.escalation.api.models import Strict
from services.escalation.domain.rotation import Override, Schedule, Shift

_ZONES = frozenset(available_timezones())


def _zone(name: str) -> str:
    if name not in _ZONES:
        raise ValueError("not an IANA time zone such as Europe/Berlin")
    return name


class Weekday(StrEnum):
    """Of a handover."""

    MONDAY = "monday"
    TUESDAY = "tuesday"
    WEDNESDAY = "wednesday"
    THURSDAY = "thursday"
    FRIDAY = "friday"
    SATURDAY = "saturday"
    SUNDAY = "sunday"


WEEKDAYS = tuple(Weekday)


class Handover(Strict):
    """When one shift ends and the next begins, by the clock on the wall."""

    weekday: Weekday
    time: Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", description="`09:00`")]


class ScheduleIn(Strict):
    """A rotation."""

    timezone: Annotated[str, AfterValidator(_zone)] | None = Field(None, description="IANA; None: the tenant's.")
    starts_on: Annotated[date, Field(ge=date(2000, 1, 1), le=date(2100, 1, 1))] = Field(
        description="The first member begins at the first handover on or after this day."
    )
    handover: Handover
    members: Annotated[list[UUID], Field(max_length=100)] = Field(description="In turn; somebody may come twice.")
    shift_days: Annotated[int, Field(ge=1, le=366)] = 7


class OverrideIn(Strict):
    """Somebody else for a while; a swap is two of these."""

    starts_at: AwareDatetime = Field(alias="from")
    ends_at: AwareDatetime = Field(alias="to")
    person: UUID


class OverrideView(BaseModel):
    """Somebody else for a while."""

    model_config = ConfigDict(populate_by_name=True)

    override_id: UUID
    starts_at: datetime = Field(alias="from")
    ends_at: datetime = Field(alias="to")
    person: UUID

    @classmethod
    def of(cls, one: Override) -> OverrideView:
        """As it is shown."""
        return cls(override_id=one.override_id, starts_at=one.starts_at, ends_at=one.ends_at, person=one.person_id)


class ScheduleView(BaseModel):
    """A rotation, with the overrides that are or come."""

    name: str
    version: int
    timezone: str
    starts_on: date
    handover: Handover
    members: list[UUID]
    shift_days: int
    overrides: list[OverrideView]

    @classmethod
    def of(cls, schedule: Schedule, overrides: list[Override]) -> ScheduleView:
        """As it is shown."""
        return cls(
            name=schedule.name,
            version=schedule.version,
            timezone=schedule.timezone,
            starts_on=schedule.starts_on,
            handover=Handover(weekday=WEEKDAYS[schedule.weekday], time=f"{schedule.handover:%H:%M}"),
            members=list(schedule.members),
            shift_days=schedule.shift_days,
            overrides=[OverrideView.of(one) for one in overrides],
        )


class ScheduleList(BaseModel):
    """Every schedule of the tenant, by name."""

    items: list[ScheduleView]


class ShiftView(BaseModel):
    """Who is on call, from when until when."""

    model_config = ConfigDict(populate_by_name=True)

    schedule: str
    person: UUID | None = Field(description="None: nobody who is active.")
    starts_at: datetime | None = Field(None, alias="from")
    ends_at: datetime | None = Field(None, alias="to")
    override_id: UUID | None = Field(None, description="The override it comes from; absent for the rotation.")

    @classmethod
    def of(cls, schedule: str, shift: Shift | None) -> ShiftView:
        """As it is shown."""
        if shift is None:
            return cls(schedule=schedule, person=None)
        return cls(
            schedule=schedule,
            person=shift.person_id,
            starts_at=shift.starts_at,
            ends_at=shift.ends_at,
            override_id=shift.override_id,
        )


class OnCall(BaseModel):
    """Who is on call at an instant, by schedule."""

    at: datetime
    items: list[ShiftView]


class Shifts(BaseModel):
    """Who is on call over a period; what is not covered has nobody."""

    items: list[ShiftView]
