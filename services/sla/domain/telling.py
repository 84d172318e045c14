"""What is published of a clock: the difference between what was told and what is true now (architecture rule 5).

A breach by silence (nothing in the ledger happened in time) is true only when everything up to the due instant is
known; until then the clock is kept as running, or, after the grace, breached provisionally. `sla.breached` goes out
once per clock and cycle; whatever becomes of it afterwards is told by `sla.changed`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from services.sla.domain.evaluate import NO_TARGET, Clock
from shared.contracts import ids
from shared.contracts.sla import (
    ClockName,
    ClockState,
    SlaBreached,
    SlaChanged,
    SlaChangeKind,
    SlaEvent,
    SlaMet,
    SlaWarning,
)
from shared.contracts.ticket import SealedCycle, TicketSummary

MINUTE = timedelta(minutes=1)
_OPEN = (ClockState.RUNNING, ClockState.PAUSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A clock as it was told last."""

    name: ClockName
    cycle: int
    state: ClockState
    started_at: datetime
    target: timedelta
    line: int
    calendar: str
    zone: str
    due_at: datetime | None
    warn_at: datetime | None
    breached_at: datetime | None
    finished_at: datetime | None
    policy_version: int
    warned: bool = False
    told: bool = False
    """`sla.breached` was published for this cycle."""
    provisional: bool = False
    """Told before it was known to be true."""
    quiet: bool = False
    """Its due instant had passed before the policy that sets it was published: pages nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The ticket a clock belongs to."""

    tenant_id: str
    ticket_id: UUID
    summary: TicketSummary
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """When and with what knowledge a clock is looked at."""

    now: datetime
    """The transaction's instant."""
    known_until: datetime
    """Everything that tickets committed before this instant is in the ledger."""
    grace: timedelta
    """How long a breach waits for that before it is told provisionally."""
    policy_version: int
    in_force_at: datetime
    """Since when the policy holds."""


@dataclass(frozen=True, slots=True)
class Said:
    """One event; with a time of its own where the story has one, and an id where the same fact may be found twice."""

    event: SlaEvent
    id: UUID | None = None
    time: datetime | None = None


def tell(kept: Kept | None, clock: Clock | None, subject: Subject, at: Occasion) -> tuple[Kept | None, list[Said]]:
    """The clock as it is kept from now on, and what is to be told of it. `kept` is of the same cycle."""
    if clock is None:
        return _gone(kept, subject, at)
    if kept is None and clock.reason == NO_TARGET:
        return None, []
    return _Telling(kept, clock, subject, at).result()


def seal(kept: Kept, sealed: SealedCycle | None, subject: Subject) -> list[Said]:
    """What is left to say of a cycle whose end was seen by its summary only (its snapshots were compacted away).

    Pauses in between are unknown, so a breach that would need them is neither confirmed nor claimed.
    """
    if kept.state not in _OPEN and not kept.provisional:
        return []
    speak = _Speaker(subject, kept)
    done = None
    if sealed is not None:
        responded = sealed.responded_at if kept.name is ClockName.FIRST_RESPONSE else None
        done = responded or sealed.solved_at
    if done is not None and kept.provisional and kept.breached_at is not None and done <= kept.breached_at:
        return [speak.changed(SlaChangeKind.WITHDRAWN, ClockState.MET, "cycle")]
    if done is not None and not kept.provisional and (kept.due_at is None or done <= kept.due_at):
        return [speak.met(done, kept.target)]
    return [speak.changed(SlaChangeKind.ENDED, ClockState.ENDED, "cycle")]


def _gone(kept: Kept | None, subject: Subject, at: Occasion) -> tuple[Kept | None, list[Said]]:
    """No clock any more: a policy without a target for it."""
    if kept is None or kept.state not in (*_OPEN, ClockState.BREACHED):
        return None, []
    kept = replace(kept, policy_version=at.policy_version)
    return None, [_Speaker(subject, kept).changed(SlaChangeKind.ENDED, ClockState.ENDED, NO_TARGET)]


