"""What search does with events: one call per batch, in one transaction, no other input or output.

Texts and states meet in the rows of `document`; the indexer writes those to OpenSearch. A new ticket is compared at
once with those of the batch and of the last minutes, and put down to be looked up in the index a little later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from services.search.domain import likeness, sketch, wording
from services.search.domain.likeness import Candidate
from services.search.intake import keep, newest, report_of
from services.search.settings import Settings
from services.search.store import documents, duplicates
from shared.contracts.ticket import TicketCreated, TicketMessageAdded, TicketState
from shared.db import Tx
from shared.envelope import Answer, Emit, Received, Tombstone

TOO_OLD = timedelta(hours=24)
"""A ticket told of later than this is kept and compared with nothing: a replay must not decide about history."""


@dataclass(frozen=True, slots=True)
class Handlers:
    """Handlers with what they need to know."""

    window: timedelta
    """How far back a new ticket is compared with others at once."""
    delay: timedelta
    """How long after its creation the index is asked about it."""
    full: bool
    """Whether the index is asked at all."""

    @classmethod
    def of(cls, settings: Settings) -> Handlers:
        """As the settings say."""
        return cls(
            timedelta(minutes=settings.duplicate_minutes),
            timedelta(seconds=settings.duplicate_delay_seconds),
            settings.duplicate_share > 0,
        )

    async def on_ticket_created(self, tx: Tx, batch: Sequence[Received[TicketCreated]]) -> Sequence[Answer]:
        """Keep the first message; name older tickets that say the same."""
        events = sorted((one.event for one in batch), key=lambda event: event.ticket_id)
        reports = [report_of(event.tenant_id, event.ticket, event.message) for event in events]
        await keep(tx, [(event.tenant_id, event.ticket_id, event.message) for event in events], reports)
        fresh = [
            report
            for event, report in zip(events, reports, strict=True)
            if compared(event) and report.opened_at > tx.instant - TOO_OLD
        ]
        keys = {report.ticket_id: sketch.keys(report.tenant_id, report.gist) for report in fresh}
        rows = [(key, report.opened_at, report.ticket_id) for report in fresh for key in keys[report.ticket_id]]
        await duplicates.add_keys(tx, rows)
        near = await duplicates.candidates(tx, rows, self.window)
        here = {report.ticket_id for report in fresh}
        versions = {event.ticket_id: event.ticket.version for event in events}
        found = {
            report.ticket_id: likeness.likeliest(
                report,
                [
                    Candidate(report=other, source="batch" if other.ticket_id in here else "recent")
                    for other in near.get(report.ticket_id, ())
                ],
            )
            for report in fresh
        }
        if self.full:
            asked = [
                (report.ticket_id, versions[report.ticket_id], [c.ticket_id for c in found[report.ticket_id]])
                for report in fresh
                if keys[report.ticket_id]
            ]
            await duplicates.ask(tx, asked, self.delay)
        causes = {one.event.ticket_id: one for one in batch}
        return [
            Emit(
                likeness.decision(report, versions[report.ticket_id], named, full=False),
                cause=causes[report.ticket_id],
            )
            for report in fresh
            if (named := found[report.ticket_id])
        ]

    async def on_ticket_message_added(self, tx: Tx, batch: Sequence[Received[TicketMessageAdded]]) -> Sequence[Answer]:
        """Keep messages."""
        await keep(tx, [(one.event.tenant_id, one.event.ticket_id, one.event.message) for one in batch])
        return ()

    async def on_ticket_state(self, tx: Tx, batch: Sequence[Received[TicketState] | Tombstone]) -> Sequence[Answer]:
        """Keep the highest revision of each ticket; forget those that are no more."""
        await documents.put_states(tx, newest(one.event for one in batch if isinstance(one, Received)))
        gone = {UUID(one.key) for one in batch if isinstance(one, Tombstone)}
        if gone:
            await documents.delete(tx, list(gone))
        return ()


def compared(event: TicketCreated) -> bool:
    """Whether a ticket is compared with others: what machines write to everybody is not."""
    return not event.message.automatic and not wording.is_automatic(event.ticket.subject)
