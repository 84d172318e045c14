"""What cannot be read, what cannot be read yet, what cannot be handled: each in its place, neighbours untouched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from uuid import uuid4

import pytest

from shared import parked
from shared.db import Database
from tests.support.faults.contracts import AskedV2
from tests.support.faults.lab import Lab
from tests.support.faults.records import Sent, asked, headers, noted, record, state
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines


def _dead(reason: str, **changed: object) -> Sent:
    return replace(asked("t1", 99, expected="dead"), reason=reason, **changed)  # type: ignore[arg-type]


MALFORMED: dict[str, Callable[[], Sent]] = {
    "json": lambda: _dead("json", value=b'{"tenant_id": "acme", "thing"'),
    "utf8": lambda: _dead("utf8", value=b'{"tenant_id": "acme", "thing": "\xff\xfe"}'),
    "schema": lambda: _dead("schema", value=b'{"tenant_id": "acme", "thing": "t1", "seq": "many"}'),
    "foreign type": lambda: _dead("type", headers=headers("fault.foreign.v1", str(uuid4()))),
    "tombstone on a topic of facts": lambda: _dead("tombstone", value=None),
    # All but what the record's envelope takes: a larger one no broker with its usual limit accepts.
    "1 MiB": lambda: _dead("size", value=b'"' + b"x" * (1024 * 1024 - 500) + b'"'),
    "no headers": lambda: _dead("headers", headers=[]),
    "no key": lambda: _dead("key", key=None),
}


async def test_each_malformed_kind_is_a_dead_letter_once_and_its_neighbours_are_handled(lab: Lab) -> None:
    seq = 0
    for _ in range(2):
        for make in MALFORMED.values():
            one = make()
            # Sent twice: two records, two letters; and neighbours of the same key on both sides.
            await lab.send([*(asked(f"t{n}", seq) for n in range(4)), one, noted("t1", seq), one])
            seq += 1
    await lab.start()
    found = await lab.verify()
    assert len(found.letters) == 4 * len(MALFORMED)
    assert await lab.value("SELECT count(*) FROM waiting") == 0


async def test_a_newer_version_waits_with_its_followers_and_the_newer_release_handles_them(lab: Lab) -> None:
    newer = record(AskedV2(tenant_id="acme", thing="t1", seq=1), expected="away")
    followers = [asked("t1", 2, expected="away"), noted("t1", 3, expected="away")]
    # What follows on the other topic has to arrive after it: topics are not ordered between them.
    await lab.send([asked("t1", 0), noted("t1", 0), *(asked(f"t{n}", 1) for n in (2, 3))])
    older = await lab.start()
    await lab.verify()
    sent = await lab.send([newer, followers[0]])
    await lab.verify()
    sent += await lab.send([followers[1], asked("t2", 4)])
    found = await lab.verify()
    assert [reason for *_, reason in found.waiting] == ["not_yet", "behind", "behind"]

    async def left_alone() -> bool:
        return bool(await lab.value("SELECT due_at IS NULL FROM waiting ORDER BY id LIMIT 1"))

    await eventually(left_alone, what="the older release leaving it to the newer one")
    await lab.start(release=2)
    lab.journal.expect([entry.place for entry in sent], "effect")
    found = await lab.verify()
    assert [seq for _, key, seq, *_ in found.effects if key == "t1"] == [0, 0, 1, 2, 3]
    assert await older.terminate() == 0


async def test_a_tombstone_on_a_compacted_topic_erases_and_is_no_dead_letter(lab: Lab) -> None:
    stone = replace(state("s1", 0), value=None, expected="tombstone")
    await lab.send([state("s1", 1), state("s2", 1), stone, state("s3", 1)])
    await lab.start()
    found = await lab.verify()
    assert found.states == {"s2": 1, "s3": 1}
    await lab.send([state("s1", 5)])
    found = await lab.verify()
    assert found.states["s1"] == 5
    assert found.letters == []


async def test_a_poison_event_amid_ten_thousand_parks_its_key_alone_and_goes_on_once_repaired(lab: Lab) -> None:
    things, each = 200, 50
    good = [asked(f"t{n % things}", n // things) for n in range(things * each)]
    victim, at = "t77", lab.random.randrange(3000, 6000)
    poison = asked(victim, 1000, kind="poison", expected="away")
    sent = [
        *good[:at],
        poison,
        *(replace(one, expected="away") if one.key == victim.encode() else one for one in good[at:]),
    ]
    entries = await lab.send(sent)
    await lab.start()
    found = await lab.verify(within=120)
    assert len(found.effects) == sum(one.expected == "effect" for one in sent)
    assert next(reason for *_, reason in found.waiting) == "poison"
    assert {reason for *_, reason in found.waiting[1:]} == {"behind"}
    assert await lab.value("SELECT attempts FROM waiting ORDER BY id LIMIT 1") == 3
    # Repaired, released by a person: it and its followers, in order, and nothing of the others again.
    await lab.sql("INSERT INTO repaired DEFAULT VALUES")
    await _release(lab, victim)
    lab.journal.expect([entry.place for entry in entries if entry.key == victim], "effect")
    found = await lab.verify()
    assert len(found.effects) == len(sent)


async def _release(lab: Lab, key: str) -> None:
    """What `deskwire parked release` does."""
    database = await Database.connect(lab.database_url, application="test")
    try:
        assert await parked.release(database, "faults", key)
    finally:
        await database.close()


async def test_children_before_their_parents_wait_and_are_handled_in_order_when_those_arrive(lab: Lab) -> None:
    keys = [f"c{n}" for n in range(12)]
    before = [asked(key, 0) for key in keys]
    children = [asked(key, 1, kind="child", about=f"p{n % 4}") for n, key in enumerate(keys)]
    after = [asked(key, 2) for key in keys]
    lab.random.shuffle(children)
    parents = [asked(f"p{n}", 0, kind="parent", about=f"p{n}") for n in range(4)]
    await lab.send([*before, *children, *after])
    await lab.start()
    await lab.start()

    async def away() -> bool:
        return bool(await lab.value("SELECT count(*) FROM waiting") == 24)

    await eventually(away, what="children and followers put away")
    assert await lab.value("SELECT count(*) FROM effect") == 12
    for parent in parents:
        await lab.send([parent, *children[:3]])
    await lab.verify()