class _Speaker:
    """Makes events about one clock."""

    def __init__(self, subject: Subject, kept: Kept) -> None:
        self._subject = subject
        self._kept = kept

    def _common(self) -> dict[str, Any]:
        kept, subject = self._kept, self._subject
        return {
            "tenant_id": subject.tenant_id,
            "ticket_id": subject.ticket_id,
            "ticket": subject.summary,
            "clock": kept.name,
            "cycle": kept.cycle,
            "target_minutes": kept.target / MINUTE,
            "due_at": kept.due_at,
            "calendar": kept.calendar,
            "policy_version": kept.policy_version,
            "based_on_version": subject.version,
        }

    def _id(self, what: str) -> UUID:
        return uuid5(self._subject.ticket_id, f"{what}:{self._kept.name}:{self._kept.cycle}")

    def changed(
        self,
        change: SlaChangeKind,
        state: ClockState,
        reason: str,
        previous_due_at: datetime | None = None,
        at: datetime | None = None,
    ) -> Said:
        """Something about it changed, `at` an instant of the ticket's own story, or now."""
        event = SlaChanged(**self._common(), change=change, state=state, reason=reason, previous_due_at=previous_due_at)
        if change is SlaChangeKind.STARTED:
            return Said(event, self._id("started"), self._kept.started_at)
        return Said(event, time=at)

    def met(self, at: datetime, elapsed: timedelta) -> Said:
        """It was reached in time."""
        event = SlaMet(**self._common(), met_at=at, elapsed_minutes=elapsed / MINUTE)
        return Said(event, self._id("met"), at)

    def warning(self, share_left: float, remaining: timedelta) -> Said:
        """Little is left."""
        event = SlaWarning(**self._common(), share_left=share_left, remaining_minutes=remaining / MINUTE)
        return Said(event, self._id("warning"), self._kept.warn_at)

    def breached(self, at: datetime, *, provisional: bool) -> Said:
        """It ran out."""
        event = SlaBreached(**self._common(), breached_at=at, provisional=provisional)
        return Said(event, ids.breach_id(self._subject.ticket_id, self._kept.name, self._kept.cycle), at)


