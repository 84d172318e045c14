"""Policies and ledgers as short texts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import yaml

from services.sla.domain.evaluate import Clock, evaluate
from services.sla.domain.policy import Policy, Setting, Zones
from services.sla.domain.telling import Kept, Occasion, Said, Subject, tell
from shared.contracts.pack import Calendars, SlaTargets, Workflow
from shared.contracts.sla import ClockName
from shared.contracts.ticket import LedgerEntry, LedgerKind, PriorityLevel, TicketSummary

PACK = yaml.safe_load((Path(__file__).parents[3] / "deploy" / "policies" / "default.yaml").read_text())
DAY = "2026-03-02"
"""A Monday."""
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
HOURS: dict[str, Any] = {
    "calendars": [
        {"name": "office", "week": [{"days": ["mon", "tue", "wed", "thu", "fri"], "from": "09:00", "to": "17:00"}]},
        {"name": "always", "always": True},
    ]
}
TARGETS: dict[str, Any] = {
    "calendar": "office",
    "targets": [
        {"priority": "P1", "first_response": 15, "calendar": "always"},
        {"tier": "enterprise", "first_response": 60, "resolution": 720},
        {"first_response": 120, "resolution": 480},
    ],
}


def at(text: str) -> datetime:
    """`10:00` on the Monday, `+1 10:00` on the day after, or a whole instant."""
    if text.startswith("+"):
        days, _, clock = text[1:].partition(" ")
        return at(clock) + timedelta(days=int(days))
    return datetime.fromisoformat(text if "T" in text else f"{DAY}T{text}").replace(tzinfo=UTC)


def policy(
    *,
    workflow: Any = None,
    sla: Any = None,
    calendars: Any = None,
    version: int = 1,
    in_force_at: datetime = LONG_AGO,
) -> Policy:
    """The default workflow with the targets above."""
    machine = Workflow.model_validate(workflow or PACK["workflow"])
    return Policy(
        states={state.name: state for state in machine.states},
        initial=machine.initial,
        calendars={one.name: one for one in Calendars.model_validate(calendars or HOURS).calendars},
        sla=SlaTargets.model_validate(sla or TARGETS),
        version=version,
        in_force_at=in_force_at,
    )


def setting(zone: str = "UTC", requester: str | None = None, **more: Any) -> Setting:
    return Setting(policy(**more), Zones(tenant=zone, requester=requester))


def ledger(*lines: str) -> list[LedgerEntry]:
    """Lines such as `10:00 status pending`; days as in `at`."""
    entries = []
    for number, line in enumerate(lines, start=1):
        day, rest = ("", line)
        if line.startswith("+"):
            day, _, rest = line.partition(" ")
        clock, _, what = rest.partition(" ")
        kind, _, value = what.partition(" ")
        entries.append(LedgerEntry(number=number, at=at(f"{day} {clock}".strip()), kind=LedgerKind(kind), value=value))
    return entries


OPENED = ("10:00 opened", "10:00 status new", "10:00 priority P3", "10:00 queue tier1")


def clock(
    lines: tuple[str, ...] | list[str],
    now: str,
    name: ClockName = ClockName.FIRST_RESPONSE,
    on: Setting | None = None,
    cycle: int = 1,
) -> Clock:
    """One clock of a ledger."""
    found = {one.name: one for one in evaluate(on or setting(), ledger(*lines), cycle, at(now))}
    return found[name]


TICKET = UUID("4cbc0f1e-495a-53db-b608-64bcce8f502f")


def subject(version: int = 1) -> Subject:
    summary = TicketSummary(
        ticket_id=TICKET,
        number="INC-2026-000001",
        version=version,
        subject="Printer",
        status="open",
        category="open",
        priority=PriorityLevel(rank=3, label="P3"),
        requester_id=UUID(int=7),
        queue="tier1",
        channel="email",
        created_at=at("10:00"),
        updated_at=at("10:00"),
    )
    return Subject(tenant_id="acme", ticket_id=TICKET, summary=summary, version=version)


class Told:
    """A clock looked at again and again, as sla does: what it said, in one word each."""

    def __init__(self, name: ClockName = ClockName.FIRST_RESPONSE, cycle: int = 1) -> None:
        self.kept: Kept | None = None
        self.lines: list[str] = list(OPENED)
        self.on = setting()
        self.said: list[Said] = []
        self._name = name
        self._cycle = cycle

    def look(self, now: str, known: str | None = None, *lines: str, on: Setting | None = None) -> list[str]:
        """Take lines in and look; `known` is the watermark, all there is when left out."""
        self.lines += lines
        self.on = on or self.on
        found = {one.name: one for one in evaluate(self.on, ledger(*self.lines), self._cycle, at(now))}
        occasion = Occasion(
            now=at(now),
            known_until=at(known or now),
            grace=timedelta(seconds=30),
            policy_version=self.on.policy.version,
            in_force_at=self.on.policy.in_force_at,
        )
        self.kept, said = tell(self.kept, found.get(self._name), subject(len(self.lines)), occasion)
        self.said += said
        return [word(one) for one in said]


def word(said: Said) -> str:
    """What was said: `breached`, `provisional`, `started`, `due_changed` and so on."""
    event = said.event
    if getattr(event, "provisional", False):
        return "provisional"
    return str(getattr(event, "change", None) or event.TYPE.split(".")[1])
