"""Clocks kept up to date: tickets locked, clocks evaluated, what changed told, all of a batch at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from services.sla.desk.known import Known
from services.sla.domain import history, telling
from services.sla.domain.evaluate import evaluate
from services.sla.domain.policy import CLOCKS, Missing, Setting
from services.sla.domain.telling import Kept, Occasion, Said, Subject
from services.sla.store import clocks, knowledge
from services.sla.store.clocks import Ticket
from shared.contracts.pack import StateCategory
from shared.contracts.sla import ClockName, SlaChanged, SlaChangeKind
from shared.contracts.ticket import TicketState
from shared.db import Tx
from shared.envelope import Emit, NotYet, Received

MOST_ENTRIES = 2000
"""Of an open cycle's ledger remembered here, more than fit into a snapshot."""
UNKNOWN = datetime(1970, 1, 1, tzinfo=UTC)

logger = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Book:
    """What one transaction writes."""

    tickets: list[Ticket] = field(default_factory=list)
    clocks: dict[UUID, list[Kept]] = field(default_factory=dict)
    dropped: list[tuple[UUID, ClockName]] = field(default_factory=list)
    partitions: dict[UUID, int] = field(default_factory=dict)
    emits: list[Emit] = field(default_factory=list)


class Keeping:
    """Evaluates clocks and tells what changed."""

    def __init__(self, known: Known, grace: timedelta) -> None:
        self._known = known
        self._grace = grace

    async def learn(
        self, tx: Tx, states: Sequence[Received[TicketState]], also: Sequence[UUID] = ()
    ) -> Sequence[Emit | NotYet]:
        """Take snapshots in, any number per ticket, and look at tickets `also` on the way."""
        by_ticket: dict[UUID, list[Received[TicketState]]] = {}
        for one in states:
            by_ticket.setdefault(one.event.ticket_id, []).append(one)
        new = [
            Ticket(id=ticket, tenant_id=some[0].event.tenant_id, partition=some[0].partition)
            for ticket, some in by_ticket.items()
        ]
        if new:
            await clocks.place(tx, new)
        locked = await clocks.lock(tx, list({*by_ticket, *also}))
        # Also derived-only revisions come here, whose version is known: they cost the lock and nothing else.
        fresh = {ticket: newer for ticket, some in by_ticket.items() if (newer := _newer(locked[ticket], some))}
        touched = {ticket: locked[ticket] for ticket in locked if ticket in fresh or ticket in also}
        return await self._look(tx, touched, fresh)

    async def look(self, tx: Tx, ticket_ids: Sequence[UUID]) -> Sequence[Emit]:
        """Look at tickets again: time has passed, more is known, or the policy is another one."""
        answers = await self._look(tx, await clocks.lock(tx, ticket_ids), {})
        return [answer for answer in answers if isinstance(answer, Emit)]

    async def _look(
        self, tx: Tx, touched: Mapping[UUID, Ticket], fresh: Mapping[UUID, list[Received[TicketState]]]
    ) -> Sequence[Emit | NotYet]:
        touched = {ticket: row for ticket, row in touched.items() if ticket in fresh or row.summary is not None}
        if not touched:
            return []
        settings = await self._known.settings(
            {ticket: (row.tenant_id, _requester(row, fresh.get(ticket))) for ticket, row in sorted(touched.items())},
            tx,
        )
        missing = [
            (fresh[ticket][0], s) for ticket, s in settings.items() if isinstance(s, Missing) and ticket in fresh
        ]
        if missing:
            return [NotYet(received, what.kind, what.id) for received, what in missing]
        kept = await clocks.clocks(tx, list(touched))
        certain = await knowledge.read(tx)
        uncertain = await knowledge.uncertain(tx, list(touched))
        book = _Book()
        for ticket, row in sorted(touched.items()):
            setting = settings[ticket]
            if isinstance(setting, Missing):
                # Its policy went away: what was told stands until there is another one.
                continue
            known_until = UNKNOWN if ticket in uncertain else certain.get(row.partition, UNKNOWN)
            occasion = Occasion(
                now=tx.instant,
                known_until=known_until,
                grace=self._grace,
                policy_version=setting.policy.version,
                in_force_at=setting.policy.in_force_at,
            )
            try:
                _keep(book, row, fresh.get(ticket, ()), kept=kept.get(ticket, {}), setting=setting, occasion=occasion)
            except Exception:
                if ticket in fresh:
                    raise
                # No event of its own brought it here that could be parked, and its neighbours' breaches must not wait.
                logger.exception("clocks of a ticket cannot be evaluated", ticket=str(ticket))
        await clocks.save(tx, book.tickets)
        await clocks.drop_clocks(tx, book.dropped)
        await clocks.save_clocks(tx, book.clocks, book.partitions)
        return book.emits