class _Telling:
    """One look at one clock."""

    def __init__(self, kept: Kept | None, clock: Clock, subject: Subject, at: Occasion) -> None:
        self._old = kept
        self._clock = clock
        self._subject = subject
        self._at = at
        self._said: list[Said] = []
        self._new = self._fresh()

    def result(self) -> tuple[Kept, list[Said]]:
        """What is kept, and what was said."""
        old, new, clock = self._old, self._new, self._clock
        speak = _Speaker(self._subject, new)
        if new.state is ClockState.BREACHED:
            self._breach(speak)
        elif old is not None and old.state is ClockState.BREACHED:
            kind = SlaChangeKind.WITHDRAWN if old.provisional else SlaChangeKind.VERDICT_CHANGED
            self._said.append(speak.changed(kind, new.state, self._cause(), old.due_at))
        elif old is not None and old.state is ClockState.MET and new.state is not ClockState.MET:
            self._said.append(speak.changed(SlaChangeKind.VERDICT_CHANGED, new.state, self._cause()))
        elif old is not None and old.state is ClockState.ENDED and new.state in _OPEN:
            self._said.append(speak.changed(SlaChangeKind.RESUMED, new.state, self._cause()))
        else:
            self._course(speak)
        if new.state is ClockState.MET and new.finished_at is not None and self._met_is_new():
            self._said.append(speak.met(new.finished_at, clock.elapsed))
        self._warn(speak)
        return self._new, self._said

    def _fresh(self) -> Kept:
        """The clock as it is now, with what was told of it before."""
        old, clock = self._old, self._clock
        state, due, breached = clock.state, clock.due_at, clock.breached_at
        provisional = False
        if state is ClockState.BREACHED and breached is not None and not self._is_certain(breached):
            told = old is not None and old.state is ClockState.BREACHED
            overdue = breached + self._at.grace <= self._at.now and not self._is_quiet(breached)
            if told or (overdue and not (old is not None and old.told)):
                provisional = not told or (old is not None and old.provisional)
            else:
                state, breached = ClockState.RUNNING, None
        return Kept(
            name=clock.name,
            cycle=clock.cycle,
            state=state,
            started_at=clock.started_at,
            target=clock.target,
            line=clock.line,
            calendar=clock.calendar,
            zone=clock.zone,
            due_at=due,
            warn_at=clock.warn_at,
            breached_at=breached,
            finished_at=clock.finished_at,
            policy_version=self._at.policy_version,
            warned=old.warned if old is not None else False,
            told=old.told if old is not None else False,
            provisional=provisional,
            quiet=clock.breached_at is not None and self._is_quiet(clock.breached_at),
        )

    def _is_certain(self, breached: datetime) -> bool:
        # At the due instant itself an answer is in time: only what lies behind it proves anything.
        return self._clock.proven or breached < self._at.known_until

    def _is_quiet(self, breached: datetime) -> bool:
        """Whether the due instant was past already when the policy that sets it came."""
        old = self._old
        if breached >= self._at.in_force_at:
            return False
        if old is None or old.due_at is None:
            return True
        # Due before under the former policy as well: then it is a breach like any other.
        return old.quiet if old.due_at == breached else old.due_at > self._at.in_force_at

    def _breach(self, speak: _Speaker) -> None:
        old, new = self._old, self._new
        breached = new.breached_at
        if breached is None:
            raise AssertionError("a breached clock says when")
        if old is not None and old.state is ClockState.BREACHED:
            if old.provisional and not new.provisional:
                self._said.append(speak.changed(SlaChangeKind.CONFIRMED, new.state, "watermark"))
        elif new.quiet:
            self._said.append(speak.changed(SlaChangeKind.VERDICT_CHANGED, new.state, "policy"))
        elif old is not None and old.state in (ClockState.MET, ClockState.ENDED) and old.finished_at is not None:
            self._said.append(speak.changed(SlaChangeKind.VERDICT_CHANGED, new.state, self._cause()))
        elif new.told:
            # Withdrawn, or taken back by a policy, and true after all: told once, then changed.
            self._said.append(speak.changed(SlaChangeKind.CONFIRMED, new.state, self._cause()))
        else:
            self._said.append(speak.breached(breached, provisional=new.provisional))
            self._new = replace(new, told=True)

    def _course(self, speak: _Speaker) -> None:
        """Started, paused, resumed, another due instant, ended."""
        old, new, reason = self._old, self._new, self._clock.reason
        if old is None:
            if new.state in _OPEN:
                self._said.append(
                    speak.changed(SlaChangeKind.STARTED, new.state, "opened" if new.cycle == 1 else "cycle")
                )
            return
        if old.state not in _OPEN:
            return
        # Readers put what is said in order by its time: sla may be behind, so it is when the ticket changed.
        at = self._at.in_force_at if self._cause() == "policy" else self._clock.steps[-1].at
        if new.state is ClockState.ENDED:
            self._said.append(speak.changed(SlaChangeKind.ENDED, new.state, reason, old.due_at, at))
        elif new.state in _OPEN and new.state is not old.state:
            kind = SlaChangeKind.PAUSED if new.state is ClockState.PAUSED else SlaChangeKind.RESUMED
            self._said.append(speak.changed(kind, new.state, reason, old.due_at, at))
        elif new.state in _OPEN and (new.due_at != old.due_at or new.target != old.target):
            self._said.append(speak.changed(SlaChangeKind.DUE_CHANGED, new.state, self._cause(), old.due_at, at))

    def _met_is_new(self) -> bool:
        """Met is a fact of its own, unless another policy makes it so afterwards."""
        old = self._old
        return old is None or old.state in _OPEN or (old.state is ClockState.BREACHED and old.provisional)

    def _cause(self) -> str:
        """Why it is different: the policy, if that is another one, else what last happened to the ticket."""
        old = self._old
        changed = old is not None and old.policy_version != self._new.policy_version
        return "policy" if changed else self._clock.reason

    def _warn(self, speak: _Speaker) -> None:
        """Once per clock and cycle, while there is still something to be warned of."""
        new, at = self._new, self._at
        if new.state is not ClockState.RUNNING or new.warned or new.warn_at is None or new.due_at is None:
            return
        known = new.warn_at < at.known_until or new.warn_at + at.grace <= at.now
        if not known or new.warn_at > at.now or new.due_at <= at.now:
            return
        remaining = self._clock.remaining
        self._said.append(speak.warning(min(1.0, remaining / new.target), remaining))
        self._new = replace(self._new, warned=True)
