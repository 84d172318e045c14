"""The ledger: numbered entries of exactly the fields a clock may read (architecture rule 4).

Numbers never repeat and never fall. A finished cycle is sealed into a summary and its entries leave the row; the next
cycle begins with a CYCLE entry and the values then in force, so that an open cycle can be read by itself. A cycle that
outgrows its window keeps its first entry and the newest ones: a gap in the numbers says that the bulk export has more.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from services.tickets.domain.ticket import Ticket
from services.tickets.domain.work import Work
from shared.contracts.pack import StateCategory
from shared.contracts.ticket import LedgerEntry, LedgerKind, SealedCycle

WINDOW = 128
"""Entries of the open cycle kept in the row and published."""
MAX_SEALED = 20
"""Summaries of finished cycles kept; the archive has the entries of all."""


def write(work: Work, kind: LedgerKind, value: str, at: datetime) -> None:
    """Append one entry."""
    write_all(work, [(kind, value)], at)


def write_all(work: Work, entries: Sequence[tuple[LedgerKind, str]], at: datetime) -> None:
    """Append entries of one instant, in their order."""
    ticket = work.ticket
    fresh = [
        LedgerEntry(number=number, at=at, kind=kind, value=value)
        for number, (kind, value) in enumerate(entries, start=ticket.ledger_count + 1)
    ]
    ledger = (*ticket.ledger, *fresh)
    if (surplus := len(ledger) - WINDOW) > 0:
        work.archived.extend(ledger[1 : 1 + surplus])
        ledger = ledger[:1] + ledger[1 + surplus :]
    work.change(
        ledger=ledger, ledger_count=ticket.ledger_count + len(fresh), cycle_entries=ticket.cycle_entries + len(fresh)
    )


def standing(ticket: Ticket) -> list[tuple[LedgerKind, str]]:
    """The values in force, as entries that open a cycle."""
    values: list[tuple[LedgerKind, str]] = [
        (LedgerKind.STATUS, ticket.status),
        (LedgerKind.PRIORITY, ticket.priority),
        (LedgerKind.QUEUE, ticket.queue),
    ]
    if ticket.tier:
        values.append((LedgerKind.TIER, ticket.tier))
    if ticket.product:
        values.append((LedgerKind.PRODUCT, ticket.product))
    if ticket.organisation_id:
        values.append((LedgerKind.ORGANISATION, str(ticket.organisation_id)))
    if ticket.assignee_id:
        values.append((LedgerKind.ASSIGNEE, str(ticket.assignee_id)))
    return values


def open_ticket(work: Work, at: datetime, received_at: datetime, *, automatic: bool) -> None:
    """Begin the ledger. Automatic mail starts no clock, so OPENED then waits for a person's message."""
    if not automatic:
        mark_opened(work, received_at)
    write_all(work, standing(work.ticket), at)


def mark_opened(work: Work, received_at: datetime) -> None:
    """Start the clocks at trusted receipt, once per ticket."""
    if work.ticket.opened:
        return
    write(work, LedgerKind.OPENED, "", received_at)
    work.change(opened=True, cycle_opened_at=received_at)


def status(work: Work, category: StateCategory, at: datetime) -> None:
    """The ticket is in another state now."""
    write(work, LedgerKind.STATUS, work.ticket.status, at)
    if category is StateCategory.SOLVED:
        work.change(solved_at=at)


def responded(work: Work, at: datetime) -> None:
    """A person of ours answered in public."""
    write(work, LedgerKind.RESPONDED, "", at)
    work.change(answered=True, responded_at=work.ticket.responded_at or at)


def new_cycle(work: Work, at: datetime) -> None:
    """Seal the open cycle and begin the next with the values in force (seed 000 §2.3, Reopened)."""
    ticket = work.ticket
    seal = SealedCycle(
        cycle=ticket.cycle,
        opened_at=ticket.cycle_opened_at,
        responded_at=ticket.responded_at,
        solved_at=ticket.solved_at,
        entries=ticket.cycle_entries,
    )
    work.archived.extend(ticket.ledger)
    work.change(
        cycle=ticket.cycle + 1,
        cycle_opened_at=at,
        responded_at=None,
        solved_at=None,
        sealed=(*ticket.sealed, seal)[-MAX_SEALED:],
        ledger=(),
        cycle_entries=0,
    )
    write_all(work, [(LedgerKind.CYCLE, str(ticket.cycle + 1)), *standing(work.ticket)], at)
