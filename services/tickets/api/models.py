"""What routes take."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, field_validator, model_validator

from services.tickets.domain.rating import MAX_COMMENT
from services.tickets.domain.ticket import MAX_SUBJECT, MAX_TAGS, MAX_WATCHERS
from shared.http import SingleLine

Subject = Annotated[SingleLine, StringConstraints(min_length=1, max_length=MAX_SUBJECT)]
Word = Annotated[SingleLine, StringConstraints(max_length=64)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=32_768)]
Tag = Annotated[SingleLine, StringConstraints(min_length=1, max_length=40)]
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
Address = Annotated[SingleLine, StringConstraints(min_length=1, max_length=320)]


class Strict(BaseModel):
    """A request: what is not known is refused."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Requester(Strict):
    """The person a ticket is opened for."""

    address: Address
    """An e-mail address, a phone number or a handle."""
    name: SingleLine | None = None


class NewTicket(Strict):
    """A ticket opened by an agent for a requester, or by customers for themselves."""

    subject: Subject
    text: Text
    requester: Requester | None = None
    """For whom; a customer leaves it out. Or `requester_id`."""
    requester_id: UUID | None = None
    channel: Literal["api", "phone", "web", "chat", "partner"] = "api"
    """How the requester reached us."""
    priority: Word | None = None
    """A label of the tenant's pack; its default when left out or unknown."""
    queue: Word | None = None
    product: Word | None = None
    category: Word | None = None
    language: Word | None = None
    impact: Word | None = None
    urgency: Word | None = None
    affected_customers: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    environment: Word | None = None
    version: Word | None = None
    error_code: Word | None = None
    tags: Annotated[list[Tag], Field(max_length=MAX_TAGS)] = []
    watcher_ids: Annotated[list[UUID], Field(max_length=MAX_WATCHERS)] = []

    @model_validator(mode="after")
    def _one_requester(self) -> NewTicket:
        if self.requester is not None and self.requester_id is not None:
            raise ValueError("give requester or requester_id, not both")
        return self


class TicketPatch(Strict):
    """A JSON merge patch (RFC 7386): only what is given changes; null empties what may be empty."""

    subject: Subject | None = None
    priority: Word | None = None
    queue: Word | None = None
    product: Word | None = None
    tier: Word | None = None
    language: Word | None = None
    impact: Word | None = None
    urgency: Word | None = None
    tags: Annotated[list[Tag], Field(max_length=MAX_TAGS)] | None = None
    watcher_ids: Annotated[list[UUID], Field(max_length=MAX_WATCHERS)] | None = None
    fields: dict[Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")], JsonValue] | None = None
    """The tenant's own fields; each is merged by name."""


class NewMessage(Strict):
    """A public answer or an internal note."""

    text: Text
    visibility: Literal["public", "internal"] = "public"


class NewTransition(Strict):
    """A move along the workflow."""

    to: Word
    reason: Reason | None = None
    resolution: Reason | None = None
    root_cause: Reason | None = None


class NewAssignment(Strict):
    """Another owner, or none."""

    assignee_id: UUID | None
    """An agent; null puts the ticket back into its queue."""
    reason: Reason | None = None


class NewMerge(Strict):
    """The ticket this one goes on in."""

    into: Word
    """A ticket's id or number; where that one is merged itself, the one it goes on in."""
    reason: Reason | None = None
    follow: bool = True
    """Its requester and watchers follow the other ticket from now on: they are told what happens there and may read
    it."""


class NewUnmerge(Strict):
    """Why a merge is taken back."""

    reason: Reason | None = None


class NewLink(Strict):
    """Whether two tickets belong together."""

    ticket: Word
    """The other one's id or number."""
    kind: Literal["duplicates", "relates"] = "duplicates"
    action: Literal["confirm", "dismiss"] = "confirm"
    """A suggestion that is dismissed never returns."""


class NewTransfer(Strict):
    """A request to another agent to take the ticket."""

    to: UUID
    """An agent who is available and has room."""
    note: Reason | None = None


class Answer(Strict):
    """An answer to a survey."""

    score: Annotated[int, Field(ge=1, le=5)]
    """5 is the best."""
    comment: Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_COMMENT)] | None = None

    @field_validator("comment")
    @classmethod
    def _nothing_is_nothing(cls, value: str | None) -> str | None:
        # A form may carry what JSON could not, and PostgreSQL's text knows no NUL.
        return (value or "").replace("\0", "") or None
