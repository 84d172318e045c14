"""What escalation does when an instant has come: the next step, a page again, a look whether anybody handled a ticket.

Each handler locks the ticket's row and then looks whether the instant still means something.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from services.escalation.desk import casework
from services.escalation.desk.known import Known
from services.escalation.domain import causes, walk
from services.escalation.domain.causes import Circumstances
from services.escalation.measures import Measures
from shared.db import Tx
from shared.envelope import Emit
from shared.timers import Handler, Timer


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
        wanted, now = {timer.key for timer in due}, _now(tx, due)
        cases = await casework.locked(tx, {UUID(str(timer.payload["ticket_id"])) for timer in due})
        people = await casework.staff_of(tx, {case.ticket.tenant_id for case in cases.values()}, now)
        for case in cases.values():
            moment = case.moment(now, people[case.ticket.tenant_id])
            for one in case.running():
                if str(one.id) in wanted:
                    walk.advance(one, moment)
        return await casework.save(
            tx, cases.values(), lambda one, fact: casework.emitted(one, fact, now), self._measures
        )

    async def on_watch(self, tx: Tx, due: Sequence[Timer]) -> Sequence[Emit]:
        """Start the path of tickets that nobody has handled in time."""
        now = _now(tx, due)
        cases = await casework.locked(tx, [UUID(timer.key) for timer in due])
        tenants = {case.ticket.tenant_id for case in cases.values()}
        policies = await self._known.policies(tenants, tx)
        await casework.with_ids(tx, cases.values())
        people = await casework.staff_of(tx, tenants, now)
        watches = []
        for case in cases.values():
            policy = policies.get(case.ticket.tenant_id)
            if policy is not None:
                given = Circumstances(policy=policy, now=now, staff=people[case.ticket.tenant_id])
                causes.unhandled(case, given)
            case.know(casework.watched(case.ticket, policy, now))
            # This timer is spent: what is still wanted is armed anew, for another instant.
            watches.append((None, case.ticket))
        emits = await casework.save(
            tx, cases.values(), lambda one, fact: casework.emitted(one, fact, now), self._measures
        )
        await casework.set_watches(tx, watches)
        return emits


def _now(tx: Tx, due: Sequence[Timer]) -> datetime:
    """The instant of this firing: no timer is claimed before the database's clock has passed it.

    That clock may have been moved (a test's) between the start of the transaction and the claim.
    """
    return max(tx.instant, *(timer.due_at for timer in due))
