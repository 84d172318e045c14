"""`/v1/sla`: the clocks of a ticket that does not exist, and the hours of a calendar."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fastapi import Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from services.sla.api.clocks import missing_policy
from services.sla.api.models import HoursView, OpenView, PreviewView, explain_view, holiday_view, minutes
from services.sla.desk.known import Known
from services.sla.domain.evaluate import evaluate
from services.sla.domain.policy import Missing, Setting, Zones
from shared.auth import Principal
from shared.auth.permissions import Permission
from shared.contracts.ticket import LedgerEntry, LedgerKind
from shared.db import Database, Tx
from shared.http import Router, problems, requires
from shared.problem import invalid, not_found

LONGEST = timedelta(days=400)
"""Of a calendar that is told at once."""
_KINDS = (LedgerKind.STATUS, LedgerKind.PRIORITY, LedgerKind.TIER, LedgerKind.RESPONDED)


class Happening(BaseModel):
    """Something that happens to the hypothetical ticket."""

    model_config = ConfigDict(extra="forbid")

    at: AwareDatetime
    kind: Literal["status", "priority", "tier", "responded"]
    value: str = Field("", max_length=80)


class Preview(BaseModel):
    """A ticket that does not exist."""

    model_config = ConfigDict(extra="forbid")

    priority: str | None = Field(None, max_length=80)
    tier: str | None = Field(None, max_length=80)
    status: str | None = Field(None, max_length=80, description="The state it is opened in; the workflow's first.")
    opened_at: AwareDatetime | None = Field(None, description="When its first message is received; now.")
    requester_id: UUID | None = Field(None, description="Whose zone it has, where the calendar follows requesters.")
    zone: str | None = Field(None, max_length=64, description="Instead of a requester: their zone.")
    happenings: list[Happening] = Field(default_factory=list, max_length=200)
    now: AwareDatetime | None = Field(None, description="When its clocks are looked at; now.")


def routes(database: Database, known: Known) -> Router:
    """Path operations on previews and calendars."""
    router = Router(tags=["planning"])

    async def setting_of(tx: Tx, principal: Principal, requester: UUID | None, zone: str | None) -> Setting:
        mark = uuid4()
        setting = (await known.settings({mark: (principal.tenant_id, requester)}, tx))[mark]
        if isinstance(setting, Missing):
            raise missing_policy()
        if zone is None:
            return setting
        return Setting(setting.policy, Zones(tenant=setting.zones.tenant, requester=zone))

    @router.post("/v1/sla/preview", responses=problems(503))
    async def preview_clocks(
        principal: Annotated[Principal, requires(Permission.TICKET_READ)], body: Preview
    ) -> PreviewView:
        """What the clocks of a ticket would be, with their working shown. Stores nothing."""
        _zone(body.zone, ["zone"], "body")
        async with database.begin() as tx:
            setting = await setting_of(tx, principal, body.requester_id, body.zone)
            now = body.now or tx.instant
        opened = body.opened_at or now
        standing = [
            (LedgerKind.STATUS, body.status or setting.policy.initial),
            (LedgerKind.PRIORITY, body.priority or ""),
            (LedgerKind.TIER, body.tier or ""),
        ]
        told = [(opened, LedgerKind.OPENED, ""), *((opened, kind, value) for kind, value in standing)]
        for number, one in enumerate(sorted(body.happenings, key=lambda happening: happening.at)):
            if one.at < opened:
                raise invalid(["happenings", number, "at"], "before the ticket is opened")
            told.append((one.at, LedgerKind(one.kind), one.value))
        ledger = [
            LedgerEntry(number=number, at=at, kind=kind, value=value)
            for number, (at, kind, value) in enumerate(told, start=1)
        ]
        clocks = evaluate(setting, ledger, 1, now)
        return PreviewView(
            policy_version=setting.policy.version,
            clocks=[
                explain_view(one, {s.calendar: setting.calendar(s.calendar) for s in one.steps}, now, None)
                for one in clocks
            ],
        )

    @router.get("/v1/sla/calendars/{name}/hours", responses=problems(404, 503))
    async def calendar_hours(
        principal: Annotated[Principal, requires(Permission.TICKET_READ)],
        name: str,
        begins: Annotated[datetime, Query(alias="from", description="With its zone.")],
        ends: Annotated[datetime, Query(alias="to", description="With its zone; at most 400 days later.")],
        zone: Annotated[str | None, Query(max_length=64, description="Of the requester, where it follows one.")] = None,
    ) -> HoursView:
        """When a calendar is open, and which holidays close it."""
        for field, instant in (("from", begins), ("to", ends)):
            if instant.tzinfo is None:
                raise invalid([field], "an instant needs a zone", "query")
        if not timedelta() < ends - begins <= LONGEST:
            raise invalid(["to"], "after `from`, and at most 400 days later", "query")
        _zone(zone, ["zone"], "query")
        async with database.begin() as tx:
            setting = await setting_of(tx, principal, None, zone)
        if name not in setting.policy.calendars:
            raise not_found("calendar")
        calendar = setting.calendar(name)
        return HoursView(
            calendar=name,
            zone=calendar.zone,
            minutes=minutes(calendar.between(begins, ends)),
            open=[
                OpenView(begins=one.begins, ends=one.ends, minutes=minutes(one.ends - one.begins))
                for one in calendar.open(begins, ends)
            ],
            holidays=[holiday_view(one) for one in calendar.holidays(begins, ends)],
        )

    return router


def _zone(zone: str | None, path: list[object], place: Literal["body", "query"]) -> None:
    if zone is None:
        return
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise invalid(path, "not an IANA time zone such as Europe/Berlin", place) from None
