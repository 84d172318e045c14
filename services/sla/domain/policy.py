"""A tenant's policy as clocks need it, compiled once per publication."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shared.calendar import BusinessTime, business_time
from shared.contracts.pack import Calendar, ClockEffect, SlaTargets, State, StateCategory, ZoneOf
from shared.contracts.sla import ClockName

SECTIONS = ("workflow", "calendars", "sla")
"""What clocks are made of."""
CLOCKS = (ClockName.FIRST_RESPONSE, ClockName.RESOLUTION)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is promised for one clock: by which line, how much, in whose minutes."""

    line: int
    """Place in the section's list of targets, from 1."""
    target: timedelta
    """Business time."""
    warn: timedelta
    """Business time after which little is left."""
    calendar: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Zones:
    """The zones a calendar may follow; None where nobody said one."""

    tenant: str
    organisation: str | None = None
    requester: str | None = None


class Policy:
    """Targets, calendars and what each state does."""

    def __init__(
        self,
        *,
        states: Mapping[str, State],
        initial: str,
        calendars: Mapping[str, Calendar],
        sla: SlaTargets,
        version: int,
        in_force_at: datetime,
    ) -> None:
        """`version` is the sla section's; `in_force_at` the instant since which all three sections hold."""
        self.sla = sla
        self.version = version
        self.in_force_at = in_force_at
        self.initial = initial
        self._states = states
        self._calendars = calendars
        self._terms: dict[tuple[ClockName, str | None, str | None], Terms | None] = {}

    def terms(self, clock: ClockName, tier: str | None, priority: str | None) -> Terms | None:
        """The first line that fits and has a number for that clock; None when there is none."""
        known = (clock, tier, priority)
        if known not in self._terms:
            if len(self._terms) > 10_000:
                # Tiers come from outside: a flood of names must not stay in memory.
                self._terms.clear()
            self._terms[known] = self._find(clock, tier, priority)
        return self._terms[known]

    def _find(self, clock: ClockName, tier: str | None, priority: str | None) -> Terms | None:
        for number, line in enumerate(self.sla.targets, start=1):
            minutes = line.first_response if clock is ClockName.FIRST_RESPONSE else line.resolution
            if minutes is None or line.tier not in (None, tier) or line.priority not in (None, priority):
                continue
            target = timedelta(minutes=minutes)
            warn = target - target * self.sla.warning_share
            return Terms(line=number, target=target, warn=warn, calendar=line.calendar or self.sla.calendar)
        return None

    def effect(self, clock: ClockName, status: str) -> ClockEffect:
        """What being in a state does to a clock; a state of a former workflow lets it run."""
        state = self._states.get(status)
        if state is None:
            return ClockEffect.RUN
        return state.first_response if clock is ClockName.FIRST_RESPONSE else state.resolution

    def closes(self, status: str) -> bool:
        """Whether that state ends a ticket for good, which without a solution is no verdict."""
        state = self._states.get(status)
        return state is not None and state.category is StateCategory.CLOSED

    def calendar(self, name: str, zones: Zones) -> BusinessTime:
        """A calendar in the zone that it asks for. Raises KeyError for a name the pack does not have."""
        calendar = self._calendars[name]
        match calendar.zone:
            case ZoneOf.REQUESTER:
                zone = zones.requester or zones.organisation or zones.tenant
            case ZoneOf.ORGANISATION:
                zone = zones.organisation or zones.tenant
            case ZoneOf.TENANT:
                zone = zones.tenant
            case _:
                zone = calendar.zone
        return business_time(calendar, zone)

    @property
    def calendars(self) -> tuple[str, ...]:
        """The names of its calendars."""
        return tuple(self._calendars)

    @property
    def asks_requesters(self) -> bool:
        """Whether any calendar follows people rather than the tenant."""
        return any(one.zone in (ZoneOf.REQUESTER, ZoneOf.ORGANISATION) for one in self._calendars.values())


@dataclass(frozen=True, slots=True)
class Missing:
    """What has to arrive before clocks can be computed: kind and id, as `NotYet` names it."""

    kind: str
    id: str


@dataclass(frozen=True, slots=True)
class Setting:
    """A policy and the zones of one ticket."""

    policy: Policy
    zones: Zones
    _made: dict[str, BusinessTime] = field(default_factory=dict, compare=False)

    def calendar(self, name: str) -> BusinessTime:
        """A calendar as this ticket has it."""
        if name not in self._made:
            self._made[name] = self.policy.calendar(name, self.zones)
        return self._made[name]
