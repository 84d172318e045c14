"""Bodies of the API, with their bounds."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import available_timezones

import orjson
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from typing_extensions import override

from services.escalation.domain.escalation import Escalation, Page, State
from services.escalation.domain.rotation import Override, Schedule, Shift
from shared.contracts.pack import EscalationStep, Name
from shared.http import SingleLine

_ZONES = frozenset(available_timezones())


def _zone(name: str) -> str:
    if name not in _ZONES:
        raise ValueError("not an IANA time zone such as Europe/Berlin")
    return name


def to_json(body: BaseModel) -> bytes:
    """As it is answered."""
    return orjson.dumps(body.model_dump(mode="json", by_alias=True))


class Strict(BaseModel):
    """A body: what it does not know is refused."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


# -- escalations ------------------------------------------------------------------------------------------------------


class NewEscalation(Strict):
    """Somebody starts one, or raises the one that runs."""

    ticket_id: UUID
    level: Annotated[int, Field(ge=1, le=5)] = 1
    path: Name | None = Field(None, description="None: the path of the ticket's priority.")
    step: Name | None = Field(None, description="Where to begin; None: at the first step.")
    reason: Annotated[SingleLine, Field(min_length=1, max_length=500)]


class Reason(Strict):
    """Why it is over."""

    reason: Annotated[SingleLine, Field(min_length=1, max_length=500)] | None = None


class PageView(BaseModel):
    """One person, asked once."""

    page_id: UUID
    person_id: UUID
    via: str
    step: int
    lap: int
    responsible: bool
    urgency: str
    state: str
    requested_at: datetime
    expires_at: datetime
    settled_at: datetime | None

    @classmethod
    def of(cls, page: Page) -> PageView:
        """As it is shown."""
        return cls(**{name: getattr(page, name) for name in cls.model_fields})


class EscalationView(BaseModel):
    """One escalation."""

    id: UUID
    version: int
    ticket_id: UUID
    state: State
    path: str
    level: int
    step: int = Field(description="From 1; 0 before the first.")
    step_name: str | None
    steps: int
    lap: int = Field(description="How often the path was walked before.")
    cause: str
    started_at: datetime
    next_at: datetime | None = Field(description="When something happens next, if nobody takes it.")
    acknowledged_by: UUID | None
    ended_at: datetime | None
    ended_reason: str | None

    @classmethod
    def of(cls, one: Escalation) -> EscalationView:
        """As it is listed."""
        return cls(**_fields(one))


class EscalationWhole(EscalationView):
    """One escalation with its path, its pages and what happened."""

    plan: list[EscalationStep] = Field(description="The path as it was when the escalation started.")
    pages: list[PageView]
    history: list[dict[str, Any]]

    @classmethod
    @override
    def of(cls, one: Escalation) -> EscalationWhole:
        """As it is shown."""
        pages = [PageView.of(page) for page in one.pages.values()]
        return cls(**_fields(one), plan=list(one.plan.steps), pages=pages, history=one.history)


class EscalationPage(BaseModel):
    """A page of them, the newest first."""

    items: list[EscalationView]
    next_cursor: str | None = None


def _fields(one: Escalation) -> dict[str, Any]:
    same = [
        "id",
        "version",
        "ticket_id",
        "state",
        "level",
        "step",
        "lap",
        "cause",
        "started_at",
        "next_at",
        "acknowledged_by",
        "ended_at",
        "ended_reason",
    ]
    return {
        **{name: getattr(one, name) for name in same},
        "path": one.plan.name,
        "step_name": one.current.name if one.step else None,
        "steps": one.last,
    }


class FindingView(BaseModel):
    """One thing that people should know before they go live."""

    severity: str
    code: str
    message: str
    path: str | None
    step: str | None
    schedule: str | None
    queue: str | None


class LintView(BaseModel):
    """What the linter says."""

    errors: int
    warnings: int
    findings: list[FindingView]


# -- on-call ----------------------------------------------------------------------------------------------------------


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
