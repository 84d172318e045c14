"""A handover between two agents: asked for, answered, lapsed (seed 000 §5.3). One at a time per ticket.

The ticket holds the open one. Ownership moves when it is accepted and not before; the clocks go on; whatever else gives
the ticket to somebody, or takes it off the desk, cancels it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from services.tickets.domain import audit
from services.tickets.domain.ticket import Ticket, Transfer
from services.tickets.domain.work import Act, Timer, Work
from shared.contracts.decision import TicketTransferChanged, TransferState

TRANSFER_TIMER = "transfer"
"""Kind of the timer behind the expiry of a handover."""


def ask(work: Work, transfer_id: UUID, to_id: UUID, note: str | None, act: Act, *, minutes: float) -> Transfer:
    """Ask an agent to take the ticket; the input is counted by the caller, who has seen that none is open."""
    transfer = Transfer(
        id=transfer_id,
        from_id=work.ticket.assignee_id,
        to_id=to_id,
        asked_by=act.actor.id,
        note=note,
        asked_at=act.at,
        expires_at=act.at + timedelta(minutes=minutes),
    )
    work.change(transfer=transfer)
    work.timer(Timer(kind=TRANSFER_TIMER, due_at=transfer.expires_at, payload={"transfer_id": str(transfer_id)}))
    _say(work, transfer, TransferState.REQUESTED, act)
    return transfer


def close(work: Work, state: TransferState, act: Act) -> None:
    """End the open handover, if there is one; the input is counted by the caller."""
    transfer = work.ticket.transfer
    if transfer is None:
        return
    work.change(transfer=None)
    work.no_timer(TRANSFER_TIMER)
    _say(work, transfer, state, act)


def lapsed(ticket: Ticket, transfer_id: str, now: datetime) -> bool:
    """Whether a fired timer still finds that handover open, and its time over."""
    transfer = ticket.transfer
    return transfer is not None and str(transfer.id) == transfer_id and transfer.expires_at <= now


def _say(work: Work, transfer: Transfer, state: TransferState, act: Act) -> None:
    work.transfers.append((transfer, state))
    values: dict[str, audit.Values] = {"to": (None, str(transfer.to_id))}
    if transfer.from_id is not None:
        values["from"] = (None, str(transfer.from_id))
    if transfer.note is not None and state is TransferState.REQUESTED:
        values["note"] = (None, transfer.note)
    work.record(f"transfer_{state.value}", act, values)
    work.facts.append(
        TicketTransferChanged(
            tenant_id=work.ticket.tenant_id,
            ticket_id=work.ticket.id,
            ticket=work.ticket.summary(),
            actor=act.actor,
            transfer_id=transfer.id,
            state=state,
            from_id=transfer.from_id,
            to_id=transfer.to_id,
            note=transfer.note,
            expires_at=transfer.expires_at if state is TransferState.REQUESTED else None,
        )
    )
