"""A cycle's ledger as what clocks walk along: where it starts, what held then, what changed afterwards.

Numbers order a ledger, instants do not quite: transactions that wait for one another commit in another order than they
began. An entry therefore counts from no earlier than those before it, which makes what is known of a ledger final:
whatever is appended later happens at or after its last instant.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.contracts.ticket import LedgerEntry, LedgerKind


@dataclass(frozen=True, slots=True)
class Change:
    """One entry at the instant from which it counts."""

    at: datetime
    kind: LedgerKind | str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """One cycle of one ticket."""

    started_at: datetime
    """Trusted receipt, or the begin of the cycle (UTC)."""
    status: str
    priority: str | None
    tier: str | None
    changes: tuple[Change, ...]
    """What came after the start, in order."""
    last_at: datetime
    """Nothing that is not known yet can count from before this."""


_FIELDS = (LedgerKind.STATUS, LedgerKind.PRIORITY, LedgerKind.TIER)


def read(ledger: Sequence[LedgerEntry]) -> History | None:
    """The history of an open cycle; None while only machines have written, which starts no clock."""
    started_at: datetime | None = None
    rest: list[Change] = []
    latest: datetime | None = None
    for entry in sorted(ledger, key=lambda one: one.number):
        if entry.kind == LedgerKind.OPENED:
            # The one entry with an instant of its own: when a message was received, not when it was handled.
            started_at = started_at or entry.at
            continue
        latest = entry.at if latest is None else max(latest, entry.at)
        if entry.kind == LedgerKind.CYCLE:
            started_at = latest
        rest.append(Change(latest, entry.kind, entry.value))
    if started_at is None:
        return None
    # A ticket is received a moment before the transaction that opens it says what its values are: they hold from then.
    opened_at = max(started_at, rest[0].at) if rest else started_at
    held: dict[str, str] = {}
    changes: list[Change] = []
    for change in rest:
        if change.at > opened_at:
            changes.append(change)
        elif change.kind in _FIELDS:
            held[change.kind] = change.value
        elif change.at >= started_at and change.kind != LedgerKind.CYCLE:
            changes.append(change)
    return History(
        started_at=started_at,
        status=held.get(LedgerKind.STATUS, ""),
        priority=held.get(LedgerKind.PRIORITY) or None,
        tier=held.get(LedgerKind.TIER) or None,
        changes=tuple(changes),
        last_at=max(started_at, latest or started_at),
    )


def merged(known: Iterable[LedgerEntry], more: Iterable[LedgerEntry], *, most: int) -> tuple[LedgerEntry, ...]:
    """What is known of a cycle together with a snapshot's entries, by number.

    A snapshot shows the first entry and the newest: those that dropped out of its window are remembered here. Beyond
    `most` the first and the newest are kept, as tickets does.
    """
    entries = {entry.number: entry for entry in known}
    entries.update((entry.number, entry) for entry in more)
    ordered = [entries[number] for number in sorted(entries)]
    return tuple(ordered if len(ordered) <= most else [*ordered[:1], *ordered[-most + 1 :]])
