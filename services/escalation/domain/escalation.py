"""One escalation as a value that changes: where on its path it is, whom it paged, what it has to tell.

The path is a snapshot of the pack's: a later policy does not alter an escalation that runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID, uuid5

from pydantic import JsonValue

from shared.contracts.escalation import EscalationEvent, PageCancelled, PageEvent, PageRequested
from shared.contracts.pack import EscalationPath, EscalationStep
from shared.contracts.ticket import TicketSummary

MAX_HISTORY = 200
"""Entries kept; the path's bounds keep far below it."""


class State(StrEnum):
    """Where an escalation stands."""

    RUNNING = "running"
    ACKNOWLEDGED = "acknowledged"
    """Somebody took it."""
    ENDED = "ended"
    EXPIRED = "expired"
    """Its cause was too old when it was found: nobody was told."""


class PageState(StrEnum):
    """What became of a page."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    DECLINED = "declined"
    FAILED = "failed"
    """It could not be delivered."""
    CANCELLED = "cancelled"


@dataclass(slots=True, kw_only=True)
class Page:
    """One person, asked once."""

    page_id: UUID
    person_id: UUID
    via: str
    """The target that meant them."""
    step: int
    lap: int
    responsible: bool
    """Whether the step waits for them; others are only told."""
    urgency: str
    requested_at: datetime
    expires_at: datetime
    state: PageState = PageState.OPEN
    settled_at: datetime | None = None
    changed: bool = False


@dataclass(slots=True, kw_only=True)
class Escalation:
    """One walk along one path for one ticket."""

    id: UUID
    tenant_id: str
    ticket_id: UUID
    plan: EscalationPath
    rank: int
    """Of the ticket's priority when it started; 0 where a trigger or a person chose another path than the priority's,
    which no change of priority ends."""
    level: int
    cause: str
    cause_key: str
    cause_id: UUID | None = None
    cause_at: datetime
    """What people did after this instant counts as taking it."""
    started_at: datetime
    base_at: datetime
    """The path's minute 0. Not the start where steps were passed over: each step reached has its own whole time."""
    page_minutes: float
    step: int = 0
    """From 1; 0 before the first was reached."""
    lap: int = 0
    """How often the path was walked before."""
    again: int = 0
    """How often the people of this step were paged again."""
    alternative: int = 0
    """Number of the step's target that was taken."""
    paged_at: datetime | None = None
    """When the people of this step were paged last; None when there are none."""
    next_at: datetime | None = None
    state: State = State.RUNNING
    acknowledged_by: UUID | None = None
    ended_at: datetime | None = None
    ended_reason: str | None = None
    version: int = 0
    pages: dict[UUID, Page] = field(default_factory=dict)
    history: list[dict[str, JsonValue]] = field(default_factory=list)
    stored: bool = False
    changed: bool = False
    facts: list[EscalationEvent | PageEvent] = field(default_factory=list)
    """To be published, in order."""
    unreached: int = 0
    """Steps that found nobody in this transaction, for the alarm."""

    @property
    def running(self) -> bool:
        """Whether steps follow."""
        return self.state is State.RUNNING

    @property
    def current(self) -> EscalationStep:
        """The step reached."""
        return self.plan.steps[self.step - 1]

    @property
    def last(self) -> int:
        """Number of the last step."""
        return len(self.plan.steps)

    def begins(self, number: int) -> timedelta:
        """From the path's minute 0 to the beginning of a step."""
        return timedelta() if number <= 1 else timedelta(minutes=self.plan.steps[number - 2].until)

    def ends(self, number: int) -> timedelta:
        """From the path's minute 0 to the end of a step."""
        return timedelta(minutes=self.plan.steps[number - 1].until)

    def paged(self, person_id: UUID) -> bool:
        """Whether that person has been asked."""
        return any(page.person_id == person_id for page in self.pages.values())

    def asked(self) -> list[Page]:
        """The responsible people's pages of this step and lap."""
        return [
            page for page in self.pages.values() if page.responsible and (page.step, page.lap) == (self.step, self.lap)
        ]

    # -- what every change does -----------------------------------------------------------------------------------

    def note(self, at: datetime, what: str, **more: JsonValue) -> None:
        """Enter something in the history."""
        entry: dict[str, JsonValue] = {"at": at.isoformat(), "what": what, "step": self.step, "level": self.level}
        self.history.append({**entry, **{name: value for name, value in more.items() if value is not None}})
        del self.history[:-MAX_HISTORY]
        self.changed = True

    def request(
        self,
        person_id: UUID,
        via: str,
        ticket: TicketSummary,
        at: datetime,
        *,
        name: str,
        responsible: bool,
        urgency: str,
        reason: str,
    ) -> None:
        """Have a person paged, once per `name`."""
        page_id = uuid5(self.id, name)
        if page_id in self.pages:
            return
        expires_at = at + timedelta(minutes=self.page_minutes)
        self.pages[page_id] = Page(
            page_id=page_id,
            person_id=person_id,
            via=via,
            step=self.step,
            lap=self.lap,
            responsible=responsible,
            urgency=urgency,
            requested_at=at,
            expires_at=expires_at,
            changed=True,
        )
        self.changed = True
        self.facts.append(
            PageRequested(
                tenant_id=self.tenant_id,
                ticket_id=self.ticket_id,
                page_id=page_id,
                escalation_id=self.id,
                person_id=person_id,
                ticket=ticket,
                path=self.plan.name,
                step=self.step,
                urgency=urgency,
                reason=reason,
                expires_at=expires_at,
            )
        )

    def settle(self, page: Page, state: PageState, at: datetime) -> None:
        """Say what became of a page."""
        page.state, page.settled_at, page.changed = state, at, True
        self.changed = True

    def cancel_pages(self, at: datetime, reason: str) -> None:
        """Call back every page that nobody has answered."""
        for page in self.pages.values():
            if page.state is not PageState.OPEN:
                continue
            self.settle(page, PageState.CANCELLED, at)
            self.facts.append(
                PageCancelled(
                    tenant_id=self.tenant_id,
                    ticket_id=self.ticket_id,
                    page_id=page.page_id,
                    escalation_id=self.id,
                    person_id=page.person_id,
                    reason=reason,
                )
            )


def escalation_id(ticket_id: UUID, path: str, cause: str, cause_key: str) -> UUID:
    """UUIDv5: the same cause found twice is one escalation."""
    return uuid5(ticket_id, f"escalation:{path}:{cause}:{cause_key}")
