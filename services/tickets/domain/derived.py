"""What sla, escalation and notify say of a ticket: the `derived` section of its state (architecture rule 3).

It raises no version. Their topics are read independently, so an event may come behind a later one of the same thing;
`heard` remembers what has been said, and what is older or about an earlier cycle changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from pydantic import JsonValue

from services.tickets.domain.ticket import Ticket
from services.tickets.domain.work import Work
from shared.contracts.escalation import (
    EscalationAcknowledged,
    EscalationEnded,
    EscalationEvent,
    EscalationStepped,
)
from shared.contracts.pack import Trigger
from shared.contracts.sla import (
    ClockState,
    SlaBreached,
    SlaChanged,
    SlaChangeKind,
    SlaEvent,
    SlaMet,
    SlaWarning,
)

SLA, ESCALATION, NOTIFICATIONS = "sla", "escalation", "notifications"
MAX_CLOCKS = 10
MAX_ESCALATIONS = 8
"""Escalations of one ticket remembered; the newest stay."""

_ENDED, _ACKNOWLEDGED, _RUNNING = "ended", "acknowledged", "running"
_ORDER = {_RUNNING: 0, _ACKNOWLEDGED: 1, _ENDED: 2}

Values = dict[str, JsonValue]


def sla(work: Work, said: SlaEvent, at: datetime) -> None:
    """One clock's news, which happened at `at` by sla's own clock."""
    clock = str(said.clock)
    heard = _values(work.ticket.heard.get(SLA))
    last = _values(heard.get(clock))
    place = _place(said, at)
    known = _known_place(last)
    same_cycle = known is not None and known[0] == said.cycle
    if isinstance(said, (SlaBreached, SlaMet)):
        # Its instant is that of the deed, which says nothing of when it was told: only a verdict comes after it.
        stale = known is not None and (known[0] > said.cycle or (same_cycle and bool(last.get("judged"))))
    else:
        stale = known is not None and place < known
    if stale or (known is None and len(heard) >= MAX_CLOCKS):
        return
    clocks = _values(work.ticket.derived.get(SLA))
    now = _clock(said, _values(clocks.get(clock)) if same_cycle else {})
    judged = _judges(said) or (same_cycle and bool(last.get("judged")))
    _set(
        work,
        SLA,
        {**clocks, clock: now},
        {**heard, clock: {"at": list(max(place, known or place)), "judged": judged}},
    )


_Place = tuple[int, str, int, int]
_RANKS: Mapping[type[SlaEvent], int] = {SlaWarning: 1, SlaBreached: 2, SlaMet: 2}
_VERDICTS = frozenset(
    {SlaChangeKind.CONFIRMED, SlaChangeKind.WITHDRAWN, SlaChangeKind.VERDICT_CHANGED, SlaChangeKind.ENDED}
)


def _place(said: SlaEvent, at: datetime) -> _Place:
    """Later cycle, later instant, newer ticket; at one instant a clock starts, warns, ends and is judged in that order.

    Instants are in UTC and written alike, so their texts compare.
    """
    rank = 3 if _judges(said) and isinstance(said, SlaChanged) else _RANKS.get(type(said), 0)
    return said.cycle, _text(at), said.based_on_version, rank


def _known_place(last: Values) -> _Place | None:
    match last.get("at"):
        case [int(cycle), str(at), int(version), int(rank)]:
            return cycle, at, version, rank
        case _:
            return None


def _judges(said: SlaEvent) -> bool:
    """Whether it says the last word on a breach."""
    return isinstance(said, SlaMet) or (isinstance(said, SlaChanged) and said.change in _VERDICTS)


def _clock(said: SlaEvent, before: Values) -> Values:
    """How a clock is shown: `state`, `due_at`, `target_minutes`, `cycle`; of a breach `breached_at`, `provisional`."""
    shown: Values = {"target_minutes": said.target_minutes, "cycle": said.cycle}
    if said.due_at is not None:
        shown["due_at"] = _text(said.due_at)
    match said:
        case SlaBreached():
            shown["state"] = ClockState.BREACHED.value
            shown["breached_at"] = _text(said.breached_at)
            if said.provisional:
                shown["provisional"] = True
        case SlaMet():
            shown["state"] = ClockState.MET.value
        case SlaWarning():
            shown["state"] = before.get("state", ClockState.RUNNING.value)
            shown["warned"] = True
        case SlaChanged():
            shown["state"] = str(said.state)
            if said.state == ClockState.BREACHED:
                due = None if said.due_at is None else _text(said.due_at)
                shown["breached_at"] = before.get("breached_at") or due
                if before.get("provisional") and said.change != SlaChangeKind.CONFIRMED:
                    shown["provisional"] = True
            elif before.get("warned") and said.change != SlaChangeKind.DUE_CHANGED:
                shown["warned"] = True
        case _:
            shown["state"] = before.get("state", ClockState.RUNNING.value)
    return {name: value for name, value in shown.items() if value is not None}


def escalation(work: Work, said: EscalationEvent, at: datetime) -> Trigger | None:
    """One escalation's news; the workflow's trigger that it fires, if any."""
    identity = str(said.escalation_id)
    heard = _values(work.ticket.heard.get(ESCALATION))
    before = _values(heard.get(identity))
    now = _escalation(said, before, at)
    if now == before:
        return None
    pressing = _pressing(heard)
    heard = {**heard, identity: now}
    if len(heard) > MAX_ESCALATIONS:
        oldest = min(heard, key=lambda one: str(_values(heard[one]).get("since")))
        heard = {one: value for one, value in heard.items() if one != oldest}
    _set(work, ESCALATION, _shown(heard), heard)
    if _pressing(heard) == pressing:
        return None
    return Trigger.ESCALATION_ENDED if pressing else Trigger.ESCALATED


def _escalation(said: EscalationEvent, before: Values, at: datetime) -> Values:
    """What is known of one escalation now. It never goes back: ended wins, and a later step over an earlier one."""
    state = _RUNNING
    if isinstance(said, EscalationEnded):
        state = _ENDED
    elif isinstance(said, EscalationAcknowledged):
        state = _ACKNOWLEDGED
    step = said.step if isinstance(said, EscalationStepped | EscalationAcknowledged | EscalationEnded) else 0
    since = min(str(before.get("since", _text(at))), _text(at))
    now: Values = {"state": state, "path": said.path, "level": said.level, "step": step, "since": since}
    if isinstance(said, EscalationStepped):
        now["step_name"] = said.name
        if said.next_at is not None:
            now["next_at"] = _text(said.next_at)
    if not before:
        return now
    known = _ORDER[str(before["state"])]
    if _ORDER[state] < known:
        return {**before, "since": since}
    # The level alone may rise, at the same step; it never falls.
    if _ORDER[state] == known and (step, said.level) <= (int(str(before["step"])), int(str(before["level"]))):
        return {**before, "since": since}
    if "step_name" not in now and step == before["step"] and "step_name" in before:
        now["step_name"] = before["step_name"]
    return now


def _pressing(heard: Values) -> bool:
    """Whether some escalation has gone beyond its first step and nobody has taken it."""
    known = map(_values, heard.values())
    return any(one["state"] == _RUNNING and int(str(one["step"])) > 1 for one in known)


def _shown(heard: Values) -> Values:
    """The one to show: running before acknowledged before ended, the higher level, the newest."""
    known = map(_values, heard.values())
    shown = max(known, key=lambda one: (-_ORDER[str(one["state"])], int(str(one["level"])), str(one["since"])))
    return {name: value for name, value in shown.items() if name != "since"}


def notification_failed(work: Work) -> None:
    """One more delivery about this ticket was given up."""
    before = _values(work.ticket.derived.get(NOTIFICATIONS)).get("failed")
    failed = before if isinstance(before, int) else 0
    work.change(derived={**work.ticket.derived, NOTIFICATIONS: {"failed": failed + 1}})


def _set(work: Work, part: str, shown: Values, heard: Values) -> None:
    """Publish only what differs; what was heard is remembered anyway."""
    ticket = work.ticket
    if ticket.heard.get(part) != heard:
        work.remember(heard={**ticket.heard, part: heard})
    if ticket.derived.get(part) != shown:
        work.change(derived={**ticket.derived, part: shown})


def clocks(ticket: Ticket) -> Values:
    """What sla last said of each clock."""
    return _values(ticket.derived.get(SLA))


def _values(value: JsonValue) -> Values:
    return value if isinstance(value, dict) else {}


def _text(at: datetime) -> str:
    return at.isoformat(timespec="microseconds")
