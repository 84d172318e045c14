"""The chain: whatever is done to it is found; what is erased is not missed."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from services.tickets.domain import audit
from services.tickets.domain.audit import Anchor, Entry, Opening, Openings, verify
from shared.contracts.ticket import Actor, ActorKind
from tests.support.dose import examples
from tests.unit.tickets.desk import START, person

Chain = tuple[list[Entry], dict[int, Openings]]


def _chain(length: int, seed: int = 1) -> tuple[Chain, Anchor]:
    draw = random.Random(seed).randbytes
    entries: list[Entry] = []
    openings: dict[int, Openings] = {}
    head = audit.GENESIS
    for number in range(1, length + 1):
        recorded = audit.append(
            tenant_id="acme",
            ticket_id=person("ticket"),
            number=number,
            previous=head,
            actor=Actor(kind=ActorKind.PERSON, id=str(person("ann")), role="agent"),
            action="updated",
            at=START + timedelta(seconds=number),
            values={"subject": (f"old {number}", f"new {number}"), "tags": (None, ["a", number])},
            draw=draw,
        )
        entries.append(recorded.entry)
        openings[number] = recorded.openings
        head = recorded.entry.hash
    return (entries, openings), Anchor(length, head)


def test_an_honest_chain_has_no_flaw() -> None:
    (entries, openings), anchor = _chain(20)
    assert verify(entries, anchor, openings) == []
    assert verify([], Anchor(0, audit.GENESIS)) == []


def test_erased_values_are_no_flaw() -> None:
    (entries, openings), anchor = _chain(20)
    del openings[3]
    openings[4] = {"subject": (None, openings[4]["subject"][1])}
    assert verify(entries, anchor, openings) == []


def _edit(rng: random.Random, chain: Chain) -> None:
    entries, _ = chain
    at = rng.randrange(len(entries))
    entry = entries[at]
    name = rng.choice(("subject", "tags"))
    entries[at] = rng.choice(
        (
            replace(entry, action="created"),
            replace(entry, actor_id=str(person("mallory"))),
            replace(entry, actor_role=None),
            replace(entry, at=entry.at + timedelta(microseconds=1)),
            replace(entry, tenant_id="evil"),
            replace(entry, number=entry.number + 1),
            replace(entry, hash=rng.randbytes(32)),
            replace(entry, commitments={**entry.commitments, name: (None, rng.randbytes(32).hex())}),
            replace(entry, commitments={k: v for k, v in entry.commitments.items() if k != name}),
        )
    )


def _rehash(rng: random.Random, chain: Chain) -> None:
    """An edit by somebody who knows how the hash is made, and binds all that follows anew."""
    entries, _ = chain
    at = rng.randrange(len(entries))
    head = entries[at - 1].hash if at else audit.GENESIS
    for i in range(at, len(entries)):
        edited = replace(entries[i], previous=head, action="quietly" if i == at else entries[i].action)
        entries[i] = replace(edited, hash=audit.digest(edited))
        head = entries[i].hash


def _delete(rng: random.Random, chain: Chain) -> None:
    del chain[0][rng.randrange(len(chain[0]))]


def _swap(rng: random.Random, chain: Chain) -> None:
    a, b = rng.sample(range(len(chain[0])), 2)
    chain[0][a], chain[0][b] = chain[0][b], chain[0][a]


def _truncate(rng: random.Random, chain: Chain) -> None:
    del chain[0][rng.randrange(len(chain[0])) :]


def _insert(rng: random.Random, chain: Chain) -> None:
    chain[0].insert(rng.randrange(len(chain[0])), rng.choice(chain[0]))


def _value(rng: random.Random, chain: Chain) -> None:
    number = rng.randrange(1, len(chain[0]) + 1)
    old, new = chain[1][number]["subject"]
    assert new is not None
    forged = rng.choice((Opening(new.salt, "something else"), Opening("00" * 16, new.value), Opening("zz", new.value)))
    chain[1][number] = {**chain[1][number], "subject": (old, forged)}


TAMPERINGS: tuple[Callable[[random.Random, Chain], None], ...] = (
    _edit,
    _rehash,
    _delete,
    _swap,
    _truncate,
    _insert,
    _value,
)


def test_a_thousand_random_tamperings_are_all_found() -> None:
    rng = random.Random(20260302)
    for n in range(examples(1000)):
        (entries, openings), anchor = _chain(12, seed=n % 7)
        tamper = TAMPERINGS[n % len(TAMPERINGS)]
        tamper(rng, (entries, openings))
        assert verify(entries, anchor, openings), (n, tamper.__name__)


def test_the_same_value_twice_commits_differently() -> None:
    (entries, _), _ = _chain(2)
    draw = random.Random(3).randbytes
    assert audit.commitment(draw(16), "x") != audit.commitment(draw(16), "x")
    assert all(len(c) == 64 for e in entries for pair in e.commitments.values() for c in pair if c)
