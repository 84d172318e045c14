"""`/v1/notifications/preview`: a template filled in with made-up values, for those who write packs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.notify.api.desk import Desk
from services.notify.desk.known import Notices
from services.notify.domain.letter import subject_of
from services.notify.domain.wording import Person, Setting, choose, values
from shared.auth import Permission, Principal
from shared.contracts.pack.notifications import VARIABLES, Language, Template, Words
from shared.contracts.pack.section import Name
from shared.http import Router, problems, requires
from shared.problem import FieldError, Problem, not_found, unavailable
from shared.templates import Compiled, TemplateFailedError, check

_SAMPLE: dict[str, Any] = {
    "ticket": {
        "number": "INC-2026-000123",
        "subject": "Labels are not printed any more",
        "status": "open",
        "category": "open",
        "priority": {"rank": 2, "label": "P2"},
        "channel": "email",
        "queue": "tier1",
        "product": "Scan",
        "tier": "premium",
        "language": "en",
        "created_at": "2026-03-02T08:30:00+00:00",
        "updated_at": "2026-03-02T09:10:00+00:00",
        "eta_at": "2026-03-02T14:00:00+00:00",
    },
    "change": {"previous": "open", "current": "solved", "resolution": "A new cable.", "reason": "", "minutes_open": 75},
    "clock": {
        "name": "resolution",
        "due_at": "2026-03-02T12:30:00+00:00",
        "breached_at": "2026-03-02T12:30:00+00:00",
        "provisional": False,
        "target_minutes": 240,
        "remaining_minutes": 48,
    },
    "escalation": {"path": "p2", "level": 2, "step": 2, "name": "team lead", "next_at": "2026-03-02T11:30:00+00:00"},
    "page": {
        "reason": "P1 ticket INC-2026-000123 is unacknowledged",
        "urgency": "high",
        "expires_at": "2026-03-02T09:30:00+00:00",
    },
    "transfer": {"state": "requested", "note": "You know this printer.", "expires_at": "2026-03-02T10:00:00+00:00"},
    "merge": {"number": "INC-2026-000122"},
    "rating": {"score": 2, "comment": "It took long."},
}


class PreviewWanted(BaseModel):
    """A template of the pack in force, or words to be tried."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    template: Name | None = Field(None, description="One that is in force.")
    words: Words | None = Field(None, description="Words that are in no pack yet; wins over `template`.")
    language: Language | None = None


class Preview(BaseModel):
    """What a reader would see."""

    language: str | None = Field(description="Of the words that were chosen; null for words that were given.")
    subject: str
    text: str
    html: str | None


def routes(desk: Desk) -> Router:
    """Path operations for writers of packs."""
    router = Router(tags=["notifications"])

    @router.post("/v1/notifications/preview", responses=problems(404))
    async def preview_template(
        principal: Annotated[Principal, requires(Permission.POLICY_READ)], wanted: PreviewWanted
    ) -> Preview:
        """Fill a template in with made-up values; what is wrong with given words is told with its line."""
        if wanted.words is not None:
            _refuse_faults(wanted.words)
            return _preview(None, wanted.words)
        notices = (await desk.known.notices([principal.tenant_id]))[principal.tenant_id]
        if not isinstance(notices, Notices):
            raise unavailable("the policy pack")
        template: Template | None = notices.section.templates.get(wanted.template or "")
        if template is None:
            raise not_found("template")
        return _preview(*choose(template, (wanted.language, notices.section.language)))

    return router


def _refuse_faults(words: Words) -> None:
    errors = [
        FieldError.at(["words", part], f"line {fault.line} of the template: {fault.message}")
        for part, text in words.model_dump(exclude_none=True).items()
        for fault in check(text, VARIABLES)
    ]
    if errors:
        raise Problem(422, "invalid", "Invalid request", "The template cannot be used.", errors=errors)


def _preview(language: str | None, words: Words) -> Preview:
    mia, ana = Person(name="Mia Möller", organisation="Customer AG"), Person(name="Ana Alvarez")
    setting = Setting(
        recipient=mia,
        people={"requester": mia, "assignee": ana, "actor": ana, "author": ana, "from": Person(name="Ben")},
        desk_name="Your desk",
        sender="Your desk",
        phone="",
        timezone="UTC",
        now=datetime(2026, 3, 2, 9, 45, tzinfo=UTC),
        ticket_url=f"https://desk.example/v1/tickets/{UUID(int=0)}",
        page_url="https://desk.example/v1/pages/…",
        survey_url="https://desk.example/v1/surveys/…",
        text="Please try the other cable.\nDoes it print then?",
        attached=({"name": "manual.pdf", "size": 12_345},),
    )
    given = values(_SAMPLE, setting)
    try:
        return Preview(
            language=language,
            subject=subject_of(Compiled(words.subject).fill(given), _SAMPLE["ticket"]["number"]),
            text=Compiled(words.text).fill(given),
            html=Compiled(words.html, html=True).fill(given) if words.html else None,
        )
    except TemplateFailedError as error:
        raise Problem(422, "invalid", "Invalid request", f"The template cannot be filled in: {error}.") from error
