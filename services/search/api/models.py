"""What routes answer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict


class _Answer(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class Priority(_Answer):
    """Rank 1 is the most urgent; the label is the tenant's own."""

    rank: int
    label: str


class Highlights(_Answer):
    """Pieces of text that were found. HTML: everything is escaped but `<mark>` around what matched."""

    subject: list[str] = []
    text: list[str] = []
    """Of public messages."""
    notes: list[str] = []
    """Of internal notes; only for those who may read them."""


class Hit(_Answer):
    """A ticket that was found, as the index knows it (about a second behind)."""

    ticket_id: UUID
    number: str
    version: int
    """The ticket's, as in its ETag, when it was written to the index."""
    subject: str
    status: str
    category: str
    priority: Priority
    about: str | None = None
    """What it is about, as triage says."""
    requester_id: UUID
    organisation_id: UUID | None = None
    assignee_id: UUID | None = None
    team_id: UUID | None = None
    queue: str
    channel: str
    language: str | None = None
    product: str | None = None
    tier: str | None = None
    tags: list[str] = []
    merged_into: UUID | None = None
    messages: int = 0
    created_at: datetime
    updated_at: datetime
    score: float | None = None
    """Relevance; comparable within one answer only."""
    highlights: Highlights | None = None


class Bucket(_Answer):
    """One value and how many of what was found have it."""

    value: str
    count: int


class SearchPage(_Answer):
    """One page of what was found."""

    items: list[Hit]
    total: int
    """How many there are in all; counted up to 10,000."""
    total_exact: bool
    """Whether there are no more than that."""
    facets: dict[str, list[Bucket]] = {}
    """Within everything found, not only this page; on the first page only."""
    next_cursor: str | None = None


class SimilarTicket(_Answer):
    """A ticket like another one or like a text."""

    ticket: Hit
    likeness: float
    """0 to 1; 1 is word for word the same. From 0.5 on it is called a likely duplicate."""


class Similar(_Answer):
    """Tickets alike, the likeliest first."""

    items: list[SimilarTicket]


class Index(_Answer):
    """One index behind the alias."""

    name: str
    state: str
    """`live` is searched, `filling` takes its place when it is filled, `retired` is about to be deleted."""
    filled: bool
    """Whether all tickets of before it was begun are in it."""
    written: int
    """How many of those so far."""
    started_at: datetime
    live_at: datetime | None = None


class RefusedDocument(_Answer):
    """A ticket of the caller's tenant that the engine does not take."""

    ticket_id: UUID
    reason: str
    at: datetime


class Status(_Answer):
    """How the index stands."""

    indexes: list[Index]
    waiting: int
    """Documents to be written (counted up to 100,000)."""
    waiting_seconds: float
    """How long the oldest of them has waited."""
    refused: int
    """Documents put aside, of all tenants."""
    refused_here: list[RefusedDocument]
    """The caller's own, newest first."""


class Replayed(_Answer):
    """What is tried again."""

    documents: int


def hit(found: Mapping[str, Any]) -> dict[str, Any]:
    """A hit as JSON, of the shape of `Hit`."""
    source: dict[str, Any] = dict(found["_source"])
    answer = {
        "priority": {"rank": source.pop("rank"), "label": source.pop("priority")},
        **{name: value for name, value in source.items() if name in Hit.model_fields},
    }
    if found.get("_score") is not None:
        answer["score"] = found["_score"]
    marked = found.get("highlight")
    if marked:
        names = {"subject": "subject", "public_text": "text", "internal_text": "notes"}
        answer["highlights"] = {names[name]: pieces for name, pieces in marked.items()}
    return answer