def _keep(
    book: _Book,
    row: Ticket,
    newer: Sequence[Received[TicketState]],
    *,
    kept: Mapping[ClockName, Kept],
    setting: Setting,
    occasion: Occasion,
) -> None:
    """One ticket: its snapshots in order, the last one of each cycle evaluated; or, without any, as it stands."""
    stored, standing = row, dict(kept)
    for place, received in enumerate(newer):
        state = received.event
        if state.cycle != row.cycle:
            summaries = {one.cycle: one for one in state.sealed}
            subject = Subject(tenant_id=row.tenant_id, ticket_id=row.id, summary=state.ticket, version=state.version)
            for one in standing.values():
                said = telling.seal(one, summaries.get(one.cycle), subject)
                book.emits += [Emit(what.event, cause=received, id=what.id, time=what.time) for what in said]
            standing = {}
        row = _taken(row, received)
        if place + 1 == len(newer):
            standing = _evaluated(book, row, standing, setting=setting, occasion=occasion, cause=received)
        elif newer[place + 1].event.cycle != state.cycle:
            # Over by now: only what its own ledger proves is true of it, and nothing that its silence would mean.
            last = max((entry.at for entry in row.ledger), default=occasion.now)
            then = replace(occasion, now=min(last, occasion.now), known_until=UNKNOWN)
            standing = _evaluated(book, row, standing, setting=setting, occasion=then, cause=received)
    row = row.but(requester_zone=setting.zones.requester)
    if not newer:
        standing = _evaluated(book, row, standing, setting=setting, occasion=occasion, cause=None)
    if row != stored:
        book.tickets.append(row)
    book.partitions[row.id] = row.partition
    changed = [one for name, one in standing.items() if kept.get(name) != one or row.partition != stored.partition]
    if changed:
        book.clocks[row.id] = changed
    book.dropped += [(row.id, name) for name in kept if name not in standing]


def _evaluated(
    book: _Book,
    row: Ticket,
    standing: Mapping[ClockName, Kept],
    *,
    setting: Setting,
    occasion: Occasion,
    cause: Received[TicketState] | None,
) -> dict[ClockName, Kept]:
    """The clocks as they are kept from now on; what is said of them goes into the book."""
    if row.summary is None:
        raise AssertionError("a ticket that is looked at has been told of")
    subject = Subject(tenant_id=row.tenant_id, ticket_id=row.id, summary=row.summary, version=row.version)
    now = {clock.name: clock for clock in evaluate(setting, row.ledger, row.cycle, occasion.now)}
    after: dict[ClockName, Kept] = {}
    for name in CLOCKS:
        before = standing.get(name)
        if before is None and name not in now:
            continue
        one, said = telling.tell(before, now.get(name), subject, occasion)
        if one is not None:
            after[name] = one
        for what in said:
            if before is not None and _is_false(what, before, occasion):
                logger.error("a confirmed breach was false", ticket=str(row.id), clock=name.value)
            book.emits.append(Emit(what.event, cause=cause, id=what.id, time=what.time))
    return after


def _newer(row: Ticket, some: Sequence[Received[TicketState]]) -> list[Received[TicketState]]:
    """Snapshots above what is known, each version once, in order."""
    versions = {one.event.version: one for one in some if one.event.version > row.version}
    return [versions[version] for version in sorted(versions)]


def _taken(row: Ticket, received: Received[TicketState]) -> Ticket:
    """The ticket with a newer snapshot taken in."""
    state = received.event
    before = row.ledger if state.cycle == row.cycle else ()
    return row.but(
        partition=received.partition,
        version=state.version,
        cycle=state.cycle,
        open=state.ticket.category != StateCategory.CLOSED,
        watcher_ids=state.watcher_ids,
        summary=state.ticket,
        ledger=history.merged(before, state.ledger, most=MOST_ENTRIES),
    )


def _requester(row: Ticket, newer: Sequence[Received[TicketState]] | None) -> UUID | None:
    if newer:
        return newer[-1].event.ticket.requester_id
    return row.summary.requester_id if row.summary is not None else None


def _is_false(said: Said, before: Kept, occasion: Occasion) -> bool:
    """Whether a confirmed breach is taken back although the policy is the same: that must never happen."""
    event = said.event
    taken_back = isinstance(event, SlaChanged) and event.change == SlaChangeKind.VERDICT_CHANGED
    return taken_back and before.breached_at is not None and before.policy_version == occasion.policy_version
