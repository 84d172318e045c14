"""What escalation does when an instant has come: the next step, a page again, a look whether anybody handled a ticket.

Each handler locks the ticket's row and then looks whether the instant still means something. Before a step is told,
what tickets committed up to its instant must be known: an answer given in time may still be on its way, most of all
when this service was away and catches up. That is waited for, but not for ever: a page too many is better than none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from services.escalation.desk import casework
from services.escalation.desk.known import Known
from services.escalation.domain import causes, walk
from services.escalation.domain.causes import Case, Circumstances
from services.escalation.measures import Measures
from services.escalation.store import knowledge
from shared import timers
from shared.db import Tx
from shared.envelope import Emit
from shared.timers import Handler, Timer

GRACE = timedelta(seconds=30)
"""How long an instant waits for what tickets may have committed before it; as long as a breach does (rule 5)."""
FIRST_LOOK, LONGEST_LOOK = timedelta(milliseconds=200), timedelta(seconds=2)
"""Between two looks whether it has come; the first is the time between two watermarks."""
BEHIND = timedelta(seconds=5)
"""A watch, which is about hours, waits while knowledge is further behind than this."""

logger = structlog.get_logger(__name__)


class Fired:
    """The handlers of due timers."""

    def __init__(self, known: Known, measures: Measures) -> None:
        self._known = known
        self._measures = measures

    def handlers(self) -> Mapping[str, Handler]:
        """By kind of timer."""
        return {casework.STEP: self.on_step, casework.WATCH: self.on_watch}

    async def on_step(self, tx: Tx, due: Sequence[Timer]) -> Sequence[Emit]:
        """Walk on: of the steps whose time came while nobody looked, only the latest is told."""
        now, by = _now(tx, due), {timer.key: timer for timer in due}
        cases = await casework.locked(tx, {UUID(str(timer.payload["ticket_id"])) for timer in due})
        known = await knowledge.until(tx, (case.ticket.partition for case in cases.values()))
        people = await casework.staff_of(tx, {case.ticket.tenant_id for case in cases.values()}, now)
        waiting = []
        for case in cases.values():
            moment = case.moment(now, people[case.ticket.tenant_id])
            for one in case.running():
                timer = by.get(str(one.id))
                if timer is None:
                    continue
                if self._may_act(timer, case, known, walk.due_instant(one, now), now):
                    walk.advance(one, moment)
                else:
                    waiting.append(_later(timer, now))
        await timers.arm(tx, waiting)
        return await casework.save(
            tx, cases.values(), lambda one, fact: casework.emitted(one, fact, now), self._measures
        )

    async def on_watch(self, tx: Tx, due: Sequence[Timer]) -> Sequence[Emit]:
        """Start the path of tickets that nobody has handled in time."""
        now, by = _now(tx, due), {UUID(timer.key): timer for timer in due}
        cases = await casework.locked(tx, by)
        known = await knowledge.until(tx, (case.ticket.partition for case in cases.values()))
        ready = {
            ticket_id: case
            for ticket_id, case in cases.items()
            if self._may_act(by[ticket_id], case, known, max(by[ticket_id].due_at, now - BEHIND), now)
        }
        await timers.arm(tx, [_later(by[one], now) for one in cases if one not in ready])
        tenants = {case.ticket.tenant_id for case in ready.values()}
        policies = await self._known.policies(tenants, tx)
        await casework.with_ids(tx, ready.values())
        people = await casework.staff_of(tx, tenants, now)
        watches = []
        for case in ready.values():
            policy = policies.get(case.ticket.tenant_id)
            if policy is not None:
                given = Circumstances(policy=policy, now=now, staff=people[case.ticket.tenant_id])
                causes.unhandled(case, given)
            case.know(casework.watched(case.ticket, policy, now))
            # This timer is spent: what is still wanted is armed anew, for another instant.
            watches.append((None, case.ticket))
        emits = await casework.save(
            tx, ready.values(), lambda one, fact: casework.emitted(one, fact, now), self._measures
        )
        await casework.set_watches(tx, watches)
        return emits

    def _may_act(
        self, timer: Timer, case: Case, known: Mapping[int, datetime], instant: datetime, now: datetime
    ) -> bool:
        """Whether everything up to `instant` is known of the ticket, or was waited for long enough.

        Where no watermark has ever come there is nothing to wait for.
        """
        until = known.get(case.ticket.partition)
        if until is None or until >= instant:
            return True
        since = timer.payload.get("since")
        if since is None or now - datetime.fromisoformat(str(since)) < GRACE:
            return False
        self._measures.blind()
        logger.warning("step told without knowing all of its ticket", ticket=str(case.ticket.ticket_id))
        return True


def _now(tx: Tx, due: Sequence[Timer]) -> datetime:
    """The instant of this firing: no timer is claimed before the database's clock has passed it.

    That clock may have been moved (a test's) between the start of the transaction and the claim.
    """
    return max(tx.instant, *(timer.due_at for timer in due))


def _later(timer: Timer, now: datetime) -> Timer:
    """The same timer for another look, each a little later than the one before."""
    looks = int(timer.payload.get("looks", 0))
    payload = {**timer.payload, "since": timer.payload.get("since", now.isoformat()), "looks": looks + 1}
    due_at = now + min(FIRST_LOOK * 2 ** min(looks, 10), LONGEST_LOOK)
    return Timer(kind=timer.kind, key=timer.key, tenant_id=timer.tenant_id, due_at=due_at, payload=payload)
