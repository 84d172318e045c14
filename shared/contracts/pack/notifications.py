"""Who is told what, and in which words: rules and templates as data (seeds 000 §6.3.2, 001 §7.2)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from shared.contracts.pack.section import Minutes, Name, Part, Section

Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$")]
"""BCP 47: `de`, `pt-BR`."""
Target = Annotated[
    str,
    Field(
        pattern="^(requester|watchers|assignee|previous_assignee|team_lead|targets|person|from"
        "|role:(agent|team_lead|manager|admin))$"
    ),
]
"""`targets`: whom an escalation step reaches. `person`: who is paged, who left the chat, who is asked to take a ticket.

`from`: who asked for a transfer. `team_lead`: of the ticket's team. `role:manager`: every active one of the tenant.
"""


class Occasion(StrEnum):
    """A fact that somebody can be told of; the value is its topic."""

    TICKET_CREATED = "ticket.created"
    MESSAGE_ADDED = "ticket.message_added"
    STATUS_CHANGED = "ticket.status_changed"
    ASSIGNED = "ticket.assigned"
    MERGED = "ticket.merged"
    UNMERGED = "ticket.unmerged"
    TRANSFER_CHANGED = "ticket.transfer_changed"
    RATED = "ticket.rated"
    SLA_WARNING = "sla.warning"
    SLA_BREACHED = "sla.breached"
    SLA_CHANGED = "sla.changed"
    ESCALATION_STARTED = "escalation.started"
    ESCALATION_STEPPED = "escalation.stepped"
    ESCALATION_ENDED = "escalation.ended"
    PAGE_REQUESTED = "page.requested"
    CHAT_REPLY_MISSED = "chat.reply_missed"


class When(Part):
    """What must hold of the fact: each field given lists the values that will do."""

    author: tuple[Literal["requester", "agent", "system"], ...] | None = None
    """Who wrote the message."""
    visibility: tuple[Literal["public", "internal"], ...] | None = None
    automatic: tuple[bool, ...] | None = None
    """Whether a machine wrote the message."""
    channel: tuple[str, ...] | None = None
    """Where the ticket's first message came from."""
    category: tuple[Literal["new", "open", "pending", "solved", "closed"], ...] | None = None
    """Of the state the ticket is in after the fact."""
    current: tuple[Name, ...] | None = None
    """That state's name."""
    previous: tuple[Name, ...] | None = None
    """The state before."""
    trigger: tuple[str, ...] | None = None
    """What moved the ticket: `manual`, `timer`, …"""
    priority: tuple[int, ...] | None = None
    """Ranks; 1 is the most urgent."""
    queue: tuple[str, ...] | None = None
    clock: tuple[str, ...] | None = None
    """`first_response`, `resolution`."""
    provisional: tuple[bool, ...] | None = None
    """Whether a breach may still be withdrawn."""
    change: tuple[str, ...] | None = None
    """What happened to a clock: `withdrawn`, `due_changed`, …"""
    state: tuple[str, ...] | None = None
    """Of a transfer: `requested`, `accepted`, …"""
    step: tuple[int, ...] | None = None
    level: tuple[int, ...] | None = None
    urgency: tuple[str, ...] | None = None
    """Of a page: `high`, `low`."""
    score: tuple[int, ...] | None = None
    """What the requester gave, 1 to 5."""


class Rule(Part):
    """Whom one kind of fact is told, over which ways, in which words."""

    event: Occasion
    when: When = When()
    to: Annotated[tuple[Target, ...], Field(min_length=1, max_length=10)]
    """Somebody reached by two of them is told once; nobody is told what they did themselves, but requesters."""
    channels: Annotated[tuple[Literal["email", "app"], ...], Field(min_length=1)]
    template: Name
    once_per_ticket: bool = False
    """Told the first time only, however often it happens to a ticket."""
    expire_after: Minutes | None = None
    """Elapsed minutes after which the fact is too old to be told; None for the section's."""


class ExpireAfter(Part):
    """Elapsed minutes after which a fact is recorded `expired` instead of told."""

    email: Minutes = 1440
    app: Minutes = 1440
    page: Minutes = 60
    """For `page.requested`, over any way; a page's own end may come sooner."""


class Courtesy(Part):
    """Bounds of acknowledgements, against loops of machines that do not say they are machines."""

    per_address_and_hour: Annotated[int, Field(ge=0, le=1000)] = 5
    """Templates with `submitted: auto-replied` to one address within any hour (RFC 3834 §2)."""


class Words(Part):
    """A template in one language."""

    subject: Annotated[str, Field(min_length=1, max_length=1000)]
    text: Annotated[str, Field(min_length=1, max_length=20_000)]
    html: Annotated[str, Field(max_length=40_000)] | None = None
    """Beside the text, for mail; what is filled in is escaped."""


class Template(Part):
    """What is said, in every language it can be said in."""

    submitted: Literal["no", "auto-generated", "auto-replied"] = "auto-generated"
    """`no` for words a person wrote; `auto-replied` answers a message, and so is never sent to machines (RFC 3834)."""
    words: Annotated[dict[Language, Words], Field(min_length=1, max_length=50)]


class Notifications(Section):
    """Who is told what, and in which words: templates as data (seed 000 §6.3)."""

    SECTION: ClassVar[str] = "notifications"

    sender: Annotated[str, Field(max_length=100)] | None = None
    """The name that mails come from, and that signs them; None for the tenant's."""
    phone: Annotated[str, Field(max_length=60)] | None = None
    """A number for urgent matters, for templates."""
    language: Language = "en"
    """Spoken where neither the reader's language, nor the ticket's, nor the tenant's has words."""
    expire_after: ExpireAfter = ExpireAfter()
    acknowledgements: Courtesy = Courtesy()
    attachments_bytes: Annotated[int, Field(ge=0, le=50_000_000)] = 10_000_000
    """Of one mail; files beyond it are named in the text instead of attached."""
    rules: Annotated[tuple[Rule, ...], Field(max_length=200)] = ()
    templates: Annotated[dict[Name, Template], Field(max_length=100, default_factory=dict)]


_OF_TICKET = (
    "number", "subject", "status", "category", "priority", "impact", "urgency", "channel", "queue", "language",
    "product", "tier", "url", "created_at", "updated_at", "eta_at",
)  # fmt: skip
VARIABLES: dict[str, object] = {
    "ticket": dict.fromkeys(_OF_TICKET),
    "requester": {"name": None, "organisation": None},
    "recipient": {"name": None},
    "assignee": {"name": None},
    "actor": {"name": None},
    "desk": {"name": None, "sender": None, "phone": None},
    "message": {"text": None, "author": None, "attachments": [{"name": None, "size": None}], "left_out": [None]},
    "change": {
        "previous": None,
        "current": None,
        "resolution": None,
        "reason": None,
        "minutes_open": None,
    },
    "clock": {
        "name": None,
        "due_at": None,
        "breached_at": None,
        "provisional": None,
        "target_minutes": None,
        "remaining_minutes": None,
    },
    "escalation": {"path": None, "level": None, "step": None, "name": None, "next_at": None, "reason": None},
    "page": {"reason": None, "urgency": None, "expires_at": None, "url": None},
    "transfer": {"state": None, "from": None, "to": None, "note": None, "expires_at": None},
    "merge": {"number": None},
    "rating": {"score": None, "comment": None},
    "survey_url": None,
    "now": None,
}
"""Everything a template may name, by shape: a mapping has these keys, a list has elements of this shape, None is a
value. What does not apply to a fact is empty. Instants are texts in the reader's zone, durations are minutes."""
