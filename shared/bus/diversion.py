"""From where on in a batch a key's events are put away, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared import outbox, waiting
from shared.bus.decode import Item, Kind
from shared.envelope import MAX_HOPS


@dataclass(slots=True)
class Diversion:
    """From which place in the batch the events of a key are put away, and why."""

    position: int
    reason: waiting.Reason
    missing: tuple[str, str] | None = None
    error: str | None = None
    attempts: int = 0


def divert_strangers(items: Sequence[Item], diverted: dict[str, Diversion]) -> None:
    """Put away from here on: a newer type until a release knows it, a loop until a person decides."""
    for item in items:
        known = diverted.get(item.key)
        if known is not None and known.position <= item.position:
            continue
        if item.kind is Kind.NEWER_TYPE:
            diverted[item.key] = Diversion(item.position, "not_yet", ("type", item.error))
        else:
            diverted[item.key] = Diversion(item.position, "hops", error=f"caused by a chain of over {MAX_HOPS} events")


def waiting_row(item: Item, why: Diversion | None) -> waiting.Waiting:
    """The event as it is put away; only the one the diversion begins with carries its reason."""
    record = item.record
    first = why is not None and item.position == why.position
    missing = why.missing if first and why is not None else None
    return waiting.Waiting(
        key=item.key,
        topic=item.route.name,
        partition=record.partition,
        offset=record.offset,
        record_ms=record.timestamp,
        payload=record.value,
        headers=outbox.pack_any(record.headers),
        reason=why.reason if first and why is not None else "behind",
        missing_kind=missing[0] if missing else None,
        missing_id=missing[1] if missing else None,
        error=why.error if first and why is not None else None,
        attempts=why.attempts if first and why is not None else 0,
    )
