"""Bodies of the API, with their bounds."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import override

from services.escalation.domain.escalation import Escalation, Page, State
from shared.contracts.pack import EscalationStep, Name
from shared.http import SingleLine


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
