"""`/v1/tickets/{ticket}/clocks`: where a ticket's clocks stand, and why."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.sla.api.models import ClocksView, ClockView, ExplainView, clock_view, explain_view
from services.sla.desk.known import Known
from services.sla.domain.evaluate import Clock, evaluate
from services.sla.domain.policy import Missing, Setting
from services.sla.domain.telling import Kept
from services.sla.store import clocks as store
from services.sla.store import knowledge
from services.sla.store.clocks import Ticket
from shared.auth import Principal
from shared.auth.permissions import TicketScope
from shared.contracts.sla import ClockName
from shared.db import Database, Tx
from shared.http import CurrentPrincipal, Router, problems
from shared.problem import Problem, not_found

_NUMBER = re.compile(r"[A-Z]{2,8}-\d{4}-\d{1,19}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """A ticket the caller may see, with its clocks evaluated now."""

    ticket: Ticket
    setting: Setting
    clocks: tuple[Clock, ...]
    kept: dict[ClockName, Kept]
    known_until: datetime
    now: datetime


def routes(database: Database, known: Known) -> Router:
    """Path operations on clocks."""
    router = Router(tags=["clocks"])

    async def seen(principal: Principal, reference: str) -> _Seen:
        async with database.begin() as tx:
            ticket = await store.visible(tx, TicketScope.of(principal), _reference(reference))
            if ticket is None or ticket.summary is None:
                raise not_found("ticket")
            setting = await _setting(known, tx, ticket)
            kept = (await store.clocks(tx, [ticket.id])).get(ticket.id, {})
            until = (await knowledge.read(tx)).get(ticket.partition, ticket.summary.created_at)
            evaluated = evaluate(setting, ticket.ledger, ticket.cycle, tx.instant)
            return _Seen(ticket=ticket, setting=setting, clocks=evaluated, kept=kept, known_until=until, now=tx.instant)

    @router.get("/v1/tickets/{ticket}/clocks", responses=problems(404, 503))
    async def list_clocks(principal: CurrentPrincipal, ticket: str) -> ClocksView:
        """The SLA clocks of a ticket's open cycle. Verdicts are those that were published."""
        one = await seen(principal, ticket)
        views: list[ClockView] = [clock_view(clock, one.kept.get(clock.name)) for clock in one.clocks]
        return ClocksView(
            ticket_id=one.ticket.id,
            number=one.ticket.summary.number if one.ticket.summary else "",
            version=one.ticket.version,
            cycle=one.ticket.cycle,
            known_until=one.known_until,
            policy_version=one.setting.policy.version,
            clocks=views,
        )

    @router.get("/v1/tickets/{ticket}/clocks/{clock}/explain", responses=problems(404, 503))
    async def explain_clock(principal: CurrentPrincipal, ticket: str, clock: str) -> ExplainView:
        """Why a clock stands where it stands: the same computation with its working shown."""
        one = await seen(principal, ticket)
        found = next((made for made in one.clocks if made.name == clock), None)
        if found is None:
            raise not_found("clock")
        calendars = {step.calendar: one.setting.calendar(step.calendar) for step in found.steps}
        return explain_view(found, calendars, one.now, one.kept.get(found.name))

    return router


async def _setting(known: Known, tx: Tx, ticket: Ticket) -> Setting:
    requester = ticket.summary.requester_id if ticket.summary is not None else None
    setting = (await known.settings({ticket.id: (ticket.tenant_id, requester)}, tx))[ticket.id]
    if isinstance(setting, Missing):
        raise missing_policy()
    return setting


def missing_policy() -> Problem:
    """The answer while a tenant has no complete policy."""
    return Problem(
        503,
        "policy-missing",
        "Policy missing",
        "This tenant has no complete policy pack yet; apply one.",
        headers={"Retry-After": "5"},
    )


def _reference(text: str) -> UUID | str:
    """A ticket's id or number out of a path. Raises 404 for what is neither."""
    if _NUMBER.fullmatch(text):
        return text
    try:
        return UUID(text)
    except ValueError:
        raise not_found("ticket") from None
