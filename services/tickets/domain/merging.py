"""Two tickets that are one: the merged one points at the other, its clocks end, and it can be taken back.

A pointer goes from a ticket that is not merged to another that is not, both locked; so pointers never form a circle,
whatever is merged at once. They are kept as they were made: taking one back takes with it what came by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from services.tickets.domain import ledger, transfer, workflow
from services.tickets.domain.assignment import UNTOUCHED_TIMER
from services.tickets.domain.ticket import MAX_WATCHERS, Ticket
from services.tickets.domain.work import Act, Work
from services.tickets.domain.workflow import TRANSITION_TIMER, Machine
from shared.contracts.decision import TicketMerged, TicketUnmerged, TransferState
from shared.contracts.ticket import Change, LedgerKind, TicketUpdated

UNDO = timedelta(days=30)
"""How long a merge can be taken back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """What taking a merge back needs."""

    ticket_id: UUID
    into_id: UUID
    at: datetime
    watcher_ids: tuple[UUID, ...] = ()
    """People who follow the other ticket because of it."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why two tickets are not merged, or a merge not taken back."""

    code: str
    """`same_ticket`, `merged`, `closed`, `not_merged`, `too_late`."""
    detail: str


def refusal(source: Ticket, target: Ticket) -> Refused | None:
    """Why `source` cannot go on in `target`; None when it can. Both are locked, merges of `target` followed."""
    if source.merged_into is not None:
        return Refused("merged", "it has been merged already")
    if source.id == target.id:
        return Refused("same_ticket", "a ticket cannot be merged into itself, nor into one that was merged into it")
    if target.merged_into is not None:
        return Refused("merged", f"{target.number} has been merged itself")
    if target.closed:
        return Refused("closed", f"{target.number} is closed: nothing can go on in it")
    return None


def merge(source: Work, target: Work, act: Act, reason: str | None, *, follow: bool = True) -> Merge:
    """Let `source` go on in `target`; both inputs are counted by the caller.

    With `follow` its requester and watchers follow the other ticket from now on, so that they are answered.
    """
    at, before, into = source.ticket.updated_at, source.ticket, target.ticket
    transfer.close(source, TransferState.CANCELLED, act)
    source.change(merged_into=into.id, merged_at=at)
    ledger.write(source, LedgerKind.MERGED, str(into.id), at)
    for kind in (UNTOUCHED_TIMER, TRANSITION_TIMER):
        source.no_timer(kind)
    told = {"into": (None, into.number)} | ({"reason": (None, reason)} if reason else {})
    source.record("merged", act, told)
    source.facts.append(
        TicketMerged(
            tenant_id=before.tenant_id,
            ticket_id=before.id,
            ticket=source.ticket.summary(),
            actor=act.actor,
            into_id=into.id,
            into_number=into.number,
            reason=reason,
        )
    )
    joining = (before.requester_id, *before.watcher_ids) if follow else ()
    added = watch(target, joining)
    target.record("absorbed", Act(act.actor, target.ticket.updated_at, act.draw), {"from": (None, before.number)})
    _tell_watchers(target, into.watcher_ids, act)
    return Merge(ticket_id=before.id, into_id=into.id, at=at, watcher_ids=added)


def watch(work: Work, people: tuple[UUID, ...]) -> tuple[UUID, ...]:
    """Let people follow a ticket, as far as there is room; those who did not yet."""
    ticket = work.ticket
    known = {ticket.requester_id, *ticket.watcher_ids}
    room = MAX_WATCHERS - len(ticket.watcher_ids)
    added = tuple(person for person in dict.fromkeys(people) if person not in known)[: max(0, room)]
    if added:
        work.change(watcher_ids=(*ticket.watcher_ids, *added))
    return added


def unmergeable(source: Ticket, now: datetime) -> Refused | None:
    """Why a merge cannot be taken back; None when it can."""
    if source.merged_into is None:
        return Refused("not_merged", "it stands for itself")
    if source.merged_at is not None and now - source.merged_at > UNDO:
        return Refused("too_late", f"a merge can be taken back for {UNDO.days} days")
    return None


def unmerge(
    source: Work,
    target: Work | None,
    machine: Machine,
    act: Act,
    *,
    number: str,
    made: Merge | None,
    reason: str | None,
) -> None:
    """Let a ticket stand for itself again, in a new cycle; the inputs are counted by the caller.

    Its state is the one it had. Messages that came meanwhile stay where they are. `target` is the ticket it was merged
    into, called `number`, or None when that one is merged itself and so is not touched.
    """
    before, at = source.ticket, source.ticket.updated_at
    from_id = before.merged_into
    if from_id is None:
        raise ValueError(f"{before.id} is not merged")
    source.change(merged_into=None, merged_at=None, status_since=at)
    ledger.new_cycle(source, at)
    workflow.arm_timer(source, machine, at)
    told = {"from": (number, None)} | ({"reason": (None, reason)} if reason else {})
    source.record("unmerged", act, told)
    source.facts.append(
        TicketUnmerged(
            tenant_id=before.tenant_id,
            ticket_id=before.id,
            ticket=source.ticket.summary(),
            actor=act.actor,
            from_id=from_id,
            from_number=number,
            reason=reason,
        )
    )
    if target is None:
        return
    watching = target.ticket.watcher_ids
    gone = frozenset(made.watcher_ids) if made is not None else frozenset()
    if gone & set(watching):
        target.change(watcher_ids=tuple(person for person in watching if person not in gone))
    target.record("released", Act(act.actor, target.ticket.updated_at, act.draw), {"from": (before.number, None)})
    _tell_watchers(target, watching, act)


def _tell_watchers(work: Work, before: tuple[UUID, ...], act: Act) -> None:
    now = work.ticket.watcher_ids
    if now == before:
        return
    work.facts.append(
        TicketUpdated(
            tenant_id=work.ticket.tenant_id,
            ticket_id=work.ticket.id,
            ticket=work.ticket.summary(),
            actor=act.actor,
            changes=(Change(field="watcher_ids", old=[str(p) for p in before], new=[str(p) for p in now]),),
        )
    )
