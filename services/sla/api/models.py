"""What the API answers. Durations are business minutes of the clock's calendar; instants are UTC."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from uuid import UUID

from pydantic import BaseModel, Field

from services.sla.domain.evaluate import Clock, Step
from services.sla.domain.telling import Kept
from shared.calendar import BusinessTime, Closed
from shared.contracts.sla import ClockState

_MINUTE = timedelta(minutes=1)


class ClockView(BaseModel):
    """One clock as it stands."""

    clock: str
    cycle: int
    state: str = Field(description="running, paused, met, breached or ended (without a verdict).")
    standing: str = Field(description="on_track, near_breach, breached, completed or no_sla.")
    started_at: datetime
    target_minutes: float
    elapsed_minutes: float = Field(description="Used until now, or until it stopped.")
    remaining_minutes: float
    due_at: datetime | None = Field(None, description="When the target runs out, or ran out; null while paused.")
    warn_at: datetime | None = None
    breached_at: datetime | None = None
    provisional: bool = Field(False, description="Breached as far as is known: tickets' word is overdue.")
    finished_at: datetime | None = None
    calendar: str
    zone: str
    line: int = Field(description="Which of the policy's targets counts, from 1.")
    reason: str = Field(description="What last changed it.")


class ClocksView(BaseModel):
    """The clocks of one ticket's open cycle."""

    ticket_id: UUID
    number: str
    version: int = Field(description="The ticket's version that is known here.")
    cycle: int
    known_until: datetime = Field(description="Everything that happened to the ticket before this instant is known.")
    policy_version: int
    clocks: list[ClockView]


class HolidayView(BaseModel):
    """A local date on which a holiday closes."""

    day: date
    name: str


class StepView(BaseModel):
    """What happened at one instant, and how the clock stood afterwards."""

    at: datetime
    local: datetime = Field(description="The same in the calendar's zone.")
    what: str
    value: str
    state: str
    elapsed_minutes: float = Field(description="Used until then.")
    counted_minutes: float = Field(description="Counted from here to the next step, or until now.")
    target_minutes: float | None = None
    line: int | None = None
    calendar: str
    zone: str
    due_at: datetime | None = Field(None, description="If nothing else had happened.")
    holidays: list[HolidayView] = Field(description="In the way from here to the next step, or until due.")
    says: str


class ExplainView(ClockView):
    """One clock with its working shown."""

    steps: list[StepView]


class PreviewView(BaseModel):
    """The clocks a hypothetical ticket would have."""

    policy_version: int
    clocks: list[ExplainView]


class OpenView(BaseModel):
    """A stretch of business time, half-open."""

    begins: datetime
    ends: datetime
    minutes: float


class HoursView(BaseModel):
    """When a calendar is open."""

    calendar: str
    zone: str
    minutes: float = Field(description="Business minutes in all.")
    open: list[OpenView]
    holidays: list[HolidayView]


def minutes(duration: timedelta) -> float:
    """A duration as the API tells it."""
    return duration / _MINUTE


def clock_view(clock: Clock, kept: Kept | None = None) -> ClockView:
    """A clock as evaluated; `kept` says what was told of it, which is what counts as its verdict."""
    state = clock.state if kept is None else kept.state
    return ClockView(
        clock=clock.name,
        cycle=clock.cycle,
        state=state,
        standing=_standing(state, clock),
        started_at=clock.started_at,
        target_minutes=minutes(clock.target),
        elapsed_minutes=minutes(clock.elapsed),
        remaining_minutes=minutes(clock.remaining),
        due_at=clock.due_at,
        warn_at=clock.warn_at,
        breached_at=clock.breached_at if kept is None else kept.breached_at,
        provisional=kept.provisional if kept is not None else False,
        finished_at=clock.finished_at,
        calendar=clock.calendar,
        zone=clock.zone,
        line=clock.line,
        reason=clock.reason,
    )


def _standing(state: ClockState, clock: Clock) -> str:
    match state:
        case ClockState.RUNNING | ClockState.PAUSED:
            return "near_breach" if clock.elapsed >= clock.warn else "on_track"
        case ClockState.BREACHED:
            return "breached"
        case ClockState.MET:
            return "completed"
        case ClockState.ENDED:
            return "no_sla"


def explain_view(clock: Clock, calendars: dict[str, BusinessTime], now: datetime, kept: Kept | None) -> ExplainView:
    """A clock with its steps, in words."""
    steps = []
    for step, following in zip(clock.steps, [*clock.steps[1:], None], strict=True):
        steps.append(_step_view(step, following, calendars[step.calendar], clock, now))
    return ExplainView(**clock_view(clock, kept).model_dump(), steps=steps)


def _step_view(step: Step, following: Step | None, calendar: BusinessTime, clock: Clock, now: datetime) -> StepView:
    running = step.state is ClockState.RUNNING
    until = following.at if following is not None else (step.due_at or now)
    counted = (following.elapsed if following is not None else clock.elapsed) - step.elapsed
    holidays = calendar.holidays(step.at, until) if running and until > step.at else []
    return StepView(
        at=step.at,
        local=calendar.local(step.at),
        what=step.what,
        value=step.value,
        state=step.state,
        elapsed_minutes=minutes(step.elapsed),
        counted_minutes=minutes(max(timedelta(), counted)),
        target_minutes=minutes(step.target) if step.target is not None else None,
        line=step.line,
        calendar=step.calendar,
        zone=step.zone,
        due_at=step.due_at,
        holidays=[holiday_view(one) for one in holidays],
        says=_says(step, holidays, calendar),
    )


def holiday_view(closed: Closed) -> HolidayView:
    """A holiday as the API tells it."""
    return HolidayView(day=closed.day, name=closed.name)


def _says(step: Step, holidays: list[Closed], calendar: BusinessTime) -> str:
    """One sentence for people."""
    at = f"{calendar.local(step.at):%Y-%m-%d %H:%M:%S}"
    what = f"{step.what} {step.value}".strip()
    used = f"{minutes(step.elapsed):g} business minutes used"
    if step.target is None:
        return f"{at} ({step.zone}): {what}; no target applies, {used}."
    of = f"{used} of {minutes(step.target):g} (line {step.line}, calendar {step.calendar})"
    match step.state:
        case ClockState.RUNNING if step.due_at is not None:
            around = f", around {', '.join(one.name for one in holidays)}" if holidays else ""
            due = f"{calendar.local(step.due_at):%Y-%m-%d %H:%M:%S}"
            return f"{at} ({step.zone}): {what}; running, {of}, due {due}{around}."
        case ClockState.BREACHED:
            return f"{at} ({step.zone}): {what}; the target had run out, {of}."
        case _:
            return f"{at} ({step.zone}): {what}; {step.state.value}, {of}."
