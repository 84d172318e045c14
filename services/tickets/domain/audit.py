"""The audit chain of one ticket: each entry binds the one before it, and commits to values it does not contain.

An entry holds sha256(salt || value) of old and new values; the values and their salts live in a side table, so that
personal data can be erased while the chain still verifies (architecture rule 12).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import orjson
from pydantic import JsonValue

from shared.contracts.ticket import Actor

GENESIS = bytes(32)
"""What the first entry binds."""
SALT_BYTES = 16

Draw = Callable[[int], bytes]
"""Randomness as an argument: `os.urandom` in the service, seeded in tests."""
Values = tuple[JsonValue, JsonValue]
"""Old and new value of one field."""
Commitments = Mapping[str, tuple[str | None, str | None]]
"""Per field, the commitments to old and new value in hex; None where there was no value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One numbered line of the chain."""

    tenant_id: str
    ticket_id: UUID
    number: int
    previous: bytes
    hash: bytes
    at: datetime
    actor_kind: str
    actor_id: str
    actor_role: str | None
    action: str
    commitments: Commitments


@dataclass(frozen=True, slots=True)
class Opening:
    """What opens one commitment: the salt in hex and the value."""

    salt: str
    value: JsonValue


Openings = Mapping[str, tuple[Opening | None, Opening | None]]


@dataclass(frozen=True, slots=True)
class Recorded:
    """An entry and the erasable values behind its commitments."""

    entry: Entry
    openings: Openings


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where a chain must end: kept in the ticket's row, apart from the entries."""

    count: int
    head: bytes


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something wrong with a chain, and at which entry (0: the chain as a whole)."""

    number: int
    what: str


def canonical(value: JsonValue | Mapping[str, object]) -> bytes:
    """The one JSON form of a value: sorted keys, no spaces, UTF-8, shortest numbers. Raises TypeError for non-JSON."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def commitment(salt: bytes | memoryview, value: JsonValue) -> str:
    """sha256(salt || canonical value) in hex."""
    made = hashlib.sha256(salt)
    made.update(canonical(value))
    return made.hexdigest()


def append(
    *,
    tenant_id: str,
    ticket_id: UUID,
    number: int,
    previous: bytes,
    actor: Actor,
    action: str,
    at: datetime,
    values: Mapping[str, Values],
    draw: Draw,
) -> Recorded:
    """The next entry of a chain whose head is `previous`; a value of None is not committed to."""
    commitments: dict[str, tuple[str | None, str | None]] = {}
    openings: dict[str, tuple[Opening | None, Opening | None]] = {}
    # One draw for all salts: half the cost of one for each.
    salts = memoryview(draw(2 * SALT_BYTES * len(values)))
    for n, (field, (old, new)) in enumerate(values.items()):
        old_commitment, old_opening = _commit(old, salts[2 * n * SALT_BYTES : (2 * n + 1) * SALT_BYTES])
        new_commitment, new_opening = _commit(new, salts[(2 * n + 1) * SALT_BYTES : (2 * n + 2) * SALT_BYTES])
        commitments[field] = (old_commitment, new_commitment)
        openings[field] = (old_opening, new_opening)
    entry = Entry(
        tenant_id=tenant_id,
        ticket_id=ticket_id,
        number=number,
        previous=previous,
        hash=b"",
        at=at,
        actor_kind=str(actor.kind),
        actor_id=actor.id,
        actor_role=actor.role,
        action=action,
        commitments=commitments,
    )
    return Recorded(_with_hash(entry), openings)


def _commit(value: JsonValue, salt: memoryview) -> tuple[str | None, Opening | None]:
    if value is None:
        return None, None
    return commitment(salt, value), Opening(salt.hex(), value)


def digest(entry: Entry) -> bytes:
    """The hash an entry must have."""
    return hashlib.sha256(
        canonical(
            {
                "tenant": entry.tenant_id,
                "ticket": str(entry.ticket_id),
                "number": entry.number,
                "previous": entry.previous.hex(),
                "at": entry.at.astimezone(UTC).isoformat(),
                "actor": [entry.actor_kind, entry.actor_id, entry.actor_role],
                "action": entry.action,
                "commitments": entry.commitments,
            }
        )
    ).digest()


def _with_hash(entry: Entry) -> Entry:
    # Building the value once and setting the slot costs half of dataclasses.replace; nobody else has seen it yet.
    object.__setattr__(entry, "hash", digest(entry))
    return entry


def verify(entries: Sequence[Entry], anchor: Anchor, openings: Mapping[int, Openings] | None = None) -> list[Flaw]:
    """Every flaw of a chain, in order; none means that it is whole up to `anchor`.

    Finds edits, deletions, swaps, insertions and truncation. Openings that are given must open their commitments;
    ones that are not there were erased, which is no flaw.
    """
    flaws: list[Flaw] = []
    previous = GENESIS
    for position, entry in enumerate(entries, start=1):
        if entry.number != position:
            flaws.append(Flaw(position, f"entry {position} is missing or out of place: found {entry.number}"))
        if entry.previous != previous:
            flaws.append(Flaw(entry.number, "does not bind the entry before it"))
        if digest(entry) != entry.hash:
            flaws.append(Flaw(entry.number, "was edited: its hash does not fit"))
        flaws += _opened(entry, (openings or {}).get(entry.number, {}))
        previous = entry.hash
    if len(entries) != anchor.count:
        flaws.append(Flaw(0, f"{anchor.count} entries were written, {len(entries)} are here"))
    if previous != anchor.head:
        flaws.append(Flaw(0, "the newest entry is not the one the ticket names"))
    return flaws


def _opened(entry: Entry, openings: Openings) -> list[Flaw]:
    flaws = []
    for field, pair in openings.items():
        committed = entry.commitments.get(field)
        if committed is None:
            flaws.append(Flaw(entry.number, f"a value for {field} was added"))
            continue
        for opening, expected in zip(pair, committed, strict=True):
            if opening is None:
                continue
            if not _opens(opening, expected):
                flaws.append(Flaw(entry.number, f"the value of {field} was edited"))
    return flaws


def _opens(opening: Opening, expected: str | None) -> bool:
    try:
        return commitment(bytes.fromhex(opening.salt), opening.value) == expected
    except ValueError:
        return False
