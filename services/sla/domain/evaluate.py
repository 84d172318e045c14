"""An SLA clock is a pure function of (policy, calendar, ledger, now), with its working shown (architecture rule 4).

The walk goes along a cycle's changes. While a state lets the clock run, business time of the calendar then in force
is counted; pauses count nothing. The target is the one in force, so a raised priority may find more time used than it
allows: then the clock breaches at that instant, not before it. What happens at the due instant itself is in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from services.sla.domain import history
from services.sla.domain.history import Change, History
from services.sla.domain.policy import CLOCKS, Setting, Terms
from shared.contracts.pack import ClockEffect
from shared.contracts.sla import ClockName, ClockState
from shared.contracts.ticket import LedgerEntry, LedgerKind

NO_TARGET = "no_target"
NOTHING = timedelta()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What happened to a clock at one instant, and how it stood afterwards."""

    at: datetime
    what: str
    """`opened`, `status`, `priority`, `tier`, `responded`, `merged`, `breached`, …"""
    value: str
    state: ClockState
    elapsed: timedelta
    """Business time used until then."""
    target: timedelta | None
    line: int | None
    calendar: str
    zone: str
    due_at: datetime | None
    """If nothing else had happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """One clock as it stands."""

    name: ClockName
    cycle: int
    state: ClockState
    started_at: datetime
    target: timedelta
    warn: timedelta
    """Business time after which a warning is due."""
    line: int
    calendar: str
    zone: str
    elapsed: timedelta
    """Business time used, until now or until it stopped."""
    due_at: datetime | None
    """When the target runs out, or ran out; None while paused and when it stopped in time."""
    warn_at: datetime | None
    breached_at: datetime | None
    proven: bool
    """Whether the ledger itself says that nothing happened in time; otherwise it is only silent until now."""
    finished_at: datetime | None
    """When it was met or ended; also that of a breached clock."""
    reason: str
    """What last changed it."""
    steps: tuple[Step, ...]

    @property
    def remaining(self) -> timedelta:
        """Business time left; none when it is used up."""
        return max(NOTHING, self.target - self.elapsed)


def evaluate(setting: Setting, ledger: Sequence[LedgerEntry], cycle: int, now: datetime) -> tuple[Clock, ...]:
    """The clocks of a cycle as they stand at `now`, if nothing is missing from the ledger.

    None of them before a person wrote; a clock that never had a target is left out.
    """
    told = history.read(ledger)
    if told is None:
        return ()
    walks = (_Walk(setting, name, cycle, told) for name in CLOCKS)
    return tuple(clock for walk in walks if (clock := walk.to(now)) is not None)


@dataclass(slots=True)
class _Walk:
    """One clock on its way through a history."""

    setting: Setting
    name: ClockName
    cycle: int
    history: History
    at: datetime = field(init=False)
    status: str = field(init=False)
    priority: str | None = field(init=False)
    tier: str | None = field(init=False)
    terms: Terms | None = field(init=False)
    last_terms: Terms | None = None
    merged: bool = False
    elapsed: timedelta = NOTHING
    breached_at: datetime | None = None
    proven: bool = False
    met_at: datetime | None = None
    reason: str = "opened"
    steps: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        told = self.history
        self.at, self.status, self.priority, self.tier = told.started_at, told.status, told.priority, told.tier
        self._agree()
        self._enter(self.at)
        self._step("opened", self.status)

    def to(self, now: datetime) -> Clock | None:
        """Walk all changes, then on to `now`."""
        for change in self.history.changes:
            if self.met_at is not None:
                break
            self._pass(change.at, known=True)
            self._apply(change)
        if self.met_at is None:
            self._pass(max(now, self.at), known=False)
        return self._clock()

    @property
    def _effect(self) -> ClockEffect:
        return ClockEffect.STOP if self.merged else self.setting.policy.effect(self.name, self.status)

    def _agree(self) -> None:
        """Find the terms that hold now."""
        self.terms = self.setting.policy.terms(self.name, self.tier, self.priority)
        self.last_terms = self.terms or self.last_terms

    def _pass(self, until: datetime, *, known: bool) -> None:
        """Let time pass until an instant at which something happened, or (`known` false) until now."""
        if self._effect is ClockEffect.RUN and until > self.at:
            calendar = self.setting.calendar(self._calendar())
            passed = calendar.between(self.at, until)
            if self.terms is not None and self.breached_at is None and self.elapsed + passed >= self.terms.target:
                due = self._ahead(self.terms.target)
                if due is not None and due < until:
                    self.breached_at, self.proven = due, known
                    self._step("breached", "", due, max(self.elapsed, self.terms.target))
            self.elapsed += passed
        self.at = until

    def _apply(self, change: Change) -> None:
        """Take one change in."""
        before, terms = self._effect, self.terms
        match change.kind:
            case LedgerKind.STATUS:
                self.status = change.value
                self._enter(change.at)
                if self._effect is before:
                    return
                self.reason = change.value
            case LedgerKind.PRIORITY | LedgerKind.TIER:
                if change.kind == LedgerKind.PRIORITY:
                    self.priority = change.value or None
                else:
                    self.tier = change.value or None
                self._agree()
                if self.terms == terms:
                    return
                self.reason = str(change.kind)
            case LedgerKind.RESPONDED if self.name is ClockName.FIRST_RESPONSE and not self.merged:
                self.met_at, self.reason = change.at, "responded"
            case LedgerKind.MERGED:
                # Undone by an entry without a value: the clock goes on where it stood.
                self.merged = bool(change.value)
                self.reason = "merged" if self.merged else "unmerged"
                self._step(self.reason, change.value)
                return
            case _:
                return
        self._step(str(change.kind), change.value)

    def _enter(self, at: datetime) -> None:
        """A state that stops a clock meets it, unless it closes the ticket without a solution: that is no verdict."""
        if self._effect is ClockEffect.STOP and not self._void:
            self.met_at = at

    @property
    def _void(self) -> bool:
        """Whether the clock stands without a verdict; it goes on if that is undone."""
        return self.merged or self.terms is None or self.setting.policy.closes(self.status)

    def _state(self) -> ClockState:
        if self.breached_at is not None:
            return ClockState.BREACHED
        if self.met_at is not None:
            return ClockState.MET
        if self._effect is ClockEffect.STOP or self.terms is None:
            return ClockState.ENDED
        return ClockState.PAUSED if self._effect is ClockEffect.PAUSE else ClockState.RUNNING

    def _calendar(self) -> str:
        terms = self.terms or self.last_terms
        return terms.calendar if terms is not None else self.setting.policy.sla.calendar

    def _ahead(self, used: timedelta) -> datetime | None:
        """When the clock will have used so much, if it goes on running from here."""
        return self.setting.calendar(self._calendar()).add(self.at, max(NOTHING, used - self.elapsed))

    def _step(self, what: str, value: str, at: datetime | None = None, elapsed: timedelta | None = None) -> None:
        state, calendar, terms = self._state(), self._calendar(), self.terms
        due = self.breached_at
        if state is ClockState.RUNNING and terms is not None:
            due = self._ahead(terms.target)
        self.steps.append(
            Step(
                at=at or self.at,
                what=what,
                value=value,
                state=state,
                elapsed=self.elapsed if elapsed is None else elapsed,
                target=terms.target if terms is not None else None,
                line=terms.line if terms is not None else None,
                calendar=calendar,
                zone=self.setting.calendar(calendar).zone,
                due_at=due,
            )
        )

    def _clock(self) -> Clock | None:
        """How it stands at the end of the walk; due and warning reckoned from its last step, whenever now is."""
        terms, state, last = self.last_terms, self._state(), self.steps[-1]
        if terms is None:
            return None
        warn = None
        if state is ClockState.RUNNING:
            warn = self.setting.calendar(terms.calendar).add(last.at, max(NOTHING, terms.warn - last.elapsed))
        finished_at = self.met_at
        if finished_at is None and (state is ClockState.ENDED or self._effect is ClockEffect.STOP):
            finished_at = last.at
        return Clock(
            name=self.name,
            cycle=self.cycle,
            state=state,
            started_at=self.history.started_at,
            target=terms.target,
            warn=terms.warn,
            line=terms.line,
            calendar=terms.calendar,
            zone=last.zone,
            elapsed=self.elapsed,
            due_at=last.due_at,
            warn_at=warn,
            breached_at=self.breached_at,
            proven=self.proven,
            finished_at=finished_at,
            reason=NO_TARGET if self.terms is None else self.reason,
            steps=tuple(self.steps),
        )
