"""What a person thought of one cycle: once, within the time the pack gives, changeable for a while (seed 000 §10.1)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from services.tickets.domain import audit
from services.tickets.domain.ticket import Ticket
from services.tickets.domain.work import Act, Work
from shared.contracts.decision import TicketRated
from shared.contracts.pack import Satisfaction, StateCategory

MAX_COMMENT = 4000
"""Characters; longer comments are refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """An answer to a survey."""

    cycle: int
    person_id: UUID
    score: int
    comment: str | None
    rated_at: datetime
    """When it was first given."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why an answer does not count."""

    code: str
    """`disabled`, `merged`, `not_solved`, `expired`, `answered`."""


def refusal(
    ticket: Ticket, cycle: int, given: Rating | None, satisfaction: Satisfaction, now: datetime
) -> Refused | None:
    """Why an answer of somebody about that cycle would not count now; None when it would."""
    if not satisfaction.enabled:
        return Refused("disabled")
    if ticket.merged_into is not None:
        return Refused("merged")
    solved_at = _solved_at(ticket, cycle)
    if solved_at is None:
        return Refused("not_solved")
    if now > solved_at + timedelta(days=satisfaction.expires_days):
        return Refused("expired")
    if given is not None and now > given.rated_at + timedelta(minutes=satisfaction.change_minutes):
        return Refused("answered")
    return None


def _solved_at(ticket: Ticket, cycle: int) -> datetime | None:
    """When that cycle was solved; one that is too long ago to be remembered was never."""
    if cycle == ticket.cycle:
        over = ticket.category in (StateCategory.SOLVED, StateCategory.CLOSED)
        return ticket.solved_at or (ticket.status_since if over else None)
    return next((sealed.solved_at for sealed in ticket.sealed if sealed.cycle == cycle), None)


def rate(
    work: Work, given: Rating | None, act: Act, *, person_id: UUID, cycle: int, score: int, comment: str | None
) -> Rating | None:
    """Take an answer, or another one in its place; None when it says the same. Counts one input."""
    if given is not None and (given.score, given.comment) == (score, comment):
        return None
    act = Act(act.actor, work.begin(act.at), act.draw)
    values: dict[str, audit.Values] = {
        "cycle": (None, cycle),
        "score": (given.score if given else None, score),
        "comment": (given.comment if given else None, comment),
    }
    work.record("rated", act, values)
    work.facts.append(
        TicketRated(
            tenant_id=work.ticket.tenant_id,
            ticket_id=work.ticket.id,
            ticket=work.ticket.summary(),
            actor=act.actor,
            cycle=cycle,
            score=score,
            comment=comment,
        )
    )
    rated_at = given.rated_at if given else act.at
    return Rating(cycle=cycle, person_id=person_id, score=score, comment=comment, rated_at=rated_at)
