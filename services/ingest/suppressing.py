"""From reports to suppressions: only of people whom the mail that is reported on really went to.

A report is a mail that anybody can write. What it may do is bounded by what it names: the Message-ID of a mail of ours
suppresses the one recipient of that mail, and a signed reply address those we wrote to about its ticket.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from services.ingest.domain import Draft, thread_key
from services.ingest.mail.report import Kind, Report
from services.ingest.store import sent, suppressions
from services.ingest.store.suppressions import Suppression
from shared.contracts import ids
from shared.contracts.manifest import SUPPRESSION_CHANGED
from shared.contracts.notification import SuppressionChanged, SuppressionReason
from shared.db import Record, Tx
from shared.envelope import Delete, Emit

GONE = timedelta(days=180)
"""How long an address that does not exist, or takes no mail at all, is not written to."""
REFUSED = timedelta(days=7)
"""The same after a failure that says more of the mail or the day than of the address: full, too large, policy."""
_GONE = ("5.1.", "5.2.1", "5.0.0")
_OF_SENDER = ("5.1.7", "5.1.8")
"""The sender's address was refused, which is ours: nothing is wrong with the recipient."""


def until(status: str, now: datetime) -> datetime | None:
    """Until when a person is not written to after a failure of that status; None for not at all."""
    if not status.startswith("5") or status in _OF_SENDER:
        return None
    return now + (GONE if status.startswith(_GONE) else REFUSED)


async def reported(tx: Tx, drafts: Iterable[Draft]) -> list[Emit]:
    """Suppress whom new reports name rightly; what to publish."""
    found: list[tuple[Draft, Report]] = [
        (draft, draft.report)
        for draft in drafts
        if draft.report is not None and draft.report.kind is not Kind.DELAY and not draft.spoofed
    ]
    if not found:
        return []
    keys = {(d.tenant_id, thread_key("mail", one)) for d, r in found for one in r.message_ids}
    ours = await sent.recipients(tx, sorted(keys)) if keys else {}
    tickets = {
        (d.tenant_id, d.token_ticket_id, ids.person_id(d.tenant_id, one))
        for d, r in found
        if d.token_ticket_id is not None
        for one in r.addresses
    }
    known = await sent.written_to(tx, sorted(tickets, key=str)) if tickets else set()
    wanted: list[Suppression] = []
    early: list[tuple[tuple[str, bytes], str, str]] = []
    for draft, report in found:
        reason = _reason(report)
        mine = [(draft.tenant_id, thread_key("mail", one)) for one in report.message_ids]
        people = {ours[key] for key in mine if key in ours}
        by_address = {ids.person_id(draft.tenant_id, one): one for one in report.addresses}
        people |= {one for one in by_address if (draft.tenant_id, draft.token_ticket_id, one) in known}
        for person in people:
            one = _suppression(
                draft.tenant_id, person, reason, report.status, tx.instant, address=by_address.get(person)
            )
            if one is not None:
                wanted.append(one)
        if not people:
            early += [(key, reason.value, report.status) for key in mine[:3]]
    if early:
        await sent.put_early(tx, early)
    return await suppress(tx, wanted)


async def delivered(tx: Tx, mails: Sequence[sent.Sent]) -> list[Emit]:
    """Enter mails of ours in the thread index, and act on reports that were faster; what to publish."""
    await sent.remember(tx, mails)
    wanted = [
        one
        for early in await sent.take_early(tx, sorted({mail.key for mail in mails}))
        if (one := _suppression(early.tenant_id, early.recipient_id, early.reason, early.status, tx.instant))
    ]
    return await suppress(tx, wanted)


async def suppress(tx: Tx, wanted: Sequence[Suppression]) -> list[Emit]:
    """Store suppressions; what to publish of those that changed something."""
    return [Emit(changed(row)) for row in await suppressions.put(tx, wanted)] if wanted else []


async def lift(tx: Tx, tenant_id: str, person_id: UUID) -> Delete | None:
    """Allow writing to a person again; what to publish, None when nothing was suppressed."""
    if not await suppressions.lift(tx, tenant_id, person_id):
        return None
    return Delete(topic=SUPPRESSION_CHANGED.name, key=key_of(tenant_id, person_id), tenant_id=tenant_id)


def changed(row: Record) -> SuppressionChanged:
    """The event of a stored suppression."""
    return SuppressionChanged(
        tenant_id=row["tenant_id"],
        suppression_key=key_of(row["tenant_id"], row["person_id"]),
        person_id=row["person_id"],
        version=row["version"],
        reason=row["reason"],
        detail=row["detail"],
        since=row["since"],
        until=row["until"],
    )


def key_of(tenant_id: str, person_id: UUID) -> str:
    """The key of a person on `suppression.changed`."""
    return f"{tenant_id}/{person_id}"


def _reason(report: Report) -> SuppressionReason:
    return SuppressionReason.COMPLAINED if report.kind is Kind.COMPLAINT else SuppressionReason.BOUNCED


def _suppression(
    tenant_id: str, person_id: UUID, reason: str, status: str, now: datetime, *, address: str | None = None
) -> Suppression | None:
    if reason == SuppressionReason.COMPLAINED:
        return Suppression(tenant_id=tenant_id, person_id=person_id, reason=reason, address=address)
    last = until(status, now)
    if last is None:
        return None
    return Suppression(
        tenant_id=tenant_id, person_id=person_id, reason=reason, detail=status, address=address, until=last
    )
