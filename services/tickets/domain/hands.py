"""Fields that people set: remembered with the instant, so that no decision of another service overwrites them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from services.tickets.domain.work import Work

ASSIGNEE = "assignee"
"""The owner was chosen by a person, or chose to be it."""
MAX_NAMES = 200


def remember(work: Work, fields: Iterable[str], at: datetime) -> None:
    """A person set these fields."""
    kept = {**work.ticket.set_by, **dict.fromkeys(fields, at.isoformat())}
    if len(kept) > MAX_NAMES:
        # Only names of the tenant's own fields can be that many; the oldest of them may be decided again.
        kept = dict(sorted(kept.items(), key=lambda item: item[1])[-MAX_NAMES:])
    work.remember(set_by=kept)


def forget(work: Work, field: str) -> None:
    """A rule of ours has set it since."""
    if field in work.ticket.set_by:
        work.remember(set_by={name: at for name, at in work.ticket.set_by.items() if name != field})
