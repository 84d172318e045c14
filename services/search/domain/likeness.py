"""How alike two reports are, from 0 to 1, and what is made of it.

1 is word for word the same. From `SUGGEST` on a person is told; below it nothing is said. Measured on pairs that
people had marked as duplicates and on random pairs: `docs/architecture/search.md`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from uuid import UUID, uuid5

from services.search.domain.sketch import is_code
from services.search.domain.wording import GENERIC, Gist
from shared.contracts.decision import DuplicateCandidate, TicketDuplicatesFound

SUGGEST = 0.45
"""Likeness from which a ticket is named as a likely duplicate."""
MOST = 5
"""Candidates named at most."""
SOLVED_FOR = timedelta(days=14)
"""A ticket solved longer ago is history, not a duplicate."""
_LEAST_SHARED = 1.9
"""Weight two reports must share at least: two telling words, or a code; less is an accident."""
_TELLING = 1.6
"""Weight a subject needs to be compared by itself: `Help` alone says nothing."""
_OTHER_CODES = 0.7
"""What is left of the likeness of two reports that name codes, and not one in common: invoice 4711 and invoice 4712."""
_ALERT = "alert"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One ticket as far as it is compared."""

    ticket_id: UUID
    tenant_id: str
    number: str
    gist: Gist
    requester_id: UUID
    opened_at: datetime
    channel: str
    product: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An older report that might say the same, and where it was found (`index`, `batch`, `recent`)."""

    report: Report
    source: str


def score(one: Report, other: Report) -> float:
    """Likeness of two reports of one tenant."""
    if one.channel == other.channel == _ALERT:
        # Alerts are made of one template; ingest joins those of one fingerprint.
        return 0.0
    found = alike(one.gist, other.gist)
    if one.product and other.product and one.product != other.product:
        found *= 0.8
    return round(found, 3)


def alike(one: Gist, other: Gist) -> float:
    """Likeness of two texts by their words, whichever is named first."""
    one, other = (one, other) if one.words <= other.words else (other, one)
    mine, theirs = one.words, other.words
    shared = _shared(mine, theirs)
    if shared < _LEAST_SHARED:
        return 0.0
    found = _ratio(shared, _weight(mine), _weight(theirs))
    mine_said, theirs_said = _weight(one.subject), _weight(other.subject)
    if mine_said >= _TELLING and theirs_said >= _TELLING:
        said = _ratio(_shared(one.subject, other.subject), mine_said, theirs_said)
        # Each subject against the other's whole text too: one says in the subject what another says below it.
        across = max(_shared(one.subject, theirs) / mine_said, _shared(other.subject, mine) / theirs_said)
        found = 0.5 * found + 0.3 * said + 0.2 * min(1.0, across)
    codes = {word for word in mine if is_code(word)}
    others = {word for word in theirs if is_code(word)}
    if codes and others and not codes & others:
        found *= _OTHER_CODES
    return round(min(1.0, found), 3)


def likeliest(one: Report, candidates: Iterable[Candidate]) -> tuple[DuplicateCandidate, ...]:
    """The older tickets that this one seems to repeat, the likeliest first."""
    best: dict[UUID, tuple[float, Candidate]] = {}
    for candidate in candidates:
        other = candidate.report
        if other.ticket_id == one.ticket_id or not _older(other, one) or other.tenant_id != one.tenant_id:
            continue
        if other.ticket_id in best:
            continue
        found = score(one, other)
        if found >= SUGGEST:
            best[other.ticket_id] = (found, candidate)
    ranked = sorted(best.values(), key=lambda item: (-item[0], item[1].report.opened_at, item[1].report.ticket_id))
    return tuple(_told(one, found, candidate) for found, candidate in ranked[:MOST])


def decision(
    one: Report, version: int, candidates: Sequence[DuplicateCandidate], *, full: bool
) -> TicketDuplicatesFound:
    """What is published; the same candidates found twice are one decision."""
    named = ",".join(sorted(str(candidate.ticket_id) for candidate in candidates))
    return TicketDuplicatesFound(
        tenant_id=one.tenant_id,
        ticket_id=one.ticket_id,
        decision_id=uuid5(one.ticket_id, f"duplicates:{named}"),
        based_on_version=version,
        candidates=tuple(candidates),
        full_check=full,
    )


def telling(words: Sequence[str], most: int) -> tuple[str, ...]:
    """The words that say most, to ask an index with."""
    return tuple(sorted(words, key=lambda word: -_weight_of(word))[:most])


def _older(other: Report, one: Report) -> bool:
    return (other.opened_at, other.ticket_id) < (one.opened_at, one.ticket_id)


def _told(one: Report, found: float, candidate: Candidate) -> DuplicateCandidate:
    other = candidate.report
    common = [word for word in one.gist.words if word in set(other.gist.words)]
    words = ", ".join(telling(common, 4))
    return DuplicateCandidate(
        ticket_id=other.ticket_id,
        number=other.number,
        score=found,
        source=candidate.source,
        same_requester=other.requester_id == one.requester_id,
        reason=f"Both say {words}." if words else "Both say nearly the same.",
    )


def _ratio(shared: float, mine: float, theirs: float) -> float:
    """Shared weight against both together and against the shorter one, which a short report would else never reach."""
    together = 2 * shared / (mine + theirs)
    shorter = shared / max(min(mine, theirs), 3.0)
    return min(1.0, max(together, 0.5 * together + 0.5 * min(1.0, shorter)))


def _weight(words: Collection[str]) -> float:
    return sum(map(_weight_of, words))


@lru_cache(maxsize=10_000)
def _weight_of(word: str) -> float:
    if word in GENERIC:
        return 0.3
    if is_code(word):
        return 2.0
    return 0.7 + min(len(word), 10) * 0.05


def _shared(mine: Sequence[str], theirs: Sequence[str]) -> float:
    """Weight of the words both have; one that is nearly the same (a typo, an ending) counts by how nearly."""
    other = set(theirs)
    both = other.intersection(mine)
    total = _weight(both)
    left: dict[str, list[str]] = {}
    for word in other - both:
        if len(word) >= 5:
            left.setdefault(word[:2], []).append(word)
    if left:
        for word in mine:
            if word not in both and len(word) >= 5 and not is_code(word):
                near = max((_near(word, other) for other in left.get(word[:2], ())), default=0.0)
                total += near * _weight_of(word)
    return total


@lru_cache(maxsize=10_000)
def _near(one: str, other: str) -> float:
    """How alike two words are by their pairs of letters; 0 below two thirds."""
    mine = {one[i : i + 2] for i in range(len(one) - 1)}
    theirs = {other[i : i + 2] for i in range(len(other) - 1)}
    alike = 2 * len(mine & theirs) / (len(mine) + len(theirs))
    return alike if alike >= 0.66 else 0.0
