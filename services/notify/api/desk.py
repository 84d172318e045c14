"""What the routes of notifications and pages share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from services.notify.desk.answering import Answering
from services.notify.desk.known import Known
from services.notify.desk.links import Links
from shared.auth import Principal
from shared.db import Database
from shared.http import Cursor
from shared.problem import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The parts of the service that routes use."""

    database: Database
    known: Known
    links: Links
    answering: Answering
    cursor: Cursor
    wake: Callable[[], None]
    """Tells the relay that something was committed."""


def own_person(principal: Principal) -> UUID:
    """The person a caller is. Raises 403 for a machine, which has nothing of its own here."""
    if principal.person_id is None:
        raise Problem(403, "forbidden", "Not allowed", "This is about a person; a key without one has none.")
    return principal.person_id
